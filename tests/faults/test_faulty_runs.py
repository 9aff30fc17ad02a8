"""README's default pair on few pictures, and what a fault at any step of the file system costs: figures identical."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import pytest

from connector_bench.reconstruction.state_folder import IN_USE
from tests.faults.runs_and_faults import (
    MAY_MOUNT,
    PATCHES,
    TASKS,
    Asked,
    Ended,
    asking,
    differences,
    figures_in,
    ours,
)

IN_FULL = bool(int(os.environ.get("CONNECTOR_BENCH_FAULTS", "0")))
"""`make faults` asks for all of it, otherwise a few of each are tried."""
SEED = 16
STATE = "connector_bench"
MOST_MADE = 8  # times that one folder is made in a run: by lmms-eval, and by whoever writes into it
MORE = pytest.mark.skipif(not IN_FULL, reason="in full by `make faults`")

pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(not hasattr(os, "fork") or not Path("/proc/self/fd").is_dir(), reason="needs Linux"),
]


class Untouched(NamedTuple):
    """A run that nothing came to."""

    ended: Ended
    figures: dict[str, Any]


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    with asking(tmp_path_factory.mktemp("asked")) as process:
        yield process


@pytest.fixture(scope="module")
def untouched(asked: Asked, tmp_path_factory: pytest.TempPathFactory) -> Untouched:
    folder = tmp_path_factory.mktemp("untouched") / "run"
    ended = asked.run(folder)
    assert ended.status == 0
    assert not ended.traceback
    assert len(ended.steps) > 150
    figures = figures_in(folder)
    assert {*TASKS, "results", *(f"rows of {task}" for task in TASKS)} == figures.keys()
    return Untouched(ended, figures)


def test_no_folder_is_made_for_every_document(untouched: Untouched) -> None:
    """To make one that is there costs a step as well, a long one on a network's disk."""
    made = Counter(step for step in untouched.ended.steps if step.startswith("os.mkdir")).most_common(3)
    assert made[0][1] <= MOST_MADE, made


def first_own_step(untouched: Untouched) -> int:
    """The number of the first step below our own folder; before it only the output folder is made and tried."""
    return next(n for n, step in enumerate(untouched.ended.steps, 1) if f"/{STATE}" in step)


def drawn(kind: str, count: int, untouched: Untouched, first: int = 1) -> list[int]:
    """Numbers of steps, the same in every run of the tests; to remove something wants no space."""
    names = untouched.ended.steps
    skipped = ("os.rmdir", "os.remove") if kind == "refused" else ()
    steps = [n for n in range(first, len(names) + 1) if not names[n - 1].startswith(skipped)]
    return sorted(Random(f"{SEED} {kind}").sample(steps, count))


def told(ended: Ended, untouched: Untouched) -> list[str]:
    """Sentences beyond those of the untouched run."""
    return [line for line in ended.sentences if line not in untouched.ended.sentences]


def whole(ended: Ended, folder: Path, untouched: Untouched) -> Iterator[str]:
    """What is missing from a run that should be like the untouched one in all that it says and leaves."""
    if ended.status != 0 or ended.traceback:
        yield f"status {ended.status}: {ended.said[-1000:]}"
    yield from (f"said {line}" for line in told(ended, untouched))
    if ended.table != untouched.ended.table:
        yield "another table"
    yield from differences(figures_in(folder), untouched.figures)[:3]
    yield from (f"left {name}" for name in sorted(set(ours(ended.left)) ^ set(ours(untouched.ended.left))))


def tried(
    kind: str, steps: list[int], untouched: Untouched, work: Callable[[int], Iterator[str]]
) -> list[str]:
    """What went wrong at each of these steps, with the step's name."""
    names = untouched.ended.steps
    print(f"{kind}: {len(steps)} steps of {len(names)}, drawn with seed {SEED}")
    found = []
    for step in steps:
        faults = [f"{kind} at step {step} ({names[step - 1]}): {fault}" for fault in work(step)]
        print(f"{kind} at step {step} ({names[step - 1]}): {len(faults)} faults", flush=True)
        found += faults
    return found


