"""Few images, and labels that allow no retrieval, through the command line: all that can be given is given."""

import contextlib
import io
import re
from pathlib import Path

import pytest

from tests.harness import Outcome, run_here
from tests.preservation.small_sets import LABELS, SIZES

TASK = """
task: {task}
include: {tasks}/knn_preservation_scenes.yaml
class: !function connector_bench.tasks.functions.KnnPreservation
process_docs: !function tests.preservation.small_sets.{task}
connector_bench:
  label: label
"""
NEEDED = {
    "cka": 4,
    "recall_pre_5": 7,
    "knor_10": 12,
    "purity_pre": 12,
    "hubness_pre": 12,
    "trustworthiness": 21,
    "knor_50": 52,
}
"""Images that a figure needs."""
ALWAYS = {"knor_1", "knor_adj_1", "imbalance_pre_post", "procrustes", "erank_post", "untrained_knor_1"}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Outcome, str]:
    """Every set and every kind of label in one run, and what it printed."""
    folder = tmp_path_factory.mktemp("small")
    for task in (*(f"first_{size}" for size in SIZES), *LABELS, "unlabelled"):
        text = TASK.format(task=task, tasks=Path(__file__).parents[2] / "tasks")
        (folder / f"{task}.yaml").write_text(text)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        outcome = run_here(
            folder / "out",
            *("--model", "connector_zoo", "--model_args", "connector=linear"),
            *(
                "--include_path",
                str(folder),
                "--tasks",
                ",".join(path.stem for path in folder.glob("*.yaml")),
            ),
        )
    return outcome, printed.getvalue()


def warnings(printed: str, task: str, words: str) -> list[str]:
    return [line for line in printed.splitlines() if f" {task}: " in plain(line) and words in line]


def plain(line: str) -> str:
    return re.sub(r"\x1b\[\d+m", " ", line)


@pytest.mark.parametrize("size", SIZES)
def test_few_images_give_what_they_can(size: int, run: tuple[Outcome, str]) -> None:
    outcome, printed = run
    task = f"first_{size}"
    figures, scores = outcome.figures(task), outcome.record(task)["scores"]
    assert figures["n_images"] == size
    assert figures.keys() >= ALWAYS
    for name, needed in NEEDED.items():
        assert (name in figures, name in scores) == (size >= needed,) * 2, name
    assert {"recall_pre_1", "map_post"} <= figures.keys()
    for name, score in scores.items():
        if "low" not in score or name == "text_frechet_floor":  # two halves of one sample of words
            continue
        if name.startswith("shuffled_knor_"):  # what a random order gives is known of any number of images
            assert score["low"] <= score["value"] <= score["high"], name
            continue
        assert score["low"] is score["high"] is None, name
        assert re.fullmatch(r"no interval: \d+ images, (20|60|100) are needed(; .*)?", score["method"]), name
    (warning,) = warnings(printed, task, "too few for")
    assert f"{size} different images are too few for" in warning
    assert "k = 50 (needs 52)" in warning


def of_neighbours(outcome: Outcome, task: str) -> dict[str, object]:
    scores = outcome.record(task)["scores"]
    of_labels = ("recall", "map", "purity", "spearman")
    return {name: score for name, score in scores.items() if not name.startswith(of_labels)}


@pytest.mark.parametrize("task", [task for task in LABELS if task != "two_classes"])
def test_labels_that_allow_no_retrieval_cost_nothing_else(task: str, run: tuple[Outcome, str]) -> None:
    outcome, printed = run
    assert len(warnings(printed, task, "no recall and map")) == 1
    assert outcome.record(task)["scores"] == of_neighbours(outcome, "two_classes")
    assert outcome.figures(task)["knor_10"] == outcome.figures("two_classes")["knor_10"]
    assert not any(
        name.startswith(("recall", "map", "purity")) for name in outcome.figures(task) if "stderr" not in name
    )


def test_a_column_that_is_not_there_is_no_label(run: tuple[Outcome, str]) -> None:
    outcome, printed = run
    assert outcome.record("unlabelled")["scores"] == of_neighbours(outcome, "two_classes")
    assert len(warnings(printed, "unlabelled", "24 of 24 have none")) == 1


def test_two_classes_are_retrieved(run: tuple[Outcome, str]) -> None:
    outcome, printed = run
    assert {"recall_pre_1", "recall_post_5", "map_pre"} <= outcome.figures("two_classes").keys()
    assert not warnings(printed, "two_classes", "no recall and map")
    assert outcome.record("two_classes")["scores"]["recall_pre_1"]["n"] == 24
