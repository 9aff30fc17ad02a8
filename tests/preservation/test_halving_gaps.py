"""Differences between halves of the images pair two connectors, the gallery's part in the difference included."""

import numpy as np
import pytest

from connector_bench.preservation import knn
from connector_bench.preservation.figures import preservation_figures
from connector_bench.preservation.options import PreservationOptions
from connector_bench.preservation.overlap import CommonNeighbours
from connector_bench.preservation.overlap_interval import Halvings, depth, number_of_halvings

K = 10


def neighbours(vectors: np.ndarray) -> np.ndarray:
    return knn.neighbours(vectors, depth(K, len(vectors)), "l2")


def halving_gaps(before: np.ndarray, after: np.ndarray, ks: list[int]) -> dict[int, np.ndarray]:
    gaps = Halvings.of(before, ks).gaps(CommonNeighbours.of(before, after))
    return dict(zip(ks, gaps.T, strict=True))


def test_half_the_mean_square_of_paired_gaps_is_the_variance_in_half_galleries() -> None:
    rng = np.random.default_rng(0)
    maps = rng.normal(size=(20, 6)), rng.normal(size=(20, 6))
    claimed, differences = [], []
    for _ in range(40):
        pre = rng.normal(size=(120, 20))
        before = neighbours(pre)
        first, second = (halving_gaps(before, neighbours(pre @ m), [K])[K] for m in maps)
        claimed.append(np.square(first - second).mean() / 2)
    for _ in range(400):
        pre = rng.normal(size=(60, 20))
        before = neighbours(pre)
        first, second = (knn.overlap(before, neighbours(pre @ m), K).mean() for m in maps)
        differences.append(first - second)
    assert np.mean(claimed) == pytest.approx(np.var(differences, ddof=1), rel=0.2)


def test_halves_depend_on_the_images_alone() -> None:
    rng = np.random.default_rng(0)
    pre = rng.normal(size=(60, 8))
    before, after = neighbours(pre), neighbours(pre[:, :3])
    one = halving_gaps(before, after, [5, K])
    other = halving_gaps(before, after, [K])
    np.testing.assert_array_equal(one[K], other[K])
    np.testing.assert_array_equal(halving_gaps(before, before, [K])[K], 0)


def test_the_record_holds_them_for_the_connector_and_not_for_controls() -> None:
    rng = np.random.default_rng(0)
    pre = rng.normal(size=(80, 8)).astype(np.float32)
    images = [f"{i:064x}" for i in range(80)]
    scores = preservation_figures(images, pre, pre[:, :3], PreservationOptions(ks=(K, 50))).summary["scores"]
    assert isinstance(scores, dict)
    assert len(scores["knor_10"]["halving_gaps"]) == number_of_halvings(80, 79)
    assert [name for name, score in scores.items() if "halving_gaps" in score] == ["knor_10"]