@pytest.mark.parametrize(("kind", "count"), [("kill", 30), ("torn", 20)])
def test_a_killed_run_goes_on_to_the_same_figures(
    kind: str, count: int, asked: Asked, untouched: Untouched, tmp_path: Path
) -> None:
    def killed(step: int) -> Iterator[str]:
        folder = tmp_path / f"{step}"
        ended = asked.struck(folder, kind, step, untouched.ended)
        if ended.status >= 0:
            yield f"was not killed: {ended.status}"
        yield from whole(asked.run(folder), folder, untouched)

    assert tried(kind, drawn(kind, count if IN_FULL else 1, untouched), untouched, killed) == []


def kept_in_memory(ended: Ended, folder: Path, untouched: Untouched) -> Iterator[str]:
    """What is wrong with a run that the disk refused something: figures are the same, sentences say what and where.

    One sentence a task, and one for the records of all.
    """
    if ended.status != 0 or ended.traceback:
        yield f"status {ended.status}: {ended.said[-1000:]}"
    if ended.table != untouched.ended.table:
        yield "another table"
    if found := figures_in(folder):
        lost = ("/artefacts: None", f"/{IN_USE}: ")
        other = [
            line for line in differences(found, untouched.figures) if not any(word in line for word in lost)
        ]
        yield from other[:3]
    elif "Could not save results aggregated" not in ended.said:
        yield "no result file, and no word of it"
    yield from (f"left {name}" for name in ended.left if "/.writing-" in name)
    lines = told(ended, untouched)
    for task in TASKS:
        if len([line for line in lines if line.startswith(f"{task}: ")]) > 1:
            yield f"two sentences for one task: {lines}"
    if len(lines) > len(TASKS) + 1:
        yield f"{len(lines)} sentences: {lines}"
    yield from (f"does not say where: {line}" for line in lines if str(folder) not in line)


@pytest.mark.parametrize("kind", ["refused", pytest.param("limited", marks=MORE), "full"])
def test_a_full_disk_costs_state_and_no_figure(
    kind: str, asked: Asked, untouched: Untouched, tmp_path: Path
) -> None:
    if kind == "full" and not MAY_MOUNT:
        pytest.skip("nobody may mount a small file system here")
    options = {"file_system": "size=100m"} if kind == "full" else {}

    def full(step: int) -> Iterator[str]:
        folder = tmp_path / f"{step}"
        ended = asked.struck(folder, kind, step, untouched.ended, **options)
        yield from kept_in_memory(ended, folder, untouched)
        if "mkdir" not in untouched.ended.steps[step - 1]:  # a folder wants no space
            yield from (
                f"says not how much: {line}" for line in told(ended, untouched) if "wanted)" not in line
            )
        if kind != "full":
            yield from whole(asked.run(folder), folder, untouched)

    steps = drawn(kind, 10 if IN_FULL else 1, untouched, first_own_step(untouched))
    assert tried(kind, steps, untouched, full) == []


def test_our_record_is_there_where_the_result_file_is_refused(
    asked: Asked, untouched: Untouched, tmp_path: Path
) -> None:
    steps = untouched.ended.steps
    made, step = (number for number, name in enumerate(steps, 1) if name.endswith("_results.json"))
    assert made < step, "its name is taken before it is written"
    folder = tmp_path / "run"
    ended = asked.run(folder, fault="limited", step=step)
    assert list(kept_in_memory(ended, folder, untouched)) == []
    assert not figures_in(folder)
    for task in TASKS:
        (path,) = (folder / STATE).glob(f"{task}-*/record.json")
        content = json.loads(path.read_text())
        assert content["task"] == task
        assert "seconds" in content["record"].pop("ran")
        assert differences(content["record"], json.loads(json.dumps(untouched.figures[task]))) == []


@pytest.mark.parametrize("kind", ["state gone", pytest.param("folder gone", marks=MORE)])
def test_a_folder_that_is_deleted_costs_state_and_no_figure(
    kind: str, asked: Asked, untouched: Untouched, tmp_path: Path
) -> None:
    def gone(step: int) -> Iterator[str]:
        folder = tmp_path / f"{step}"
        yield from kept_in_memory(asked.struck(folder, kind, step, untouched.ended), folder, untouched)
        yield from whole(asked.run(folder), folder, untouched)

    steps = drawn(kind, 10 if IN_FULL else 1, untouched, first_own_step(untouched))
    assert tried(kind, steps, untouched, gone) == []


