"""The first screen: four questions, each answered in a sentence with its interval, or with how to get the answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from connector_bench.report.assemble import assemble
from connector_bench.report.four_sentences import BLAME, LOST, NEIGHBOURS, QUESTIONS, SIZE, four_sentences
from connector_bench.report.measured_runs import read_model
from connector_bench.results.models import ModelRuns
from connector_bench.results.tasks import PRESERVATION, RECONSTRUCTION, STAGES
from tests.report.written import record, score, unknown, write_result


def results_of(folder: Path, **records: dict[str, Any]) -> ModelRuns:
    write_result(folder, records, {"vqa": {"accuracy,none": 0.5}})
    return read_model([folder])


def text_of(results: ModelRuns, question: str) -> str:
    return {one.about: one.text for one in four_sentences(results)}[question]


def patches(excess: float = 0.1, **more: Any) -> dict[str, Any]:
    scores = {"lost": score(0.3, 0.005, 1.0), "lost_floor": score(0.2, 0.004), "excess": score(excess, 0.02)}
    return record(scores, measure=RECONSTRUCTION, best_probe="mlp", **more)


def neighbours(**more: Any) -> dict[str, Any]:
    kept = {"knor_10": score(0.4, 0.01, 0.02)}
    return record(kept | more.pop("scores", {}), measure=PRESERVATION, **more)


def stages(**losses: tuple[float, float | None]) -> dict[str, Any]:
    """Of each kind what connector and language model lose, with half widths of .05."""
    scores: dict[str, Any] = {}
    for kind, (connector, model) in losses.items():
        scores |= {f"acc_{side}_{kind}": score(0.8, 0.02, 0.25) for side in ("pre", "post")}
        scores[f"lost_connector_{kind}"] = score(connector, 0.05)
        if model is not None:
            scores[f"lost_language_model_{kind}"] = score(model, 0.05)
    return record(scores, measure=STAGES, options={"kinds": list(losses)})


def test_every_question_has_a_figure_with_its_interval(tmp_path: Path) -> None:
    gain = {"gain_10": score(0.03, 0.01), "agreement_pre_10": score(0.2), "agreement_post_10": score(0.23)}
    results = results_of(
        tmp_path,
        knn_preservation=neighbours(scores=gain, options={"reference": "content by object_content"}),
        patch_reconstruction=patches(more_data_helps=True),
        connector_stages=stages(count=(0.3, 0.02)),
    )
    found = four_sentences(results)
    assert [one.about for one in found] == list(QUESTIONS)
    assert all("±" in one.text and one.tone == "plain" for one in found)
    lost, size, moved, blame = (one.text for one in found)
    assert lost.startswith("≤ 0.300 ±.005 of the variance of the encoder's patches")
    assert size == (
        "The best linear connector to as many tokens and numbers loses 0.200 ±.004; this one loses ≤ 0.100 ±.020 "
        "beyond that, by probes that have not learnt all."
    )
    assert moved == (
        "Yes, towards what the images show: +0.030 ±.010 of the 10 nearest, from 0.200 to 0.230; of the encoder's own "
        "10 nearest 0.400 ±.010 are kept (chance 0.020)."
    )
    assert blame == (
        "The connector is to blame for questions of count (connector 0.300 ±.050, language model 0.020 ±.050). In "
        "brackets: the share of answers that each loses."
    )


def test_what_was_not_measured_says_how_it_would_be(tmp_path: Path) -> None:
    found = four_sentences(results_of(tmp_path))
    assert [one.tone for one in found] == ["missing"] * 4
    assert [one.text.partition("--tasks ")[2] for one in found] == [
        "patch_reconstruction.",
        "patch_reconstruction.",
        "knn_preservation.",
        "connector_stages,scenes_vqa.",
    ]


def test_a_run_without_the_loss_of_its_size_says_so(tmp_path: Path) -> None:
    older = record({"lost": score(0.3, 0.005, 1.0)}, measure=RECONSTRUCTION)
    assert text_of(results_of(tmp_path, patch_reconstruction=older), SIZE).startswith("Not known: this run")


@pytest.mark.parametrize(
    ("excess", "expected"),
    [
        (0.1, "0.100 ±.020 beyond that, which the number and width of its tokens do not explain."),
        (0.0004, "; this one loses no more."),
        (-0.1, "this one loses 0.100 ±.020 less than that, as no linear one can."),
        (0.01, "what this one loses is not distinguishable from that (0.010 ±.020 more)."),
    ],
)
def test_the_loss_of_the_size_is_set_apart(excess: float, expected: str, tmp_path: Path) -> None:
    assert text_of(results_of(tmp_path, patch_reconstruction=patches(excess)), SIZE).endswith(expected)


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ({"gain_10": score(-0.1, 0.01)}, "No, away from content by mine: −0.100 ±.010 of the 10 nearest; of"),
        ({"gain_10": score(0.005, 0.01)}, "Not shown, neither towards nor away from content by mine: +0.005"),
        ({"purity_diff": score(0.3, 0.01)}, "Yes, towards images of the same dish: +0.300 ±.010 of"),
        (
            {},
            "Not known, since nothing says what neighbours should share; of the encoder's own 10 nearest 0.400",
        ),
    ],
)
def test_where_neighbours_moved_follows_the_interval(
    scores: dict[str, Any], expected: str, tmp_path: Path
) -> None:
    made = neighbours(
        scores=scores, labels={"dish": {"classes": 9}}, options={"reference": "content by mine"}
    )
    text = text_of(results_of(tmp_path, knn_preservation=made), NEIGHBOURS)
    assert text.startswith(expected.replace("content by mine", "what the images show"))


def test_kinds_of_questions_are_grouped_by_who_is_to_blame(tmp_path: Path) -> None:
    found = stages(
        a=(0.3, 0.0), b=(0.0, 0.3), c=(0.4, 0.1), d=(0.0, 0.0), e=(0.2, 0.22), f=(-0.1, 0.0), g=(0.0, -0.1)
    )
    text = text_of(results_of(tmp_path, connector_stages=found), BLAME)
    assert text.startswith(
        "The connector is to blame for questions of a (connector 0.300 ±.050, language model 0.000 ±.050), c (connector"
    )
    assert "; the language model is to blame for questions of b (connector 0.000 ±.050, language" in text
    assert "neither is distinguishable from losing nothing for questions of d" in text
    assert "both lose, which of them more is not distinguishable, for questions of e" in text
    assert "more is read behind the connector than before it, for questions of f (connector −0.100" in text
    assert "more than is read behind the connector, for questions of g (connector 0.000" in text


def test_without_answers_the_language_model_is_not_blamed(tmp_path: Path) -> None:
    text = text_of(results_of(tmp_path, connector_stages=stages(a=(0.3, None))), BLAME)
    assert text.endswith("What the language model misses was not measured.")
    assert "(connector 0.300 ±.050)" in text


def test_of_several_tasks_the_one_of_the_measures_name_is_told_and_the_others_are_folded(
    tmp_path: Path,
) -> None:
    other = record({"lost": score(0.9, 0.005, 1.0)}, measure=RECONSTRUCTION)
    results = results_of(tmp_path, patch_reconstruction_other=other, patch_reconstruction=patches())
    assert text_of(results, LOST).startswith("0.300")
    folded = {s.name: s.folded for s in assemble(results).sections if "patch" in s.name}
    assert folded == {
        "patch_reconstruction": "",
        "patch_reconstruction_other": "Figures of patch_reconstruction_other",
    }


@pytest.mark.parametrize("name", ["gain_10", "purity_diff"])
def test_which_way_neighbours_moved_is_not_told_without_an_interval(name: str, tmp_path: Path) -> None:
    text = text_of(
        results_of(tmp_path, knn_preservation=neighbours(scores={name: unknown(0.03)})), NEIGHBOURS
    )
    assert text.startswith(
        "Not told, since there is no interval (10 images, 20 are needed): +0.030 of the 10 nearest"
    )
