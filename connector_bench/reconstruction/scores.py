"""Scores of patch reconstruction over a data set, with intervals.

`R2 = 1 - SSE / SST`, sums over patches and dimensions, SST about the *training* mean, so that predicting
that mean scores exactly 0. Over a data set it is a ratio of sums over images, never a mean of ratios, and
its interval leaves images out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from scipy import special, stats
from torch import Tensor

from connector_bench.reconstruction.cells import on_device
from connector_bench.reconstruction.folds import Ledger, image_key
from connector_bench.reconstruction.image_errors import BatchReconstruction
from connector_bench.reconstruction.kept_rows import KeptRows
from connector_bench.reconstruction.scored_images import ScoredImage
from connector_bench.stats import jackknife
from connector_bench.stats.bounds import bound_of
from connector_bench.stats.floors import LEAST_IMAGES, too_few
from connector_bench.stats.intervals import Score, bounded, plain
from connector_bench.stats.unlike_images import EVENLY_CARRIED, mean_error

CONTROL = "control "
"""Begins the names of sums that belong to controls."""
OF_THESE = "; these probes, test images"
"""Ends how an interval was made: other probes or training images would give another figure, which it does not hold."""
REPLICATES = 200
"""Resamples of the per-dimension median, kept as running sums."""
OF_A_DIMENSION = 30
"""Degrees of freedom by which images pull less evenly in the dimensions in the middle than in all together."""


def ratio_score(
    numerator: Sequence[float],
    denominator: Sequence[float],
    *,
    sign: float = 1.0,
    offset: float = 0.0,
    chance: float | None = None,
) -> Score:
    """`offset + sign * sum(numerator) / sum(denominator)`, with a jackknife over images: see `jackknife.ratio`.

    A ratio of sums, so patches are clustered by image.
    """
    top, bottom = np.asarray(numerator, dtype=np.float64), np.asarray(denominator, dtype=np.float64)
    score = jackknife.ratio(top, bottom, sign=sign, offset=offset, chance=chance)
    return replace(score, method=score.method + OF_THESE) if math.isfinite(score.low) else score


def _error_score(numerator: Sequence[float], denominator: Sequence[float]) -> Score:
    """The same of errors over what does not come from the test images, which the few largest may carry."""
    score = mean_error(np.asarray(numerator), np.asarray(denominator), chance=1.0)
    return replace(score, method=score.method + OF_THESE) if math.isfinite(score.low) else score


def _r2_score(errors: Sequence[float], totals: Sequence[float]) -> Score:
    return ratio_score(errors, totals, sign=-1.0, offset=1.0, chance=0.0)


def _excess(errors: Sequence[float], columns: Mapping[str, Sequence[float]]) -> Score:
    """What a probe loses beyond the best linear map of the connector's size, both on the same images."""
    score = ratio_score(np.subtract(errors, columns["floor"]).tolist(), columns["sst"])
    if not math.isfinite(score.low):
        return score
    return replace(score, method=f"{score.method}, bottleneck of the training images held fixed")


