"""Figures of patch reconstruction: ratios of sums over images of unlike variance, by the board that a run fills.

The probes are held fixed, as the intervals say: what is to be covered is what very many test images would give.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from scipy import special
from torch import Tensor

from benchmarks.coverage.setting import Outcome, Outcomes, Setting
from connector_bench.reconstruction.image_errors import BatchReconstruction, Truth, Yardstick
from connector_bench.reconstruction.scored_images import ScoredBatch
from connector_bench.reconstruction.scores import ScoreBoard
from connector_bench.types import Tile, TokenLayout

PATCHES, DIMENSIONS = 4, 7
MANY = 20
"""Draws of `AT_ONCE` images, of which the truth is made."""
AT_ONCE = 40_000
_ONCE = ("r2_best", "r2_mean", "r2_median_mean", "mse_standardized_mean")
"""What says the same as another figure, or nothing."""
LAYOUT = TokenLayout((Tile((2, 2), (2, 2)),), PATCHES)


@dataclass(frozen=True)
class Variance:
    """How unlike images are: spread of the logarithm of their variance, and how the share lost leans on it."""

    name: str
    spread: float
    leaning: float


ORDINARY = Variance("ordinary", 0.4, 0.0)
HEAVY = Variance("heavy tails", 1.0, 0.0)
HEAVIER = Variance("heavier tails", 2.0, 0.0)
LEANING = Variance("heavy tails that lose less", 1.5, -0.5)
LEANING_UP = Variance("heavy tails that lose more", 1.0, 0.5)


def totals_and_shares(
    rng: np.random.Generator, n: int, of: Variance, probes: int = 1
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Every image's variance, and the share of it that each probe misses; the probes are alike."""
    totals = rng.lognormal(0, of.spread, n)
    shared = of.leaning * np.log(totals) + 0.7 * rng.normal(size=n)
    return totals, [special.expit(-1 + shared + 0.3 * rng.normal(size=n)) for _ in range(probes)]


def scored(rng: np.random.Generator, n: int, of: Variance, names: str) -> BatchReconstruction:
    """Patches of n images, and a ridge's and an MLP's of them, of which the MLP misses less; the mean is 0."""
    totals, (ridge, mlp) = totals_and_shares(rng, n, of, probes=2)
    weights = np.linspace(0.5, 1.5, DIMENSIONS)
    yardstick = Yardstick(
        torch.zeros(DIMENSIONS, dtype=torch.float64),
        torch.full(
            (DIMENSIONS,), float(np.exp(of.spread**2 / 2)) / PATCHES / DIMENSIONS, dtype=torch.float64
        ),
        float(np.exp(of.spread**2 / 2)) / PATCHES,
        1.0,
    )

    def of_size(squares: np.ndarray, scale: np.ndarray) -> Tensor:
        directions = rng.normal(size=(n, PATCHES, DIMENSIONS)) * scale
        sizes = np.sqrt(squares / np.square(directions).sum((1, 2)))
        return torch.from_numpy((directions * sizes[:, None, None]).reshape(n * PATCHES, DIMENSIONS))

    patches = of_size(totals, np.ones(DIMENSIONS))
    truth = Truth.of(patches, (LAYOUT,) * n, yardstick)
    missed = {"ridge": totals * ridge, "mlp": 0.7 * totals * mlp}
    errors = {"mean": truth.errors_of_the_mean}
    errors |= {name: truth.errors(patches + of_size(each, weights)) for name, each in missed.items()}
    return BatchReconstruction(
        tuple(f"{names}-{number}" for number in range(n)),
        (LAYOUT,) * n,
        errors,
        "mlp",
        truth.errors_of_the_mean.squared,
        truth.errors_of_the_mean.by_dimension,
        yardstick,
        torch.ones(n, 2, dtype=torch.bool),
        (patches.dtype, patches.dtype),
        (0,) * n,
    )


def of_board(n: int, of: Variance) -> Setting:
    """Every figure of a board of so many images."""

    def draw(rng: np.random.Generator, number: int) -> Outcomes:
        batch = scored(rng, n, of, str(number))
        board = ScoreBoard()
        board.add(batch, ScoredBatch(batch, torch.ones(n)).images())
        return {name: Outcome.of(score) for name, score in board.scores().items() if name not in _ONCE}

    return Setting("reconstruction", f"{of.name}, N = {n}", draw, lambda: truth_of(of, MANY))


@cache
def truth_of(of: Variance, many: int) -> Mapping[str, float]:
    """The figures of so many draws of `AT_ONCE` images, from their sums."""
    rng = np.random.default_rng(99)
    sums: dict[str, float] = {}
    by_dimension: dict[str, Tensor] = {}
    for _ in range(many):
        batch = scored(rng, AT_ONCE, of, "truth")
        names, values = batch.sums()
        for name, total in zip(names, values.sum(1).tolist(), strict=True):
            sums[name] = sums.get(name, 0.0) + total
        for name, errors in batch.errors.items():
            by_dimension[name] = by_dimension.get(name, torch.zeros(())) + errors.by_dimension.sum(0)
    patches = float(many * AT_ONCE * PATCHES)
    found = {}
    for name in ("ridge", "mlp"):
        found[f"r2_{name}"] = 1 - sums[f"sse_{name}"] / sums["sst"]
        found[f"r2_median_{name}"] = float((1 - by_dimension[name] / by_dimension["mean"]).median())
        found[f"mse_standardized_{name}"] = sums[f"standardized_{name}"] / patches
    return found | {
        "lost": 1 - found["r2_mlp"],
        "nonlinear": found["r2_mlp"] - found["r2_ridge"],
        "nmse": sums["sse_mlp"] / patches / batch.yardstick.total_variance,
        "cosine": sums["cosine_mlp"] / patches,
    }
