"""Files of weights that a connector may be read from: its own, a training checkpoint's, a whole model's."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from connector_bench.connectors.base import UnsupportedModel
from connector_bench.connectors.stored_weights import (
    FLOATING,
    INDEX,
    StoredTensor,
    forget_opened,
    stored_tensors,
    tensors_of_file,
)

if TYPE_CHECKING:
    from torch import Tensor

SUFFIXES = (".safetensors", ".bin", ".pt", ".pth", ".ckpt")
OF_A_TRAINING = (
    "mm_projector.bin",
    "non_lora_trainables.bin",
    "adapter_model.safetensors",
    "adapter_model.bin",
)
"""Files that trainings leave in place of a whole model's: LLaVA's two, and PEFT's."""
CHUNK = 2**20


@dataclass(frozen=True)
class WeightFiles:
    """Tensors by name, none of which is read before it is asked for."""

    path: Path
    """File or folder as it was named."""
    tensors: Mapping[str, Any]
    _opened: dict[str, Path] = field(default_factory=dict)

    def shape(self, name: str) -> tuple[int, ...]:
        """A tensor's sizes."""
        stored = self.tensors[name]
        return tuple(stored.get_shape() if isinstance(stored, StoredTensor) else stored.shape)

    def is_floating(self, name: str) -> bool:
        """Whether it holds numbers that are computed with, at least 16 bits each: packed ones need their scales."""
        stored = self.tensors[name]
        if isinstance(stored, StoredTensor):
            return stored.get_dtype() in FLOATING
        return bool(stored.is_floating_point() and stored.element_size() > 1)

    def read(self, name: str) -> Tensor:
        """A tensor's values, on the CPU."""
        values: Tensor = self.tensors[name][...]
        return values

    def sha256(self) -> dict[str, str]:
        """By name: SHA-256 of every file that a tensor was read from."""
        return {
            name: _sha256(path) for name, path in sorted(self._opened.items()) if not name.endswith(INDEX)
        }

    def close(self) -> None:
        """Let go of the files."""
        forget_opened()


def weight_files(path: Path) -> WeightFiles:
    """The weights of a file, or of a folder as trainings and `save_pretrained` leave it.

    Raises:
        FileNotFoundError: nothing lies there.
        UnsupportedModel: it is no file or folder of weights, or cannot be read without running what is in it.
        ValueError: the index of shards is none.
    """
    if path.is_file() and path.name.endswith(INDEX):
        path = path.parent
    if path.is_dir():
        return _of_folder(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no {path.absolute()}")
    if path.suffix not in SUFFIXES:
        raise UnsupportedModel(
            f"{path} is no file of weights; allowed are {', '.join(SUFFIXES)}, or a folder"
        )
    return WeightFiles(path, tensors_of_file(path), {path.name: path})


def _of_folder(folder: Path) -> WeightFiles:
    opened: dict[str, Path] = {}

    def find(name: str) -> Path | None:
        found = folder / name
        if not found.is_file():
            return None
        opened[name] = found
        return found

    try:
        return WeightFiles(folder, stored_tensors(find, set()), opened)
    except UnsupportedModel:
        if opened:  # there is a whole model, which cannot be read
            raise
    named = [folder / name for name in OF_A_TRAINING if (folder / name).is_file()]
    others = sorted(file for file in folder.iterdir() if file.suffix in (".safetensors", ".bin"))
    if named or len(others) == 1:
        file = (named or others)[0]
        return WeightFiles(folder, tensors_of_file(file), {file.name: file})
    raise UnsupportedModel(f"{folder} {_what_is_there(folder, others)}")


def _what_is_there(folder: Path, files: list[Path]) -> str:
    below = sorted(
        {file.parent.name for suffix in SUFFIXES[:2] for file in folder.glob(f"*/*{suffix}")},
        key=lambda name: (len(name), name),
    )
    if files:
        return f"holds {len(files)} files of weights and no index; name one of {_few(files)}"
    if below:
        return f"holds no weights itself; name one of its folders: {', '.join(below[:8])}"
    return "holds no file of weights (.safetensors or .bin); where a trainer left shards of its own, export them first"


def _few(files: list[Path]) -> str:
    names = [file.name for file in files]
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(CHUNK):
            digest.update(piece)
    return digest.hexdigest()
