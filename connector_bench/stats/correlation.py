"""Rank correlation of per-image values, and how well one predicts failure, each with its interval."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Shaped
from scipy import stats

from connector_bench.stats.cluster_bootstrap import partial_draws, rank_draws, score_of
from connector_bench.stats.intervals import Score, bootstrap, same_length


def spearman(
    x: Float[np.ndarray, " n"],
    y: Float[np.ndarray, " n"],
    *,
    clusters: Shaped[np.ndarray, " n"] | None = None,
    seed: int = 0,
    confidence: float = 0.95,
) -> Score:
    """Spearman's rank correlation (ties at their mean rank) with a bootstrap interval over images; -1..1,
    chance 0.

    With `clusters` (an image id for each question, say) whole clusters are drawn, and `n` counts clusters.
    Where one side is constant there is no order: value and interval are NaN.

    Raises:
        ValueError: lengths that differ, values not finite, or fewer than 3 images.
    """
    first, second = same_length(x, y, least=3)
    if clusters is not None:
        draws = rank_draws(np.stack([first, second]), _no_outcome(first), _ids(clusters, first), seed=seed)
        return score_of(draws.correlations[:, 0, 1], draws.clusters, chance=0.0, confidence=confidence)
    return bootstrap((first, second), _rank_correlation, seed=seed, confidence=confidence, chance=0.0)


def partial_spearman(
    x: Float[np.ndarray, " n"],
    y: Float[np.ndarray, " n"],
    control: Float[np.ndarray, "n c"] | Float[np.ndarray, " n"],
    *,
    clusters: Shaped[np.ndarray, " n"] | None = None,
    seed: int = 0,
    confidence: float = 0.95,
) -> Score:
    """Spearman's correlation of `x` and `y` with the controls' ranks regressed out of both; -1..1, chance 0.

    The Pearson correlation of the least-squares residuals of the ranks; with one control it equals
    `(r_xy - r_xc r_yc) / sqrt((1 - r_xc^2)(1 - r_yc^2))` on Spearman's correlations.

    Raises:
        ValueError: lengths that differ, values not finite, or no more images than controls + 2.
    """
    table = np.asarray(control, dtype=np.float64)
    columns = list(table.T) if table.ndim == 2 else [table]
    sides = [same_length(x, column, least=len(columns) + 3)[1] for column in columns]
    first, second = same_length(x, y)
    if clusters is not None:
        stacked = np.stack([first, second, *sides])
        draws = rank_draws(stacked, _no_outcome(first), _ids(clusters, first), seed=seed)
        partial = partial_draws(draws.correlations, 0, 1, range(2, len(stacked)))
        return score_of(partial, draws.clusters, chance=0.0, confidence=confidence)
    return bootstrap(
        (first, second, *sides), _partial_rank_correlation, seed=seed, confidence=confidence, chance=0.0
    )


def auroc(
    scores: Float[np.ndarray, " n"],
    failed: Bool[np.ndarray, " n"],
    *,
    clusters: Shaped[np.ndarray, " n"] | None = None,
    seed: int = 0,
    confidence: float = 0.95,
) -> Score:
    """How well a score (a loss) picks out the images that failed: P(score of a failure > score of a success),
    ties half.

    0..1, chance 0.5. The interval resamples failures and successes separately, so that both stay present; with
    `clusters` it draws whole clusters, and leaves out resamples with one outcome only.

    Raises:
        ValueError: lengths that differ, scores not finite, or fewer than two images of either kind.
    """
    values, labels = same_length(scores, failed)
    bad, good = values[labels > 0], values[labels <= 0]
    if min(len(bad), len(good)) < 2:
        raise ValueError(f"AUROC needs 2 failures and 2 successes, got {len(bad)} and {len(good)}")
    if clusters is not None:
        draws = rank_draws(values[None], (labels > 0)[None], _ids(clusters, values), seed=seed)
        return score_of(draws.areas[:, 0, 0], draws.clusters, chance=0.5, confidence=confidence)
    return bootstrap(
        (bad, good),
        _area,
        seed=seed,
        confidence=confidence,
        chance=0.5,
        unit="images, stratified by outcome",
        paired=False,
    )


def _no_outcome(values: np.ndarray) -> np.ndarray:
    return np.zeros((0, len(values)), dtype=bool)


def _ids(clusters: np.ndarray, values: np.ndarray) -> np.ndarray:
    ids = np.asarray(clusters)
    if ids.shape != values.shape:
        raise ValueError(f"{len(values)} values but clusters of shape {ids.shape}")
    return ids


def _rank_correlation(x: np.ndarray, y: np.ndarray, axis: int = -1) -> Any:
    return _correlation(stats.rankdata(x, axis=axis), stats.rankdata(y, axis=axis))


def _partial_rank_correlation(x: np.ndarray, y: np.ndarray, *controls: np.ndarray, axis: int = -1) -> Any:
    ranks = [stats.rankdata(side, axis=axis) for side in (x, y, *controls)]
    centred = [side - side.mean(axis=axis, keepdims=True) for side in ranks]
    basis = np.stack(centred[2:], axis=-1)
    left, right = (
        side[..., None] - basis @ (np.linalg.pinv(basis) @ side[..., None]) for side in centred[:2]
    )
    return _correlation(left[..., 0], right[..., 0])


def _correlation(x: np.ndarray, y: np.ndarray) -> Any:
    x, y = (side - side.mean(axis=-1, keepdims=True) for side in (x, y))
    with np.errstate(invalid="ignore", divide="ignore"):
        return (x * y).sum(-1) / np.sqrt(np.square(x).sum(-1) * np.square(y).sum(-1))


def _area(bad: np.ndarray, good: np.ndarray, axis: int = -1) -> Any:
    """AUROC from the rank sum of the failures (Mann and Whitney)."""
    ranks = stats.rankdata(np.concatenate([bad, good], axis=-1), axis=-1)
    m = bad.shape[-1]
    return (ranks[..., :m].sum(axis=-1) / m - (m + 1) / 2) / good.shape[-1]
