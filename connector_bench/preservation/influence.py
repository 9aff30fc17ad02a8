"""How much each image pulls at a figure of the whole set, and the interval that follows.

The influence of image i is the derivative of the figure by that image's weight; the variance of the figure is the mean
square of the influences over n (the infinitesimal jackknife: Jaeckel, Bell Laboratories memorandum 72-1215 (1972);
Efron, The Jackknife, the Bootstrap and Other Resampling Plans (1982), chapter 6). Nothing is computed again on
subsets, which matters where it takes the singular values of 10,000 x 4,096 numbers. Influences have mean 0.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64, Int
from scipy import linalg, stats

from connector_bench.preservation import geometry
from connector_bench.preservation.drawn_together import Drawn
from connector_bench.preservation.principal import Principal
from connector_bench.stats import jackknife
from connector_bench.stats.floors import LEAST_FOR_GEOMETRY
from connector_bench.stats.intervals import Score


def influence_interval(
    value: float,
    influences: Float64[np.ndarray, " n"],
    *,
    drawn: Drawn | None = None,
    least: float = -np.inf,
    most: float = np.inf,
    similarity: bool = False,
) -> Score:
    """`value -+ t sd / sqrt(n)` with the influences' standard deviation at 95 %, cut to the figure's range.

    `similarity` of two sides has unbounded influences, whose kurtosis says how many images carry them. Images that were
    `drawn` together pull as one.
    """
    images = len(influences)
    drawn = drawn or Drawn.alone(images)
    if (untold := drawn.untold(value, images, None, LEAST_FOR_GEOMETRY)) is not None:
        return untold
    influences, n = drawn.sums(influences) * (drawn.count / images), drawn.count
    without = -influences / np.sqrt(n * (n - 1))
    found = jackknife.estimate(value, without, "sums" if similarity else "ranks")
    half = found.quantile(0.95) * float(np.sqrt(np.square(influences).sum() / (n - 1) / n))
    low, high = max(least, value - half), min(most, value + half)
    method = f"95 % infinitesimal jackknife over {drawn.unit}"
    found_score = Score(value, min(value, low), max(value, high), images, None, method)
    return drawn.floored(found_score, LEAST_FOR_GEOMETRY)


def debiased_cka(pre: Principal, post: Principal, drawn: Drawn | None = None) -> Score:
    """`geometry.debiased_cka`, its influences from each image's share in the sums over pairs of different images.

    Too wide near 0, where the first-order influence of an image vanishes.
    """
    x, y = pre.coordinates, post.coordinates
    both, first, second = (_pairs(*sides) for sides in ((x, y), (x, x), (y, y)))
    scale = np.sqrt(first.mean() * second.mean())
    cka = both.mean() / scale
    relative = both / scale - cka / 2 * (first / first.mean() + second / second.mean())
    return influence_interval(
        geometry.debiased_cka(pre, post),
        2 * (relative - relative.mean()),
        drawn=drawn,
        most=1.0,
        similarity=True,
    )


def procrustes(pre: Principal, post: Principal, drawn: Drawn | None = None) -> Score:
    """How well a rotation and a scaling bring one side onto the other: nuclear norm of `X' Y`, both centred
    and of unit Frobenius norm, the narrower one padded with zeros.

    `scipy.spatial.procrustes` reports the disparity `1 - similarity^2` (Schoenemann and Carroll,
    Psychometrika 35 (1970) 245). 0..1, 1 for a rotation, scaling or shift; independent vectors come well
    above 0 where n is not far larger than d, so read it beside a shuffled control.

    Influences run along the polar factor of the nuclear norm: too wide for sides that have little in common. Both
    sides have to vary.
    """
    x, y = pre.coordinates, post.coordinates
    left, values, right = linalg.svd(x.T @ y / len(x), full_matrices=False)
    aligned = np.einsum("ij,ij->i", x @ left, y @ right.T) - values.sum()
    sizes = pre.sizes, post.sizes
    relative = sizes[0] / sizes[0].mean() + sizes[1] / sizes[1].mean() - 2
    scale = np.sqrt(sizes[0].mean() * sizes[1].mean())
    influences = (aligned - values.sum() / 2 * relative) / scale
    return influence_interval(
        min(1.0, float(values.sum() / scale)), influences, drawn=drawn, least=0.0, most=1.0, similarity=True
    )


def spectral(side: Principal, drawn: Drawn | None = None) -> dict[str, Score]:
    """`erank` and `top1_energy` of one side, as in `geometry`; none where nothing varies."""
    found = spectral_influences(side)
    if found is None:
        return {}
    return {
        name: influence_interval(value, influences, drawn=drawn, least=least, most=most)
        for name, (value, influences, least, most) in found.items()
    }


OfASpectrum = tuple[float, Float64[np.ndarray, " n"], float, float]
"""A figure, how each row pulls at it, and the figure's range."""


def clustered(
    value: float,
    influences: Float64[np.ndarray, " n"],
    least: float,
    most: float,
    image: Int[np.ndarray, " n"],
    drawn: Drawn | None = None,
) -> Score:
    """`influence_interval` where rows are the tokens of images: whole images pull."""
    sums = np.bincount(image, influences)
    return influence_interval(value, sums * len(sums) / len(influences), drawn=drawn, least=least, most=most)


def spectral_influences(side: Principal) -> dict[str, OfASpectrum] | None:
    """`erank` and `top1_energy` of one side with the pull of every row; None where nothing varies."""
    if not side.varying.any():
        return None
    energies = np.square(side.coordinates[:, side.varying])
    values = energies.mean(axis=0)
    total = energies.sum(axis=1)
    top1 = (energies[:, 0] - values[0] / values.sum() * total) / values.sum()
    deviations = np.sqrt(values)
    share = deviations / deviations.sum()
    entropy = stats.entropy(share)
    slope = -(np.log(share) + entropy) / (2 * deviations * deviations.sum())
    rank = np.exp(entropy) * (energies - values) @ slope
    widest = float(min(len(side) - 1, side.width))
    return {
        "erank": (geometry.effective_rank(side.singular), rank, 1.0, widest),
        "top1_energy": (geometry.top1_energy(side.singular), top1, 0.0, 1.0),
    }


def _pairs(x: Float64[np.ndarray, "n d_x"], y: Float64[np.ndarray, "n d_y"]) -> Float64[np.ndarray, " n"]:
    """Mean over the other images of `<x_i, x_j> <y_i, y_j>`, for every image."""
    with_itself = np.einsum("ij,ij->i", x @ (x.T @ y), y)
    return (with_itself - np.square(x).sum(axis=1) * np.square(y).sum(axis=1)) / (len(x) - 1)
