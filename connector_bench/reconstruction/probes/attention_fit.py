"""Gathering for and fitting of the attention probe, and of the pooled ridge that it starts from."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import reduce
from operator import add

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from connector_bench.reconstruction.cells import on_device
from connector_bench.reconstruction.config import DTYPES, ReconstructionConfig
from connector_bench.reconstruction.end_to_end import image_of_patch, mean_tokens, padded, unpadded
from connector_bench.reconstruction.folds import FOLDS, FRACTIONS, Fold, image_key, unit_keys
from connector_bench.reconstruction.patch_boxes import query_boxes
from connector_bench.reconstruction.precision import fit_device, with_room
from connector_bench.reconstruction.probes.attention_batches import (
    ImageSample,
    PackedImages,
    errors_by_image,
    summed,
)
from connector_bench.reconstruction.probes.attention_probe import (
    PARTS,
    AttentionProbe,
    AttentionShape,
    SampledImage,
    TokenPlaces,
    places_and_boxes,
)
from connector_bench.reconstruction.probes.cell_fit import CurvePoint, nested
from connector_bench.reconstruction.probes.gains import ImageGains
from connector_bench.reconstruction.probes.mlp import CHUNK
from connector_bench.reconstruction.probes.moments import Moments, MomentsStream, TargetStatistics
from connector_bench.reconstruction.probes.reservoir import SLACK
from connector_bench.reconstruction.probes.ridge import RidgeFit, choose
from connector_bench.reconstruction.probes.training_loop import TrainingRecord, build_seeded, train
from connector_bench.types import TokenBatch, TokenLayout, means_by_image


class ImageReservoir:
    """Keeps the `capacity` images with the smallest hashes, on their device; without a dtype in their precision."""

    def __init__(self, capacity: int, patches: int, dtype: torch.dtype | None) -> None:
        self.capacity, self.patches, self.dtype = capacity, patches, dtype
        self._images: dict[int, SampledImage] = {}
        self._ceiling: int | None = None

    def add(self, image_id: str, fold: Fold, pre: Tensor, post: Tensor, layout: TokenLayout) -> None:
        """Offer an image."""
        self._move(post.device)
        key = image_key(image_id, salt="attention")
        if self._ceiling is not None and key > self._ceiling:
            return
        keys = unit_keys(image_id, len(pre), salt="attention")
        chosen = np.sort(np.argsort(keys, kind="stable")[: self.patches])
        places = TokenPlaces.of(layout)
        boxes = torch.from_numpy(query_boxes(layout)).to(torch.float32)
        self._images[key] = SampledImage(
            FOLDS.index(fold),
            post.to(self.dtype or post.dtype, copy=True),
            places.index[0],
            places.boxes[0],
            pre.index_select(0, on_device(chosen, pre.device)).to(self.dtype or pre.dtype),
            boxes[torch.from_numpy(chosen)],
        )
        if len(self._images) > SLACK * self.capacity:
            self._compact()

    @property
    def device(self) -> torch.device | None:
        """Where the images lie; None where there is none."""
        return next((image.tokens.device for image in self._images.values()), None)

    def _move(self, device: torch.device) -> None:
        """Move what lies elsewhere, as what was read back does; places stay on the CPU."""
        for key, image in self._images.items() if self.device not in (None, device) else ():
            self._images[key] = replace(
                image, tokens=image.tokens.to(device), patches=image.patches.to(device)
            )

    def _compact(self) -> None:
        kept = sorted(self._images)[: self.capacity]
        self._images = {key: self._images[key] for key in kept}
        if len(kept) == self.capacity:
            self._ceiling = kept[-1]

    def images(self) -> list[SampledImage]:
        """The images in the order of their hashes."""
        self._compact()
        return [self._images[key] for key in sorted(self._images)]

    def absorb(self, other: ImageReservoir) -> None:
        """Merge the sample of other images; ValueError where the options differ."""
        mine, theirs = (self.capacity, self.patches, self.dtype), (other.capacity, other.patches, other.dtype)
        if mine != theirs:
            raise ValueError(f"image samples of {mine} and {theirs} do not merge")
        device = self.device or other.device
        self._images = other._images | self._images
        self._compact()
        if device is not None:
            self._move(device)

    def tensors(self, prefix: str) -> dict[str, Tensor]:
        """Everything under `prefix.`, for safetensors: parts of all images end to end, and their lengths."""
        images = self.images()
        if not images:
            return {}
        keys = np.array(sorted(self._images), dtype=np.uint64).view(np.int64)
        stored = {
            f"{prefix}.{part}": torch.cat([getattr(image, part) for image in images]).cpu() for part in PARTS
        }
        stored[f"{prefix}.keys"] = torch.from_numpy(keys.copy())
        stored[f"{prefix}.folds"] = torch.tensor([image.fold for image in images])
        stored[f"{prefix}.token_counts"] = torch.tensor([len(image.tokens) for image in images])
        stored[f"{prefix}.patch_counts"] = torch.tensor([len(image.patches) for image in images])
        return stored

    def load(self, prefix: str, tensors: Mapping[str, Tensor]) -> None:
        """Take in what `tensors` wrote."""
        if f"{prefix}.keys" not in tensors:
            return
        counts = {name: tensors[f"{prefix}.{name}_counts"].tolist() for name in ("token", "patch")}
        split = {
            part: tensors[f"{prefix}.{part}"].split(counts["patch" if part.startswith("patch") else "token"])
            for part in PARTS
        }
        keys = tensors[f"{prefix}.keys"].numpy().view(np.uint64)
        for row, (key, fold) in enumerate(zip(keys, tensors[f"{prefix}.folds"].tolist(), strict=True)):
            self._images[int(key)] = SampledImage(fold, *(split[part][row] for part in PARTS))


class AttentionSample:
    """All that is kept of the training images for the attention probe."""

    def __init__(self, d_in: int, d_out: int, config: ReconstructionConfig) -> None:
        self.d_in, self.d_out, self.config = d_in, d_out, config
        self.pooled = {fold: MomentsStream(d_in, d_out, config.chunk_rows, config.sums) for fold in FOLDS}
        dtype = DTYPES[config.reservoir_dtype]
        self.training = ImageReservoir(config.attention_images, config.attention_patches, dtype)
        share = math.ceil(config.attention_images * config.validation)
        self.validation = ImageReservoir(share, config.attention_patches, dtype)

    def add(self, batch: TokenBatch, pre: Float[Tensor, "rows d_out"], folds: Sequence[Fold | None]) -> None:
        """Take the images of a batch that have a fold; `pre` are the patches that are to be reconstructed."""
        post = batch.post.detach()
        x, y = means_by_image(post, batch.post_rows), means_by_image(pre, batch.pre_rows)
        for fold in FOLDS:
            positions = [position for position, own in enumerate(folds) if own == fold]
            if not positions:
                continue
            rows = on_device(np.array(positions), post.device)
            self.pooled[fold].add(x.index_select(0, rows), y.index_select(0, rows))
            images = self.validation if fold == "validation" else self.training
            for position in positions:
                own_pre, own_post = pre[batch.pre_rows[position]], post[batch.post_rows[position]]
                images.add(batch.images[position], fold, own_pre, own_post, batch.layouts[position])

    def absorb(self, other: AttentionSample) -> None:
        """Merge the sample of other images."""
        for fold in FOLDS:
            self.pooled[fold].absorb(other.pooled[fold].value())
        self.training.absorb(other.training)
        self.validation.absorb(other.validation)

    def without_validation(self) -> AttentionSample:
        """The same training images, and none to choose by."""
        left = copy(self)
        none = AttentionSample(self.d_in, self.d_out, self.config)
        left.pooled = {**self.pooled, "validation": none.pooled["validation"]}
        left.validation = none.validation
        return left

    def tensors(self, prefix: str) -> dict[str, Tensor]:
        """Everything under `prefix.`, for safetensors."""
        stored: dict[str, Tensor] = {}
        for fold in FOLDS:
            stored.update(self.pooled[fold].tensors(f"{prefix}.{fold}"))
        stored.update(self.training.tensors(f"{prefix}.training_images"))
        stored.update(self.validation.tensors(f"{prefix}.validation_images"))
        return stored

    def load(self, prefix: str, tensors: Mapping[str, Tensor]) -> None:
        """Take in what `tensors` wrote."""
        for fold in FOLDS:
            self.pooled[fold].load(f"{prefix}.{fold}", tensors)
        self.training.load(f"{prefix}.training_images", tensors)
        self.validation.load(f"{prefix}.validation_images", tensors)

    @property
    def device(self) -> torch.device:
        """Where the sampled images lie."""
        images = self.training.images()
        return images[0].tokens.device if images else torch.device("cpu")


@dataclass(frozen=True, eq=False)
class AttentionFit:
    """A fitted attention probe."""

    pooled: RidgeFit
    probe: AttentionProbe
    training: TrainingRecord
    curve: tuple[CurvePoint, ...]
    gains: ImageGains | None = None
    """The attention probe's over the pooled ridge on the validation images; None where the probes were read back."""

    @torch.no_grad()
    def predict(
        self, post: Float[Tensor, "n_post d_in"], layouts: tuple[TokenLayout, ...]
    ) -> dict[str, Float[Tensor, "n_pre d_out"]]:
        """Both probes' patches of images end to end, float64."""
        pooled = self.pooled.affine(mean_tokens(post, layouts))
        places, boxes = places_and_boxes(layouts, post.device)
        answer = self.probe(padded(post, [layout.n_post for layout in layouts]), places, boxes)
        attended = unpadded(answer, [layout.n_pre for layout in layouts])
        return {
            "pooled": pooled[image_of_patch(layouts, post.device)],
            "attention": self.probe.targets.inverse(attended),
        }


