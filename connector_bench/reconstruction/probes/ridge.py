"""Ridge regression in closed form from moments; the penalty is chosen on validation moments.

Inputs are standardised (a penalty on raw inputs would favour whichever dimension is written in large
numbers), and a penalty is relative: `lambda = penalty * n`, added to the correlation matrix' eigenvalues,
whose mean is 1 per dimension.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from connector_bench.reconstruction.precision import affine
from connector_bench.reconstruction.probes.moments import Moments

PENALTIES = (1e-8, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)


@dataclass(frozen=True, eq=False)
class Affine:
    """`y = x @ weight + bias`, in float64."""

    weight: Float[Tensor, "d m"]
    bias: Float[Tensor, " m"]

    def __call__(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n m"]:
        """Predict, in float64: inputs with large means would cancel in float32."""
        return affine(x.to(self.weight.device), self.weight, self.bias)

    def to(self, device: torch.device | str) -> Affine:
        """The same on a device."""
        return Affine(self.weight.to(device), self.bias.to(device))


@dataclass(frozen=True)
class RidgeFit:
    """A fitted ridge and how its penalty was chosen."""

    affine: Affine
    penalty: float
    validation_r2: dict[float, float]
    """Pooled R2 on the validation fold by penalty; empty where there was no validation fold."""


def solve(moments: Moments, alpha: float, standardize: bool = True) -> Affine:
    """Minimise `|y - xW - b|^2 + alpha |W|^2` by Cholesky; the intercept is not penalised.

    With `standardize` the penalty applies to weights of inputs divided by their standard deviation. The
    same as scikit-learn's `Ridge(alpha)` behind `StandardScaler` (or alone). ValueError without rows.
    """
    if moments.n == 0:
        raise ValueError("ridge needs rows, and there were none")
    scale = _scale(moments) if standardize else torch.ones_like(moments.mean_x)
    gram = moments.xx / scale[:, None] / scale
    gram.diagonal().add_(alpha)
    weight = torch.cholesky_solve(moments.xy / scale[:, None], torch.linalg.cholesky(gram)) / scale[:, None]
    # the order of what comes back from the disk: a product's last bit depends on the order in memory
    weight = weight.contiguous()
    return Affine(weight, moments.mean_y - moments.mean_x @ weight)


def _scale(moments: Moments) -> Float[Tensor, " d"]:
    """Standard deviation of each input; 1 for an input that (to rounding) never varies."""
    deviation = (moments.xx.diagonal().clamp(min=0) / moments.n).sqrt()
    floor = 1e-12 * torch.maximum(moments.mean_x.abs(), deviation.max())
    return torch.where(deviation > floor, deviation, torch.ones_like(deviation))


def squared_error(affine: Affine, moments: Moments) -> Float[Tensor, " m"]:
    """Sum of squared errors by output dimension on the rows behind `moments`, exact, without the rows."""
    gap = moments.mean_y - moments.mean_x @ affine.weight - affine.bias
    explained = (affine.weight * (2 * moments.xy - moments.xx @ affine.weight)).sum(0)
    return (moments.yy - explained).clamp(min=0) + moments.n * gap.square()


def squared_total(mean: Float[Tensor, " m"], moments: Moments) -> Float[Tensor, " m"]:
    """Sum of squares about `mean` (the training mean) by output dimension."""
    return moments.yy + moments.n * (moments.mean_y - mean).square()


def pooled_r2(affine: Affine, moments: Moments, mean: Float[Tensor, " m"]) -> float:
    """`1 - SSE / SST`, both summed over dimensions; SST about `mean`. NaN where nothing varies."""
    total = float(squared_total(mean, moments).sum())
    return 1 - float(squared_error(affine, moments).sum()) / total if total > 0 else float("nan")


def choose(training: Moments, validation: Moments, penalties: Sequence[float] = PENALTIES) -> RidgeFit:
    """Fit on the training moments with the penalty that predicts the validation moments best.

    Ties go to the larger penalty. Without validation rows the middle of the grid is taken.
    """
    if validation.n == 0:
        penalty = sorted(penalties)[len(penalties) // 2]
        return RidgeFit(solve(training, penalty * training.n), penalty, {})
    scores: dict[float, float] = {}
    best: tuple[float, float, Affine] | None = None
    for penalty in sorted(penalties):
        affine = solve(training, penalty * training.n)
        scores[penalty] = pooled_r2(affine, validation, training.mean_y)
        if best is None or not scores[penalty] < best[0]:
            best = (scores[penalty], penalty, affine)
    assert best is not None
    return RidgeFit(best[2], best[1], scores)


def best_linear_r2(covariance: Float[Tensor, "d d"], projection: Float[Tensor, "d r"]) -> float:
    """R2 of the best linear reconstruction of `y` from `y @ projection`, from the covariance alone.

    `tr(S P (P' S P)^-1 P' S) / tr(S)`: the closed form that the rank-r control has to meet.
    """
    covariance, projection = covariance.to(torch.float64), projection.to(torch.float64)
    cross = covariance @ projection
    explained = torch.linalg.lstsq(projection.T @ cross, cross.T, driver="gelsd").solution
    return float((cross * explained.T).sum() / covariance.diagonal().sum())
