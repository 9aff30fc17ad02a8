"""The search on a torch device: the lists of the CPU's to the last index, on sets made to tell them apart."""

import numpy as np
import pytest
import torch

from connector_bench.preservation.neighbours import on_device, search
from connector_bench.preservation.neighbours.device_space import DeviceSpace
from connector_bench.preservation.neighbours.ranking import read_rankings
from connector_bench.preservation.neighbours.search import neighbours
from connector_bench.preservation.neighbours.space import DISTANCES, Space, sum_by_halves

HERE = [
    "torch-cpu",
    pytest.param(
        "cuda",
        marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA card"),
    ),
]
SETS = ("gaussian", "duplicates", "large mean", "massive dimension", "zero vectors", "grid", "tiny", "equal")


def made(kind: str, n: int = 700, d: int = 300) -> np.ndarray:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, d))
    if kind == "duplicates":
        x = x[rng.integers(0, n // 40, n)]
    if kind == "large mean":
        x += 1000
    if kind == "massive dimension":
        x[:, 7] = 3000 + 5 * x[:, 7]
    if kind == "zero vectors":
        x[rng.integers(0, n, n // 3)] = 0
    if kind == "grid":
        x = rng.integers(-1, 2, (n, 5))
    if kind == "tiny":
        x *= 1e-30
    if kind == "equal":
        x = np.repeat(rng.uniform(1, 1.002, n)[:, None], 600, axis=1)  # every addition rounds alike
    return x.astype(np.float32)


@pytest.mark.parametrize("device", HERE)
@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("kind", SETS)
def test_a_device_finds_what_the_cpu_finds(kind: str, distance: str, device: str) -> None:
    vectors = made(kind)
    np.testing.assert_array_equal(
        neighbours(vectors, 40, distance, device=device), neighbours(vectors, 40, distance)
    )


@pytest.mark.parametrize("device", HERE)
@pytest.mark.parametrize("distance", ["l2", "cosine"])
@pytest.mark.parametrize("kind", SETS)
def test_norms_and_distances_are_the_same_bits(kind: str, distance: str, device: str) -> None:
    vectors = made(kind)
    there = DeviceSpace.of(vectors, distance, device.removeprefix("torch-"))
    others = np.random.default_rng(1).integers(0, len(vectors), (len(vectors), 5))
    rows = np.arange(len(vectors))
    found = there.distances(*(torch.from_numpy(a).to(there.vectors.device) for a in (rows, others)), 2**16)
    expected = Space.of(vectors, distance).distances(np.repeat(rows, 5), others.ravel())
    np.testing.assert_array_equal(found.cpu().numpy().ravel(), expected)


@pytest.mark.parametrize("d", [1, 2, 3, 7, 64, 1000])
def test_the_fixed_order_adds_everything_once(d: int) -> None:
    numbers = np.random.default_rng(0).integers(-1000, 1000, (4, d)).astype(np.float64)
    np.testing.assert_array_equal(sum_by_halves(numbers.copy()), numbers.sum(1))


@pytest.mark.parametrize("rows", [1, 5, 97])
def test_where_memory_runs_out_blocks_are_halved(rows: int) -> None:
    """A card that has room for few rows at a time; everything is done once, in order."""
    done: list[int] = []

    def work(part: slice, elements: int) -> None:
        if part.stop - part.start > rows:
            raise torch.cuda.OutOfMemoryError("no room")
        done.extend(range(part.start, part.stop))

    on_device.in_blocks(work, 1000, 400, 2**20, "rows")
    assert done == list(range(1000))


def test_a_card_without_room_leaves_the_search_to_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise torch.cuda.OutOfMemoryError("no room")

    vectors = made("gaussian", 100)
    expected = neighbours(vectors, 10)
    monkeypatch.setattr(on_device, "ranked_candidates", full)
    with pytest.warns(RuntimeWarning, match=r"too little free memory to search 100 vectors of 300 numbers"):
        found = neighbours(vectors, 10, device="torch-cpu")
    np.testing.assert_array_equal(found, expected)


def test_a_margin_too_small_is_made_good_there(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = made("gaussian", 500, 8)
    expected = neighbours(vectors, 30)
    monkeypatch.setattr(search, "_MARGIN", 0)
    np.testing.assert_array_equal(neighbours(vectors, 30, device="torch-cpu"), expected)


def test_products_are_fp32_whatever_torch_was_told() -> None:
    vectors = made("gaussian", 200)
    torch.set_float32_matmul_precision("medium")
    try:
        np.testing.assert_array_equal(neighbours(vectors, 20, device="torch-cpu"), neighbours(vectors, 20))
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")


@pytest.mark.parametrize("device", HERE)
@pytest.mark.parametrize("kind", ["gaussian", "duplicates", "large mean"])
def test_rankings_there_are_those_of_the_cpu(kind: str, device: str) -> None:
    vectors = made(kind, 300, 40)
    queries = np.arange(0, 300, 7)
    readers = (lambda _, order: order,)
    found, expected = (
        read_rankings(vectors, "l2", *readers, queries=queries, device=where)[0] for where in (device, "cpu")
    )
    np.testing.assert_array_equal(found, expected)
