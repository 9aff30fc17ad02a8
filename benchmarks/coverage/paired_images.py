"""Differences of two models on the same images, which are each for itself: of what is lost, and of accuracy."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from benchmarks.coverage.reconstruction import Variance, totals_and_shares
from benchmarks.coverage.setting import Outcome, Outcomes, Setting
from connector_bench.stats.intervals import cluster_sums
from connector_bench.stats.paired import Sums, difference

CORRECT = 0.6
"""Share of questions that each model answers."""


def of_lost(n: int, of: Variance) -> Setting:
    """Two models that lose as much."""

    def draw(rng: np.random.Generator, _: int) -> Outcomes:
        totals, shares = totals_and_shares(rng, n, of, probes=2)
        found = {}
        for name, below in (("lost", totals), ("nmse", np.ones(n))):
            one, other = (Sums(totals * share, below) for share in shares)
            found[f"difference of {name}"] = Outcome.of(difference(one, other))
        return found

    def nothing() -> Mapping[str, float]:
        return {"difference of lost": 0.0, "difference of nmse": 0.0}

    return Setting("paired", f"{of.name}, N = {n}", draw, nothing, null=True)


def of_accuracy(n: int, apart: float, questions: int = 1) -> Setting:
    """Two models that answer as many questions; `apart` is the share of answers that differ."""

    def draw(rng: np.random.Generator, _: int) -> Outcomes:
        images = np.arange(n).repeat(questions)
        chosen = rng.random(n).repeat(questions) if questions == 1 else _alike(rng, n, questions)
        both = [chosen < CORRECT, (chosen + apart / 2) % 1 < CORRECT]
        one, other = (_sums(right, images) for right in both)
        return {"difference of accuracy": Outcome.of(difference(one, other))}

    asked = f", {questions} questions an image" if questions > 1 else ""
    name = f"{apart:.0%} of answers differ, N = {n}{asked}"
    return Setting("paired", name, draw, lambda: {"difference of accuracy": 0.0}, null=True)


def _alike(rng: np.random.Generator, n: int, questions: int) -> np.ndarray:
    """Numbers in 0..1, uniform; those of one image lie close to each other, around the circle."""
    return ((rng.random(n)[:, None] + 0.2 * rng.random((n, questions))) % 1).ravel()


def _sums(right: np.ndarray, images: np.ndarray) -> Sums:
    return Sums(*cluster_sums(np.stack([right, np.ones(len(right))], axis=1).astype(float), images).T)
