"""Worker processes: the same tokens, refusals in the same words, losses said and survived, nothing left running."""

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from pickle import PicklingError
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from loguru import logger
from PIL import Image

from connector_bench.connectors import adapter_for_model
from connector_bench.connectors.capture import LeftOut, stream
from connector_bench.connectors.coloured import coloured_picture
from connector_bench.pictures import PictureReader
from connector_bench.run.documents import PictureRows
from connector_bench.run.reading import read_pictures
from connector_bench.workers.crew import Crew
from connector_bench.workers.crossing import packed_once
from connector_bench.workers.first_process import FirstProcess, NoCrew
from tests import tiny_vlms

PICTURES = [(str(i), partial(coloured_picture, 56 + 14 * (i % 3), 56, i)) for i in range(30)]


UTILS = """
from connector_bench.pictures import reads_column

COLUMN = "image"

@reads_column("image")
def shown(document):
    return document[COLUMN]
"""


def as_a_task_loads_it(folder: Path) -> Any:
    """A function of a file that no other process can import by its name."""
    (folder / "utils.py").write_text(UTILS)
    spec = spec_from_file_location("utils", folder / "utils.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.shown


@pytest.fixture(scope="module")
def adapter() -> Any:
    return adapter_for_model(*tiny_vlms.make("qwen2_5_vl"))


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> PictureRows:
    """40 files: the first ten again as the last ones, and one that is cut."""
    folder, rng = tmp_path_factory.mktemp("files"), np.random.default_rng(0)
    for number in range(30):
        noise = rng.integers(0, 255, (20 + number, 30, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / f"{number}.png")
    for number in range(10):
        (folder / f"{30 + number}.png").write_bytes((folder / f"{number}.png").read_bytes())
    cut = folder / "17.png"
    cut.write_bytes(cut.read_bytes()[:-500])
    files = [str(folder / f"{number}.png") for number in range(40)]
    table = datasets.Dataset.from_dict({"image": files}).cast_column("image", datasets.Image())
    return PictureRows(table, as_a_task_loads_it(folder), "files")


@pytest.fixture(scope="module")
def crew(adapter: Any, rows: PictureRows) -> Iterator[Crew]:
    made = Crew(FirstProcess(), 4, [adapter.preparer, rows, refuse], pinned=False)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def said() -> Iterator[list[str]]:
    lines: list[str] = []
    sink = logger.add(lines.append, format="{message}")
    yield lines
    logger.remove(sink)


def tokens(batches: Iterator[Any]) -> list[tuple[tuple[str, ...], list[torch.Tensor]]]:
    return [(batch.images, [side.clone() for side in batch.sides]) for batch in batches]


def same(ours: Any, others: Any) -> bool:
    return all(
        names == those and all(torch.equal(one, other) for one, other in zip(sides, theirs, strict=True))
        for (names, sides), (those, theirs) in zip(ours, others, strict=True)
    )


def test_tokens_are_the_same_bits_by_processes_threads_and_neither(
    adapter: Any, crew: Crew, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [tokens(stream(adapter, PICTURES, 4, crew=crew))]
    for workers in ("1", "threads:3", "none"):
        monkeypatch.setenv("CONNECTOR_BENCH_WORKERS", workers)
        found.append(tokens(stream(adapter, PICTURES, 4)))
    assert [name for names, _ in found[0] for name in names] == [name for name, _ in PICTURES]
    for other in found[1:]:
        assert same(found[0], other)
    assert said == []


def test_documents_are_named_alike_and_refused_in_the_same_words(
    rows: PictureRows, crew: Crew, said: list[str]
) -> None:
    documents = [rows.document("task", number) for number in range(40)]
    threads = read_pictures(documents, PictureReader(), "threads")
    processes = read_pictures(documents, PictureReader(), "processes", crew)
    assert processes.unreadable == threads.unreadable == {("task", 17): "OSError: image file is truncated"}
    assert processes.files == threads.files == {("task", 17): "17.png"}
    assert processes.image_of == threads.image_of
    assert processes.entropy == threads.entropy
    assert len(set(processes.image_of.values())) == 29
    assert list(processes.shown_by) == list(threads.shown_by)
    assert said == []


def refuse() -> Image.Image:
    raise RuntimeError("no such scan")


def test_a_picture_that_refuses_is_left_out_alone(adapter: Any, crew: Crew) -> None:
    pictures = [*PICTURES[:6], ("refuses", refuse), *PICTURES[6:10]]
    left_out, alone = LeftOut(), LeftOut()
    found = tokens(stream(adapter, pictures, 4, left_out, crew=crew))
    assert same(found, tokens(stream(adapter, pictures, 4, alone)))
    assert left_out.refused == alone.refused == {"refuses": "RuntimeError: no such scan"}
    with pytest.raises(RuntimeError, match="no such scan"):
        list(stream(adapter, pictures, 4, crew=crew))
    assert same(tokens(stream(adapter, PICTURES, 4, crew=crew)), tokens(stream(adapter, PICTURES, 4)))


def test_what_cannot_cross_is_done_here_and_said_once(adapter: Any, crew: Crew, said: list[str]) -> None:
    pictures: list[tuple[str, Callable[[], Image.Image]]] = [
        (str(i), lambda i=i: coloured_picture(56, 56, i)) for i in range(9)
    ]
    found = tokens(stream(adapter, pictures, 4, crew=crew))
    assert same(found, tokens(stream(adapter, pictures, 4)))
    (line,) = said
    assert line.startswith("a worker process failed where this process does not: ")


def test_workers_that_are_killed_cost_a_sentence_and_no_picture(
    adapter: Any, rows: PictureRows, crew: Crew, said: list[str]
) -> None:
    expected = tokens(stream(adapter, PICTURES, 2))
    numbers = [member.number for member in crew._members]
    found = []
    for batch in stream(adapter, PICTURES, 2, crew=crew):
        found += tokens(iter([batch]))
        if len(found) in (2, 4):
            os.kill(numbers.pop(), signal.SIGKILL)
    assert same(found, expected)
    # the second may have done all that it had begun, so that nobody asked for it again
    assert same(tokens(stream(adapter, PICTURES, 2, crew=crew)), expected)
    assert crew.alive == 2
    assert all("was ended by SIGKILL (memory may have run out)" in line for line in said)
    assert [line.rsplit("; ")[1].strip() for line in said] == ["3 go on", "2 go on"]
    for number in numbers:
        os.kill(number, signal.SIGKILL)
    assert same(tokens(stream(adapter, PICTURES, 2, crew=crew)), expected)
    assert len(said) == 4
    assert "threads of the model's own process go on" in said[-1]
    documents = [rows.document("task", number) for number in range(40)]
    assert len(read_pictures(documents, PictureReader(), "none left", crew).shown_by) == 29


def test_a_model_is_not_handed_over(adapter: Any) -> None:
    with pytest.raises(PicklingError, match="of the model"):
        packed_once([adapter])


def test_what_is_too_large_is_refused_before_it_fills_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    table = datasets.Dataset.from_dict({"text": ["x" * 1000] * 3000}).data.table
    parts = [table.slice(number, 1) for number in range(3000)]  # each would take the whole table with it
    monkeypatch.setattr("connector_bench.workers.crossing.MOST_BYTES", 2**24)
    with pytest.raises(ValueError, match=r"it takes more than 0\.0 GiB"):
        packed_once(parts)


@contextmanager
def limited(what: int, most: int, process: int = 0) -> Iterator[None]:
    before = resource.prlimit(process, what)
    resource.prlimit(process, what, (most, before[1]))
    try:
        yield
    finally:
        resource.prlimit(process, what, before)


def test_memory_that_cannot_be_shared_costs_a_sentence(said: list[str]) -> None:
    with limited(resource.RLIMIT_FSIZE, 4096):  # anonymous files are files
        first = FirstProcess()
    crew = Crew(first, 2, [], pinned=False)
    try:
        answers = [answer for _, answer in crew.in_order(torch.zeros, [7] * 9)]
        assert list(crew.while_alive(iter([1]))) == []
    finally:
        crew.close()
    assert [(answer.lost, answer.value) for answer in answers] == [(True, None)] * 9
    (line,) = said
    assert line.startswith("worker processes cannot hand over what they prepare: OSError: [Errno 27]")


def test_descriptors_that_run_out_cost_a_sentence(said: list[str]) -> None:
    crew = Crew(FirstProcess(), 2, [], pinned=False)
    try:
        with limited(resource.RLIMIT_NOFILE, 3):
            with pytest.raises(NoCrew, match="Too many open files"):
                FirstProcess()
            answers = [answer for _, answer in crew.in_order(torch.zeros, [7] * 9)]
    finally:
        crew.close()
    assert all(answer.lost for answer in answers)
    assert [line.split(": ")[0] for line in said] == ["worker processes cannot hand over what they prepare"]


RUN = """
import sys, time
from connector_bench.workers.crew import Crew
from connector_bench.workers.first_process import FirstProcess
FirstProcess()
first = FirstProcess()
crew = Crew(first, 2, [], pinned=False)
print(first.number, flush=True)
for _ in crew.in_order(time.sleep, [0.1] * 600):
    pass
"""


def test_none_outlives_a_run_that_is_killed() -> None:
    run = subprocess.Popen(
        [sys.executable, "-c", RUN], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert run.stdout is not None
    session = int(run.stdout.readline())
    assert len(of_session(session)) == 3
    run.send_signal(signal.SIGKILL)
    assert run.wait(20) != 0
    assert gone(session)


def gone(*sessions: int) -> bool:
    """Whether no process of these sessions lives, within 20 s."""
    until = time.monotonic() + 20
    while any(map(of_session, sessions)) and time.monotonic() < until:
        time.sleep(0.1)
    return not any(map(of_session, sessions))


def of_session(session: int) -> list[str]:
    """Living processes of a session, by what the system says of them."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, own = stat.read_text().rsplit(") ", 1)[1].split()[:4]
        except OSError:
            continue
        if int(own) == session and state != "Z":
            found.append(stat.parent.name)
    return found


def test_the_environment_says_kind_and_number(monkeypatch: pytest.MonkeyPatch) -> None:
    from connector_bench.workers import workers_asked

    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)), raising=False)
    for text, number, kind in (
        ("", 7, None),
        ("3", 3, None),
        ("processes", 7, "processes"),
        ("processes:2", 2, "processes"),
        ("threads:5", 5, "threads"),
        ("none", 0, "none"),
    ):
        monkeypatch.setenv("CONNECTOR_BENCH_WORKERS", text)
        assert (workers_asked().number, workers_asked().kind) == (number, kind)
    for wrong in ("processes:0", "processes:", "none:2", "fibres", "processes:two", "threads4"):
        monkeypatch.setenv("CONNECTOR_BENCH_WORKERS", wrong)
        with pytest.raises(ValueError, match="CONNECTOR_BENCH_WORKERS is"):
            workers_asked()
