"""Worker threads change no figure, run out of memory in halves, and end with whatever ends the pass."""

import json
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from loguru import logger
from PIL import Image, ImageFile

from connector_bench.connectors import adapter_for_model
from connector_bench.connectors.capture import BatchSize, LeftOut, stream
from connector_bench.connectors.coloured import coloured_picture
from connector_bench.pictures import PictureReader, picture_hash, strict_decoding
from connector_bench.workers import worker_count
from tests import tiny_vlms
from tests.harness import Outcome, run_here

TASK = "knn_preservation_imagefolder"
WAYS = ((1, 1), (2, 7), (4, 64))


def drawn(seed: int) -> Image.Image:
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 255, (6, 8, 3), dtype=np.uint8)).resize((48, 36), 3)


@pytest.fixture(scope="module")
def llava() -> tuple[Any, Any]:
    return tiny_vlms.make("llava")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[int, int], Outcome]:
    """Of the zoo, by workers and `--batch_size`: 20 pictures, one of them twice, one cut."""
    root, out = tmp_path_factory.mktemp("pictures"), tmp_path_factory.mktemp("out")
    for number in range(20):
        path = root / ("cat", "dog")[number % 2] / f"{number:02}.png"
        path.parent.mkdir(exist_ok=True)
        drawn(number % 19).save(path)
    (root / "cat" / "zz.png").write_bytes((root / "cat" / "00.png").read_bytes()[:-900])
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CONNECTOR_BENCH_IMAGE_FOLDER", str(root))
        patch.setenv("HF_DATASETS_CACHE", str(out / "cache"))
        for workers, size in WAYS:
            patch.setenv("CONNECTOR_BENCH_WORKERS", str(workers))
            arguments = ("--model", "connector_zoo", "--model_args", "connector=mlp", "--tasks", TASK)
            found[workers, size] = run_here(out / f"{workers}", *arguments, "--batch_size", str(size))
    return found


def test_workers_and_batches_change_no_bit_of_any_figure(runs: dict[tuple[int, int], Outcome]) -> None:
    first, *others = runs.values()
    own = {"ran"}
    for other in others:
        assert other.figures(TASK) == first.figures(TASK)
        answers = [[row["filtered_resps"] for row in run.samples(TASK)] for run in (first, other)]
        assert answers[0] == answers[1]
        records = [run.record(TASK) for run in (first, other)]
        assert records[0].keys() == records[1].keys()
        for name in records[0].keys() - own - {"artefacts"}:
            assert records[0][name] == records[1][name], name


def test_the_record_says_how_the_run_went(runs: dict[tuple[int, int], Outcome]) -> None:
    for (workers, size), run in runs.items():
        ran = run.record(TASK)["ran"]
        assert (ran["workers"], ran["batch_size"]) == (workers, size if size > 1 else 8)
        assert (ran["device"], ran["processes"]) == ("cpu", 1)
        spent = {"start", "start of workers", "reading pictures", "decode", "prepare", "tower and connector"}
        assert spent | {f"statistics of {TASK}", f"figures of {TASK}"} == ran["seconds"].keys()
        assert json.loads(json.dumps(ran)) == ran


