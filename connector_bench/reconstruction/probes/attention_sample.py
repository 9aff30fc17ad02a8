"""A fixed number of whole images for the attention probe: all their tokens and some of their patches.

Images are kept by smallest hash, patches of an image likewise, so the sample depends on neither order nor
process.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from connector_bench.reconstruction.cells import patch_boxes
from connector_bench.reconstruction.folds import FOLDS, Fold, image_key, unit_keys
from connector_bench.reconstruction.probes.attention_probe import TokenPlaces
from connector_bench.reconstruction.probes.reservoir import SLACK
from connector_bench.types import TokenLayout


@dataclass(frozen=True, eq=False)
class SampledImage:
    """One image's tokens and the patches that are asked for."""

    fold: int
    tokens: Float[Tensor, "t d_in"]
    token_index: Int[Tensor, " t"]
    token_boxes: Float[Tensor, "t 4"]
    patches: Float[Tensor, "p d_out"]
    patch_boxes: Float[Tensor, "p 4"]


PARTS = ("tokens", "token_index", "token_boxes", "patches", "patch_boxes")


@dataclass(frozen=True, eq=False)
class ImageBatch:
    """Images padded to one length."""

    tokens: Float[Tensor, "b t d_in"]
    places: TokenPlaces
    patches: Float[Tensor, "b p d_out"]
    boxes: Float[Tensor, "b p 4"]
    wanted: Bool[Tensor, "b p"]
    """False where a row of `patches` is padding."""


class ImageSample:
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

    def absorb(self, other: ImageSample) -> None:
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


def batch_of(images: Sequence[SampledImage], device: str = "cpu") -> ImageBatch:
    """Pad images to a batch on a device."""

    def padded(part: str) -> Tensor:
        return pad_sequence([getattr(image, part) for image in images], batch_first=True).to(device)

    tokens, patches = padded("tokens").float(), padded("patches").float()
    token_counts = torch.tensor([len(image.tokens) for image in images], device=device)
    patch_counts = torch.tensor([len(image.patches) for image in images], device=device)
    padding = torch.arange(tokens.shape[1], device=device) >= token_counts[:, None]
    wanted = torch.arange(patches.shape[1], device=device) < patch_counts[:, None]
    places = TokenPlaces(padded("token_index"), padded("token_boxes"), padding)
    return ImageBatch(tokens, places, patches, padded("patch_boxes"), wanted)
