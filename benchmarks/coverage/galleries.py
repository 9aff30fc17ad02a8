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
from connector_bench.preservation import overlap
from connector_bench.preservation.drawn_together import Drawn
from connector_bench.preservation.gallery_figures import gallery_figures
from connector_bench.preservation.options import PreservationOptions
from connector_bench.preservation.overlap_interval import depth
from connector_bench.preservation.searched_gallery import Columns, Scores, SearchedGallery
from connector_bench.preservation.sharing import label_columns
from connector_bench.preservation.side import both_sides
from connector_bench.stats.floors import LEAST_FOR_GEOMETRY
from connector_bench.stats.paired import ROUNDING, Sums

KS = (1, 10, 50)
CLASSES = 16
DIMENSIONS = 12
VIEWS = 8
CATEGORIES = 8
DIFFERENCE = "difference of "
_ONCE = ("knor_adj_", "procrustes_paper", "hubness_")
"""What says the same as another figure, or has no interval."""


def related(rng: np.random.Generator, n: int, *noises: float) -> list[np.ndarray]:
    """A side, and bent copies of it with noise."""
    scale = np.arange(1, DIMENSIONS + 1) ** -0.5
    first = rng.normal(size=(n, DIMENSIONS)) * scale
    return [first, *(np.tanh(first) + noise * rng.normal(size=first.shape) * scale for noise in noises)]


def as_vectors(sides: Sequence[np.ndarray]) -> list[np.ndarray]:
    return [side.astype(np.float32) for side in sides]


def measured(
    pre: np.ndarray,
    posts: Sequence[np.ndarray],
    labels: Mapping[str, np.ndarray],
    seed: int,
    drawn: Drawn | None = None,
) -> Outcomes:
    """Everything that has an interval of the first connector, as a run computes it, and the difference of both."""
    drawn = drawn or Drawn.alone(len(pre))
    columns, scores = zip(*(_figures(pre, post, labels, seed, drawn) for post in posts), strict=True)
    found = {name: Outcome.recorded(score) for name, score in scores[0].items() if not name.startswith(_ONCE)}
    return {**found, **(compared(columns, scores, drawn) if len(posts) > 1 else {})}


