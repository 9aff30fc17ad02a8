"""`patch_reconstruction` through lmms-eval's own command line, with probes of a small budget."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from connector_bench.metrics import of_owner
from connector_bench.reconstruction.artefacts import Artefacts, same_for_all
from connector_bench.reconstruction.learning import ProbeLadder
from tests.harness import Outcome, run_command, run_here

from .small_task import write_small_task

ZOO = ("--model", "connector_zoo", "--batch_size", "64", "--model_args")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    return write_small_task(tmp_path_factory.mktemp("tasks"))


@pytest.fixture(scope="module")
def mlp(small: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """20 scenes and what is asked about them, together with neighbours and answers on the same scenes."""
    tasks = [*small[:-1], "small,knn_preservation_scenes,scenes_vqa"]
    return run_here(tmp_path_factory.mktemp("mlp"), *ZOO, "connector=mlp", *tasks, "--limit", "80")


@pytest.fixture(scope="module")
def resampler(small: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return run_here(tmp_path_factory.mktemp("res"), *ZOO, "connector=resampler", *small, "--limit", "80")


def answers(outcome: Outcome, task: str = "small") -> dict[int, dict]:
    return {row["doc_id"]: json.loads(row["filtered_resps"]) for row in outcome.samples(task)}


def test_controls_of_every_run_are_what_they_must_be(mlp: Outcome) -> None:
    figures = mlp.figures("small")
    for control in ("identity", "rotation"):
        assert figures[f"{control}_r2_ridge"] >= 0.999
        assert figures[f"{control}_r2_mlp"] >= 0.999
    for probe in ("ridge", "mlp"):
        assert figures[f"shuffled_r2_{probe}"] <= 0.01
    closed = mlp.record("small")["controls"]["closed_form_r2"]
    assert figures["rank8_r2_ridge"] == pytest.approx(closed["rank8"], abs=0.02)
    seeds = mlp.record("small")["scores"]["untrained_r2_ridge"]["seeds"]
    assert len(set(seeds)) == 3


def test_without_places_the_attention_probe_stands_in_for_the_mlp(resampler: Outcome) -> None:
    figures = resampler.figures("small")
    assert {"r2_pooled", "r2_attention", "identity_r2_mlp", "untrained_r2_pooled"} <= set(figures)
    assert not {"r2_ridge", "r2_mlp", "nonlinear"} & set(figures)
    assert figures["identity_r2_mlp"] >= 0.999
    assert figures["shuffled_r2_pooled"] <= 0.01
    assert figures["lost"] > 0.5


def test_the_harness_shows_what_the_record_says(mlp: Outcome) -> None:
    figures, scores = mlp.figures("small"), mlp.record("small")["scores"]
    for name in of_owner(figures.keys() & scores.keys(), "image"):
        assert figures[name] == pytest.approx(scores[name]["value"])
        assert scores[name]["low"] <= scores[name]["value"] <= scores[name]["high"]
    assert figures["loss_inside"] == pytest.approx(scores["loss_inside"]["value"])
    assert scores["lost"]["value"] == pytest.approx(1 - scores["r2_best"]["value"])


def test_the_record_says_what_was_measured(mlp: Outcome) -> None:
    record = mlp.record("small")
    assert record["measure"] == "patch_reconstruction"
    assert mlp.record("knn_preservation_scenes")["measure"] == "knn_preservation"
    assert record["connector"]["model"] == "connector_zoo/mlp-seed0"
    assert (record["n_images"], record["n_documents"], record["train_images"]) == (20, 80, 60)
    assert record["probes"]["mlp"]["parameters"] > record["probes"]["ridge"]["parameters"] > 112
    assert record["probes"]["ridge"]["patches_seen"] % 196 == 0
    assert record["learning_curve"]["fractions"] == [0.25, 0.5, 1.0]
    assert isinstance(record["more_data_helps"], bool)
    lost = record["scores"]["lost"]
    assert lost.get("bound") == ("at most" if record["more_data_helps"] else None)
    assert lost["method"].endswith("over images; these probes, test images")
    assert record["options"]["mlp_width"] == 64


def test_documents_are_questions_and_images_count_once(mlp: Outcome) -> None:
    rows = answers(mlp)
    firsts = [row for row in rows.values() if "same_image_as" not in row]
    assert len(rows) == 80
    assert len(firsts) == len({row["image"] for row in rows.values()}) == 20
    for row in firsts:
        assert {
            "r2_ridge",
            "r2_mlp",
            "lost",
            "cosine",
            "entropy",
            "encoder_norm",
            "identity_r2_ridge",
        } <= set(row)
        assert 0 < row["entropy"] < 8
    for row in rows.values():
        if "same_image_as" in row:
            assert rows[row["same_image_as"]]["image"] == row["image"]
            assert "lost" not in row
    pooled = sum(row["sse"] for row in firsts) / sum(row["sst"] for row in firsts)
    assert mlp.figures("small")["lost"] == pytest.approx(pooled)


def test_questions_with_an_answer_in_the_picture_have_figures_of_their_mask(mlp: Outcome) -> None:
    rows, questions = answers(mlp), mlp.samples("scenes_vqa")
    for question in questions:
        row = rows[question["doc_id"]]
        assert ("loss_inside" in row) == (question["target"] != "no")
        if "loss_inside" in row:
            assert 0 < row["mask_area"] < 0.5
            assert {"loss_outside", "cosine_inside", "norm_outside"} <= set(row)


def test_rows_join_those_of_the_questions_and_of_the_neighbours(mlp: Outcome) -> None:
    ours, theirs = (
        {row["doc_id"]: (row["target"], row["input"]) for row in mlp.samples(task)}
        for task in ("small", "scenes_vqa")
    )
    assert ours == theirs
    neighbours = {row["image"]: row for row in answers(mlp, "knn_preservation_scenes").values()}
    for row in answers(mlp).values():
        if "same_image_as" not in row:
            assert neighbours[row["image"]]["encoder_norm"] == pytest.approx(row["encoder_norm"])
            assert neighbours[row["image"]]["entropy"] == row["entropy"]


def test_maps_pictures_and_masks_are_left_to_look_at(mlp: Outcome) -> None:
    folder = mlp.folder / mlp.record("small")["artefacts"]
    artefacts = Artefacts(folder)
    rows = answers(mlp)
    firsts = {row["image"]: row for row in rows.values() if "same_image_as" not in row}
    maps = {one.image_id: one for one in artefacts.maps()}
    assert maps.keys() == firsts.keys()
    for image, one in maps.items():
        assert one.loss.shape == (196,)
        assert float(one.loss.mean(dtype=np.float64)) == pytest.approx(firsts[image]["nmse"], rel=2e-3)
    most = [one.image for one in artefacts.selection if one.why == "most lossy"]
    losses = [firsts[image]["lost"] for image in most]
    assert losses == sorted((row["lost"] for row in firsts.values()), reverse=True)[: len(most)]
    for image in same_for_all(maps):
        assert artefacts.picture(image).size == (224, 224), "kept of every model, whatever it lost of them"
    for one in artefacts.selection:
        assert artefacts.picture(one.image).size == (224, 224)
        for doc_id in one.doc_ids:
            mask = artefacts.mask(doc_id)
            assert (mask is not None) == ("loss_inside" in rows[doc_id])
            assert mask is None or mask.mean() == pytest.approx(rows[doc_id]["mask_area"])
    assert (
        ProbeLadder.load(folder / "probes").probes.training_images.fingerprint()
        == mlp.record("small")["train_sha256"]
    )


@pytest.mark.parametrize("connector", ["mlp", "resampler"])
def test_two_processes_give_the_figures_of_one(
    connector: str, small: tuple[str, ...], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    one = request.getfixturevalue(connector)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--standalone"]
    arguments = (*ZOO, f"connector={connector}", *small, "--limit", "80")
    two, said = run_command(
        tmp_path, [*torchrun, "-m", "lmms_eval"], *arguments, ACCELERATE_USE_CPU="true", OMP_NUM_THREADS="1"
    )
    expected, found = (run.record("small")["scores"] for run in (one, two))
    assert expected.keys() == found.keys(), said
    for name, score in expected.items():
        for part in ("value", "low", "high"):
            assert found[name][part] == pytest.approx(score[part], abs=1e-6), name
    assert answers(one).keys() == answers(two).keys()
    for doc_id, row in answers(one).items():
        found_row = answers(two)[doc_id]
        assert found_row.keys() == row.keys()
        for name, figure in row.items():
            same = figure if isinstance(figure, str) else pytest.approx(figure, rel=1e-6, abs=1e-6)
            assert found_row[name] == same, name