def fit_attention(
    sample: AttentionSample, statistics: TargetStatistics, config: ReconstructionConfig, troubles: list[str]
) -> AttentionFit:
    """Fit on all training images, and on 1/4 and 1/2 of them for the learning curve.

    On the sample's device, if `config` names no other and it has room; the probes come back on the CPU.
    """
    return with_room(
        "the attention probe",
        lambda device: _fit_attention(sample, statistics, config, device),
        fit_device(config.device, sample.device),
        troubles,
    )


def _fit_attention(
    sample: AttentionSample, statistics: TargetStatistics, config: ReconstructionConfig, device: torch.device
) -> AttentionFit:
    held_out = sample.pooled["validation"].value().to(device)
    images = sample.validation.images()
    validation = PackedImages.of(images, device) if images else None
    points: list[CurvePoint] = []
    fitted: tuple[RidgeFit, AttentionProbe, TrainingRecord] | None = None
    gains: ImageGains | None = None
    for fold, moments in nested(sample.pooled, config.curve, device):
        images = [image for image in sample.training.images() if image.fold <= FOLDS.index(fold)]
        if not images:
            continue
        ridge = choose(moments, held_out, config.penalties)
        training = PackedImages.of(images, device)
        probe, record = _fit_probe(training, validation, config)
        batch = config.attention_schedule.batch_size
        by_image = errors_by_image(validation, ridge.affine, probe, statistics.mean.to(device), batch)
        points.append(CurvePoint(FRACTIONS[fold], len(training.patches), *summed(by_image)))
        gains = ImageGains.of(torch.arange(by_image.shape[1]), by_image[0] - by_image[1])
        fitted = replace(ridge, affine=ridge.affine.to("cpu")), probe.to("cpu"), record
    if fitted is None:
        raise ValueError("no training image was given")
    return AttentionFit(*fitted, tuple(points), gains)


