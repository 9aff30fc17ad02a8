"""What a probe reports of one moment of training, from tokens that pass once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from connector_bench.preservation.knn import knn_preservation
from connector_bench.preservation.neighbours.space import all_the_same
from connector_bench.reconstruction.cells import cell_rows, is_placed
from connector_bench.reconstruction.config import ReconstructionConfig
from connector_bench.reconstruction.end_to_end import mean_tokens, parts, sums_by_image
from connector_bench.reconstruction.probes.linear import POOLED, LinearProbe, LinearSample
from connector_bench.reconstruction.probes.moments import TargetStatistics
from connector_bench.reconstruction.scores import ratio_score
from connector_bench.stats.floors import LEAST_VALIDATION_IMAGES
from connector_bench.stats.intervals import Score
from connector_bench.types import TokenBatch, means_by_image

Half = Literal["training", "validation", "test"]
"""What pictures are for: to fit the ridge, to choose its penalty, or to measure it."""
OF_FIRST = "_first"
"""Ends the names of overlaps with the connector's own output at the first step."""


@dataclass(frozen=True, eq=False)
class Moment:
    """The figures of one step, and what later steps are compared with."""

    scores: dict[str, Score]
    post: Float[np.ndarray, "n d"]
    """Mean token of each picture behind the connector."""


def halves(n: int) -> list[Half]:
    """What each of `n` pictures is for, in order: a half is for testing, a fifth of the other chooses the penalty.

    At least `floors.LEAST_VALIDATION_IMAGES` choose it; where half of the other half is fewer, it is fixed.
    """
    tested = n - n // 2
    validated = max(n // 10, LEAST_VALIDATION_IMAGES) if n >= 4 * LEAST_VALIDATION_IMAGES else 0
    fitted = n - tested - validated
    counts: dict[Half, int] = {"training": fitted, "validation": validated, "test": tested}
    return [half for half, count in counts.items() for _ in range(count)]


def moment(
    batches: Iterable[TokenBatch],
    use: Sequence[Half],
    ks: Sequence[int],
    first: Float[np.ndarray, "n d"] | None,
) -> Moment:
    """Overlap with the encoder's side and with the first step, and what a ridge rebuilds of held-out pictures.

    Args:
        batches: tokens; all pictures of a batch are for the same, and those that fit come before those that test.
        use: what each batch is for.
        ks: neighbourhood sizes, at most n - 2.
        first: `Moment.post` of the first step; None at that step.

    Returns:
        `knor_<k>` and `knor_adj_<k>` with the encoder's side, `knor_<k>_first` with the first step (unless that
        gave one vector for all pictures, as a connector that begins at zero does), `r2_ridge` and `lost` (what
        the ridge does not rebuild, as a share of the variance about the training mean).

    Raises:
        ValueError: tokens are not finite, are the same for all pictures before the connector, or lie in places that
            disagree with their number.
    """
    pre, post, ridge = [], [], _Ridge()
    for batch, half in zip(batches, use, strict=True):
        pre.append(_pooled(batch.pre, batch.pre_rows))
        post.append(_pooled(batch.post, batch.post_rows))
        ridge.take(batch, half)
    before, after = np.concatenate(pre), np.concatenate(post)
    scores = dict(knn_preservation(before, after, ks=ks).scores)
    own = after if first is None else first
    if not all_the_same(own):
        since = knn_preservation(own, after, ks=ks).scores
        scores |= {f"{name}{OF_FIRST}": score for name, score in since.items() if "adj" not in name}
    return Moment(scores | ridge.scores(), after)


def _pooled(tokens: Float[Tensor, "rows d"], rows: Sequence[slice]) -> Float[np.ndarray, "images d"]:
    found: np.ndarray = means_by_image(tokens, rows).float().cpu().numpy()
    return found


@dataclass(eq=False)
class _Ridge:
    """From each token to its patches, or from the mean token to the mean patch where tokens have no place."""

    sample: LinearSample = field(default_factory=lambda: LinearSample(ReconstructionConfig()))
    patches: TargetStatistics | None = None
    probe: LinearProbe | None = None
    placed: bool | None = None
    errors: list[float] = field(default_factory=list)
    totals: list[float] = field(default_factory=list)

    def take(self, batch: TokenBatch, half: Half) -> None:
        if self.placed is None:
            self.placed = all(map(is_placed, batch.layouts))
        if half == "test":
            self._test(batch)
            return
        if half == "training":
            own = TargetStatistics.of(batch.pre)
            self.patches = own if self.patches is None else self.patches + own
        if self.placed:
            for rows in cell_rows(batch, range(len(batch))):
                self.sample.add(half, rows.shape, rows.x(batch.post), rows.y(batch.pre))
        else:
            patches = means_by_image(batch.pre, batch.pre_rows)
            self.sample.add(half, POOLED, mean_tokens(batch.post, batch.layouts), patches)

    def _test(self, batch: TokenBatch) -> None:
        assert self.patches is not None
        if self.probe is None:
            self.patches.require_spread()
        device = batch.post.device
        if self.probe is None:
            self.probe = self.sample.fit(device).to(device)
            self.patches = replace(self.patches, mean=self.patches.mean.to(device))
        mean = self.patches.mean
        for part in parts(batch):
            predicted = self.probe.predict(part.post, part.layouts, mean)
            patches = part.pre.double()
            squares = torch.stack([(patches - predicted).square().sum(1), (patches - mean).square().sum(1)])
            errors, totals = sums_by_image(squares, [layout.n_pre for layout in part.layouts], dim=1).tolist()
            self.errors += errors
            self.totals += totals

    def scores(self) -> dict[str, Score]:
        return {
            "r2_ridge": ratio_score(self.errors, self.totals, sign=-1.0, offset=1.0, chance=0.0),
            "lost": ratio_score(self.errors, self.totals, chance=1.0),
        }
