"""What stands beside the competitors: references, controls, seeds side by side, and what a paper published."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

import connector_bench.leaderboard
from connector_bench.leaderboard.data_files import csv_file, json_file
from connector_bench.leaderboard.markdown import markdown, topic_tables
from connector_bench.leaderboard.merge import merge
from connector_bench.leaderboard.page_data import page_data
from connector_bench.leaderboard.printed_table import places, terminal
from connector_bench.leaderboard.published import published
from connector_bench.leaderboard.schema import Figure, ProbeBudget, StoredRun
from tests.leaderboard.runs import a_run, answers, preservation, reconstruction

KEPT = ("knn_preservation", "knor_adj_10")


def test_a_control_stands_in_the_column_that_it_is_a_control_of() -> None:
    runs = []
    for name, overlap in (("a", 0.6), ("b", 0.7), ("c", 0.9)):
        result = preservation(0.5)
        control = {"untrained_knor_10": Figure(value=overlap, chance=0.1, k=10)}
        runs.append(
            a_run(name, knn_preservation=result.model_copy(update={"figures": {**result.figures, **control}}))
        )
    (control_row,) = [row for row in merge(runs).rows if row.kind == "control"]
    assert control_row.model == "untrained"
    plain = control_row.figures[("knn_preservation", "knor_10")]
    assert (plain.value, plain.low, plain.high) == (0.7, 0.6, 0.9)
    adjusted = control_row.figures[KEPT]
    assert adjusted.value == pytest.approx((0.7 - 0.1) / 0.9)
    assert adjusted.high == pytest.approx((0.9 - 0.1) / 0.9)
    assert "3 runs" in (adjusted.method or "")


def test_seeds_are_models_of_their_own_and_stand_together_for_display() -> None:
    runs = [
        a_run(f"connector_zoo/mlp-seed{seed}", knn_preservation=preservation(kept))
        for seed, kept in enumerate((0.2, 0.5, 0.8))
    ]
    runs[0] = runs[0].model_copy(update={"tasks": {**runs[0].tasks, "vqa": answers(0.9)}})
    table = merge(runs)
    assert len(table.competitors) == 3
    (group,) = table.groups
    assert group.name == "connector_zoo/mlp"
    spread = group.spreads[KEPT]
    assert (spread.mean, spread.low, spread.high, spread.n) == (pytest.approx(0.5), 0.2, 0.8, 3)
    assert spread.sd == pytest.approx(0.3)
    assert ("vqa", "accuracy") not in group.spreads, "no average over seeds that were not measured"


def test_every_published_figure_is_there_once_and_says_where_from() -> None:
    path = Path(connector_bench.leaderboard.__file__).with_name("paper_results.json")
    source = json.loads(path.read_text())
    found = {(figure.model, figure.data_set, figure.metric): figure for figure in published().figures}
    assert len(found) == len(published().figures)
    idefics = found[("idefics2-8b", "CUB-200", "recall_post_5")]
    assert idefics.value == pytest.approx(source["cub_retrieval_l2"]["idefics2-8b"]["recall_post_5"] / 100)
    assert found[("llava-1.5-7b", "VizWiz-grounding", "paper_knor_50")].value == 0.539
    assert found[("qwen2.5-vl-7b", "COCO", "paper_mse")].value == 1.069
    assert all(figure.where for figure in found.values())
    assert "arXiv" in published().source


def test_published_figures_never_enter_a_column() -> None:
    table = merge([a_run("m", knn_preservation=preservation(0.5))])
    assert not {figure.model for figure in table.published.figures} & {row.model for row in table.rows}


def test_terminal_shows_ranks_and_no_markup() -> None:
    from rich.console import Console

    table = merge([a_run("[red]m[/red]", knn_preservation=preservation(0.5))])
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(terminal(table, ("knor_adj_10",)))
    shown = console.export_text()
    assert "[red]m[/red]" in shown
    assert "0.500  #1" in shown
    assert next(places(table, {"[red]m[/red]"})).endswith(
        "kept beyond chance, k = 10 0.500 ±.020, place 1 of 1"
    )


def test_what_neighbours_share_stands_beside_the_overlap() -> None:
    result = preservation(0.5)
    shared = {
        name: Figure(value=value, chance=0.01)
        for name, value in (("purity_pre", 0.3), ("purity_pre_by_wall", 0.6), ("purity_post", 0.2))
    }
    run = a_run("m", knn_preservation=result.model_copy(update={"figures": {**result.figures, **shared}}))
    table = merge([run])
    shown = {column.metric: column.label for column in table.headlines}
    assert shown["purity_pre"] == "label shared before"
    assert shown["purity_pre_by_wall"] == "label shared before, by wall"
    assert "purity_post" not in shown
    kept = topic_tables("k-NN preservation")(table).split("### neighbours kept")[1]
    assert "label shared before, by wall" in kept.split("###")[0]
    groups = page_data(table, Path("/nonexistent"))["groups"]
    columns = {column["metric"]: column["presets"] for group in groups for column in group["columns"]}
    assert columns["purity_pre"] == ["neighbours"]
    assert columns["purity_pre_by_wall"] == ["neighbours"]
    assert columns["purity_post"] == []


def rebuilt(model: str, lost: float, more_data_helps: bool | None) -> StoredRun:
    result = reconstruction([lost] * 4, [1.0] * 4)
    budget = ProbeBudget(best_probe="mlp", more_data_helps=more_data_helps)
    return a_run(model, weights=model, patch_reconstruction=result.model_copy(update={"probe": budget}))


def test_what_more_training_images_would_lower_reads_at_most_wherever_it_is_shown() -> None:
    from rich.console import Console

    runs = [
        rebuilt("lab/c-seed0", 0.25, True),
        rebuilt("lab/c-seed1", 0.35, False),
        rebuilt("lab/done", 0.5, False),
        rebuilt("lab/unknown", 0.75, None),
    ]
    table = merge(runs)
    page = markdown(table)
    assert "≤ 0.300 ±.635" in page, "a mean over seeds of which one is a bound, t of one degree of freedom"
    assert not {"≤ 0.350", "≤ 0.500", "≤ 0.750"} & {page[i : i + 7] for i in range(len(page))}
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(terminal(table, ("lost",)))
    shown = console.export_text()
    assert shown.count("≤") == 1
    assert "≤ 0.250  #1" in shown
    told = list(places(table, {"lab/c-seed0", "lab/done"}))
    assert ", lost ≤ 0.250, place 1 of 4" in told[0], "a figure without an interval is alone"
    assert "lost 0.500, place" in told[1]
    rows = {row["model"]: row for row in json.loads(json_file(table))["rows"]}
    assert rows["lab/c-seed0"]["figures"]["patch_reconstruction/lost"]["bound"] == "at most"
    assert "bound" not in rows["lab/done"]["figures"]["patch_reconstruction/lost"]
    heads, *lines = (line.split(",") for line in csv_file(table).splitlines())
    bounds = {line[0]: line[heads.index("patch_reconstruction/lost bound")] for line in lines}
    assert bounds == {"lab/c-seed0": "at most", "lab/c-seed1": "", "lab/done": "", "lab/unknown": ""}
