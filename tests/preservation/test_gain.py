"""Gain against a reference: its oracles, every neighbour counted by hand, ties, coverage of its interval."""

import math

import numpy as np
import pytest
from scipy import sparse
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.neighbors import NearestNeighbors

import connector_bench as cb
from connector_bench.preservation import knn
from connector_bench.preservation.figures import preservation_figures
from connector_bench.preservation.gain import AgreementWith, _without_each
from connector_bench.preservation.options import PreservationOptions
from connector_bench.preservation.overlap_interval import depth
from connector_bench.preservation.reference import ORDERS, ReferenceVectors

N, K = 300, 10


def sides(rng: np.random.Generator, n: int = N, width: int = 6) -> tuple[np.ndarray, ...]:
    """What is before and what is after, and a reference that has something of both."""
    pre, other = rng.normal(size=(2, n, width))
    post = 0.7 * pre + 0.7 * other
    return tuple(x.astype(np.float32) for x in (pre, post, pre + 2 * other + rng.normal(size=pre.shape)))


def gained(pre: np.ndarray, post: np.ndarray, reference: object, k: int = K) -> dict:
    return cb.knn_preservation(pre, post, ks=(k,), distance="cosine", reference=reference).scores


def by_hand(side: np.ndarray, reference: np.ndarray, k: int) -> float:
    """Adjusted overlap of neighbours by scikit-learn."""
    lists = [
        NearestNeighbors(n_neighbors=k, metric="cosine")
        .fit(x.astype(float))
        .kneighbors(return_distance=False)
        for x in (side, reference)
    ]
    kept = np.mean([len(set(a) & set(b)) / k for a, b in zip(*lists, strict=True)])
    chance = k / (len(side) - 1)
    return (kept - chance) / (1 - chance)


def test_gain_is_the_difference_of_two_overlaps() -> None:
    pre, post, reference = sides(np.random.default_rng(0))
    scores = gained(pre, post, reference)
    before, after = by_hand(pre, reference, K), by_hand(post, reference, K)
    assert scores[f"agreement_pre_{K}"].value == pytest.approx(before)
    assert scores[f"agreement_post_{K}"].value == pytest.approx(after)
    assert scores[f"gain_{K}"].value == pytest.approx(after - before)
    assert scores[f"gain_{K}"].low > 0.05
    assert scores[f"gain_{K}"].chance == 0


def test_the_encoder_as_reference_loses_what_is_not_kept() -> None:
    pre, post, _ = sides(np.random.default_rng(1))
    scores = gained(pre, post, pre)
    assert scores[f"gain_{K}"].value == pytest.approx(scores[f"knor_adj_{K}"].value - 1)
    assert scores[f"gain_{K}"].high < 0
    assert scores[f"agreement_post_{K}"].value == pytest.approx(scores[f"knor_adj_{K}"].value)
    other = gained(pre, post, post)
    assert other[f"gain_{K}"].value == pytest.approx(1 - scores[f"knor_adj_{K}"].value)
    assert other[f"gain_{K}"].low > 0


def test_a_connector_that_changes_nothing_gains_nothing() -> None:
    pre, _, reference = sides(np.random.default_rng(2))
    score = gained(pre, 3 * pre, reference)[f"gain_{K}"]
    assert (score.value, score.low, score.high) == (0, 0, 0)


def test_the_interval_of_a_random_reference_covers_0() -> None:
    """Also over other galleries: the true gain is 0 by symmetry, for dense and for tied references."""
    rng = np.random.default_rng(3)
    found: dict[str, list] = {"dense": [], "tied": []}
    for _ in range(60):
        pre, post, _ = sides(rng, 120)
        objects = sparse.csr_matrix(np.eye(30)[rng.permutation(np.repeat(np.arange(30), 4))])
        for name, reference in (("dense", rng.normal(size=(120, 5)).astype(np.float32)), ("tied", objects)):
            found[name].append(gained(pre, post, reference, 5)["gain_5"])
    for name, scores in found.items():
        assert abs(np.mean([score.value for score in scores])) < 0.004, name
        assert np.mean([score.low <= 0 <= score.high for score in scores]) >= 0.9, name


def test_the_interval_covers_a_true_gain() -> None:
    rng = np.random.default_rng(4)
    scores = [gained(*sides(rng, 120), 5)["gain_5"] for _ in range(100)]
    truth = np.mean([score.value for score in scores])
    assert truth > 0.05
    assert 0.9 <= np.mean([score.low <= truth <= score.high for score in scores]) <= 1
    width = np.mean([score.high - score.low for score in scores])
    assert width < 2.6 * 1.97 * np.std([score.value for score in scores])


@pytest.mark.parametrize("tied", [False, True])
def test_leaving_out_equals_searching_again_without_each_image(tied: bool) -> None:
    pre, post, dense = sides(np.random.default_rng(5), 24)
    reference = ReferenceVectors(dense)
    if tied:
        reference = ReferenceVectors(sparse.csr_matrix((dense > 0.5).astype(float)))
    agreement = AgreementWith.of(reference.lists(23), (3,), seed=0)
    lists = [knn.neighbours(side, 23, "l2") for side in (pre, post)]
    before, after = (agreement.side(one) for one in lists)
    without = _without_each(after.common, 3) - _without_each(before.common, 3)
    for left in range(24):
        kept = np.arange(24) != left
        found = []
        for side in (pre, post):
            own = knn.neighbours(side[kept], 3, "l2")
            shares = []
            for order in agreement.lists:  # the same orders of ties, without this image
                others = [
                    [np.flatnonzero(np.flatnonzero(kept) == j)[0] for j in row if j != left][:3]
                    for row in order[kept]
                ]
                shares.append(knn.overlap(own, np.array(others), 3).mean())
            found.append(np.mean(shares))
        assert without[left] == pytest.approx(found[1] - found[0])