def test_a_folder_of_state_that_cannot_be_made_costs_state_and_no_figure(
    asked: Asked, untouched: Untouched, tmp_path: Path
) -> None:
    (tmp_path / STATE).write_text("in the way")
    ended = asked.run(tmp_path)
    assert list(kept_in_memory(ended, tmp_path, untouched)) == []
    assert (tmp_path / STATE).read_text() == "in the way"


@pytest.mark.skipif(not MAY_MOUNT, reason="nobody may mount a file system here")
def test_a_read_only_output_folder_is_one_sentence_before_any_work(asked: Asked, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    ended = asked.run(folder, file_system="ro,size=1m")
    assert f"--output_path {folder} cannot be written: " in ended.said
    assert "nothing was measured" in ended.said
    assert ended.status == 1
    assert not ended.traceback
    assert not ended.table
    assert ended.left == []


DELAYS = [0.7 * number for number in range(10)]
"""By the second in which runs begin lmms-eval names their files: without any it is one, with the next it may be."""


def test_two_runs_in_one_folder_leave_each_other_alone(
    asked: Asked, untouched: Untouched, tmp_path: Path
) -> None:
    wrong = []
    for delay in DELAYS if IN_FULL else DELAYS[:1]:
        folder = tmp_path / f"{delay:.1f}"
        first, second = asked.together(folder, {}, {"delay": delay})
        for ended in (first, second):
            wrong += [
                f"after {delay} s: {fault}" for fault in kept_in_memory_or_whole(ended, folder, untouched)
            ]
        said = [*told(first, untouched), *told(second, untouched)]
        lines = [line for line in said if "another run began in this second" not in line]
        if len(said) - len(lines) > 1:
            wrong.append(f"after {delay} s: said {said}")
        if len(lines) > 1 or any(
            "is in use by another run: this one keeps no state" not in one for one in lines
        ):
            wrong.append(f"after {delay} s: said {lines}")
        if not IN_FULL and not lines:
            wrong.append("they did not meet")
        if IN_FULL:
            wrong += list(whole(asked.run(folder), folder, untouched))
    assert wrong == []


def kept_in_memory_or_whole(ended: Ended, folder: Path, untouched: Untouched) -> Iterator[str]:
    if ended.status != 0 or ended.traceback or ended.table != untouched.ended.table:
        yield f"status {ended.status}: {ended.said[-1000:]}"
    files = sorted(folder.glob("*_results.json"))
    if len(files) != 2:
        yield f"{len(files)} result files"
    for path in files:
        content = json.loads(path.read_text())["results"]
        yield from differences(content, untouched.figures["results"])[:3]


def test_the_second_run_waits_where_it_is_asked_to(
    asked: Asked, untouched: Untouched, tmp_path: Path
) -> None:
    second: dict[str, Any] = {"delay": 1.5, "environment": {"CONNECTOR_BENCH_WAIT": "300"}}
    first, waiting = asked.together(tmp_path / "run", {}, second)
    assert list(whole(first, tmp_path / "run", untouched)) == []
    (line,) = told(waiting, untouched)
    assert "is in use by another run: waiting for it, 300 s at most" in line
    assert waiting.seconds > first.seconds
    assert waiting.table == untouched.ended.table
    assert set(ours(waiting.left)) == set(ours(untouched.ended.left))
    assert not [step for step in waiting.steps if "/training-" in step], (
        "it goes on from what the first has left"
    )


@MORE
@pytest.mark.parametrize(("kind", "number"), [("terminate", 15), ("interrupt", 2)])
def test_a_signal_ends_the_run_and_the_same_command_goes_on(
    kind: str, number: int, asked: Asked, untouched: Untouched, tmp_path: Path
) -> None:
    def signalled(step: int) -> Iterator[str]:
        folder = tmp_path / f"{step}"
        ended = asked.struck(folder, kind, step, untouched.ended)
        if ended.status != 128 + number or ended.traceback:
            yield f"status {ended.status}: {ended.said[-1000:]}"
        if len(told(ended, untouched)) != 1 or "The same command " not in told(ended, untouched)[0]:
            yield f"said {ended.sentences}"
        yield from whole(asked.run(folder), folder, untouched)

    steps = [n for n, name in enumerate(untouched.ended.steps, 1) if f"/{STATE}/{PATCHES}" in name]
    chosen = sorted(Random(f"{SEED} {kind}").sample(steps, 5 if IN_FULL else 1))
    assert tried(kind, chosen, untouched, signalled) == []
