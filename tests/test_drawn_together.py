"""`drawn_together` through lmms-eval's command line: views of one object are no independent draws."""

from __future__ import annotations

import contextlib
import io
import json
import re
import sys
from pathlib import Path

import pytest
from datasets import Dataset

from connector_bench.comparison.compare import compare
from connector_bench.comparison.compared_runs import side_of
from connector_bench.leaderboard.harness_results import run_of
from connector_bench.leaderboard.merge import merge
from connector_bench.results.harness_files import read_result, result_files
from connector_bench.zoo import objects
from tests.harness import Outcome, run_command, run_here

OBJECTS, VIEWS = 100, 3
ZOO = ("--model", "connector_zoo", "--batch_size", "64", "--model_args")
TASK = """
task: {task}
include: {tasks}/knn_preservation.yaml
class: !function connector_bench.tasks.functions.KnnPreservation
process_docs: !function tests.test_drawn_together.{documents}
connector_bench:
  ks: [1, 10]
  label: [object, category]
{option}
"""
TOGETHER = "  drawn_together: object"
TASKS = {
    "knn_apart": ("some_views", ""),
    "knn_together": ("some_views", TOGETHER),
    "knn_holes": ("with_holes", TOGETHER),
    "knn_one": ("one_object", TOGETHER),
}


def some_views(index: Dataset) -> Dataset:
    """Three of the eight views of each of the first hundred objects."""
    return objects.load("objects_test").select([row for row in range(8 * OBJECTS) if row % 8 < VIEWS])