def test_ties_are_broken_at_random_by_cosine() -> None:
    """Each list is one of the nearest by scikit-learn's cosines, equal ones take turns."""
    rng = np.random.default_rng(6)
    counts = rng.poisson(0.3, size=(80, 12)).astype(float)
    counts[:3] = 0
    lists = ReferenceVectors(sparse.csr_matrix(counts)).lists(20)
    assert len(lists) == ORDERS
    alike = cosine_similarity(counts)
    empty = np.flatnonzero(counts.sum(axis=1) == 0)
    alike[np.ix_(empty, empty)] = 1.0
    np.fill_diagonal(alike, -1)
    for found in lists:
        values = np.take_along_axis(alike, found, 1)
        assert (np.diff(values, axis=1) < 1e-9).all()
        assert values == pytest.approx(-np.sort(-alike, axis=1)[:, :20])
        assert all(len(set(row)) == 20 and number not in row for number, row in enumerate(found.tolist()))
    assert len({row.tobytes() for row in lists}) == ORDERS


def test_objects_of_a_picture_are_found_where_the_connector_sorts_by_them() -> None:
    rng = np.random.default_rng(7)
    kinds = np.repeat(np.arange(25), 8)
    content = sparse.csr_matrix(np.eye(25)[kinds])
    pre = rng.normal(size=(200, 10)).astype(np.float32)
    post = (np.eye(25)[kinds] * 3 + 0.1 * rng.normal(size=(200, 25))).astype(np.float32)
    scores = gained(pre, post, content, 7)
    assert scores["agreement_post_7"].value == pytest.approx(1)
    assert abs(scores["agreement_pre_7"].value) < 0.03
    assert scores["gain_7"].low > 0.9


def test_the_task_has_the_same_gain_with_controls_beside_it() -> None:
    rng = np.random.default_rng(8)
    pre, post, reference = sides(rng)
    names = [f"{number:064x}" for number in range(N)]
    options = PreservationOptions(ks=(1, K), distance="cosine", reference="given")
    untrained = [rng.normal(size=post.shape).astype(np.float32) for _ in range(3)]
    found = preservation_figures(
        names,
        pre,
        post,
        options,
        untrained=untrained,
        reference=ReferenceVectors(reference),
        token_widths=(6, 6),
    )
    scores = found.summary["scores"]
    own = gained(pre, post, reference)[f"gain_{K}"]
    recorded = scores[f"gain_{K}"]
    assert [recorded[end] for end in ("value", "low", "high")] == pytest.approx(
        [own.value, own.low, own.high], abs=0.02
    )
    assert recorded["value"] == pytest.approx(np.mean([row[f"gain_{K}"] for row in found.per_image.values()]))
    assert len(recorded["halving_gaps"]) >= 30
    lost = scores[f"untrained_gain_{K}"]
    assert lost["value"] == pytest.approx(-scores[f"agreement_pre_{K}"]["value"], abs=0.03)
    assert lost["high"] < 0
    assert len(lost["seeds"]) == 3
    assert abs(scores[f"random_linear_gain_{K}"]["value"]) < 0.1
    assert "untrained_agreement_pre_10" not in scores
    without = preservation_figures(names, pre, post, options, untrained=untrained, token_widths=(6, 6))
    assert {k: v for k, v in scores.items() if "gain" not in k and "agreement" not in k} == without.summary[
        "scores"
    ]


def test_controls_among_fewer_images_have_the_connector_beside_them() -> None:
    rng = np.random.default_rng(9)
    pre, post, reference = sides(rng, 1100)
    names = [f"{number:064x}" for number in range(1100)]
    options = PreservationOptions(ks=(K,), reference="given")
    found = preservation_figures(
        names, pre, post, options, reference=ReferenceVectors(reference), token_widths=(6, 6)
    )
    beside = found.summary["at_control_gallery"]["scores"]
    assert beside[f"gain_{K}"]["n"] == found.summary["scores"][f"random_linear_gain_{K}"]["n"] == 1000
    assert beside[f"gain_{K}"]["value"] == pytest.approx(
        found.summary["scores"][f"gain_{K}"]["value"], abs=0.02
    )
    assert sum(f"random_linear_gain_{K}" in row for row in found.per_image.values()) == 1000


def test_few_images_have_no_interval_and_wrong_references_are_named() -> None:
    pre, post, reference = sides(np.random.default_rng(10), 59)
    score = gained(pre, post, reference)[f"gain_{K}"]
    assert math.isnan(score.low)
    assert score.method == "no interval: 59 images, 60 are needed"
    assert depth(K, 59) <= 58
    with pytest.raises(ValueError, match="got 58 vectors and 59 images"):
        gained(pre, post, reference[:58])
    with pytest.raises(ValueError, match="whole numbers of at least 0"):
        gained(pre, post, sparse.csr_matrix(reference))
    with pytest.raises(ValueError, match=r"\[images, width\] numbers are needed"):
        gained(pre, post, ["a"] * 59)
    reference[3, 2] = np.nan
    with pytest.raises(ValueError, match=r"finite|NaN"):
        gained(pre, post, reference)
