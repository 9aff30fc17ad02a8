"""What merges into one table, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from connector_bench.leaderboard.merge import merge
from connector_bench.leaderboard.schema import ProbeBudget, StoredRun
from connector_bench.results.harness_files import UnusableResult
from tests.leaderboard.runs import a_connector, a_run, answers, preservation, reconstruction

KEPT, ACCURACY = ("knn_preservation", "knor_adj_10"), ("scenes_vqa", "accuracy")


def kept(value: float, model: str = "m", **more: Any) -> StoredRun:
    about_run = {key: more.pop(key) for key in ("date", "weights", "revision", "dtype") if key in more}
    return a_run(model, knn_preservation=preservation(value, **{"distance": "l2", **more}), **about_run)


def test_runs_of_one_model_make_one_row() -> None:
    table = merge([kept(0.5), a_run("m", date="20260102_000000", scenes_vqa=answers(0.9))])
    (row,) = table.competitors
    assert row.figures[KEPT].value == 0.5
    assert row.figures[ACCURACY].value == 0.9
    assert row.connector is not None
    assert {task: found.date for task, found in row.provenance.items()} == {
        "knn_preservation": "20260101_000000",
        "scenes_vqa": "20260102_000000",
    }


def test_the_best_stands_first_and_a_missing_figure_stays_empty() -> None:
    table = merge(
        [
            a_run("low", knn_preservation=preservation(0.2), scenes_vqa=answers(0.7)),
            a_run("none", scenes_vqa=answers(0.9)),
            kept(0.8, "high"),
        ]
    )
    assert [row.model for row in table.competitors] == ["none", "low", "high"], (
        "by answers, not by bare overlap"
    )
    assert ACCURACY not in table.competitors[-1].figures


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"n": 999}, "999"),
        ({"images": "other"}, "images_sha256"),
        ({"protocol": "2"}, "protocol: 1 against 2"),
        ({"distance": "cosine"}, "cosine"),
    ],
    ids=["another N", "other images", "other protocol", "other options"],
)
def test_what_is_not_comparable_is_refused_with_both_sides_named(change: dict[str, Any], named: str) -> None:
    with pytest.raises(UnusableResult, match=r"first.*second") as refusal:
        merge([kept(0.5, "first"), kept(0.5, "second", **change)])
    assert named in str(refusal.value)


def test_other_documents_of_a_task_are_refused_and_unknown_ones_are_not() -> None:
    runs = [a_run(name, vqa=answers(0.5, documents=name)) for name in ("first", "second")]
    with pytest.raises(UnusableResult, match="documents_sha256"):
        merge(runs)
    merge([runs[0], a_run("third", vqa=answers(0.5))])


@pytest.mark.parametrize(
    "change",
    [{"weights": "b"}, {"dtype": "bfloat16"}, {"revision": "v2"}],
    ids=["weights", "dtype", "revision"],
)
def test_a_changed_model_under_one_name_is_refused(change: dict[str, Any]) -> None:
    first = kept(0.5, revision="v1")
    with pytest.raises(UnusableResult, match="another name") as refusal:
        merge([first, kept(0.6, date="20260102_000000", **change)])
    assert next(iter(change)) in str(refusal.value)


def reconstructed(date: str, probe: str, **connector: Any) -> StoredRun:
    result = reconstruction([0.5, 0.4], [1.0, 1.0]).model_copy(
        update={"probe": ProbeBudget(probes={"mean": {}, probe: {}})}
    )
    run = a_run("m", date=date, patch_reconstruction=result)
    return run.model_copy(update={"connector": a_connector("m", **connector)})


@pytest.mark.parametrize(
    ("later", "named"),
    [
        ({"probe": "attention"}, "probes attention, what is filed under this name has probes per cell"),
        ({"probe": "mlp", "assumptions": ("layout undeclared",)}, "assumptions layout undeclared differs"),
    ],
    ids=["kind of probe", "layout"],
)
def test_one_way_of_measuring_does_not_replace_another(later: dict[str, Any], named: str) -> None:
    with pytest.raises(UnusableResult, match="another name") as refusal:
        merge([reconstructed("20260101_000000", "mlp"), reconstructed("20260102_000000", **later)])
    assert named in str(refusal.value)


def test_two_folders_under_one_name_are_refused() -> None:
    runs = [kept(0.5).model_copy(update={"checkpoint": folder * 8}) for folder in "ab"]
    with pytest.raises(UnusableResult, match="another folder"):
        merge(runs)


def test_what_differs_by_rounding_shares_a_rank() -> None:
    sst = [1.0 + 0.1 * i for i in range(50)]
    losses = {"a": 1e-13, "b": 3e-12, "c": 0.1}
    table = merge(
        [
            a_run(name, patch_reconstruction=reconstruction([lost * total for total in sst], sst))
            for name, lost in losses.items()
        ]
    )
    ranks = {row.model: str(row.ranks["patch_reconstruction", "lost"]) for row in table.competitors}
    assert ranks == {"a": "1=", "b": "1=", "c": "3"}


def test_the_latest_run_of_a_task_counts() -> None:
    table = merge([kept(0.6, date="20260102_000000"), kept(0.5)])
    assert table.competitors[0].figures[KEPT].value == 0.6
