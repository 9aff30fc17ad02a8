"""Correlations over few connectors, and the difference of two of them that share the score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from benchmarks.coverage.setting import Outcome, Outcomes, Setting
from connector_bench.association.across import correlate
from connector_bench.association.contrast import contrasts
from connector_bench.association.values import AcrossConnectors, Point, SeedValue, Settings
from connector_bench.headlines import WHOLE_LOSSES

SEEDS, SCATTER = 3, 0.3
"""Seeds of a connector, and their standard deviation where that of the connectors is 1."""


def points(losses: np.ndarray, scores: np.ndarray) -> tuple[Point, ...]:
    """A point a connector, of its seeds' losses and scores, `[connectors, seeds]`."""
    return tuple(
        Point(
            str(number),
            "trained",
            tuple(
                SeedValue(f"{number} {seed}", *values) for seed, values in enumerate(zip(*own, strict=True))
            ),
            *(float(side.mean()) for side in own),
        )
        for number, own in enumerate(zip(losses, scores, strict=True))
    )


def scattered(rng: np.random.Generator, n: int, correlations: Sequence[Sequence[float]]) -> np.ndarray:
    """Values of connectors and their seeds, `[sides, connectors, seeds]`."""
    true = rng.multivariate_normal(np.zeros(len(correlations)), correlations, n).T
    return true[:, :, None] + SCATTER * rng.normal(size=(*true.shape, SEEDS))


def rank_correlation_of(rho: float) -> float:
    """Spearman's, of very many connectors' means over seeds."""
    return float(6 / np.pi * np.arcsin(rho / (1 + SCATTER**2 / SEEDS) / 2))


def of_connectors(n: int, rho: float) -> Setting:
    def draw(rng: np.random.Generator, seed: int) -> Outcomes:
        sides = scattered(rng, n, [[1, rho], [rho, 1]])
        return {"Spearman": Outcome.of(correlate(points(*sides), Settings(seed=seed)))}

    def truth() -> Mapping[str, float]:
        return {"Spearman": rank_correlation_of(rho)}

    return Setting("connectors", f"{n} connectors, {rho:g}", draw, truth, null=rho == 0, more=4)


def of_contrast(n: int, first: float, second: float, between: float) -> Setting:
    """`lost` and `1 - knor_10`, which go with the score by `first` and `second`, and with each other by `between`."""

    def draw(rng: np.random.Generator, _: int) -> Outcomes:
        *losses, score = scattered(rng, n, [[1, between, first], [between, 1, second], [first, second, 1]])
        across = []
        for name, loss in zip(reversed(WHOLE_LOSSES), losses, strict=True):
            own = points(loss, score)
            told = {"trained": correlate(own, Settings())}
            across.append(
                AcrossConnectors(name, name, "task", "accuracy", frozenset({"scenes"}), own, told, {})
            )
        (found,) = contrasts(across, Settings())
        return {"difference of two": Outcome.of(found.difference)}

    def truth() -> Mapping[str, float]:
        return {"difference of two": rank_correlation_of(first) - rank_correlation_of(second)}

    name = f"{n} connectors, {first:g} and {second:g}, {between:g} between"
    return Setting("contrasts", name, draw, truth, null=first == second, more=4)
