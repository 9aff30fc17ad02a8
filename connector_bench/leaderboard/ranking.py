"""Ranks with ties: models share a place where the interval of their paired difference covers 0."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy import stats

from connector_bench.leaderboard.schema import Figure
from connector_bench.leaderboard.table import Rank

RESAMPLES = 2000
CONFIDENCE = 0.95
SEED = 0
_BATCH_VALUES = 2**22


@dataclass(frozen=True, eq=False)
class Candidate:
    """A competitor in one ranked column."""

    figure: Figure
    numerator: Float[np.ndarray, " n"] | None = None
    """A value of each image, in one order for all candidates; None where the run has none."""
    denominator: Float[np.ndarray, " n"] | None = None
    """For a ratio of sums over images; None for a mean over images."""


def ranks(candidates: Mapping[str, Candidate], *, higher_is_better: bool) -> dict[str, Rank]:
    """Place of each candidate, best first.

    A group begins at its best model and takes in those that follow while they cannot be told from that model: the
    95 % percentile interval of the paired difference over images covers 0 (2,000 resamples, the same for all, so that
    the outcome does not depend on the order). Without values of images on both sides, the two recorded intervals
    decide: models share a place where these overlap, which tells fewer apart.
    """
    sign = -1 if higher_is_better else 1
    order = sorted(candidates, key=lambda name: (sign * candidates[name].figure.value, name))
    resampled = _resampled(candidates)
    places: dict[str, tuple[int, bool]] = {}
    leader = None
    for place, name in enumerate(order, start=1):
        if leader is not None and _tied(name, leader, candidates, resampled):
            places[name] = (places[leader][0], name in resampled and leader in resampled)
        else:
            leader, places[name] = name, (place, name in resampled)
    sizes = {place: [p for p, _ in places.values()].count(place) for place, _ in places.values()}
    return {name: Rank(place, sizes[place], paired) for name, (place, paired) in places.items()}


def _tied(
    name: str, leader: str, candidates: Mapping[str, Candidate], resampled: Mapping[str, np.ndarray]
) -> bool:
    if name in resampled and leader in resampled:
        n = len(candidates[name].numerator)  # type: ignore[arg-type]
        low, high = np.quantile(resampled[leader] - resampled[name], _tails(n))
        return bool(low <= 0 <= high)
    (low, high), (other_low, other_high) = (interval(candidates[who].figure) for who in (name, leader))
    return bool(low <= other_high and other_low <= high)


def _tails(n: int) -> tuple[float, float]:
    """Percentiles expanded to a t interval's width, as in `connector_bench.intervals.bootstrap`."""
    tail = float(stats.norm.cdf(np.sqrt(n / (n - 1)) * stats.t.ppf((1 - CONFIDENCE) / 2, n - 1)))
    return tail, 1 - tail


def interval(figure: Figure) -> tuple[float, float]:
    """The recorded interval; else two standard errors around the value; else the value alone."""
    if figure.low is not None and figure.high is not None:
        return figure.low, figure.high
    half = float(stats.norm.ppf(0.5 + CONFIDENCE / 2)) * (figure.stderr or 0.0)
    return figure.value - half, figure.value + half


def _resampled(candidates: Mapping[str, Candidate]) -> dict[str, Float[np.ndarray, " resamples"]]:
    """The statistic of every candidate with values, on the same resampled images."""
    able = [name for name, candidate in candidates.items() if candidate.numerator is not None]
    if not able:
        return {}
    top = np.stack([np.asarray(candidates[name].numerator, dtype=np.float64) for name in able], axis=1)
    if len(top) < 2:
        return {}
    bottom = np.stack(
        [
            np.ones(len(top))
            if (below := candidates[name].denominator) is None
            else np.asarray(below, dtype=np.float64)
            for name in able
        ],
        axis=1,
    )
    values = np.concatenate([(counts @ top) / (counts @ bottom) for counts in _draws(len(top))])
    return {name: values[:, column] for column, name in enumerate(able)}


def _draws(n: int) -> Iterator[Float[np.ndarray, "b n"]]:
    """How often each image is drawn, in batches of resamples."""
    rng = np.random.default_rng(SEED)
    batch = max(1, _BATCH_VALUES // n)
    for start in range(0, RESAMPLES, batch):
        size = min(batch, RESAMPLES - start)
        yield rng.multinomial(n, np.full(n, 1 / n), size=size).astype(np.float64)