class ScoreBoard:
    """Collects images and turns them into figures; boards of other processes add up, in any order."""

    def __init__(self) -> None:
        self._sums = KeptRows()
        self._best: str | None = None
        self._total_variance = math.nan
        self._by_dimension: dict[str, Tensor] = {}
        self.unfitted_patches = 0
        self.tokens_per_image: dict[str, list[int]] = {}
        """Fewest and most of an image, by side."""

    def add(self, batch: BatchReconstruction, images: Sequence[ScoredImage]) -> None:
        """Take images: what they rebuilt by dimension stays where it is, their sums are plain numbers.

        ValueError where one was taken before or came from other probes.
        """
        for image in images:
            if image.image_id in self._sums:
                raise ValueError(f"image {image.image_id!r} was scored already")
            self._agree(image.best, image.total_variance)
            of_controls = {f"{CONTROL}{name}": error for name, error in image.control_errors.items()}
            self._sums[image.image_id] = image.sums | of_controls
            self.unfitted_patches += image.unfitted_patches
            self._widen({"pre": [image.layout.n_pre], "post": [image.layout.n_post]})
        weights = torch.stack([_poisson_weights(image.image_id) for image in images], dim=1)
        weights = on_device(weights.numpy(), batch.total_by_dimension.device)
        self._grow("total", weights, batch.total_by_dimension)
        for name, errors in batch.errors.items():
            self._grow(name, weights, errors.by_dimension)

    def absorb(self, other: ScoreBoard) -> None:
        """Take over another board; ValueError where both hold an image."""
        if not other._sums:
            return
        common = self._sums.keys() & other._sums.keys()
        if common:
            raise ValueError(f"{len(common)} images are on both boards, such as {min(common)!r}")
        assert other._best is not None
        self._agree(other._best, other._total_variance)
        self._sums.update(other._sums)
        self.unfitted_patches += other.unfitted_patches
        self._widen(other.tokens_per_image)
        for name, sums in other._by_dimension.items():
            sums = sums.cpu()
            self._by_dimension[name] = self._by_dimension[name] + sums if name in self._by_dimension else sums

    def _widen(self, counts: Mapping[str, Sequence[int]]) -> None:
        for side, numbers in counts.items():
            both = [*self.tokens_per_image.get(side, ()), *numbers]
            self.tokens_per_image[side] = [min(both), max(both)]

    def _agree(self, best: str, total_variance: float) -> None:
        if self._best is not None and (best, total_variance) != (self._best, self._total_variance):
            raise ValueError("these images were scored by other probes than those on the board")
        self._best, self._total_variance = best, total_variance

    def _grow(
        self, name: str, weights: Float[Tensor, "replicates images"], values: Float[Tensor, "images d_pre"]
    ) -> None:
        if name not in self._by_dimension:
            self._by_dimension[name] = values.new_zeros(len(weights), values.shape[1])
        self._by_dimension[name] = self._by_dimension[name].to(values.device).addmm_(weights, values)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Everything on the board, as tensors and plain values: what `RunStore.write` takes."""
        meta = {
            "sums": dict(self._sums),
            "best": self._best,
            "total_variance": None if math.isnan(self._total_variance) else self._total_variance,
            "unfitted_patches": self.unfitted_patches,
            "tokens_per_image": self.tokens_per_image,
        }
        return {name: sums.cpu() for name, sums in self._by_dimension.items()}, meta

    @classmethod
    def from_state(cls, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> ScoreBoard:
        """The inverse of `state`."""
        self = cls()
        self._sums, self._best = KeptRows(meta["sums"]), meta["best"]
        self._total_variance = math.nan if meta["total_variance"] is None else meta["total_variance"]
        self._by_dimension, self.unfitted_patches = dict(tensors), meta["unfitted_patches"]
        self._widen(meta.get("tokens_per_image", {}))
        return self

    def __contains__(self, image_id: str) -> bool:
        return image_id in self._sums

    def __len__(self) -> int:
        return len(self._sums)

    @property
    def images(self) -> Ledger:
        """The images on the board."""
        return Ledger.of(self._sums)

    def scores(self, more_data_helps: bool | None = None) -> dict[str, Score]:
        """Every figure over all images, under the harness's names; ValueError on an empty board.

        Where `more_data_helps`, as `FittedProbes.learning_curve` says, those of the best probe are bounds.
        """
        if not self._sums or self._best is None:
            raise ValueError("no image was scored")
        columns = _columns(self._rows())
        probes = [name for name in self._by_dimension if name != "total"]
        scores: dict[str, Score] = {}
        for name in probes:
            scores[f"r2_{name}"] = _r2_score(columns[f"sse_{name}"], columns["sst"])
            scores[f"r2_median_{name}"] = self._median_r2(name, columns)
            standardized = columns[f"standardized_{name}"]
            scores[f"mse_standardized_{name}"] = _error_score(standardized, columns["patches"])
        best = columns[f"sse_{self._best}"]
        scores["r2_best"] = scores[f"r2_{self._best}"]
        scores["lost"] = ratio_score(best, columns["sst"], chance=1.0)
        if "floor" in columns:
            scores["lost_floor"] = ratio_score(columns["floor"], columns["sst"])
            scores["excess"] = _excess(best, columns)
        if "average" in columns:
            scores["lost_average"] = ratio_score(columns["average"], columns["sst"], chance=1.0)
        if "mlp" in probes:
            gain = np.subtract(columns["sse_ridge"], columns["sse_mlp"])
            scores["nonlinear"] = ratio_score(gain.tolist(), columns["sst"])
        variance = np.multiply(columns["patches"], self._total_variance)
        scores["nmse"] = _error_score(best, variance.tolist())
        scores["cosine"] = ratio_score(columns[f"cosine_{self._best}"], columns["patches"], chance=0.0)
        return {name: bounded(score, bound_of(name, more_data_helps)) for name, score in scores.items()}

    def control_scores(self) -> dict[str, Score]:
        """R2 of every control, by figure, over the images on which controls were measured."""
        columns = _columns([row for row in self._rows() if _has_controls(row)])
        scores = {
            name.removeprefix(CONTROL): _r2_score(errors, columns["sst"])
            for name, errors in columns.items()
            if name.startswith(CONTROL)
        }
        for linear in ("ridge", "pooled"):
            if "floor" in columns and (name := f"{CONTROL}untrained_r2_{linear}") in columns:
                scores["untrained_excess"] = _excess(columns[name], columns)
        return scores

    @property
    def control_images(self) -> int:
        """Images on which controls were measured."""
        return sum(map(_has_controls, self._sums.values()))

    def _rows(self) -> list[dict[str, float]]:
        """Sums of all images in the order of the images' hashes: intervals do not depend on arrival."""
        return [self._sums[image_id] for image_id in sorted(self._sums, key=image_key)]

    def _median_r2(self, name: str, columns: Mapping[str, Sequence[float]]) -> Score:
        """Median over dimensions of R2, with a Poisson bootstrap over images kept as running sums.

        Below `EVENLY_CARRIED` images the t distribution has the degrees of freedom of the pooled R2 and
        `OF_A_DIMENSION` together.
        """
        total, errors = self._by_dimension["total"], self._by_dimension[name]
        r2 = torch.where(total > 0, 1 - errors / total, torch.nan)
        medians = r2.nanmedian(dim=1).values
        value, n = float(medians[0]), len(self._sums)
        if n < LEAST_IMAGES:
            return Score(value, math.nan, math.nan, n, 0.0, too_few(n, LEAST_IMAGES))
        freedom = float(n - 1)
        if n < EVENLY_CARRIED:
            without = jackknife.ratio_without_each(np.array(columns[f"sse_{name}"]), np.array(columns["sst"]))
            pooled = jackknife.estimate(value, without, "sums").freedom
            freedom = 1 / (1 / pooled + 1 / OF_A_DIMENSION)
        reach = -float(special.stdtrit(freedom, 0.025)) * float(medians[1:].std())
        method = f"95 % t interval, Poisson bootstrap over images of {REPLICATES} replicates{OF_THESE}"
        return Score(value, value - reach, value + reach, n, 0.0, method)


