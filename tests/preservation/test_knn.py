"""Neighbour search and overlap: oracles, limits, symmetries, and the mistakes of the published code."""

import itertools

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler

from connector_bench.preservation import controls, knn
from connector_bench.preservation.overlap import CommonNeighbours

DEVICES = ["cpu", "torch-cpu"]
seeds = st.integers(0, 2**32 - 1)
quick = settings(max_examples=20, deadline=None)


def gaussian(n: int, d: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


def sklearn_neighbours(vectors: np.ndarray, k: int, distance: str) -> np.ndarray:
    points = vectors.astype(np.float64)
    if distance == "l2_standardized":
        points = StandardScaler().fit_transform(points)
    metric = "cosine" if distance == "cosine" else "sqeuclidean"
    search = NearestNeighbors(n_neighbors=len(points) - 1, algorithm="brute", metric=metric).fit(points)
    away, index = search.kneighbors()  # without an argument scikit-learn leaves out self by index
    return np.take_along_axis(index, np.lexsort((index, away)), axis=1)[:, :k]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("distance", knn.DISTANCES)
@pytest.mark.parametrize(("n", "d", "k"), [(2, 2, 1), (30, 2, 29), (700, 48, 100)])
def test_agrees_with_scikit_learn(n: int, d: int, k: int, distance: str, device: str) -> None:
    vectors = gaussian(n, d)
    found = knn.neighbours(vectors, k, distance, device=device)
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, sklearn_neighbours(vectors, k, distance))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("d", [1, 3, 40])
def test_ties_go_to_the_lower_index(d: int, device: str) -> None:
    vectors = np.random.default_rng(d).integers(-1, 2, size=(500, d)).astype(np.float32)
    np.testing.assert_array_equal(
        knn.neighbours(vectors, 60, device=device), sklearn_neighbours(vectors, 60, "l2")
    )


@pytest.mark.parametrize("device", DEVICES)
def test_more_duplicates_than_candidates(device: str) -> None:
    vectors = gaussian(4, 16)[np.random.default_rng(0).integers(0, 4, 600)]
    found = knn.neighbours(vectors, 20, device=device)
    for row in range(len(vectors)):
        twins = np.flatnonzero((vectors == vectors[row]).all(axis=1))
        np.testing.assert_array_equal(found[row], twins[twins != row][:20])


@pytest.mark.parametrize("distance", ["l2", "cosine", "l2_standardized"])
def test_a_far_away_origin_costs_no_digits(distance: str) -> None:
    vectors = gaussian(400, 24) + np.float32(500)
    np.testing.assert_array_equal(
        knn.neighbours(vectors, 50, distance), sklearn_exact(vectors.astype(np.float64), 50, distance)
    )


def sklearn_exact(points: np.ndarray, k: int, distance: str) -> np.ndarray:
    """Differences first: scikit-learn's own expansion of the square loses digits far from the origin."""
    if distance == "cosine":
        points = points / np.linalg.norm(points, axis=1, keepdims=True)
    if distance == "l2_standardized":
        points = StandardScaler().fit_transform(points)
    away = np.square(points[:, None] - points[None]).sum(axis=2)
    np.fill_diagonal(away, np.inf)
    return np.argsort(away, axis=1, kind="stable")[:, :k]


def test_near_ties_below_fp32_resolution_are_told_apart() -> None:
    base = np.zeros((300, 8), np.float32)
    base[:, 0] = 1
    base[1:, 1] = 1 + np.random.default_rng(0).permutation(299) * np.float32(2**-23)
    np.testing.assert_array_equal(knn.neighbours(base, 299)[0], 1 + np.argsort(base[1:, 1], kind="stable"))


@pytest.mark.parametrize("size", [1e-30, 1e-12, 1e12, 1e30])
def test_any_magnitude_of_fp32(size: float) -> None:
    vectors = gaussian(200, 12)
    np.testing.assert_array_equal(
        knn.neighbours((vectors * np.float32(size)).astype(np.float32), 20), knn.neighbours(vectors, 20)
    )


def test_one_outlier_spoils_nothing() -> None:
    vectors = gaussian(300, 12)
    vectors[7] *= 1e6
    np.testing.assert_array_equal(
        knn.neighbours(vectors, 30), sklearn_exact(vectors.astype(np.float64), 30, "l2")
    )


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_precisions_are_read_as_fp32(dtype: type) -> None:
    vectors = gaussian(100, 8).astype(dtype)
    np.testing.assert_array_equal(knn.neighbours(vectors, 9), knn.neighbours(vectors.astype(np.float32), 9))


