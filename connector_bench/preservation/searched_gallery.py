"""Images that are searched among themselves on both sides: what the connector keeps and what its controls do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from connector_bench.preservation.drawn_together import Drawn
from connector_bench.preservation.neighbours.search import neighbours
from connector_bench.preservation.overlap import CommonNeighbours, chance_corrected
from connector_bench.preservation.overlap_interval import Halvings, depth, scores_of_overlap
from connector_bench.stats.intervals import plain

Columns = dict[str, Float[np.ndarray, " n"]]
"""A value per image, by metric."""
Scores = dict[str, dict[str, Any]]
"""A `Score` as plain values, by metric."""


@dataclass(frozen=True, eq=False)
class SearchedGallery:
    """Images that are each other's neighbours: both sides' lists, and halves of the images."""

    ks: tuple[int, ...]
    common: CommonNeighbours
    halvings: Halvings

    @classmethod
    def of(
        cls,
        pre: Int[np.ndarray, "n c"],
        post: Int[np.ndarray, "n c"],
        ks: Sequence[int],
        *,
        seed: int,
        drawn: Drawn | None = None,
    ) -> SearchedGallery:
        """Of lists with `depth(max(ks), n, drawn.most)` columns."""
        return cls(tuple(ks), CommonNeighbours.of(pre, post), Halvings.of(pre, ks, drawn=drawn, seed=seed))

    @classmethod
    def alone(
        cls,
        pre: Float[np.ndarray, "n d_pre"],
        post: Float[np.ndarray, "n d_post"],
        ks: Sequence[int],
        *,
        distance: str,
        seed: int,
        drawn: Drawn | None = None,
        device: str = "cpu",
    ) -> SearchedGallery:
        """Of some images' vectors, searched among themselves."""
        columns = depth(max(ks), len(pre), drawn.most if drawn else 1)
        before, after = (neighbours(side, columns, distance, device=device) for side in (pre, post))
        return cls.of(before, after, ks, seed=seed, drawn=drawn)

    @property
    def drawn(self) -> Drawn:
        """Which images were drawn together."""
        return self.halvings.drawn

    def overlaps(self) -> tuple[Columns, Scores]:
        """Overlap at every k, as it is and corrected for chance, by image and with intervals."""
        return self._overlaps(self.common)[:2]

    def overlaps_and_gaps(self) -> tuple[Columns, Scores]:
        """The same, and in the scores of `knor_<k>` the gaps of halves by which runs are compared."""
        columns, scores, gaps = self._overlaps(self.common)
        for k, differences in zip(self.halvings.ks, gaps.T, strict=True):
            scores[f"knor_{k}"]["halving_gaps"] = [round(float(gap), 6) for gap in differences]
        return columns, scores

    def searched(
        self, versions: Sequence[Float[np.ndarray, "n w"]], distance: str
    ) -> list[Int[np.ndarray, "n c"]]:
        """The lists of a control's versions (seeds), with as many columns as the connector's."""
        columns = self.common.pre.shape[1]
        return [neighbours(vectors, columns, distance, title="searching a control") for vectors in versions]

    def control(self, versions: Sequence[Int[np.ndarray, "n c"]]) -> tuple[Columns, Scores]:
        """Overlaps of one control, averaged over its versions (seeds); the interval spans those of all versions."""
        results = [self._overlaps(CommonNeighbours.of(self.common.pre, after))[:2] for after in versions]
        columns: Columns = {}
        scores: Scores = {}
        for name in results[0][0] if results else ():
            columns[name] = np.mean([found[name] for found, _ in results], axis=0)
            each = [found[name] for _, found in results]
            given = all(score["low"] is not None for score in each)
            spans = {
                end: furthest(score[end] for score in each) if given else None
                for end, furthest in (("low", min), ("high", max))
            }
            values = [score["value"] for score in each]
            scores[name] = each[0] | spans | {"value": float(np.mean(values))}
            if len(values) > 1:
                scores[name] |= {
                    "method": f"{each[0]['method']}; span over {len(values)} seeds",
                    "seeds": values,
                }
        return columns, scores

    def _overlaps(self, common: CommonNeighbours) -> tuple[Columns, Scores, Float[np.ndarray, "t ks"]]:
        gaps = self.halvings.gaps(common)
        columns: Columns = {}
        scores: Scores = {}
        corrections = self.halvings.jackknife_correction(common, gaps)
        for k, score in scores_of_overlap(common, self.ks, corrections, drawn=self.drawn).items():
            overlap = common.overlap(k)
            columns |= {
                f"knor_{k}": overlap,
                f"knor_adj_{k}": np.asarray(chance_corrected(overlap, k, score.n)),
            }
            scores |= {f"knor_{k}": plain(score), f"knor_adj_{k}": plain(score.adjusted())}
        return columns, scores, gaps