def _has_controls(row: Mapping[str, float]) -> bool:
    return any(name.startswith(CONTROL) for name in row)


def _columns(rows: Sequence[Mapping[str, float]]) -> dict[str, list[float]]:
    """Sums that all of these images have."""
    names = rows[0] if rows else ()
    return {name: [row[name] for row in rows] for name in names if all(name in row for row in rows)}


def _poisson_weights(image_id: str) -> Float[Tensor, " replicates"]:
    """1, then Poisson(1) weights that depend on the image alone (Hanley and MacGibbon 2006)."""
    draws = np.random.default_rng(image_key(image_id, salt="bootstrap")).poisson(1.0, REPLICATES)
    return torch.from_numpy(np.concatenate([[1.0], draws]))


def over_pairings(values: Sequence[float], chance: float = 0.0) -> dict[str, Any]:
    """Mean of R2 over random pairings: t interval, and `p` that such a mean or a higher one is chance.

    One-sided, as below chance is what noise does. The null is right or cautious: over pairings a fit agrees with the
    truth by `chance` on average, what places alone tell, and its own variance takes R2 down.
    """
    count, mean = len(values), float(np.mean(values))
    error = float(np.std(values, ddof=1)) / math.sqrt(count)
    half = float(stats.t.ppf(0.975, count - 1)) * error
    p = float(stats.t.sf((mean - chance) / error, count - 1)) if error > 0 else float(mean <= chance)
    method = f"95 % t interval over {count} random pairings"
    return {
        "value": mean,
        "low": mean - half,
        "high": mean + half,
        "method": method,
        "chance": chance,
        "p": p,
    }


def p_of_one_pairing(value: float, others: Sequence[float], fewer: float) -> float:
    """`p` of R2 of a probe that was fitted to one pairing, by the spread of ridges over others.

    It starts at a ridge, so its noise is theirs; from `fewer` times fewer pairs at most, that of the square root more.
    """
    error = float(np.std(others, ddof=1)) * math.sqrt((1 + 1 / len(others)) * fewer)
    return float(stats.t.sf(value / error, len(others) - 1)) if error > 0 else float(value <= 0)


def summary_json(scores: Mapping[str, Score]) -> dict[str, dict[str, Any]]:
    """Scores as plain values; NaN becomes null, which JSON knows."""
    return {name: plain(score) for name, score in scores.items()}
