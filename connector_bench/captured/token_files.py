"""Token files: written batch by batch, whole or not at all, without holding their tokens in memory; read by picture."""

from __future__ import annotations

import json
import shutil
import struct
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from connector_bench.atomic_files import appearing
from connector_bench.captured.written import (
    SHARD_KEY,
    ShardContent,
    ShardPicture,
    WrittenLayout,
    read_metadata,
)
from connector_bench.foreign_files import file_inside
from connector_bench.types import TokenBatch

if TYPE_CHECKING:
    from torch import Tensor

PER_FILE = 512
"""Pictures of one file."""
PATTERN = "tokens-*.safetensors"
PRECISIONS = {"float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16"}
NORMED = "pre_normed"


def side_names(untrained: int, normed: bool) -> list[str]:
    """What tensors of one picture are called, in the order of `TokenBatch.sides`."""
    return ["pre", "post", *([NORMED] if normed else []), *(f"untrained{n}" for n in range(untrained))]


class TokenFileWriter:
    """Takes batches and leaves a file for every `PER_FILE` pictures, numbered on from those that are there."""

    def __init__(self, folder: Path, number: int) -> None:
        self._folder, self._number = folder, number
        self._begin()

    def _begin(self) -> None:
        self._bytes: IO[bytes] = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115
        self._header: dict[str, Any] = {}
        self._pictures: list[ShardPicture] = []
        self._layouts: dict[str, int] = {}

    def add(self, batch: TokenBatch) -> None:
        """Take some pictures, and write the file where it is full."""
        for image, layout, sides in _by_picture(batch):
            written = WrittenLayout.of(layout).model_dump_json()
            place = self._layouts.setdefault(written, len(self._layouts))
            for name, tensor in sides:
                self._append(f"{len(self._pictures)}.{name}", tensor)
            self._pictures.append(ShardPicture(image=image, layout=place))
            if len(self._pictures) == PER_FILE:
                self.flush()

    def _append(self, name: str, tensor: Tensor) -> None:
        import torch

        first = self._bytes.tell()
        kind = PRECISIONS[str(tensor.dtype).removeprefix("torch.")]
        self._bytes.write(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
        places = [first, self._bytes.tell()]
        self._header[name] = {"dtype": kind, "shape": list(tensor.shape), "data_offsets": places}

    def flush(self) -> None:
        """Write what has come in since the last file."""
        if not self._pictures:
            return
        content = ShardContent(
            pictures=self._pictures,
            layouts=[WrittenLayout.model_validate_json(text) for text in self._layouts],
        )
        metadata = {"format": "pt", SHARD_KEY: content.model_dump_json()}
        header = json.dumps({"__metadata__": metadata, **self._header}).encode()
        header += b" " * (-len(header) % 8)
        with (
            appearing(self._folder / f"tokens-{self._number:05}.safetensors") as path,
            path.open("wb") as file,
        ):
            file.write(struct.pack("<Q", len(header)) + header)
            self._bytes.seek(0)
            shutil.copyfileobj(self._bytes, file, 2**24)
        self._number += 1
        self._bytes.close()
        self._begin()

    def close(self) -> None:
        """Give up what has not been written."""
        self._bytes.close()


def _by_picture(batch: TokenBatch) -> Iterator[tuple[str, Any, list[tuple[str, Tensor]]]]:
    here = batch.mapped(lambda tensor: tensor.cpu())
    names = side_names(len(here.untrained), here.pre_normed is not None)
    for number, image in enumerate(here.images):
        rows = {"pre": here.pre_rows[number], NORMED: here.pre_rows[number]}
        sides = [
            (name, side[rows.get(name, here.post_rows[number])])
            for name, side in zip(names, here.sides, strict=True)
        ]
        yield image, here.layouts[number], sides


@dataclass(frozen=True)
class TokenFile:
    """One file of tokens."""

    path: Path

    @cached_property
    def _file(self) -> Any:
        from safetensors import SafetensorError, safe_open

        try:
            return safe_open(file_inside(self.path.parent, self.path.name), framework="pt")
        except SafetensorError as error:
            raise ValueError(
                f"{self.path} is no file of tokens, or the copy was cut short: {error}"
            ) from error

    @cached_property
    def content(self) -> ShardContent:
        """Which pictures it holds. ValueError where it is no such file."""
        metadata = (self._file.metadata() or {}).get(SHARD_KEY)
        if metadata is None:
            raise ValueError(f"{self.path} does not say which pictures it holds; it is no file of a capture")
        return read_metadata(metadata, str(self.path))

    @cached_property
    def _names(self) -> frozenset[str]:
        return frozenset(self._file.keys())

    def tokens(self, number: int, untrained: int) -> TokenBatch:
        """One picture by its number in the file, with so many untrained copies.

        Raises:
            ValueError: its tensors are not there, or not as many rows as its layout says.
        """
        picture = self.content.pictures[number]
        layout = self.content.layouts[picture.layout].layout()
        normed = f"{number}.{NORMED}" in self._names
        sides = [self._tensor(f"{number}.{name}") for name in side_names(untrained, normed)]
        before = [sides[0], *(sides[2:3] if normed else [])]
        behind = [sides[1], *sides[2 + normed :]]
        for expected, those in ((layout.n_pre, before), (layout.n_post, behind)):
            for tensor in those:
                if tensor.ndim != 2 or len(tensor) != expected or not tensor.is_floating_point():
                    raise ValueError(
                        f"{self.path}: picture {number} has tokens of {tuple(tensor.shape)} {tensor.dtype}, its layout "
                        f"has {expected}"
                    )
        return TokenBatch(
            (picture.image,), (layout,), sides[0], sides[1], before[1] if normed else None, tuple(behind[1:])
        )

    def _tensor(self, name: str) -> Tensor:
        if name not in self._names:
            raise ValueError(f"{self.path} has no tensor {name}")
        tensor: Tensor = self._file.get_tensor(name)
        return tensor


def token_files(folder: Path) -> list[TokenFile]:
    """The files of a capture in their order."""
    return [TokenFile(path) for path in sorted(folder.glob(PATTERN))]


def end_to_end(parts: Sequence[TokenBatch]) -> TokenBatch:
    """Pictures of a capture as one batch. ValueError where they are not of one model."""
    kinds = {(tuple(side.shape[1] for side in part.sides), part.pre.dtype) for part in parts}
    if len(kinds) > 1:
        raise ValueError(
            f"tokens of different widths or precisions in one capture: {sorted(map(str, kinds))}"
        )
    return TokenBatch.end_to_end(parts)
