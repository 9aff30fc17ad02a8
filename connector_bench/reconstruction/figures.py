"""What `patch_reconstruction` reports: figures of an image, of the whole set, and the names of all of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Bool

from connector_bench import metrics
from connector_bench.reconstruction.config import ReconstructionConfig
from connector_bench.reconstruction.lossmaps import LossMap, inside_outside, mask_areas
from connector_bench.reconstruction.probes.fitted import FittedProbes
from connector_bench.reconstruction.probes.fitted_controls import BY_PLACES, ControlProbes
from connector_bench.reconstruction.probes.size_floor import SizeFloor
from connector_bench.reconstruction.scored_images import ScoredImage
from connector_bench.reconstruction.scores import ScoreBoard, over_pairings, p_of_one_pairing, summary_json
from connector_bench.stats import jackknife
from connector_bench.stats.intervals import Score, cluster_sums
from connector_bench.stats.unlike_images import mean_error


def mask_figures(loss_map: LossMap, mask: Bool[np.ndarray, "rows columns"]) -> dict[str, float]:
    """The best probe's normalised MSE, cosine and difference of norms inside the mask and outside, and its area.

    Means over patches, weighted by how much of each lies on that side. A side that no patch touches has no
    figures: the processor's crop may have cut the answer away. `mask_area` is the share of the picture.
    """
    areas = mask_areas(loss_map.layout, mask)
    values = {"loss": loss_map.loss, "cosine": loss_map.cosine, "norm": loss_map.norm_difference}
    figures = {"mask_area": float(mask.mean())}
    for name, numbers in values.items():
        sides = zip(("inside", "outside"), inside_outside(numbers, areas), strict=True)
        figures |= {f"{name}_{side}": value for side, value in sides if not math.isnan(value)}
    return figures


TRAINED = ("attention", "mlp")
"""The paper's probe: a transformer where tokens have no place, an MLP where they have. Ours are trained too."""


def _trained(names: Mapping[str, Any], head: str) -> str:
    return next(probe for probe in TRAINED if f"{head}{probe}" in names)


def paper_row(image: ScoredImage) -> dict[str, float]:
    """One image's figures."""
    probe = _trained(image.sums, "sse_")
    return {
        "paper_mse": image.sums[f"standardized_{probe}"] / image.sums["patches"],
        "paper_r2": image.r2(probe),
        "encoder_norm": image.encoder_norm,
    }


def paper_scores(board: ScoreBoard) -> dict[str, dict[str, Any]]:
    """Both figures over all images, with intervals."""
    scores = board.scores()
    probe = _trained(scores, "r2_")
    chosen = {"paper_mse": scores[f"mse_standardized_{probe}"], "paper_r2": scores[f"r2_{probe}"]}
    return dict(summary_json(chosen))


@dataclass(frozen=True)
class ReconstructionFigures:
    """Figures per image and per document with a mask and, for the whole set, intervals and provenance."""

    per_image: dict[str, dict[str, float]]
    per_document: dict[int, dict[str, float]]
    summary: dict[str, object]
    warnings: tuple[str, ...] = field(default=())


def metric_names(config: ReconstructionConfig) -> dict[str, bool | None]:
    """Every metric these options can give, and whether higher is better (None: neither)."""
    return metrics.reported(
        "patch_reconstruction", rank=config.control_rank, published=config.protocol == "paper"
    )


def image_row(image: ScoredImage) -> dict[str, float]:
    """One image's figures, and the sums that add up to the whole set's.

    `sse` and `sst` are squared error of the best probe and squared total, over patches and dimensions, both divided
    by the training variance: `lost` of any set of images is the ratio of their sums. So is `excess`, of `excess_sse`.
    """
    figures = {name: value for name, value in image.figures().items() if name != "r2_mean"}
    total = image.sums["sst"]
    figures["sse"] = image.sums[f"sse_{image.best}"] / image.total_variance
    figures["sst"] = total / image.total_variance
    if "floor" in image.sums:
        figures["excess_sse"] = figures["sse"] - image.sums["floor"] / image.total_variance
    figures["encoder_norm"] = image.encoder_norm
    if total > 0:
        figures |= {
            name: 1 - error / total for name, error in image.control_errors.items() if "." not in name
        }
    return {name: value for name, value in figures.items() if np.isfinite(value)}


