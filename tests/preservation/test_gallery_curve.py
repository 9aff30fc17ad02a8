"""Overlap over the size of a gallery: searched anew by scikit-learn, and a prolonged line that finds what comes."""

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from connector_bench.preservation.figures import preservation_figures
from connector_bench.preservation.gallery_curve import Line, OfASize, share_k, sizes
from connector_bench.preservation.options import PreservationOptions
from connector_bench.stats.intervals import Score


def sides(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    pre = rng.normal(size=(n, 8)) * np.linspace(1, 0.3, 8)
    return pre.astype(np.float32), (pre + 0.25 * rng.normal(size=pre.shape)).astype(np.float32)


def kept(pre: np.ndarray, post: np.ndarray, k: int) -> float:
    lists = [
        NearestNeighbors(n_neighbors=k).fit(x.astype(float)).kneighbors(return_distance=False)
        for x in (pre, post)
    ]
    chance = k / (len(pre) - 1)
    return (np.mean([len(set(a) & set(b)) / k for a, b in zip(*lists, strict=True)]) - chance) / (1 - chance)


@pytest.fixture(scope="module")
def measured() -> tuple[dict, tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Figures of 800 images, these images, and ten times as many from the same source."""
    rng = np.random.default_rng(0)
    many = sides(rng, 8000)
    few = tuple(side[:800] for side in many)
    names = [f"{number:064x}" for number in range(800)]
    return preservation_figures(names, *few, PreservationOptions()).summary, few, many


def test_every_size_has_what_a_search_anew_finds(measured: tuple) -> None:
    summary, few, _ = measured
    curve = summary["gallery_curve"]
    assert [(one["n"], one["k"]) for one in curve["fixed_k"]] == [(125, 10), (250, 10), (500, 10), (800, 10)]
    assert [(one["n"], one["k"]) for one in curve["fixed_share"]] == [(125, 1), (250, 2), (500, 5), (800, 8)]
    order = np.random.default_rng(0).permutation(800)
    for one in (*curve["fixed_k"][:3], *curve["fixed_share"][:3]):
        parts = [order[first : first + one["n"]] for first in range(0, 800 - one["n"] + 1, one["n"])][:4]
        by_hand = [kept(*(side[part] for side in few), one["k"]) for part in parts]
        assert one["value"] == pytest.approx(np.mean(by_hand), abs=1e-9)
        assert one["low"] < one["value"] < one["high"]
        assert f"{len(parts)} disjoint" in one["method"]
    assert curve["fixed_k"][3]["value"] == summary["scores"]["knor_adj_10"]["value"]
    assert curve["fixed_share"][3]["value"] == pytest.approx(kept(*few, 8))
    values = [one["value"] for one in curve["fixed_k"]]
    assert values == sorted(values, reverse=True)


def test_the_next_decade_lies_where_the_line_says(measured: tuple) -> None:
    summary, _, many = measured
    found = summary["scores"]["knor_adj_10_tenfold"]
    assert summary["gallery_curve"]["fit"]["at"] == 8000
    assert found["method"].startswith("extrapolated")
    truth = kept(*many, 10)
    assert found["low"] <= truth <= found["high"]
    assert found["value"] == pytest.approx(truth, abs=0.03)
    assert found["high"] - found["low"] < 0.15


def test_a_line_is_weighted_least_squares() -> None:
    rng = np.random.default_rng(1)
    points = []
    for n in (125, 250, 500, 1000, 2000):
        value = 1 / (1 + np.exp(-(2 - 1.1 * np.log10(n) + 0.02 * rng.normal())))
        points.append(OfASize(n, 10, Score(value, value - 0.01, value + 0.01, n, 0.0, "")))
    line = Line.through(points)
    assert line is not None
    x, y = (
        np.log10([one.n for one in points]),
        np.log([one.score.value / (1 - one.score.value) for one in points]),
    )
    width = [0.01 / 1.959964 / (one.score.value * (1 - one.score.value)) for one in points]
    (slope, _), covariance = np.polyfit(x, y, 1, w=1 / np.array(width), cov="unscaled")
    assert line.slope == pytest.approx(slope)
    assert line.error >= covariance[0, 0] ** 0.5 * (1 - 1e-9)
    assert Line.through(points[:2]) is None


def test_what_keeps_all_or_nothing_is_not_prolonged() -> None:
    rng = np.random.default_rng(2)
    pre, _ = sides(rng, 400)
    names = [f"{number:064x}" for number in range(400)]
    for post in (pre, rng.normal(size=pre.shape).astype(np.float32)):
        summary = preservation_figures(names, pre, post, PreservationOptions(ks=(10,))).summary
        assert len(summary["gallery_curve"]["fixed_k"]) == 3
        assert (
            "knor_adj_10_tenfold" not in summary["scores"]
            or summary["scores"]["knor_adj_10_tenfold"]["high"] < 0.1
        )
    few = preservation_figures(names[:150], pre[:150], pre[:150], PreservationOptions(ks=(10,))).summary
    assert "gallery_curve" not in few
    without = preservation_figures(names, pre, pre, PreservationOptions(ks=(5,))).summary
    assert "gallery_curve" not in without
    assert sizes(1024) == [125, 250, 500]
    assert sizes(1_000_000)[-1] == 16_000
    assert [share_k(n) for n in (125, 1000, 10_000, 20_000)] == [1, 10, 100, None]
