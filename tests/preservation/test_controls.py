"""Reference maps: seeded, of the right law, and commuting with the mean over tokens."""

import numpy as np
import pytest
from scipy import stats

from connector_bench.preservation import controls, knn


def gaussian(n: int, d: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(n, d)).astype(np.float32)


def test_identity_is_a_copy() -> None:
    pre = gaussian(9, 4)
    same = controls.identity(pre)
    np.testing.assert_array_equal(same, pre)
    assert not np.shares_memory(same, pre)


@pytest.mark.parametrize("d", [1, 2, 40])
def test_rotation_keeps_every_inner_product(d: int) -> None:
    pre = gaussian(60, d)
    turned = controls.rotation(pre, seed=3)
    np.testing.assert_allclose(turned @ turned.T, pre @ pre.T, atol=2e-5)
    np.testing.assert_array_equal(turned, controls.rotation(pre, seed=3))
    assert d == 1 or not np.array_equal(turned, controls.rotation(pre, seed=4))


def test_rotation_is_uniform_over_directions() -> None:
    """A fixed unit vector goes anywhere on the sphere: in 3-d each coordinate is uniform on -1..1."""
    axis = np.array([[1, 0, 0]], np.float32)
    height = [controls.rotation(axis, seed=seed)[0, 2] for seed in range(400)]
    assert stats.kstest(height, stats.uniform(-1, 2).cdf).pvalue > 0.01


def test_rotation_moves_standardised_neighbours() -> None:
    pre = gaussian(200, 6) * np.array([1, 1, 1, 1, 1, 50], np.float32)
    turned = controls.rotation(pre)
    standardised = [knn.neighbours(side, 10, "l2_standardized") for side in (pre, turned)]
    assert knn.overlap(*standardised, 10).mean() < 0.9
    plain = [knn.neighbours(side, 10, "l2") for side in (pre, turned)]
    assert knn.overlap(*plain, 10).mean() > 0.99


def test_random_linear_has_the_connectors_width_and_keeps_lengths_on_average() -> None:
    pre = gaussian(50, 30)
    post = controls.random_linear(pre, 2000, seed=1)
    assert post.shape == (50, 2000)
    assert post.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(post, axis=1), np.linalg.norm(pre, axis=1), rtol=0.15)
    with pytest.raises(ValueError, match="got 0"):
        controls.random_linear(pre, 0)


@pytest.mark.parametrize("n", [2, 3, 50])
def test_shuffling_leaves_no_image_in_its_place(n: int) -> None:
    post = np.arange(n, dtype=np.float32)[:, None]
    moved = controls.shuffled(post)
    assert sorted(moved.ravel()) == list(range(n))
    assert not (moved == post).any()
    np.testing.assert_array_equal(moved, controls.shuffled(post))
    with pytest.raises(ValueError, match="got 1"):
        controls.shuffled(post[:1])


def test_linear_maps_commute_with_pooling() -> None:
    tokens = gaussian(20 * 16, 8).reshape(20, 16, 8)
    for control in controls.linear_controls(width=12, seed=5).values():
        mapped = control(tokens.reshape(-1, 8)).reshape(20, 16, -1)
        np.testing.assert_allclose(mapped.mean(axis=1), control(tokens.mean(axis=1)), atol=1e-5)