def _figures(
    pre: np.ndarray, post: np.ndarray, given: Mapping[str, np.ndarray], seed: int, drawn: Drawn
) -> tuple[Columns, Scores]:
    ks = tuple(k for k in KS if k + 1 < len(pre) // 2)
    labels, _ = label_columns({column: classes.tolist() for column, classes in given.items()})
    sides = both_sides(
        pre,
        post,
        depth(max(ks), len(pre), drawn.most),
        classes=[one.classes for one in labels],
        drawn=drawn,
        seed=seed,
    )
    gallery = SearchedGallery.of(sides[0].lists, sides[1].lists, ks, seed=seed, drawn=drawn)
    columns, scores, _ = gallery_figures(*sides, gallery, PreservationOptions(ks=ks, seed=seed), labels, None)
    return columns, scores


def of_gallery(n: int, noise: float, connectors: int = 1) -> Setting:
    """Classes lie apart on both sides; of two connectors alike, one and the difference."""
    centres = 0.7 * np.random.default_rng(0).normal(size=(CLASSES, DIMENSIONS))

    def draw(rng: np.random.Generator, seed: int) -> Outcomes:
        classes = rng.integers(0, CLASSES, n)
        pre, *posts = as_vectors([side + centres[classes] for side in related(rng, n, *[noise] * connectors)])
        return measured(pre, posts, {"class": classes}, seed)

    name = f"{CLASSES} classes, noise {noise:g}, N = {n}" + (", two alike" if connectors > 1 else "")
    return Setting("gallery", name, draw, _alike if connectors > 1 else None, null=connectors > 1, more=4)


def _alike() -> Mapping[str, float]:
    """No difference, in any figure of these galleries."""
    rng = np.random.default_rng(0)
    pre, *posts = as_vectors(related(rng, LEAST_FOR_GEOMETRY, 1.0, 1.0))
    classes = {column: rng.integers(0, 2, LEAST_FOR_GEOMETRY) for column in ("class", "category")}
    found = measured(pre, posts, classes, 0)
    return {name: 0.0 for name in found if name.startswith(DIFFERENCE)}


def of_views(n: int) -> Setting:
    """Eight views of each object, objects drawn anew: images that are no independent draws. Two connectors alike.

    Objects of one category lie nearer to one another.
    """
    kinds = np.random.default_rng(0).normal(size=(CATEGORIES, DIMENSIONS))

    def draw(rng: np.random.Generator, seed: int) -> Outcomes:
        objects = np.arange(n) // VIEWS
        kind = rng.integers(0, CATEGORIES, n // VIEWS)
        centres = 0.8 * rng.normal(size=(n // VIEWS, DIMENSIONS)) + 0.6 * kinds[kind]
        before, *after = related(rng, n, 1.0, 1.0)
        bent = np.tanh(centres)[objects]
        pre, *posts = as_vectors([1.3 * before + centres[objects], *(1.3 * side + bent for side in after)])
        labels = {"object": objects, "category": kind[objects]}
        return measured(pre, posts, labels, seed, Drawn.together(objects.tolist(), "object"))

    name = f"{VIEWS} views of each of {n // VIEWS} objects, N = {n}, two alike"
    return Setting("views", name, draw, _alike, null=True)


def of_overlap(n: int, noise: float | None) -> Setting:
    """Related sides, or with no noise named, independent ones in 48 dimensions."""
    ks = [k for k in KS if k + 1 < n // 2]

    def draw(rng: np.random.Generator, seed: int) -> Outcomes:
        sides = [rng.normal(size=(n, 48)) for _ in range(2)] if noise is None else related(rng, n, noise)
        pre, post = as_vectors(sides)
        gallery = SearchedGallery.alone(pre, post, ks, distance="l2", seed=seed)
        _, scores = gallery.overlaps()
        return {f"knor_{k}": Outcome.recorded(scores[f"knor_{k}"]) for k in ks}

    def chance() -> Mapping[str, float]:
        return {f"knor_{k}": overlap.chance(k, n) for k in ks}

    name = "independent sides" if noise is None else f"noise {noise:g}"
    return Setting("overlap", f"{name}, N = {n}", draw, None if noise is not None else chance)


def compared(columns: Sequence[Columns], scores: Sequence[Scores], drawn: Drawn | None = None) -> Outcomes:
    """Two connectors on the same images in every figure that has halvings, as `connector-bench compare` does it."""
    found: dict[str, Outcome] = {}
    for name, score in scores[0].items():
        if "halving_gaps" not in score or ("_pre" in name and not name.startswith("imbalance")):
            continue
        known = np.isfinite(columns[0][name])
        one, other = (held[name][known] for held in columns)
        gaps = tuple(np.asarray(held[name].get("halving_gaps", ())) for held in scores)
        metric = PairedMetric(
            metric=name,
            first=Sums(one, np.ones(len(one))),
            second=Sums(other, np.ones(len(one))),
            documents=len(one),
            images=len(one),
            higher=int((other - one > ROUNDING).sum()),
            lower=int((one - other > ROUNDING).sum()),
            higher_is_better=None,
            halvings=(gaps[0], gaps[1]),
            k=int(name.split("_")[1]) if name.startswith("knor_") else None,
            drawn_together={} if drawn is None else drawn.noted().get("drawn_together", {}),
        )
        found[f"{DIFFERENCE}{name}"] = Outcome.of(paired(metric))
    return found


def of_two_connectors(n: int, ks: Sequence[int]) -> Setting:
    """Two that keep as much as each other of their images' neighbours."""

    def draw(rng: np.random.Generator, seed: int) -> Outcomes:
        before, *after = as_vectors(related(rng, n, 0.5, 0.5))
        galleries = [SearchedGallery.alone(before, side, ks, distance="l2", seed=seed) for side in after]
        columns, scores = zip(*(gallery.overlaps_and_gaps() for gallery in galleries), strict=True)
        return compared(columns, scores)

    def nothing() -> Mapping[str, float]:
        return {f"{DIFFERENCE}knor_{k}": 0.0 for k in ks}

    return Setting("two connectors", f"alike, N = {n}", draw, nothing, null=True)
