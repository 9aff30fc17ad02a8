"""Gathering for and fitting of the attention probe, and of the pooled ridge that it starts from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from connector_bench.reconstruction.cells import patch_boxes
from connector_bench.reconstruction.config import DTYPES, ReconstructionConfig
from connector_bench.reconstruction.end_to_end import image_of_patch, mean_tokens, padded, unpadded
from connector_bench.reconstruction.folds import FOLDS, FRACTIONS, TRAINING_FOLDS, Fold, image_key, unit_keys
from connector_bench.reconstruction.probes.attention_probe import (
    PARTS,
    AttentionProbe,
    AttentionShape,
    SampledImage,
    TokenPlaces,
    batch_of,
    places_and_boxes,
)
from connector_bench.reconstruction.probes.cell_fit import CurvePoint
from connector_bench.reconstruction.probes.mlp import Rows
from connector_bench.reconstruction.probes.moments import Moments, MomentsStream, TargetStatistics
from connector_bench.reconstruction.probes.reservoir import SLACK
from connector_bench.reconstruction.probes.ridge import Affine, RidgeFit, choose
from connector_bench.reconstruction.probes.training_loop import TrainingRecord, build_seeded, train
from connector_bench.types import TokenLayout


class ImageReservoir:
    """Keeps the `capacity` images with the smallest hashes."""

    def __init__(self, capacity: int, patches: int, dtype: torch.dtype) -> None:
        self.capacity, self.patches, self.dtype = capacity, patches, dtype
        self._images: dict[int, SampledImage] = {}

    def add(self, image_id: str, fold: Fold, pre: Tensor, post: Tensor, layout: TokenLayout) -> None:
        """Offer an image."""
        keys = unit_keys(image_id, len(pre), salt="attention")
        chosen = torch.from_numpy(np.sort(np.argsort(keys, kind="stable")[: self.patches]))
        places = TokenPlaces.of(layout)
        boxes = torch.from_numpy(patch_boxes(layout)).to(torch.float32)
        self._images[image_key(image_id, salt="attention")] = SampledImage(
            FOLDS.index(fold),
            post.to(self.dtype, copy=True),
            places.index[0],
            places.boxes[0],
            pre[chosen].to(self.dtype),
            boxes[chosen],
        )
        if len(self._images) > SLACK * self.capacity:
            self._compact()

    def _compact(self) -> None:
        kept = sorted(self._images)[: self.capacity]
        self._images = {key: self._images[key] for key in kept}

    def images(self) -> list[SampledImage]:
        """The images in the order of their hashes."""
        self._compact()
        return [self._images[key] for key in sorted(self._images)]

    def absorb(self, other: ImageReservoir) -> None:
        """Merge the sample of other images; ValueError where the options differ."""
        mine, theirs = (self.capacity, self.patches, self.dtype), (other.capacity, other.patches, other.dtype)
        if mine != theirs:
            raise ValueError(f"image samples of {mine} and {theirs} do not merge")
        self._images.update(other._images)
        self._compact()

    def tensors(self, prefix: str) -> dict[str, Tensor]:
        """Everything under `prefix.`, for safetensors: parts of all images end to end, and their lengths."""
        images = self.images()
        if not images:
            return {}
        keys = np.array(sorted(self._images), dtype=np.uint64).view(np.int64)
        stored = {f"{prefix}.{part}": torch.cat([getattr(image, part) for image in images]) for part in PARTS}
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
        self.d_in, self.d_out = d_in, d_out
        self.pooled = {fold: MomentsStream(d_in, d_out, config.chunk_rows, config.device) for fold in FOLDS}
        dtype = DTYPES[config.reservoir_dtype]
        self.training = ImageReservoir(config.attention_images, config.attention_patches, dtype)
        share = math.ceil(config.attention_images * config.validation)
        self.validation = ImageReservoir(share, config.attention_patches, dtype)

    def add(self, image_id: str, fold: Fold, pre: Tensor, post: Tensor, layout: TokenLayout) -> None:
        """Take one image."""
        self.pooled[fold].add(post.double().mean(0, keepdim=True), pre.double().mean(0, keepdim=True))
        images = self.validation if fold == "validation" else self.training
        images.add(image_id, fold, pre, post, layout)

    def absorb(self, other: AttentionSample) -> None:
        """Merge the sample of other images."""
        for fold in FOLDS:
            self.pooled[fold].absorb(other.pooled[fold].value())
        self.training.absorb(other.training)
        self.validation.absorb(other.validation)

    def tensors(self, prefix: str) -> dict[str, Tensor]:
        """Everything under `prefix.`, for safetensors."""
        stored: dict[str, Tensor] = {}
        for fold in FOLDS:
            stored.update(self.pooled[fold].value().tensors(f"{prefix}.{fold}"))
        stored.update(self.training.tensors(f"{prefix}.training_images"))
        stored.update(self.validation.tensors(f"{prefix}.validation_images"))
        return stored

    def load(self, prefix: str, tensors: Mapping[str, Tensor]) -> None:
        """Take in what `tensors` wrote."""
        for fold in FOLDS:
            self.pooled[fold].absorb(Moments.from_tensors(f"{prefix}.{fold}", tensors))
        self.training.load(f"{prefix}.training_images", tensors)
        self.validation.load(f"{prefix}.validation_images", tensors)

    def pooled_up_to(self, fold: Fold) -> Moments:
        """Pooled moments of the nested training budget that ends with `fold`."""
        total = self.pooled["quarter"].value()
        for wanted in TRAINING_FOLDS[1 : TRAINING_FOLDS.index(fold) + 1]:
            total = total + self.pooled[wanted].value()
        return total


@dataclass(frozen=True, eq=False)
class AttentionFit:
    """A fitted attention probe."""

    pooled: RidgeFit
    probe: AttentionProbe
    training: TrainingRecord
    curve: tuple[CurvePoint, ...]

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


class _ImageSample:
    """Sampled images as batches for the training loop."""

    def __init__(
        self, training: list[SampledImage], validation: list[SampledImage], batch: int, device: str
    ) -> None:
        self.training, self.validation, self.batch, self.device = training, validation, batch, device

    @property
    def examples(self) -> int:
        """Images to learn from."""
        return len(self.training)

    def loss(self, network: nn.Module, index: Int[Tensor, " b"]) -> Tensor:
        """Mean squared error over the batch's patches, in the targets' training units."""
        error, count = self._error(network, [self.training[i] for i in index.tolist()])
        return error / count

    def validation_loss(self, network: nn.Module) -> float:
        """The same over all validation images."""
        error, count = 0.0, 0
        for first in range(0, len(self.validation), self.batch):
            part, numbers = self._error(network, self.validation[first : first + self.batch])
            error, count = error + float(part), count + numbers
        return error / max(count, 1)

    def _error(self, network: nn.Module, images: list[SampledImage]) -> tuple[Tensor, int]:
        assert isinstance(network, AttentionProbe)
        batch = batch_of(images, self.device)
        predicted = network(batch.tokens, batch.places, batch.boxes).float()
        error = (predicted - network.targets(batch.patches))[batch.wanted].square()
        return error.sum(), error.numel()


def fit_attention(
    sample: AttentionSample, statistics: TargetStatistics, config: ReconstructionConfig
) -> AttentionFit:
    """Fit on all training images, and on 1/4 and 1/2 of them for the learning curve."""
    held_out = sample.pooled["validation"].value()
    stages: tuple[Fold, ...] = TRAINING_FOLDS if config.curve else ("full",)
    points: list[CurvePoint] = []
    fitted: tuple[RidgeFit, AttentionProbe, TrainingRecord] | None = None
    for fold in stages:
        images = [image for image in sample.training.images() if image.fold <= FOLDS.index(fold)]
        moments = sample.pooled_up_to(fold)
        if not images:
            continue
        ridge = choose(moments, held_out, config.penalties)
        probe, record = _fit_probe(sample, images, config)
        points.append(_curve_point(sample, fold, images, ridge.affine, probe, statistics))
        fitted = ridge, probe, record
    if fitted is None:
        raise ValueError("no training image was given")
    return AttentionFit(*fitted, tuple(points))


def pooled_rows(images: list[SampledImage]) -> Rows:
    """Mean token and mean sampled patch of each image."""
    x = [image.tokens.double().mean(0) for image in images]
    y = [image.patches.double().mean(0) for image in images]
    return Rows(torch.stack(x), torch.stack(y))


def _fit_probe(
    sample: AttentionSample, images: list[SampledImage], config: ReconstructionConfig
) -> tuple[AttentionProbe, TrainingRecord]:
    """Everything the probe starts from comes from the sampled images, as for the MLP (`row_fit`)."""
    validation = sample.validation.images()
    tokens = TargetStatistics.of(torch.cat([image.tokens for image in images]))
    patches = TargetStatistics.of(torch.cat([image.patches for image in images]))
    pooled = pooled_rows(images).moments(config)
    held_out = (
        pooled_rows(validation).moments(config) if validation else Moments.zeros(sample.d_in, sample.d_out)
    )
    shape = AttentionShape(
        sample.d_in,
        sample.d_out,
        max_tokens=1 + max(int(image.token_index.max()) for image in images),
        width=config.attention_width,
        heads=config.attention_heads,
        layers=config.attention_layers,
        linear_path=config.linear_path,
    )
    probe = build_seeded(lambda: AttentionProbe(shape), config.attention_schedule.seed + config.seed)
    probe.inputs.set(tokens.mean, tokens.variance.sqrt())
    probe.pooled_inputs.set(pooled.mean_x, (pooled.xx.diagonal() / pooled.n).sqrt())
    variance = patches.variance
    scale = variance.sqrt() if config.standardize_targets else variance.mean().sqrt().expand_as(variance)
    probe.targets.set(patches.mean, scale)
    if config.linear_path:
        probe.start_at(choose(pooled, held_out, config.penalties).affine)
    batch = config.attention_schedule.batch_size
    batches = _ImageSample(images, validation, batch, config.device)
    record = train(probe, batches, config.attention_schedule, config.device)
    return probe.to("cpu"), record


@torch.no_grad()
def _curve_point(
    sample: AttentionSample,
    fold: Fold,
    images: list[SampledImage],
    pooled: Affine,
    probe: AttentionProbe,
    statistics: TargetStatistics,
) -> CurvePoint:
    """Both probes' errors on the patches of the sampled validation images."""
    errors, total = {"pooled": 0.0, "attention": 0.0}, 0.0
    for image in sample.validation.images():
        batch = batch_of([image])
        truth = image.patches.double()
        predicted = probe.predict(image.tokens.float(), batch.places, image.patch_boxes)
        errors["attention"] += float((predicted - truth).square().sum())
        errors["pooled"] += float(
            (pooled(image.tokens.double().mean(0, keepdim=True)) - truth).square().sum()
        )
        total += float((truth - statistics.mean).square().sum())
    return CurvePoint(FRACTIONS[fold], sum(len(image.patches) for image in images), errors, total)