def with_holes(index: Dataset) -> Dataset:
    """The same, every tenth image without its object, as data sets write it."""
    rows = some_views(index)
    none = [None, "", " "]
    named = [none[row // 10 % 3] if row % 10 == 0 else name for row, name in enumerate(rows["object"])]
    return rows.remove_columns("object").add_column("object", named)


def one_object(index: Dataset) -> Dataset:
    """All views of a single object."""
    return objects.load("objects_test").select(range(8))


def write(folder: Path, **tasks: tuple[str, str]) -> tuple[str, ...]:
    """The tasks' files, and the arguments that name them."""
    folder.mkdir(exist_ok=True)
    for task, (documents, option) in tasks.items():
        text = TASK.format(
            task=task, documents=documents, option=option, tasks=Path(__file__).parents[1] / "tasks"
        )
        (folder / f"{task}.yaml").write_text(text)
    return ("--include_path", str(folder), "--tasks", ",".join(tasks))


def printed_by(folder: Path, *arguments: str) -> tuple[Outcome, str]:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        outcome = run_here(folder, *arguments)
    return outcome, re.sub(r"\x1b\[\d+m", "", printed.getvalue())


@pytest.fixture(scope="module")
def arguments(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    return write(tmp_path_factory.mktemp("tasks"), **TASKS)


@pytest.fixture(scope="module")
def run(arguments: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> tuple[Outcome, str]:
    return printed_by(tmp_path_factory.mktemp("mlp"), *ZOO, "connector=mlp", *arguments)


@pytest.fixture(scope="module")
def other(arguments: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    two = (*arguments[:2], "--tasks", "knn_apart,knn_together")
    return run_here(tmp_path_factory.mktemp("rank8"), *ZOO, "connector=rank8", *two)


def test_values_stay_and_intervals_are_wider(run: tuple[Outcome, str]) -> None:
    outcome, _ = run
    apart, together = (outcome.record(task) for task in ("knn_apart", "knn_together"))
    drawn = together["drawn_together"]
    assert {name: drawn[name] for name in ("by", "groups", "most", "worth")} == {
        "by": "object",
        "groups": OBJECTS,
        "most": VIEWS,
        "worth": OBJECTS,
    }
    assert "drawn_together" not in apart
    one, other = apart["scores"], together["scores"]
    assert {name: score["value"] for name, score in one.items()} == {
        name: score["value"] for name, score in other.items()
    }
    widths = {
        name: (other[name]["high"] - other[name]["low"]) / (score["high"] - score["low"])
        for name, score in one.items()
        if score.get("low") is not None and score["high"] > score["low"]
    }
    for name in ("purity_pre_by_category", "map_pre_by_category", "cka", "erank_pre", "text_frechet"):
        assert widths[name] > 1.1, widths
    assert "100 groups of images (by object)" in other["knor_10"]["method"]


def test_every_image_knows_with_which_it_was_drawn(run: tuple[Outcome, str]) -> None:
    outcome, _ = run
    groups = [row["drawn_group"] for row in outcome.samples("knn_together")]
    assert len(set(groups)) == OBJECTS
    assert all(len(set(groups[start : start + VIEWS])) == 1 for start in range(0, len(groups), VIEWS))
    assert "drawn_group" not in outcome.samples("knn_apart")[0]


def test_images_without_a_group_are_drawn_by_themselves(run: tuple[Outcome, str]) -> None:
    outcome, said = run
    drawn = outcome.record("knn_holes")["drawn_together"]
    assert (drawn["groups"], drawn["most"]) == (OBJECTS + OBJECTS * VIEWS // 10, VIEWS)
    assert OBJECTS < drawn["worth"] < drawn["groups"]
    warning = "30 of 300 images have no object: each of them counts as drawn by itself"
    (line,) = (line for line in said.splitlines() if warning in line)
    assert "knn_holes" in line
    assert outcome.record("knn_holes")["scores"]["knor_10"]["low"] is not None


def test_one_object_has_figures_and_no_interval(run: tuple[Outcome, str]) -> None:
    scores = run[0].record("knn_one")["scores"]
    assert scores["knor_1"]["method"] == (
        "no interval: 1 groups of images that were drawn together, 60 are needed"
    )
    assert 0 <= scores["knor_1"]["value"] <= 1
    assert [name for name, score in scores.items() if score.get("low") is not None] == [
        name
        for name in scores
        if name.startswith(("shuffled_knor", "text_frechet_floor")) and scores[name].get("low") is not None
    ]


def test_two_runs_are_paired_over_objects(run: tuple[Outcome, str], other: Outcome) -> None:
    found = compare(side_of(run[0].folder), side_of(other.folder))
    items = {(item.task, item.metric): item.difference for item in found.differences}
    kept, apart = items["knn_together", "knor_10"], items["knn_apart", "knor_10"]
    assert "groups of images that were drawn together, worth 100 draws" in kept.interval_method
    assert kept.value == apart.value
    assert apart.interval_method.count("halvings of the images")
    norm, alone = (items[task, "text_norm_ratio"] for task in ("knn_together", "knn_apart"))
    assert "over groups of images that were drawn together" in norm.interval_method
    assert norm.value == pytest.approx(alone.value, abs=1e-12)
    assert norm.high - norm.low != alone.high - alone.low


def test_halves_of_other_groups_are_not_paired(
    run: tuple[Outcome, str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A run from before the option, under the name of one with it: recorded intervals decide the rank."""
    folder = tmp_path_factory.mktemp("before")
    old = run_here(
        folder / "old",
        *(*ZOO, "connector=rank8"),
        *write(folder / "tasks", knn_together=("some_views", "")),
    )
    found = compare(side_of(run[0].folder), side_of(old.folder))
    (item,) = (item for item in found.differences if item.metric == "knor_10")
    assert item.difference.interval_method == (
        "no interval: one run halved 100 groups of images by object, the other single images; measured with the "
        "same drawn_together, halves can be paired"
    )
    (text,) = (item for item in found.differences if item.metric == "text_norm_ratio")
    assert "over groups of images" in text.difference.interval_method
    stored = [run_of(read_result(path)) for path in result_files([run[0].folder, old.folder])]
    key = ("knn_together", "knor_adj_10")
    ranks = [row.ranks[key] for row in merge(stored).competitors]
    assert not any(rank.paired for rank in ranks if rank.place > 1)


def test_ranks_are_paired_over_objects(run: tuple[Outcome, str], other: Outcome) -> None:
    stored = [run_of(read_result(path)) for path in result_files([run[0].folder, other.folder])]
    assert stored[0].tasks["knn_together"].drawn_together.groups == OBJECTS
    assert stored[0].tasks["knn_apart"].drawn_together is None
    ranks = [row.ranks["knn_together", "knor_adj_10"] for row in merge(stored).competitors]
    assert all(rank.paired for rank in ranks)


def test_a_column_that_is_not_there_is_refused_with_those_there_are(tmp_path: Path) -> None:
    named = write(tmp_path / "tasks", mine=("one_object", "  drawn_together: thing"))
    path = tmp_path / "tasks" / "mine.yaml"
    path.write_text(path.read_text().replace("label: [object, category]", "label: [object, thing]"))
    said = io.StringIO()
    with pytest.raises(SystemExit), contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        run_here(tmp_path / "out", *ZOO, "connector=mlp", *named)
    columns = "image_id, object, category, background, drawing, box"
    assert (
        f"mine: no column 'thing' for drawn_together; columns: {columns}; nothing was measured"
        in said.getvalue()
    )
    assert "Traceback" not in said.getvalue()


def test_two_processes_that_go_on_in_the_folder_give_the_same(
    run: tuple[Outcome, str], arguments: tuple[str, ...]
) -> None:
    """The same command again with another number of processes, over what the first has left."""
    outcome, _ = run
    expected = {"knn_holes": outcome.record("knn_holes")}
    before = set(result_files([outcome.folder]))
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--standalone"]
    _, said = run_command(
        outcome.folder,
        [*torchrun, "-m", "lmms_eval"],
        *(*ZOO, "connector=mlp", *arguments[:2], "--tasks", ",".join(expected)),
        ACCELERATE_USE_CPU="true",
        OMP_NUM_THREADS="1",
        PYTHONPATH=str(Path(__file__).parents[1]),
    )
    (written,) = set(result_files([outcome.folder])) - before
    content = json.loads(written.read_text())
    for task, record in expected.items():
        found = content["configs"][task]["metadata"]["connector_bench"]
        assert found["drawn_together"] == record["drawn_together"], said
        assert found["scores"].keys() == record["scores"].keys()
        for name, score in record["scores"].items():
            again = found["scores"][name]
            assert again.get("method") == score.get("method"), name
            for given in ("value", "low", "high", "halving_gaps"):
                if score.get(given) is None:
                    assert again.get(given) is None, name
                else:
                    assert again[given] == pytest.approx(score[given], rel=1e-5, abs=2e-6), name