def limited(model: Any, most: int) -> Any:
    """A vision tower that has memory for so many pictures."""

    def tower(module: object, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        pixels = kwargs.get("pixel_values", args[0] if args else None)
        if len(pixels) > most:
            raise torch.OutOfMemoryError(f"CUDA out of memory: {len(pixels)} pictures")

    return model.model.vision_tower.register_forward_pre_hook(tower, with_kwargs=True)


@pytest.mark.parametrize("left_out", [None, LeftOut()])
def test_memory_that_runs_out_halves_the_batches_once_and_costs_no_picture(
    llava: tuple[Any, Any], left_out: LeftOut | None
) -> None:
    adapter = adapter_for_model(*llava)
    pictures = [(str(i), coloured_picture(56, 56, i)) for i in range(21)]
    expected = {name: pair for b in stream(adapter, pictures, 8) for name, pair in named(b).items()}
    said: list[str] = []
    sink, handle = logger.add(said.append, format="{message}"), limited(llava[0], 3)
    try:
        size = BatchSize(8)
        batches = list(stream(adapter, pictures, size, left_out))
    finally:
        logger.remove(sink)
        handle.remove()
    assert [name for batch in batches for name in batch.images] == [name for name, _ in pictures]
    assert size.now == 2
    assert [line.split(";")[0].strip() for line in said] == [
        "memory ran out with 8 pictures together",
        "memory ran out with 4 pictures together",
    ]
    for batch in batches:
        for name, pair in named(batch).items():
            torch.testing.assert_close(pair.post, expected[name].post)


def named(batch: Any) -> dict[str, Any]:
    return dict(zip(batch.images, batch.pairs(), strict=True))


def test_memory_short_for_a_single_picture_is_raised(llava: tuple[Any, Any]) -> None:
    adapter, handle = adapter_for_model(*llava), limited(llava[0], 0)
    try:
        with pytest.raises(torch.OutOfMemoryError):
            list(stream(adapter, [("a", coloured_picture(56, 56))], 4, LeftOut()))
    finally:
        handle.remove()


def broken() -> Image.Image:
    raise RuntimeError("no such scan")


def test_a_picture_that_cannot_be_had_in_a_thread_is_left_out_alone(llava: tuple[Any, Any]) -> None:
    adapter, left_out = adapter_for_model(*llava), LeftOut()
    loads = [partial(coloured_picture, 56, 56, i) for i in range(9)]
    loads[4] = broken  # type: ignore[call-overload]
    images = [(str(i), load) for i, load in enumerate(loads)]
    names = [name for batch in stream(adapter, images, 4, left_out) for name in batch.images]
    assert names == [str(i) for i in range(9) if i != 4]
    assert left_out.refused == {"4": "RuntimeError: no such scan"}
    with pytest.raises(RuntimeError, match="no such scan"):
        list(stream(adapter, images, 4))


@pytest.mark.parametrize("where", ["model", "consumer", "picture"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_threads_end_with_what_ends_the_pass(
    llava: tuple[Any, Any], where: str, error: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONNECTOR_BENCH_WORKERS", "3")
    before = (torch.get_num_threads(), sys.getswitchinterval())
    adapter = adapter_for_model(*llava)

    def fail(*_: Any) -> Any:
        raise error("stop")

    handle = llava[0].model.vision_tower.register_forward_pre_hook(
        fail if where == "model" else lambda *_: None
    )

    def picture(number: int) -> Image.Image:
        return fail() if where == "picture" and number == 30 else coloured_picture(56, 56, number)

    def consume() -> None:
        for batch in stream(adapter, ((str(i), partial(picture, i)) for i in range(200)), 4):
            if where == "consumer" and "8" in batch.images:
                fail()

    try:
        with pytest.raises(error, match="stop"):
            consume()
    finally:
        handle.remove()
    assert not [t for t in threading.enumerate() if t.name.startswith("connector_bench")]
    assert (torch.get_num_threads(), sys.getswitchinterval()) == before


def test_workers_are_told_by_the_environment_or_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONNECTOR_BENCH_WORKERS", "5")
    assert worker_count() == 5
    for wrong in ("0", "-1", "many", "1.5"):
        monkeypatch.setenv("CONNECTOR_BENCH_WORKERS", wrong)
        with pytest.raises(ValueError, match="CONNECTOR_BENCH_WORKERS is"):
            worker_count()
    monkeypatch.delenv("CONNECTOR_BENCH_WORKERS")
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert worker_count() == 7
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert worker_count() == 1


def test_strictness_holds_until_the_last_thread_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    inside, leave = threading.Barrier(3), threading.Barrier(3)

    def decode(number: int) -> bool:
        with strict_decoding():
            inside.wait()
            if number == 0:
                leave.wait()
                return ImageFile.LOAD_TRUNCATED_IMAGES
        leave.wait()
        return ImageFile.LOAD_TRUNCATED_IMAGES

    with ThreadPoolExecutor(2) as pool:
        found = [pool.submit(decode, number) for number in range(2)]
        inside.wait()
        leave.wait()
        assert found[0].result() is False
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True


def test_equal_files_are_decoded_once_by_all_threads_and_kept_until_taken() -> None:
    decoded: list[int] = []
    waiting = threading.Barrier(4)

    def shown() -> tuple[Image.Image, int]:
        decoded.append(1)
        return drawn(0), 1

    def encoded() -> bytes:
        waiting.wait()
        return b"one file"

    reader = PictureReader()
    look: Callable[[int], Any] = lambda _: reader.facts(shown, encoded)  # noqa: E731
    with ThreadPoolExecutor(4) as pool:
        names = {facts.name for facts in pool.map(look, range(4))}
    assert names == {picture_hash(drawn(0))}
    assert len(decoded) == 1
    (name,) = names
    assert reader.take(name) == drawn(0)
    assert reader.take(name) is None


@pytest.mark.skipif(
    not torch.cuda.is_available(), reason="needs a graphics card: a batch is launched ahead there"
)
def test_tokens_on_a_graphics_card_are_those_of_single_batches(llava: tuple[Any, Any]) -> None:
    model, processor = llava
    adapter = adapter_for_model(model.cuda(), processor)
    try:
        adapter.add_untrained((0, 1))
        pictures = [(str(i), coloured_picture(56, 56, i)) for i in range(40)]
        expected = [
            adapter.run(adapter.prepare(pictures[i : i + 8])).mapped(torch.clone) for i in range(0, 40, 8)
        ]
        torch.cuda.synchronize()
        kept = []
        for batch in stream(adapter, pictures, 8, LeftOut()):
            kept.append(batch.mapped(torch.clone))
            del batch
        for ours, theirs in zip(kept, expected, strict=True):
            assert ours.images == theirs.images
            for one, other in zip(ours.sides, theirs.sides, strict=True):
                assert one.is_cuda
                torch.testing.assert_close(one, other)
    finally:
        model.cpu()