def test_zero_vectors_are_one_direction_of_their_own() -> None:
    vectors = np.array([[0, 0], [1, 0], [0, 0], [1, 1], [-1, 0]], np.float32)
    found = knn.neighbours(vectors, 4, "cosine")
    np.testing.assert_array_equal(found[0], [2, 1, 3, 4])  # its twin at 0, all others at 1
    np.testing.assert_array_equal(found[1], [3, 0, 2, 4])  # 45 degrees, 90 by definition twice, 180


def test_constant_dimensions_do_not_count_when_standardised() -> None:
    vectors = gaussian(120, 6)
    constant = np.full((120, 2), [7.0, 0.1], np.float32)
    np.testing.assert_array_equal(
        knn.neighbours(np.hstack([vectors, constant]), 10, "l2_standardized"),
        knn.neighbours(vectors, 10, "l2_standardized"),
    )


def test_bad_vectors_are_named() -> None:
    vectors = gaussian(10, 3)
    vectors[[4, 6], 1] = np.nan, np.inf
    with pytest.raises(ValueError, match=r"2 of 10 rows .* first is row 4"):
        knn.neighbours(vectors, 2)
    with pytest.raises(ValueError, match=r"1 of 2 rows"):
        knn.neighbours(np.array([[1e39], [0.0]]), 1)


@pytest.mark.parametrize("k", [0, -1, 10, 11])
def test_k_outside_the_gallery_is_refused(k: int) -> None:
    with pytest.raises(ValueError, match=rf"k={k} with n=10"):
        knn.neighbours(gaussian(10, 3), k)


def test_too_few_vectors_and_unknown_distances_are_refused() -> None:
    with pytest.raises(ValueError, match="n=1"):
        knn.neighbours(gaussian(1, 3), 1)
    with pytest.raises(ValueError, match="unknown distance 'euclid'; known are l2, cosine"):
        knn.neighbours(gaussian(9, 3), 1, "euclid")
    with pytest.raises((ValueError, TypeError)):
        knn.neighbours(np.zeros(5, np.float32), 1)


@quick
@given(seeds)
def test_renaming_images_renames_their_neighbours(seed: int) -> None:
    vectors, order = gaussian(80, 5, seed), np.random.default_rng(seed).permutation(80)
    found = knn.neighbours(vectors[order], 10)
    np.testing.assert_array_equal(order[found], knn.neighbours(vectors, 10)[order])


@quick
@given(seeds, st.integers(-20, 20))
def test_scaling_changes_no_neighbour(seed: int, exponent: int) -> None:
    vectors = gaussian(60, 5, seed)
    for distance in knn.DISTANCES:
        np.testing.assert_array_equal(
            knn.neighbours(vectors * np.float32(2.0**exponent), 10, distance),
            knn.neighbours(vectors, 10, distance),
        )