def set_scores(
    board: ScoreBoard,
    documents: Mapping[int, Mapping[str, float]],
    image_of: Mapping[int, str],
    config: ReconstructionConfig,
    more_data_helps: bool | None,
) -> dict[str, dict[str, Any]]:
    """All scores with their intervals, clustered by image, ready for JSON."""
    fewer = max(1.0, config.patch_pairs / config.control_pairs)
    scores = board.scores(more_data_helps)
    own: dict[str, Score] = {name: score for name, score in scores.items() if not name.endswith("_mean")}
    controls = board.control_scores()
    own |= {name: score for name, score in controls.items() if "." not in name}
    own |= mask_scores(documents, image_of)
    found: dict[str, dict[str, Any]] = dict(summary_json(own))
    places = controls.get(BY_PLACES)
    chance = 0.0 if places is None else places.value
    for name in found:
        seeds = [score.value for other, score in controls.items() if other.startswith(f"{name}.")]
        if len(seeds) > 1:
            found[name]["seeds"] = seeds
        if len(seeds) > 1 and name.startswith("shuffled_"):
            found[name] |= over_pairings(seeds, chance)
            if (network := found.get("shuffled_r2_mlp")) is not None:
                beyond = network["value"] - chance
                network |= {"chance": chance, "p": p_of_one_pairing(beyond, seeds, fewer)}
    return found


ERRORS = ("loss_", "norm_")
"""Begin the names of errors, which have no upper end: few images may carry most of them."""


def mask_scores(
    documents: Mapping[int, Mapping[str, float]], image_of: Mapping[int, str]
) -> dict[str, Score]:
    """Means over the documents that have the figure."""
    scores = {}
    names = {name for row in documents.values() for name in row}
    for name in sorted(metrics.of_owner(names, "question")):
        having = sorted(number for number, row in documents.items() if name in row)
        clusters = np.array([image_of[number] for number in having])
        if len(set(clusters)) >= 2:
            values = np.array([documents[number][name] for number in having])
            scores[name] = (
                mean_error(*cluster_sums(np.stack([values, np.ones_like(values)], axis=1), clusters).T)
                if name.startswith(ERRORS) and (values >= 0).all()
                else jackknife.mean(values, clusters=clusters)
            )
    return scores


def describe_probes(probes: FittedProbes) -> dict[str, dict[str, Any]]:
    """By probe: fitted numbers, patches that it has seen, and how its training went, where one was."""
    described = probes.description()
    found: dict[str, dict[str, Any]] = {
        name: {"parameters": count, "patches_seen": described["target_patches"]}
        for name, count in described["parameters"].items()
        if probes.trained or name not in TRAINED
    }
    for linear, trained, fits in (
        ("ridge", "mlp", described["cells"]),
        ("pooled", "attention", [described["attention"]] if described["attention"] else []),
    ):
        if fits:
            chosen = [fit["penalty"] for fit in fits]
            found[linear]["penalties"] = chosen if probes.learning_curve.chosen else None
        if fits and probes.trained:
            found[trained] |= _describe_training(fits)
    return found


def _describe_training(fits: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    trainings = [fit["training"] for fit in fits]
    points = [fit["curve"][-1] for fit in fits]
    each = [training["examples_seen"] / max(training["examples"], 1) for training in trainings]
    return {
        "patches": sum(point["patches"] for point in points),
        "patches_seen": round(sum(p["patches"] * n for p, n in zip(points, each, strict=True))),
        "steps": [training["steps"] for training in trainings],
        "stopped": [training["stopped"] for training in trainings],
        "more_steps_help": any(training["more_steps_help"] for training in trainings),
        "precision": trainings[0]["precision"],
        "architecture": [fit["architecture"] for fit in fits],
    }


def describe_floor(floor: SizeFloor | None, probes: FittedProbes) -> dict[str, Any] | None:
    """What `lost_floor` rests on; None where there is none."""
    if floor is None:
        return None
    return {
        "numbers": "of each patch's even share" if floor.by_patch else "of a token",
        "closed_form": floor.closed_form if floor.bottlenecks else 0.0,
        "train_images": floor.training_images,
        "pre_width": len(probes.statistics.mean),
    }


def describe_controls(controls: ControlProbes) -> dict[str, Any]:
    """What the controls' figures have to be read against."""
    return {"closed_form_r2": controls.closed_form, "control_pairs": controls.config.control_pairs}
