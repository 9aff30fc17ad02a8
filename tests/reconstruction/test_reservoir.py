import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from connector_bench.reconstruction.folds import unit_keys
from connector_bench.reconstruction.probes.reservoir import Reservoir


def offer(reservoir: Reservoir, image: int, rows: int = 20) -> None:
    keys = unit_keys(f"image-{image}", rows)
    x = torch.arange(rows, dtype=torch.float32)[:, None] + 100 * image
    reservoir.add(keys, {"x": x, "fold": torch.full((rows,), image % 4, dtype=torch.uint8)})


def contents(reservoir: Reservoir) -> list[float]:
    return reservoir.rows()[1]["x"][:, 0].tolist()


@settings(max_examples=30, deadline=None)
@given(order=st.permutations(range(12)), split=st.integers(0, 12))
def test_order_and_processes_do_not_change_the_sample(order: list[int], split: int) -> None:
    whole, a, b = Reservoir(70), Reservoir(70), Reservoir(70)
    for image in range(12):
        offer(whole, image)
    for place, image in enumerate(order):
        offer(a if place < split else b, image)
    a.absorb(b)
    assert len(a) == 70
    assert contents(a) == contents(whole)


def test_it_keeps_the_smallest_keys() -> None:
    reservoir = Reservoir(50)
    for image in range(30):
        offer(reservoir, image)
    everything = np.sort(np.concatenate([unit_keys(f"image-{image}", 20) for image in range(30)]))
    np.testing.assert_array_equal(reservoir.rows()[0], everything[:50])


def test_every_row_is_as_likely_as_any_other() -> None:
    reservoir = Reservoir(4000)
    for image in range(400):
        offer(reservoir, image, rows=100)
    rows = reservoir.rows()[1]["x"][:, 0].numpy() % 100
    counts = np.bincount(rows.astype(int), minlength=100)
    assert ((counts - 40) ** 2 / 40).sum() < 149.4  # chi-squared, 99 degrees of freedom, p = .001


def test_memory_does_not_grow_with_the_images() -> None:
    reservoir = Reservoir(100)
    for image in range(300):
        offer(reservoir, image)
        assert len(reservoir._columns["x"]) <= 125


def test_it_survives_being_written_and_read() -> None:
    reservoir, again = Reservoir(30), Reservoir(30)
    for image in range(5):
        offer(reservoir, image)
    again.load("r", reservoir.tensors("r"))
    for image in range(5, 9):
        offer(reservoir, image)
        offer(again, image)
    assert contents(again) == contents(reservoir)


def test_values_too_large_for_the_dtype_are_refused() -> None:
    reservoir = Reservoir(10, torch.float16)
    with pytest.raises(ValueError, match="keep the reservoir in float32"):
        reservoir.add(unit_keys("a", 1), {"x": torch.tensor([[1e6]])})


def test_other_capacities_do_not_merge() -> None:
    with pytest.raises(ValueError, match="do not merge"):
        Reservoir(10).absorb(Reservoir(11))
