from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from connector_bench.reconstruction.probes.moments import Moments, MomentsStream, TargetStatistics


def sample(rows: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, 5, generator=generator) + torch.tensor([0.0, 1, -2, 1e4, 3])
    return x, torch.randn(rows, 3, generator=generator) + x[:, :3]


def assert_equal(a: Moments, b: Moments, tolerance: float = 1e-10) -> None:
    assert a.n == b.n
    for name in ("mean_x", "mean_y", "xx", "xy", "yy"):
        torch.testing.assert_close(getattr(a, name), getattr(b, name), rtol=tolerance, atol=tolerance * a.n)


def test_moments_equal_numpy_with_a_mean_ten_thousand_deviations_away() -> None:
    x, y = sample(4000)
    moments = MomentsStream(5, 3, chunk_rows=300)
    for rows in range(0, 4000, 37):
        moments.add(x[rows : rows + 37], y[rows : rows + 37])
    joint = np.cov(torch.cat([x, y], 1).double().numpy().T, bias=True) * 4000
    found = moments.value()
    np.testing.assert_allclose(found.xx, joint[:5, :5], rtol=1e-9, atol=1e-6)
    np.testing.assert_allclose(found.xy, joint[:5, 5:], rtol=1e-9, atol=1e-6)
    np.testing.assert_allclose(found.yy, np.diag(joint)[5:], rtol=1e-9)


@settings(max_examples=25, deadline=None)
@given(cuts=st.lists(st.integers(1, 499), max_size=4, unique=True), chunk=st.sampled_from([1, 64, 10_000]))
def test_any_partition_in_any_order_gives_the_same_moments(cuts: list[int], chunk: int) -> None:
    x, y = sample(500)
    edges = [0, *sorted(cuts), 500]
    parts = []
    for a, b in pairwise(edges):
        stream = MomentsStream(5, 3, chunk_rows=chunk)
        stream.add(x[a:b], y[a:b])
        parts.append(stream.value())
    assert_equal(sum(reversed(parts), Moments.zeros(5, 3)), Moments.of(x, y), 1e-9)


def test_moments_go_through_tensors_unchanged() -> None:
    moments = Moments.of(*sample(50))
    assert_equal(Moments.from_tensors("a", moments.tensors("a")), moments, 0)


def test_value_does_not_change_when_more_rows_come() -> None:
    stream = MomentsStream(5, 3, chunk_rows=1)
    x, y = sample(100)
    stream.add(x[:50], y[:50])
    before = stream.value()
    stream.add(x[50:], y[50:])
    stream.value()
    assert_equal(before, Moments.of(x[:50], y[:50]))


def test_rows_that_are_not_finite_are_refused() -> None:
    x, y = sample(10)
    x[3, 2] = torch.inf
    stream = MomentsStream(5, 3, chunk_rows=4)
    stream.add(x, y)
    with pytest.raises(ValueError, match="infinity"):
        stream.value()


def test_moments_of_other_widths_do_not_add_up() -> None:
    with pytest.raises(ValueError, match="do not add up"):
        Moments.zeros(2, 3) + Moments.zeros(2, 4)


def test_target_statistics_add_up() -> None:
    _, y = sample(300)
    both = TargetStatistics.of(y[:100]) + TargetStatistics.of(y[100:])
    torch.testing.assert_close(both.mean, y.double().mean(0))
    torch.testing.assert_close(both.variance, y.double().var(0, correction=0))
