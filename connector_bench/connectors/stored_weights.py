"""The tensors of a checkpoint by name, none of which is read before it is asked for."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging.version import Version

from connector_bench.connectors.base import UnsupportedModel
from connector_bench.foreign_files import first_line, parsed

if TYPE_CHECKING:
    from torch import Tensor

SAFETENSORS, PICKLED = "model.safetensors", "pytorch_model.bin"
INDEX = ".index.json"
TRAINERS = "state_dict"
"""Under which trainers such as Lightning keep a model's tensors beside other things."""
READS_RANGES = Version("0.8")
"""The first safetensors that reads a tensor's own bytes; older ones map the whole file."""
FLOATING = ("F64", "F32", "F16", "BF16")
"""How safetensors calls precisions that are computed in."""
Find = Callable[[str], "Path | None"]
"""From the name of a checkpoint's file to where it lies, fetched where it has to be; None where there is none."""


@dataclass(frozen=True)
class StoredTensor:
    """One tensor of a safetensors file, with what transformers asks of a slice of safetensors."""

    opened: Callable[[], Any]
    name: str
    read: set[str] = field(default_factory=set, compare=False)
    """Takes the precision of what is read, for all tensors of a checkpoint together."""

    def __getitem__(self, part: Any) -> Tensor:
        self.read.add(self.get_dtype())
        tensor: Tensor = self.opened().get_slice(self.name)[part]
        return tensor

    def get_dtype(self) -> str:
        """Its precision as safetensors calls it, such as `BF16`."""
        return str(self.opened().get_slice(self.name).get_dtype())

    def get_shape(self) -> list[int]:
        """Its sizes."""
        return list(self.opened().get_slice(self.name).get_shape())


def stored_tensors(find: Find, read: set[str]) -> dict[str, Any]:
    """All tensors of a checkpoint by their names in it; of shards, only those are fetched and opened that are read.

    `read` takes the precisions of what is read, as safetensors calls them.

    Pickled weights (`.bin`) are mapped and read with torch's loader of weights alone, which runs nothing in them.

    Raises:
        UnsupportedModel: there are no weights, or none that can be read one by one.
        ValueError: the index is none.
    """
    for single in (SAFETENSORS, PICKLED):
        if (index := find(single + INDEX)) is not None:
            return _sharded(index, find, read)
        if (file := find(single)) is not None:
            return _of_safetensors(file, read) if single == SAFETENSORS else _of_pickled(file)
    raise UnsupportedModel(
        f"The checkpoint has no weights that can be read in part: {SAFETENSORS} or {PICKLED} is needed, whole or in "
        "shards with an index"
    )


def _sharded(index: Path, find: Find, read: set[str]) -> dict[str, Any]:
    content = parsed(index.read_bytes())
    names = content.get("weight_map") if isinstance(content, Mapping) else None
    if not isinstance(names, Mapping) or not all(isinstance(file, str) for file in names.values()):
        raise ValueError(f"{index.name} has no weight_map from tensors to files")

    @cache
    def shard(name: str) -> Path:
        if Path(name).name != name:
            raise ValueError(f"{index.name} names {name!r:.80}, which is no file beside it")
        found = find(name)
        if found is None:
            raise FileNotFoundError(f"{index.name} names {name}, which is not there")
        return found

    if index.name.startswith(PICKLED):
        tensors: dict[str, Any] = {}
        for name in dict.fromkeys(names.values()):
            tensors |= _of_pickled(shard(name))
        return tensors
    return {
        key: StoredTensor(partial(lambda name: _opened(shard(name)), file), key, read)
        for key, file in names.items()
    }


def tensors_of_file(file: Path) -> dict[str, Any]:
    """The tensors of one file by name: safetensors, or pickled with torch and read without running what is in it.

    Raises:
        UnsupportedModel: it holds no tensors, or more than tensors.
    """
    if file.suffix == ".safetensors":
        return _of_safetensors(file, set())
    return _of_pickled(file, mapped=zipfile.is_zipfile(file))


def _of_safetensors(file: Path, read: set[str]) -> dict[str, Any]:
    return {key: StoredTensor(partial(_opened, file), key, read) for key in _opened(file).keys()}  # noqa: SIM118


@cache
def _opened(file: Path) -> Any:
    from safetensors import SafetensorError, safe_open

    options = {"backend": "pread"} if Version(version("safetensors")) >= READS_RANGES else {}
    try:
        return safe_open(file, framework="pt", **options)
    except SafetensorError as error:
        raise UnsupportedModel(f"{file.name} cannot be read, the copy may be cut short: {error}") from error


def _of_pickled(file: Path, *, mapped: bool = True) -> dict[str, Any]:
    """`mapped` files are read as far as tensors are asked for; torch's oldest format cannot be."""
    import torch

    try:
        loaded = torch.load(file, map_location="cpu", mmap=mapped, weights_only=True)
    except OSError:
        raise
    except Exception as error:  # its reader raises whatever it stumbles over
        raise UnsupportedModel(
            f"{file.name} cannot be read in part ({first_line(error, 200)}); save it as safetensors"
        ) from error
    if isinstance(loaded, Mapping) and isinstance(loaded.get(TRAINERS), Mapping):
        loaded = loaded[TRAINERS]
    if not isinstance(loaded, Mapping) or not all(hasattr(value, "shape") for value in loaded.values()):
        raise UnsupportedModel(f"{file.name} holds no tensors by name")
    return dict(loaded)


def forget_opened() -> None:
    """Close what was opened."""
    _opened.cache_clear()


def first_precision(tensors: Mapping[str, Any]) -> str | None:
    """The precision of the first tensor of floating point, as torch calls it; None where there is none."""
    names = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
    for tensor in tensors.values():
        stored = tensor.get_dtype() if isinstance(tensor, StoredTensor) else str(tensor.dtype)
        if stored in FLOATING or stored.removeprefix("torch.") in names.values():
            return names.get(stored, stored.removeprefix("torch."))
    return None
