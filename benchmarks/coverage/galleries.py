"""Figures of images that are each other's neighbours: overlap, geometry, retrieval, and two connectors' differences.

What is to be covered is the figure that other galleries of as many images would give on average: chance for overlaps of
independent sides, else the mean over all simulations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from benchmarks.coverage.setting import Outcome, Outcomes, Setting
from connector_bench.comparison.compare import paired
from connector_bench.comparison.paired_metrics import PairedMetric
from connector_bench.preservation import figures, overlap
from connector_bench.preservation.options import PreservationOptions
from connector_bench.preservation.overlap_interval import SearchedGallery, depth
from connector_bench.preservation.sharing import label_columns
from connector_bench.preservation.side import both_sides
from connector_bench.stats.paired import Sums

KS = (1, 10, 50)
CLASSES = 16
DIMENSIONS = 12
VIEWS = 8
_ONCE = ("knor_adj_", "procrustes_paper", "hubness_")
"""What says the same as another figure, or has no interval."""


def related(rng: np.random.Generator, n: int, *noises: float) -> list[np.ndarray]:
    """A side, and bent copies of it with noise."""
    scale = np.arange(1, DIMENSIONS + 1) ** -0.5
    first = rng.normal(size=(n, DIMENSIONS)) * scale
    return [first, *(np.tanh(first) + noise * rng.normal(size=first.shape) * scale for noise in noises)]


def as_vectors(sides: Sequence[np.ndarray]) -> list[np.ndarray]:
    return [side.astype(np.float32) for side in sides]


def measured(pre: np.ndarray, post: np.ndarray, classes: np.ndarray, seed: int) -> Outcomes:
    """Everything that has an interval, as a run computes it."""
    ks = tuple(k for k in KS if k + 1 < len(pre) // 2)
    labels, _ = label_columns({"class": classes.tolist()})
    sides = both_sides(
        pre, post, depth(max(ks), len(pre)), classes=[one.classes for one in labels], seed=seed
    )
    gallery = SearchedGallery.of(sides[0].lists, sides[1].lists, ks, seed=seed)
    _, scores, _ = figures._ours(*sides, gallery, PreservationOptions(ks=ks, seed=seed), labels, None)
    return {name: Outcome.recorded(score) for name, score in scores.items() if not name.startswith(_ONCE)}


def of_gallery(n: int, noise: float) -> Setting:
    """Classes lie apart on both sides."""
    centres = 0.7 * np.random.default_rng(0).normal(size=(CLASSES, DIMENSIONS))

    def draw(rng: np.random.Generator, seed: int) -> Outcomes:
        classes = rng.integers(0, CLASSES, n)
        before, after = related(rng, n, noise)
        return measured(*as_vectors([before + centres[classes], after + centres[classes]]), classes, seed)

    return Setting("gallery", f"{CLASSES} classes, noise {noise:g}, N = {n}", draw)


def of_views(n: int) -> Setting:
    """Eight views of each object, objects drawn anew: images that are no independent draws."""

    def draw(rng: np.random.Generator, seed: int) -> Outcomes:
        objects = np.arange(n) // VIEWS
        centres = rng.normal(size=(n // VIEWS, DIMENSIONS))
        before, after = related(rng, n, 1.0)
        views = [1.3 * side + bent[objects] for side, bent in ((before, centres), (after, np.tanh(centres)))]
        return measured(*as_vectors(views), objects, seed)

    return Setting("views", f"{VIEWS} views of each of {n // VIEWS} objects, N = {n}", draw)


def of_overlap(n: int, noise: float | None) -> Setting:
    """Related sides, or with no noise named, independent ones in 48 dimensions."""
    ks = [k for k in KS if k + 1 < n // 2]

    def draw(rng: np.random.Generator, seed: int) -> Outcomes:
        sides = [rng.normal(size=(n, 48)) for _ in range(2)] if noise is None else related(rng, n, noise)
        gallery = SearchedGallery.alone(*as_vectors(sides), ks, distance="l2", seed=seed)
        _, scores = gallery.overlaps()
        return {f"knor_{k}": Outcome.recorded(scores[f"knor_{k}"]) for k in ks}

    def chance() -> Mapping[str, float]:
        return {f"knor_{k}": overlap.chance(k, n) for k in ks}

    name = "independent sides" if noise is None else f"noise {noise:g}"
    return Setting("overlap", f"{name}, N = {n}", draw, None if noise is not None else chance)


def of_two_connectors(n: int, ks: Sequence[int]) -> Setting:
    """Two that keep as much as each other, compared as `connector-bench compare` does."""

    def draw(rng: np.random.Generator, seed: int) -> Outcomes:
        before, *after = as_vectors(related(rng, n, 0.5, 0.5))
        galleries = [SearchedGallery.alone(before, side, ks, distance="l2", seed=seed) for side in after]
        columns, scores = zip(*(gallery.overlaps_and_gaps() for gallery in galleries), strict=True)
        found = {}
        for k in ks:
            name = f"knor_{k}"
            sums = [Sums(held[name], np.ones(n)) for held in columns]
            gaps = tuple(np.asarray(held[name]["halving_gaps"]) for held in scores)
            metric = PairedMetric(name, sums[0], sums[1], n, n, 0, 0, None, False, (gaps[0], gaps[1]), k)
            found[f"difference of {name}"] = Outcome.of(paired(metric))
        return found

    def nothing() -> Mapping[str, float]:
        return {f"difference of knor_{k}": 0.0 for k in ks}

    return Setting("two connectors", f"alike, N = {n}", draw, nothing, null=True)
