"""What the ladder's validation errors say: how each probe learns with more images, and which one is the best."""

from __future__ import annotations

import math
from collections.abc import Collection

from connector_bench.reconstruction.config import ReconstructionConfig
from connector_bench.reconstruction.probes.cell_fit import CurvePoint
from connector_bench.reconstruction.probes.fitted import TRAINED, LearningCurve

LADDER = ("mean", "pooled", "ridge", "mlp", "attention")
"""From the simplest probe to the strongest; of two equally good ones the simpler is the best."""


def learning_curve(
    curves: list[tuple[CurvePoint, ...]], config: ReconstructionConfig, beyond: Collection[str]
) -> LearningCurve:
    """Add up the cell shapes' errors at each budget and turn them into R2.

    Of the trained probes those in `beyond` can be the best: they beat their own start by more than noise.
    """
    fractions = tuple(sorted({point.fraction for curve in curves for point in curve}))
    r2: dict[str, list[float]] = {}
    for fraction in fractions:
        points = [point for curve in curves for point in curve if point.fraction == fraction]
        for name in sorted({name for point in points for name in point.squared_error}):
            having = [p for p in points if name in p.squared_error and not math.isnan(p.squared_total)]
            total = sum(point.squared_total for point in having)
            error = sum(point.squared_error[name] for point in having)
            r2.setdefault(name, []).append(1 - error / total if total > 0 else math.nan)
    patches = tuple(sum(p.patches for curve in curves for p in curve if p.fraction == f) for f in fractions)
    best = "mean"
    for name in LADDER[1:]:
        if name in TRAINED and name not in beyond:
            continue
        if name in r2 and r2[name][-1] > (r2[best][-1] if best in r2 else 0.0) + 1e-9:
            best = name
    helps = None
    if config.curve and best in r2 and len(r2[best]) > 1:
        helps = any(_would_pass(values, r2[best][-1], config.more_data_gain) for values in r2.values())
    return LearningCurve(
        fractions, patches, {name: tuple(values) for name, values in r2.items()}, best, helps
    )


def _would_pass(values: list[float], best: float, least: float) -> bool:
    """Whether a probe still learns from more images, and enough to be better than the best is now."""
    gained = values[-1] - values[-2] if len(values) > 1 else 0.0
    return gained > least and values[-1] + gained > best