@quick
@given(seeds, st.integers(1, 30))
def test_overlap_is_the_share_of_common_members(seed: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    pre, post = (np.stack([rng.choice(50, 30, replace=False) for _ in range(12)]) for _ in range(2))
    expected = [len(set(a[:k]) & set(b[:k])) / k for a, b in zip(pre.tolist(), post.tolist(), strict=True)]
    np.testing.assert_allclose(knn.overlap(pre, post, k), expected, rtol=0, atol=1e-15)
    np.testing.assert_array_equal(
        CommonNeighbours.of(pre, post).curve(30)[:, k - 1], knn.overlap(pre, post, k)
    )


def test_overlap_refuses_what_it_cannot_compare() -> None:
    lists = np.array([[1, 2], [0, 2], [0, 1]])
    with pytest.raises(ValueError, match=r"1\.\.2"):
        knn.overlap(lists, lists, 3)
    with pytest.raises((ValueError, TypeError)):
        knn.overlap(lists, lists[:2], 1)
    with pytest.raises(ValueError, match="same neighbour twice"):
        knn.overlap(np.array([[1, 1]]), np.array([[1, 2]]), 2)


def test_chance_and_its_correction() -> None:
    assert knn.chance(100, 1131) == pytest.approx(0.0885, abs=1e-4)  # the paper's VizWiz at k = 100
    assert knn.chance_corrected(knn.chance(7, 30), 7, 30) == 0
    assert knn.chance_corrected(1.0, 7, 30) == 1
    assert np.isnan(knn.chance_corrected(1.0, 29, 30))
    with pytest.raises(ValueError, match="k=30 with n=30"):
        knn.chance(30, 30)


def test_every_order_of_four_images_gives_chance_on_average() -> None:
    orders = np.array(list(itertools.permutations(range(1, 4))))
    for k in (1, 2, 3):
        mean = np.mean([knn.overlap(a[None], b[None], k) for a in orders for b in orders])
        assert mean == pytest.approx(knn.chance(k, 4), abs=1e-12)


def test_limits_of_preservation() -> None:
    pre = gaussian(600, 20)
    same = knn.knn_preservation(pre, controls.identity(pre), ks=(1, 10, 50))
    assert all(score.value == score.high == 1 and score.low > 0.99 for score in same.scores.values())
    turned = knn.knn_preservation(pre, controls.rotation(pre), ks=(1, 10, 50))
    assert all(score.value > 0.9995 for score in turned.scores.values())
    apart = knn.knn_preservation(pre, controls.shuffled(pre), ks=(10, 50), confidence=0.999)
    for k in apart.ks:
        score, adjusted = apart.scores[f"knor_{k}"], apart.scores[f"knor_adj_{k}"]
        assert score.low <= score.chance <= score.high
        assert adjusted.low <= 0 <= adjusted.high
        assert (score.n, score.chance) == (600, k / 599)
        assert score.high - score.low < 0.033


def test_an_untrained_linear_map_keeps_most_neighbours() -> None:
    """PROTOCOL: a random 1024 -> 4096 map scores high, so a bare overlap means little."""
    pre = gaussian(500, 128)
    score = knn.knn_preservation(pre, controls.random_linear(pre, 512), ks=(10,)).scores["knor_10"]
    assert 0.5 < score.low < score.value < 1


def test_overlap_falls_as_the_gallery_grows() -> None:
    pre = gaussian(3000, 12)
    post = pre + 0.5 * gaussian(3000, 12, seed=1)
    few, many = (knn.knn_preservation(pre[:n], post[:n], ks=(10,)).scores["knor_10"] for n in (300, 3000))
    assert few.low > many.high


def test_preservation_with_labels_and_every_k() -> None:
    pre = gaussian(90, 6)
    # with all 89 others as neighbours nothing can be lost
    with pytest.warns(UserWarning, match=r"90 different images are too few for k = 89 \(needs 91\)"):
        found = knn.knn_preservation(
            pre, pre[:, :4], ks=(1, 88, 89), labels=np.arange(90) % 3, clusters=np.arange(90) // 2
        )
    assert found.ks == (1, 88)
    assert found.retrieval is not None
    assert {"knor_adj_1", "knor_adj_88"} <= found.scores.keys()
    assert found.scores["knor_1"].n == 45
    with pytest.raises(ValueError, match="k = 89, 90 needs at least 91 different images, got 90"):
        knn.knn_preservation(pre, pre, ks=(89, 90))
    with pytest.raises((ValueError, TypeError)):
        knn.knn_preservation(pre, pre[:5])


def published(pre: np.ndarray, post: np.ndarray, k: int, batches: tuple[int, int] = (100, 50)) -> list[float]:
    """The published procedure as its description has it: index and queries in batches, the image itself counted."""
    found = []
    for vectors, batch in zip((pre, post), batches, strict=True):
        index = faiss.IndexFlatL2(vectors.shape[1])
        for start in range(0, len(vectors), batch):
            index.add(vectors[start : start + batch])
        found.append(
            np.vstack([index.search(vectors[i : i + batch], 100)[1] for i in range(0, len(vectors), batch)])
        )
    return [len(set(a[:k]) & set(b[:k])) / k for a, b in zip(*(side.tolist() for side in found), strict=True)]


PREPARED = {
    "l2": lambda x: x,
    "cosine": lambda x: x.astype(np.float64) / np.linalg.norm(x.astype(np.float64), axis=1, keepdims=True),
    "l2_standardized": lambda x: StandardScaler().fit_transform(x.astype(np.float64)),
}
"""What the published procedure is given for index and queries alike, so that its L2 is that distance."""


@pytest.fixture(scope="module")
def three_thousand() -> tuple[np.ndarray, np.ndarray]:
    """Before and after a connector: a spectrum as encoders have it, means away from 0, a bend."""
    spectrum = np.arange(1, 49, dtype=np.float32) ** -0.5
    pre = gaussian(3000, 48) * spectrum + 0.2
    return pre, np.tanh(controls.random_linear(pre, 64)) + np.float32(0.3)


@pytest.mark.parametrize("distance", knn.DISTANCES)
def test_the_published_procedure_to_the_last_digit(
    distance: str, three_thousand: tuple[np.ndarray, np.ndarray]
) -> None:
    """3,000 vectors under `protocol: paper`, the published batches and others, every k of the paper."""
    pre, post = (PREPARED[distance](side).astype(np.float32) for side in three_thousand)
    for k in (10, 50, 100):
        ours = knn.paper_overlap(*three_thousand, k, distance)
        np.testing.assert_array_equal(ours, published(pre, post, k))
        assert 0.1 < ours.mean() < 0.95
    for batches in ((19, 7), (64, 250)):
        other = published(pre, post, 50, batches)
        np.testing.assert_array_equal(knn.paper_overlap(*three_thousand, 50, distance), other)


@pytest.mark.parametrize("distance", knn.DISTANCES)
def test_the_published_procedure_and_ours_are_one_formula_apart(
    distance: str, three_thousand: tuple[np.ndarray, np.ndarray]
) -> None:
    """The image itself is the one neighbour that is always kept: paper k is our k - 1, but for near ties in fp32."""
    paper = knn.paper_overlap(*three_thousand, 10, distance)
    ours = knn.overlap(*(knn.neighbours(side, 9, distance) for side in three_thousand), 9)
    apart = np.abs(paper - (1 + 9 * ours) / 10)
    assert np.count_nonzero(apart > 1e-9) <= 3
    assert abs(paper.mean() - (1 + 9 * ours.mean()) / 10) < 1e-4


# The published code's mistakes that concern neighbours (PROTOCOL section 6), each by its name.


def test_self_counted_as_neighbour() -> None:
    pre, post = gaussian(400, 16), gaussian(400, 16, seed=1)
    k = 10
    ours = knn.overlap(knn.neighbours(pre, k - 1), knn.neighbours(post, k - 1), k - 1)
    np.testing.assert_allclose(knn.paper_overlap(pre, post, k), (1 + (k - 1) * ours) / k, atol=1e-12)
    assert knn.paper_overlap(pre, post, 1).mean() == 1  # nothing kept, and full marks
    score = knn.knn_preservation(pre, post, ks=(10,)).scores["knor_10"]
    assert score.low <= score.chance <= score.high


def test_self_dropped_by_rank_keeps_self_among_duplicates() -> None:
    vectors = np.repeat(gaussian(20, 4), 3, axis=0)
    found = knn.neighbours(vectors, 2)
    assert not (found == np.arange(60)[:, None]).any()
    twins = np.arange(60).reshape(20, 3)
    expected = [[other for other in twins[i // 3] if other != i] for i in range(60)]
    np.testing.assert_array_equal(found, expected)


def test_the_metric_argument_not_passed_to_the_index() -> None:
    """The published cosine run searches an L2 index with normalised queries: neither l2 nor cosine."""
    vectors = gaussian(300, 8) * np.random.default_rng(3).uniform(0.1, 10, size=(300, 1)).astype(np.float32)
    index = faiss.IndexFlatL2(8)
    index.add(vectors)
    queries = vectors.copy()
    faiss.normalize_L2(queries)
    mixed = index.search(queries, 10)[1]
    ours = knn.neighbours(vectors, 10, "cosine")
    np.testing.assert_array_equal(ours, sklearn_neighbours(vectors, 10, "cosine"))
    assert (ours == mixed).mean() < 0.5
    lengths = np.random.default_rng(4).uniform(0.1, 10, size=(300, 1)).astype(np.float32)
    stretched = knn.neighbours(vectors * np.exp2(np.round(lengths)), 10, "cosine")
    np.testing.assert_array_equal(stretched, ours)  # both sides are normalised: length plays no part


def test_overlap_agrees_with_dadapy() -> None:
    dadapy = pytest.importorskip(
        "dadapy", reason="needs numpy < 2, see docs/AGREEMENT.md", exc_type=ImportError
    )
    pre, post = gaussian(200, 6).astype(float), gaussian(200, 4, seed=1).astype(float)
    post[:, :3] += pre[:, :3]
    for k in (1, 10, 30):
        theirs = dadapy.MetricComparisons(pre, maxk=199).return_data_overlap(post, k=k)
        ours = knn.overlap(knn.neighbours(pre, k), knn.neighbours(post, k), k).mean()
        assert ours == pytest.approx(float(np.mean(theirs)), abs=1e-12)