def _fit_probe(
    training: PackedImages, validation: PackedImages | None, config: ReconstructionConfig
) -> tuple[AttentionProbe, TrainingRecord]:
    probe = untrained_probe(training, validation, config)
    batches = ImageSample(probe, training, validation, config.attention_schedule.batch_size)
    return probe, train(probe, batches, config.attention_schedule)


def untrained_probe(
    training: PackedImages, validation: PackedImages | None, config: ReconstructionConfig
) -> AttentionProbe:
    """The probe before its first step. All it starts from comes from the sampled images, as for the MLP."""
    tokens, patches = _statistics(training.tokens), _statistics(training.patches)
    shape = AttentionShape(
        training.tokens.shape[1],
        training.patches.shape[1],
        max_tokens=1 + int(training.token_index.max()),
        width=config.attention_width,
        heads=config.attention_heads,
        layers=config.attention_layers,
        linear_path=config.linear_path,
    )
    probe = build_seeded(lambda: AttentionProbe(shape), config.attention_schedule.seed + config.seed)
    probe.to(training.tokens.device)
    pooled = training.means.moments(config)
    probe.inputs.set(tokens.mean, tokens.variance.sqrt())
    probe.pooled_inputs.set(pooled.mean_x, (pooled.xx.diagonal() / pooled.n).sqrt())
    variance = patches.variance
    scale = variance.sqrt() if config.standardize_targets else variance.mean().sqrt().expand_as(variance)
    probe.targets.set(patches.mean, scale)
    if config.linear_path:
        none = Moments.zeros(shape.d_in, shape.d_out).to(pooled.xx.device)
        held_out = none if validation is None else validation.means.moments(config)
        probe.start_at(choose(pooled, held_out, config.penalties).affine)
    return probe


def _statistics(rows: Float[Tensor, "n d"]) -> TargetStatistics:
    """Mean and variance, some rows in float64 at a time."""
    return reduce(add, map(TargetStatistics.of, rows.split(CHUNK)))
