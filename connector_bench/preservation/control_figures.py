"""Overlap of controls: on at most `CONTROL_TEST_IMAGES` images as a gallery of their own, the connector's beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from connector_bench.pictures import for_controls, images_fingerprint
from connector_bench.preservation import controls
from connector_bench.preservation.neighbours.search import neighbours
from connector_bench.preservation.overlap import CommonNeighbours, chance_corrected
from connector_bench.preservation.overlap_interval import Halvings, depth, scores_of_overlap
from connector_bench.protocol import CONTROL_TEST_IMAGES

Columns = dict[str, Float[np.ndarray, " n"]]
Scores = dict[str, dict[str, Any]]


def control_rows(
    images: Sequence[str], with_untrained: Int[np.ndarray, " m"] | None = None
) -> Int[np.ndarray, " c"]:
    """The images that controls are measured on; of those `with_untrained` vectors, where any have them."""
    candidates = range(len(images)) if with_untrained is None else with_untrained.tolist()
    names = for_controls([images[row] for row in candidates], CONTROL_TEST_IMAGES)
    return np.array([row for row in candidates if images[row] in names])


@dataclass(frozen=True, eq=False)
class SearchedGallery:
    """Images that are each other's neighbours: both sides' lists, and halves of the images."""

    ks: tuple[int, ...]
    common: CommonNeighbours
    halvings: Halvings

    @classmethod
    def of(
        cls, pre: Int[np.ndarray, "n c"], post: Int[np.ndarray, "n c"], ks: Sequence[int], *, seed: int
    ) -> SearchedGallery:
        """Of lists with `depth(max(ks), n)` columns."""
        return cls(tuple(ks), CommonNeighbours.of(pre, post), Halvings.of(pre, ks, seed=seed))

    @classmethod
    def alone(
        cls,
        pre: Float[np.ndarray, "n d_pre"],
        post: Float[np.ndarray, "n d_post"],
        ks: Sequence[int],
        *,
        distance: str,
        seed: int,
    ) -> SearchedGallery:
        """Of some images' vectors, searched among themselves."""
        columns = depth(max(ks), len(pre))
        before, after = (neighbours(side, columns, distance) for side in (pre, post))
        return cls.of(before, after, ks, seed=seed)

    def overlaps(self) -> tuple[Columns, Scores]:
        """Overlap at every k, as it is and corrected for chance, by image and with intervals."""
        return self._overlaps(self.common)[:2]

    def overlaps_and_gaps(self) -> tuple[Columns, Scores]:
        """The same, and in the scores of `knor_<k>` the gaps of halves by which runs are compared."""
        columns, scores, gaps = self._overlaps(self.common)
        for k, differences in zip(self.halvings.ks, gaps.T, strict=True):
            scores[f"knor_{k}"]["halving_gaps"] = [round(float(gap), 6) for gap in differences]
        return columns, scores

    def control(self, versions: Sequence[Float[np.ndarray, "n w"]], distance: str) -> tuple[Columns, Scores]:
        """Overlaps of one control, averaged over its versions (seeds); the interval spans those of all versions."""
        results = []
        for vectors in versions:
            after = neighbours(vectors, self.common.pre.shape[1], distance, title="searching a control")
            results.append(self._overlaps(CommonNeighbours.of(self.common.pre, after))[:2])
        columns: Columns = {}
        scores: Scores = {}
        for name in results[0][0] if results else ():
            columns[name] = np.mean([found[name] for found, _ in results], axis=0)
            each = [found[name] for _, found in results]
            spans = {"low": min(score["low"] for score in each), "high": max(score["high"] for score in each)}
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
        for k, score in scores_of_overlap(common, self.ks, corrections).items():
            overlap = common.overlap(k)
            columns |= {
                f"knor_{k}": overlap,
                f"knor_adj_{k}": np.asarray(chance_corrected(overlap, k, score.n)),
            }
            scores |= {f"knor_{k}": asdict(score), f"knor_adj_{k}": asdict(score.adjusted())}
        return columns, scores, gaps


@dataclass(frozen=True)
class ControlFigures:
    """By `<control>_<metric>`; values of images that controls are not measured on are NaN."""

    columns: Columns
    scores: Scores
    extra: Mapping[str, object] = field(default_factory=dict)
    """For the record: how many images they are, and the connector's own overlap there where they are not all."""


def control_figures(
    gallery: SearchedGallery,
    images: Sequence[str],
    sides: tuple[Float[np.ndarray, "n d_pre"], Float[np.ndarray, "n d_post"]],
    rows: Int[np.ndarray, " c"],
    untrained: Sequence[Float[np.ndarray, "c d_post"]],
    widths: tuple[int, int],
    *,
    distance: str,
    seed: int,
) -> ControlFigures:
    """Overlaps of all controls among the images in `rows` alone; `gallery` is that of all images."""
    n, (pre, post) = len(images), (side[rows] for side in sides)
    extra: dict[str, object] = {"control_images": len(rows)}
    if len(rows) < n:
        ks = [k for k in gallery.ks if k <= len(rows) - 2]
        if not ks:
            return ControlFigures({}, {}, extra)
        gallery = SearchedGallery.alone(pre, post, ks, distance=distance, seed=seed)
        extra["at_control_gallery"] = {
            "n_images": len(rows),
            "images_sha256": images_fingerprint([images[row] for row in rows]),
            "scores": gallery.overlaps()[1],
        }
    columns: Columns = {}
    scores: Scores = {}
    for control, versions in _references(pre, post, untrained, widths, seed).items():
        found, found_scores = gallery.control(versions, distance)
        for name, values in found.items():
            columns[f"{control}_{name}"] = column = np.full(n, np.nan)
            column[rows] = values
        scores |= {f"{control}_{name}": score for name, score in found_scores.items()}
    return ControlFigures(columns, scores, extra)


def _references(
    pre: Float[np.ndarray, "c d_pre"],
    post: Float[np.ndarray, "c d_post"],
    untrained: Sequence[Float[np.ndarray, "c d_post"]],
    widths: tuple[int, int],
    seed: int,
) -> dict[str, Sequence[np.ndarray]]:
    before, after = widths
    tokens = pre.reshape(-1, before)
    maps = controls.linear_controls(after, seed=seed)
    found: dict[str, Sequence[np.ndarray]] = {
        name: [make(tokens).reshape(len(pre), -1)] for name, make in maps.items()
    }
    return found | {"shuffled": [controls.shuffled(post, seed=seed)], "untrained": untrained}
