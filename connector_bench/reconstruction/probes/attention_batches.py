"""Sampled images end to end on one device, from which any of them make a batch without asking the host."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from connector_bench.reconstruction.probes.attention_probe import (
    PARTS,
    AttentionProbe,
    SampledImage,
    TokenPlaces,
)
from connector_bench.reconstruction.probes.mlp import Rows, in_chunks
from connector_bench.reconstruction.probes.ridge import Affine
from connector_bench.reconstruction.probes.training_step import input_dtype


@dataclass(frozen=True, eq=False)
class ImageBatch:
    """Images padded to one length."""

    tokens: Float[Tensor, "b t d_in"]
    pooled: Float[Tensor, "b d_in"]
    places: TokenPlaces
    patches: Float[Tensor, "b p d_out"]
    boxes: Float[Tensor, "b p 4"]
    wanted: Bool[Tensor, "b p"]
    """False where a row of `patches` is padding; padding holds any image's values."""


@dataclass(frozen=True, eq=False)
class PackedImages:
    """Images' tokens and patches end to end, and where each image begins."""

    tokens: Float[Tensor, "t d_in"]
    token_index: Int[Tensor, " t"]
    token_boxes: Float[Tensor, "t 4"]
    patches: Float[Tensor, "p d_out"]
    patch_boxes: Float[Tensor, "p 4"]
    means: Rows
    """Mean token and mean patch of each image."""
    token_counts: Int[Tensor, " n"]
    patch_counts: Int[Tensor, " n"]
    longest: tuple[int, int]
    """Most tokens and most patches of an image."""

    @classmethod
    def of(cls, images: Sequence[SampledImage], device: torch.device) -> PackedImages:
        """At least one image, on a device; values keep their precision."""
        parts = {part: torch.cat([getattr(image, part) for image in images]).to(device) for part in PARTS}
        counts = [[len(image.tokens) for image in images], [len(image.patches) for image in images]]
        return cls(
            **parts,
            means=pooled_rows(images).to(device),
            token_counts=torch.tensor(counts[0], device=device),
            patch_counts=torch.tensor(counts[1], device=device),
            longest=(max(counts[0]), max(counts[1])),
        )

    def __len__(self) -> int:
        return len(self.token_counts)

    def standardized(self, network: AttentionProbe, dtype: torch.dtype) -> PackedImages:
        """In the network's units, tokens and mean tokens in `dtype`, patches in float32."""
        return replace(
            self,
            tokens=in_chunks(network.inputs, self.tokens, dtype),
            means=Rows(in_chunks(network.pooled_inputs, self.means.x, dtype), self.means.y),
            patches=in_chunks(network.targets, self.patches, torch.float32),
        )

    def batch(self, images: Int[Tensor, " b"]) -> ImageBatch:
        """These images, padded to the longest of them on the CPU; to the longest of all, not to wait, on CUDA."""
        tokens, padding = _places(self.token_counts, images, self.longest[0])
        patches, unwanted = _places(self.patch_counts, images, self.longest[1])
        places = TokenPlaces(self.token_index[tokens], self.token_boxes[tokens], padding)
        return ImageBatch(
            self.tokens[tokens],
            self.means.x[images],
            places,
            self.patches[patches],
            self.patch_boxes[patches],
            ~unwanted,
        )


def _places(
    counts: Int[Tensor, " n"], images: Int[Tensor, " b"], longest: int
) -> tuple[Int[Tensor, "b l"], Bool[Tensor, "b l"]]:
    """Rows of these images in what lies end to end, `[b, longest]`, and which of them are padding."""
    own = counts[images]
    if own.device.type == "cpu":
        longest = int(own.max())
    offsets = torch.arange(longest, device=own.device)
    rows = (counts.cumsum(0)[images] - own)[:, None] + offsets
    padding = offsets >= own[:, None]
    return torch.where(padding, 0, rows), padding


def pooled_rows(images: Sequence[SampledImage]) -> Rows:
    """Mean token and mean sampled patch of each image, float64."""
    x = [image.tokens.double().mean(0) for image in images]
    y = [image.patches.double().mean(0) for image in images]
    return Rows(torch.stack(x), torch.stack(y))


class ImageSample:
    """Sampled images as batches for the training loop, in the network's units from the start."""

    def __init__(
        self, network: AttentionProbe, training: PackedImages, validation: PackedImages | None, batch: int
    ) -> None:
        """`validation` is None where there is no validation image."""
        self.device = training.tokens.device
        self.training = training.standardized(network, input_dtype(self.device))
        self.validation = None if validation is None else validation.standardized(network, torch.float32)
        self.batch = batch

    @property
    def examples(self) -> int:
        """Images to learn from."""
        return len(self.training)

    def loss(self, network: nn.Module, index: Int[Tensor, " b"]) -> Tensor:
        """Mean squared error over the batch's patches, in the targets' training units."""
        batch = self.training.batch(index)
        return _error(network, batch) / (batch.wanted.sum() * batch.patches.shape[2])

    def validation_loss(self, network: nn.Module) -> float:
        """The same over all validation images; 0 where there is none."""
        if self.validation is None:
            return 0.0
        error = torch.zeros((), dtype=torch.float64, device=self.device)
        for index in torch.arange(len(self.validation), device=self.device).split(self.batch):
            error += _error(network, self.validation.batch(index))
        return float(error) / max(self.validation.patches.numel(), 1)


def _error(network: nn.Module, batch: ImageBatch) -> Tensor:
    assert isinstance(network, AttentionProbe)
    predicted = network.answer(batch.tokens, batch.pooled, batch.places, batch.boxes).float()
    error = (predicted - batch.patches).square()
    return torch.where(batch.wanted[..., None], error, 0.0).sum()


@torch.no_grad()
def errors_by_image(
    images: PackedImages | None,
    pooled: Affine,
    probe: AttentionProbe,
    mean: Float[Tensor, " d"],
    batch: int,
) -> Float[Tensor, "3 n"]:
    """Squared errors of pooled ridge and attention probe on each image's patches, and the patches' own."""
    if images is None:
        return torch.zeros(3, 0, dtype=torch.float64)
    standardized = images.standardized(probe, torch.float32)
    found = []
    for index in torch.arange(len(images), device=mean.device).split(batch):
        given, raw = standardized.batch(index), images.batch(index)
        answer = probe.answer(given.tokens, given.pooled, given.places, given.boxes)
        truth = raw.patches.double()
        parts = (pooled(raw.pooled)[:, None] - truth, probe.targets.inverse(answer) - truth, truth - mean)
        wanted = raw.wanted[..., None]
        found.append(torch.stack([torch.where(wanted, part.square(), 0.0).sum((1, 2)) for part in parts]))
    return torch.cat(found, dim=1)


def summed(by_image: Float[Tensor, "3 n"]) -> tuple[dict[str, float], float]:
    """Both probes' squared errors over all images, and the patches' own."""
    by_pooled, by_attention, total = by_image.sum(1).tolist()
    return {"pooled": by_pooled, "attention": by_attention}, total
