"""What merges into one table, and what is refused."""

import pytest

from connector_bench.harness_files import UnusableResult
from connector_bench.leaderboard.markdown import markdown
from connector_bench.leaderboard.schema import Comparable, Connector, Figure, Run, TaskResult
from connector_bench.leaderboard.table import merge


def a_connector(model: str, weights: str = "a" * 64) -> Connector:
    return Connector(
        model=model,
        family="f",
        connector="mlp",
        modules=("p",),
        parameters=12,
        dtype="float32",
        weights_sha256=weights,
    )


def a_run(
    model: str,
    knor: float | None = None,
    accuracy: float | None = None,
    *,
    n: int = 1000,
    images: str = "x",
    protocol: str = "1",
    date: str = "20260101_000000",
    weights: str = "a" * 64,
) -> Run:
    tasks = {}
    if knor is not None:
        comparable = Comparable(n=n, images_sha256=images, protocol=protocol)
        figures = {"knor_adj_10": Figure(value=knor, stderr=0.01, chance=0.01, higher_is_better=True)}
        tasks["knn_preservation"] = TaskResult(comparable=comparable, figures=figures)
    if accuracy is not None:
        figures = {"accuracy": Figure(value=accuracy, higher_is_better=True)}
        tasks["scenes_vqa"] = TaskResult(comparable=Comparable(n=n), figures=figures)
    return Run(
        model=model,
        date=date,
        tasks=tasks,
        connector=a_connector(model, weights) if knor is not None else None,
    )


def test_runs_of_one_model_make_one_row() -> None:
    table = merge([a_run("m", knor=0.5), a_run("m", accuracy=0.9)])
    (row,) = table.rows
    assert row.figures[("knn_preservation", "knor_adj_10")].value == 0.5
    assert row.figures[("scenes_vqa", "accuracy")].value == 0.9
    assert row.connector is not None


def test_the_best_stands_first_and_a_missing_figure_stays_empty() -> None:
    table = merge(
        [a_run("low", knor=0.2, accuracy=0.7), a_run("none", accuracy=0.9), a_run("high", knor=0.8)]
    )
    assert [row.model for row in table.rows] == ["high", "low", "none"]
    line = next(line for line in markdown(table).splitlines() if line.startswith("| high"))
    assert line.split("|")[-2].strip() == ""


@pytest.mark.parametrize(
    "change",
    [{"n": 999}, {"images": "other"}, {"protocol": "2"}],
    ids=["another N", "other images", "other protocol"],
)
def test_what_is_not_comparable_is_refused_with_both_sides_named(change: dict) -> None:
    with pytest.raises(UnusableResult, match=r"first.*second") as refusal:
        merge([a_run("first", knor=0.5), a_run("second", knor=0.5, **change)])
    assert str(next(iter(change.values()))) in str(refusal.value)


def test_changed_weights_under_one_name_are_refused() -> None:
    with pytest.raises(UnusableResult, match="give the new checkpoint another name"):
        merge([a_run("m", knor=0.5), a_run("m", knor=0.6, weights="b" * 64, date="20260102_000000")])


def test_the_latest_run_of_a_task_counts() -> None:
    table = merge([a_run("m", knor=0.5), a_run("m", knor=0.6, date="20260102_000000")])
    assert table.rows[0].figures[("knn_preservation", "knor_adj_10")].value == 0.6


def test_markup_in_a_name_is_inert() -> None:
    page = markdown(merge([a_run("<script>alert(1)</script>|x|[l](u)\n# h", knor=0.5)]))
    assert "<script>" not in page
    assert "\n# h" not in page
    assert "\\|x\\|\\[l\\](u)" in page
