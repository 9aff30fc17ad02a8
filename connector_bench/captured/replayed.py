"""A capture in the model's stead: an adapter whose tokens come from the disk, by the names of pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from connector_bench.captured.token_files import TokenFile, end_to_end, token_files
from connector_bench.captured.written import (
    MANIFEST,
    PICTURES,
    PRECISION,
    CapturedPictures,
    Manifest,
    OwnChange,
    read_part,
)
from connector_bench.connectors.base import ConnectorAdapter, Prepared
from connector_bench.types import ConnectorInfo, TokenBatch

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image


FOLDER, TRAINING_FOLDER = "CONNECTOR_BENCH_CAPTURED", "CONNECTOR_BENCH_CAPTURED_TRAIN"
"""Environment variables that name the captures which the tasks `..._captured` measure and learn from."""


class TokenSource(Protocol):
    """Tokens of pictures that a model has given before."""

    @property
    def manifest(self) -> Manifest:
        """Whose tokens, and what was kept."""
        ...

    @property
    def device(self) -> str:
        """Where tokens are put."""
        ...

    @property
    def own_change(self) -> Mapping[str, object] | None:
        """What precision and size of batches alone change, where that was measured."""
        ...

    def tokens(self, images: Sequence[str], untrained: bool = True) -> TokenBatch:
        """These pictures as one batch. ValueError where one is not there."""
        ...

    def __contains__(self, image: object) -> bool: ...


class CapturedTokens:
    """One folder or several of one model, opened for reading.

    Raises:
        ValueError: a folder holds no capture, or captures of two models.
        OSError: a file cannot be read.
    """

    def __init__(self, *folders: Path, device: str = "cpu") -> None:
        self.device = device
        """Where tokens are put."""
        for folder in folders:
            if not (folder / MANIFEST).is_file():
                raise ValueError(f"{folder} holds no capture: it has no {MANIFEST}")
        self.folders = folders
        self.manifest, *others = (read_part(Manifest, folder, MANIFEST) for folder in folders)
        for folder, other in zip(folders[1:], others, strict=True):
            for name, value in other.connector.model_dump().items():
                if value != getattr(self.manifest.connector, name):
                    raise ValueError(
                        f"{folders[0]} and {folder} hold tokens of two models: {name} is "
                        f"{getattr(self.manifest.connector, name)!s:.80} and {value!s:.80}"
                    )

    @cached_property
    def _where(self) -> dict[str, tuple[TokenFile, int]]:
        return {
            picture.image: (file, number)
            for folder in self.folders
            for file in token_files(folder)
            for number, picture in enumerate(file.content.pictures)
        }

    def __reduce__(self) -> tuple[Any, ...]:
        """As folders: open files cannot be handed to another process."""
        return partial(CapturedTokens, device=self.device), self.folders

    def __contains__(self, image: object) -> bool:
        return image in self._where

    def __len__(self) -> int:
        return len(self._where)

    def tokens(self, images: Sequence[str], untrained: bool = True) -> TokenBatch:
        """These pictures as one batch, as the model gave them. ValueError where one was not captured."""
        copies = len(self.manifest.untrained_seeds) if untrained else 0
        parts = []
        for image in images:
            if image not in self._where:
                held = f"{len(self)} pictures in {', '.join(folder.name for folder in self.folders)}"
                raise ValueError(f"picture {image[:12]} was not captured; there are {held}")
            file, number = self._where[image]
            parts.append(file.tokens(number, copies))
        return end_to_end(parts)

    @cached_property
    def own_change(self) -> dict[str, object] | None:
        """What `fingerprint precision` has left beside these tokens. ValueError where it is of another model."""
        if not (self.folders[0] / PRECISION).is_file():
            return None
        found = read_part(OwnChange, self.folders[0], PRECISION)
        if found.weights_sha256 != self.manifest.connector.weights_sha256 and found.in_float32 != (
            self.manifest.connector.weights_sha256
        ):
            raise ValueError(f"{self.folders[0] / PRECISION} is of another model than the tokens beside it")
        return found.model_dump(exclude={"schema_version"})

    def pictures(self) -> CapturedPictures:
        """The documents of the first folder. ValueError where its capture was broken off."""
        if not (self.folders[0] / PICTURES).is_file():
            raise ValueError(
                f"{self.folders[0]} holds a capture that was broken off; run `capture` on it again"
            )
        return read_part(CapturedPictures, self.folders[0], PICTURES)


class CapturedAdapter(ConnectorAdapter):
    """Gives what a model gave."""

    needs_pictures = False

    def __init__(self, captured: TokenSource) -> None:
        import torch

        self._captured, self._device = captured, torch.device(captured.device)
        self._untrained = False
        self.own_change = captured.own_change

    @property
    def device(self) -> torch.device:
        """Where tokens are put."""
        return self._device

    @property
    def info(self) -> ConnectorInfo:
        """The connector that was captured."""
        return self._captured.manifest.connector.info()

    def add_untrained(self, seeds: Sequence[int]) -> str | None:
        """Untrained copies' tokens are there where the capture has kept them."""
        if list(seeds) == self._captured.manifest.untrained_seeds:
            self._untrained = True
            return None
        return (
            "these tokens hold none of untrained copies, which `capture` keeps where it is told `untrained`"
        )

    def prepare(self, images: Sequence[tuple[str, Image]]) -> Prepared:
        """The tokens of these names, off the disk."""
        names = tuple(name for name, _ in images)
        return Prepared(names, self._captured.tokens(names, self._untrained))

    def run(self, prepared: Prepared, *, untrained: bool = True) -> TokenBatch:
        """What was prepared, on the device."""
        batch: TokenBatch = prepared.inputs
        wanted = batch if untrained else replace(batch, untrained=())
        return wanted.mapped(lambda tensor: tensor.to(self._device))
