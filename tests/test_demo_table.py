"""What the demo says at its end fits a terminal and follows from the figures, whichever way they came out."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from connector_bench.cli import app
from connector_bench.demo import program, whole_zoo
from connector_bench.demo_table import NEXT, said
from connector_bench.leaderboard.merge import merge
from connector_bench.leaderboard.schema import Comparable, Figure, ProbeBudget, StoredRun, TaskResult
from connector_bench.leaderboard.table import Table
from tests.leaderboard.runs import a_run, answers, sha

PATCHES = "patch_reconstruction_demo"
TASKS = ("knn_preservation", PATCHES, "scenes_vqa")


def figure(value: float, half: float, **more: Any) -> Figure:
    return Figure(value=value, low=value - half, high=value + half, **more)


def a_model(name: str, lost: float, accuracy: float, kept: float, untrained: float) -> StoredRun:
    """A zoo model with half widths of .01, its controls as they must be."""
    neighbours = {
        "knor_10": figure(kept, 0.01, n=1024, k=10, chance=0.01, higher_is_better=True),
        "untrained_knor_10": figure(untrained, 0.01, k=10, chance=0.01),
        "identity_knor_10": Figure(value=1.0, k=10, chance=0.01),
        "shuffled_knor_10": Figure(value=0.0101, k=10, chance=0.01),
    }
    tasks = {
        "knn_preservation": TaskResult(
            measure="knn_preservation",
            comparable=Comparable(n=1024, images_sha256=sha("x"), protocol="1", options={}),
            figures=neighbours,
        ),
        PATCHES: TaskResult(
            measure="patch_reconstruction",
            comparable=Comparable(n=200, images_sha256=sha("y"), protocol="1"),
            figures={"lost": figure(lost, 0.01, n=200, chance=1.0, higher_is_better=False)},
            probe=ProbeBudget(train_images=400, best_probe="mlp", more_data_helps=lost > 0.5, probes={}),
        ),
        "scenes_vqa": answers(accuracy),
    }
    return a_run(f"connector_zoo/{name}-seed0", weights=name, **tasks)


def table(*models: StoredRun) -> Table:
    return merge(list(models))


GOOD = a_model("mlp", 0.2, 0.8, 0.35, 0.55)
BAD = a_model("rank2", 0.85, 0.3, 0.05, 0.04)
MIDDLE = a_model("a_connector_of_a_long_name_indeed", 0.4, 0.9, 0.30, 0.31)


def test_it_fits_eighty_columns_and_least_lost_comes_first() -> None:
    lines = said(table(BAD, MIDDLE, GOOD), TASKS).splitlines()
    assert max(map(len, lines)) <= 80
    assert [line.split()[0] for line in lines[1:4]] == ["mlp", "a_connector_of…", "rank2"]
    assert lines[1].split() == ["mlp", "0.350", "±.010", "0.550", "±.010", "0.200", "±.010", "0.800"]
    assert "≤ 0.850 ±.010" in lines[3]
    shown = NEXT.format(
        page="demo_output/leaderboard/index.html",
        program=".venv/bin/connector-bench",
        harness=".venv/bin/lmms-eval",
        results="demo_output/results",
        model="pixel_shuffle-seed0",
    )
    assert max(map(len, shown.splitlines())) <= 80
    assert "  .venv/bin/lmms-eval --model llava_hf" in shown


@pytest.mark.parametrize("name", ["connector-bench", "lmms-eval"])
def test_what_is_to_be_typed_is_there(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(sys.executable).parent
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.chdir(folder.parent)
    assert program(name) == f"{folder.name}/{name}"
    monkeypatch.setenv("PATH", str(folder))
    assert program(name) == name


def test_a_one_sided_interval_fits_its_column() -> None:
    all_kept = a_model("identity", 0.0, 0.7, 1.0, 1.0)
    kept = Figure(value=1.0, low=0.996, high=1.0, n=1024, k=10, chance=0.01, higher_is_better=True)
    result = all_kept.tasks["knn_preservation"]
    figures = {**result.figures, "knor_10": kept}
    tasks = {**all_kept.tasks, "knn_preservation": result.model_copy(update={"figures": figures})}
    text = said(table(all_kept.model_copy(update={"tasks": tasks}), BAD), TASKS)
    assert "identity             1.000 ±.004" in text


def test_controls_stand_apart_with_what_they_must_be() -> None:
    text = said(table(GOOD, BAD), TASKS)
    controls = text.split("controls, which")[1].split("\n\n")[0].splitlines()[1:]
    assert [line.split()[:2] for line in controls] == [["(identity)", "1.000"], ["(shuffled)", "0.010"]]
    assert controls[0].endswith("must be 1")
    assert controls[1].endswith("must be chance, 0.010")


@pytest.mark.parametrize(
    ("models", "expected"),
    [
        (
            (GOOD, BAD),
            "mlp loses least and answers 0.800, rank2 loses most and answers 0.300: in 1 of 1 pairs",
        ),
        ((GOOD, MIDDLE, BAD), "in 2 of 3 pairs of connectors the one that loses less answers more."),
        ((GOOD, BAD), "1 of 2 connectors keep fewer neighbours than they did untrained (mlp): few"),
        ((MIDDLE, BAD), "None of 2 connectors keeps fewer neighbours than it did untrained."),
    ],
)
def test_the_sentences_are_counted(models: tuple[StoredRun, ...], expected: str) -> None:
    assert expected in " ".join(said(table(*models), TASKS).split())


def test_what_was_not_measured_has_no_column_and_no_sentence() -> None:
    text = said(table(GOOD, BAD), ["scenes_vqa"])
    assert "lost" not in text
    assert "neighbours" not in text
    assert "controls" not in text
    assert "0.800" in text


def test_the_sets_of_pictures_are_named() -> None:
    text = " ".join(said(table(GOOD), TASKS).split())
    assert "200 scenes, learnt from 400 others (few, to be quick; patch_reconstruction takes more)" in text
    assert "1,024 views of objects" in text


def test_the_whole_zoo_or_the_first_seeds_of_it() -> None:
    every, first = whole_zoo(), whole_zoo(1)
    assert {name for name, _ in first} == {name for name, _ in every}
    assert {seed for _, seed in first} == {0}
    assert {seed for name, seed in every if name == "rank4"} == {0, 1, 2}


def test_seeds_without_all_are_refused() -> None:
    result = CliRunner().invoke(app, ["demo", "--seeds", "1"])
    assert result.exit_code == 2
    assert "--seeds goes with --all" in result.output
