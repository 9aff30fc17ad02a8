"""How much more a mean over images varies than the spread of its values says, since images share their gallery.

The design effect (Kish, Survey Sampling (1965), section 5.4) of a mean whose values depend on one another, measured
in disjoint halves of the images. Two halves are independent galleries, so half the squared difference of their means
is unbiased for the variance of such a mean, whatever the dependence inside a half.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from jaxtyping import Bool, Float, Float64
from scipy import stats

from connector_bench.intervals import Score, wilson
from connector_bench.preservation.halved import halvings

LARGEST = 1000
"""Images among which design effects are measured; of a larger set, so many are drawn."""

TRIALS = 60

InHalves = Callable[[Bool[np.ndarray, " n"]], Mapping[str, Float[np.ndarray, " n"]]]
"""Values of every image when each half is its own gallery; NaN where an image has none."""


def drawn(n: int, seed: int) -> np.ndarray:
    """The images, at most `LARGEST`, among which design effects are measured."""
    return np.sort(np.random.default_rng(seed).permutation(n)[:LARGEST])


def design_effects(values: InHalves, n: int, *, seed: int = 0) -> dict[str, float]:
    """Variance of the mean over that of independent values, for each kind of value; 1 where nothing varies."""
    gaps: dict[str, list[float]] = {}
    spreads: dict[str, list[float]] = {}
    for half in halvings(n, TRIALS, seed):
        for name, column in values(half).items():
            known = np.isfinite(column)
            sides = column[half & known], column[~half & known]
            if min(map(len, sides)) >= 2:
                gaps.setdefault(name, []).append((sides[0].mean() - sides[1].mean()) ** 2 / 2)
                spread = np.mean([side.var(ddof=1) / len(side) for side in sides])
                spreads.setdefault(name, []).append(float(spread))
    means = {name: (float(np.mean(gaps[name])), float(np.mean(spreads[name]))) for name in gaps}
    return {name: gap / spread if spread > 0 and gap > 0 else 1.0 for name, (gap, spread) in means.items()}


def mean_score(
    values: Float64[np.ndarray, " n"],
    effect: float | None,
    *,
    share: bool = True,
    chance: float | None = None,
    confidence: float = 0.95,
) -> Score:
    """Mean with an interval for its expectation over galleries of as many images; `effect` is the design effect.

    Wilson's where the mean is a `share`, which stays inside 0..1. Without an effect (too few images to halve) values
    count as independent, and the method says so.
    """
    n = len(values)
    value = float(values.mean())
    variance = float(values.var(ddof=1)) / n * (1.0 if effect is None else effect)
    quantile = float(stats.t.ppf(0.5 + confidence / 2, min(n - 1, TRIALS)))
    half = quantile * variance**0.5
    low, high = wilson(value, variance, n, quantile) if share else (value - half, value + half)
    name = "Wilson" if share else "t"
    cause = (
        "with the design effect of half galleries"
        if effect is not None
        else "that takes the gallery as fixed"
    )
    return Score(value, low, high, n, chance, f"{100 * confidence:g} % {name} interval over images {cause}")
