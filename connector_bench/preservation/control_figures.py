"""Overlap of controls: on at most `CONTROL_TEST_IMAGES` images as a gallery of their own, the connector's beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int

from connector_bench.pictures import for_controls, images_fingerprint
from connector_bench.preservation import controls
from connector_bench.preservation.gain import AgreementWith, gains_of_versions
from connector_bench.preservation.random_orders import shuffled_overlaps
from connector_bench.preservation.reference import ReferenceVectors
from connector_bench.preservation.searched_gallery import Columns, Scores, SearchedGallery
from connector_bench.protocol import CONTROL_TEST_IMAGES

BESIDE_GAIN = ("random_linear", "untrained")
"""Controls whose gain is not known beforehand."""


def control_rows(
    images: Sequence[str], with_untrained: Int[np.ndarray, " m"] | None = None
) -> Int[np.ndarray, " c"]:
    """The images that controls are measured on; of those `with_untrained` vectors, where any have them."""
    candidates = range(len(images)) if with_untrained is None else with_untrained.tolist()
    names = for_controls([images[row] for row in candidates], CONTROL_TEST_IMAGES)
    return np.array([row for row in candidates if images[row] in names])


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
    agreement: AgreementWith | None = None,
    reference: ReferenceVectors | None = None,
) -> ControlFigures:
    """Overlaps of all controls among the images in `rows` alone; `gallery` is that of all images.

    With a `reference` also the gains of those that are no oracle; `agreement` is that of all images with it.
    """
    n, (pre, post) = len(images), (side[rows] for side in sides)
    extra: dict[str, object] = {"control_images": len(rows)}
    fingerprint = images_fingerprint([images[row] for row in rows])
    if len(rows) < n:
        ks = [k for k in gallery.ks if k <= len(rows) - 2]
        if not ks:
            return ControlFigures({}, {}, extra)
        drawn = gallery.drawn.take(rows)
        gallery = SearchedGallery.alone(pre, post, ks, distance=distance, seed=seed, drawn=drawn)
        extra["at_control_gallery"] = {
            "n_images": len(rows),
            "images_sha256": fingerprint,
            "scores": gallery.overlaps()[1],
        }
        if reference is not None:
            columns_of_lists = gallery.common.pre.shape[1]
            among = reference.take(rows).lists(columns_of_lists, seed=seed)
            agreement = AgreementWith.of(among, gallery.ks, seed=seed, drawn=drawn)
            own = agreement.gains(
                *(agreement.side(side) for side in (gallery.common.pre, gallery.common.post))
            )
            extra["at_control_gallery"]["scores"] |= own[1]  # type: ignore[index]
    columns: Columns = {}
    scores: Scores = {}
    lists_of = {
        control: gallery.searched(versions, distance)
        for control, versions in _references(pre, untrained, widths, seed).items()
    }
    results = {control: gallery.control(lists) for control, lists in lists_of.items()}
    if agreement is not None:
        before = agreement.side(gallery.common.pre)
        for control, lists in lists_of.items():
            if control in BESIDE_GAIN:
                found, found_scores = gains_of_versions(agreement, before, lists)
                results[control] = (results[control][0] | found, results[control][1] | found_scores)
    results["shuffled"] = shuffled_overlaps(
        gallery.common, post, gallery.ks, distance=distance, images_sha256=fingerprint, seed=seed
    )
    for control, (found, found_scores) in results.items():
        for name, values in found.items():
            columns[f"{control}_{name}"] = column = np.full(n, np.nan)
            column[rows] = values
        scores |= {f"{control}_{name}": score for name, score in found_scores.items()}
    return ControlFigures(columns, scores, extra)


def _references(
    pre: Float[np.ndarray, "c d_pre"],
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
    return found | {"untrained": untrained}
