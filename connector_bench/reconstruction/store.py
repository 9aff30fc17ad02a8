"""Resumable state on disk: shards that appear whole or not at all, under a fingerprint of their run.

A run that is killed, by `kill -9` too, leaves complete shards and at most one temporary file, which the
next run removes. State is a convenience: what the disk refuses is said once and costs no figure. JSON and
safetensors only.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from connector_bench.atomic_files import (
    NotWritten,
    appearing,
    make_folder,
    remove_leftovers,
    write_atomically,
)
from connector_bench.foreign_files import read_json
from connector_bench.reconstruction.folds import Ledger
from connector_bench.reconstruction.shard_files import JSON, opened_shard

FINGERPRINT = "fingerprint.json"
Values = Tensor | np.ndarray


class StateMismatch(ValueError):
    """The state on disk belongs to another model, data set, protocol or set of options."""


class DamagedState(ValueError):
    """A file of the state is not what was written: a disk has lost some of it, or somebody has changed it."""


SHOWN, LONGEST = 10, 200
"""Fields in which a state differs that are told, and characters of each value."""


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """What is wrong with a file of the state, or with what it holds, ends in DamagedState that names it."""
    try:
        yield
    except (
        SafetensorError,
        OSError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        RuntimeError,
    ) as error:
        raise DamagedState(
            f"{path} cannot be read ({type(error).__name__}: {error}). Remove {path.parent}, and what it holds is "
            "gathered anew."
        ) from error


class RunStore:
    """One run's state in one folder; each process of a run has a folder of its own."""

    def __init__(self, folder: Path, fingerprint: Mapping[str, Any]) -> None:
        """Open or begin a run.

        `fingerprint` holds everything the state depends on: model, data set, options, protocol version;
        plain JSON values, nested as you like. StateMismatch where the folder holds another run, naming the
        fields that differ.
        """
        self.folder = folder
        self.trouble: str | None = None
        """What the disk refused; nothing more is kept from then on."""
        make_folder(folder)
        remove_leftovers(folder)
        wanted = json.loads(json.dumps(dict(fingerprint), sort_keys=True))
        path = folder / FINGERPRINT
        if path.exists():
            with readable(path):
                found = read_json(path)
            if found != wanted:
                raise StateMismatch(_difference(folder, found, wanted))
        elif any(folder.glob("*.safetensors")):
            raise StateMismatch(f"{folder} holds shards but no {FINGERPRINT}: they belong to no known run")
        else:
            write_atomically(path, json.dumps(wanted, indent=1, sort_keys=True).encode())

    def write(self, name: str, tensors: Mapping[str, Values], meta: Mapping[str, Any]) -> None:
        """Write (or replace) one shard: tensors and plain JSON values, in one file, by rename.

        Raises NotWritten, also where somebody has removed the folder: what it held is missing from the state then.
        """
        stored = {key: torch.as_tensor(each).detach().cpu().contiguous() for key, each in tensors.items()}
        text = json.dumps(meta)
        try:
            (self.folder / FINGERPRINT).stat()
            with appearing(self._path(name)) as temporary:
                save_file(stored, temporary, metadata={JSON: text})
        except (OSError, SafetensorError) as error:
            size = sum(tensor.nbytes for tensor in stored.values()) + len(text)
            raise NotWritten(self._path(name), size, error) from error

    def keep(self, name: str, tensors: Mapping[str, Values], meta: Mapping[str, Any]) -> None:
        """As `write`, but a refusal of the disk is noted in `trouble`, and ends the keeping of state."""
        if self.trouble is not None:
            return
        try:
            self.write(name, tensors, meta)
        except OSError as error:
            self.trouble = f"{error}; the run goes on, and cannot be resumed"

    @classmethod
    def opened(cls, folder: Path, fingerprint: Mapping[str, Any]) -> tuple[RunStore | None, str | None]:
        """The store, or None and what the disk refused. StateMismatch as the constructor."""
        try:
            return cls(folder, fingerprint), None
        except OSError as error:
            return None, f"{error}; the run goes on, and cannot be resumed"

    def read(self, name: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """One shard's tensors and values; KeyError where there is none, DamagedState for one that cannot be read."""
        path = self._path(name)
        if not path.exists():
            raise KeyError(name)
        with readable(path), opened_shard(path, "pt") as (file, meta):
            return {key: file.get_tensor(key) for key in file.keys()}, meta  # noqa: SIM118 (no mapping)

    def tensor(self, name: str, key: str) -> Tensor:
        """One tensor of a shard, without reading the others. DamagedState as `read`."""
        with readable(self._path(name)), opened_shard(self._path(name), "pt") as (file, _):
            found: Tensor = file.get_tensor(key)
        return found

    def names(self, prefix: str = "") -> Iterator[str]:
        """Names of complete shards that begin so, sorted."""
        return iter(sorted(path.stem for path in self.folder.glob(f"{prefix}*.safetensors")))

    def __contains__(self, name: str) -> bool:
        return self._path(name).exists()

    def refuse_other_images(self, seen: Ledger, images: Collection[str]) -> None:
        """StateMismatch where the state holds an image that is not among these."""
        strange = len(set(seen) - set(Ledger.of(images)))
        if strange:
            raise StateMismatch(
                f"{self.folder} holds {strange} of {len(seen)} images that this data set does not have: the data "
                "set has changed. Give this run another folder, or remove the old state."
            )

    def _path(self, name: str) -> Path:
        if not name or name.startswith(".") or any(sign in name for sign in "/\\\0"):
            raise ValueError(f"{name!r} is no name for a shard: a file name without folders is wanted")
        return self.folder / f"{name}.safetensors"


def _difference(folder: Path, found: Any, wanted: Any) -> str:
    """What differs, field by field."""
    fields = list(_fields(found, wanted))
    lines = [
        f"  {field:.{LONGEST}}: the state has {a!r:.{LONGEST}}, this run {b!r:.{LONGEST}}"
        for field, a, b in fields[:SHOWN]
    ]
    if len(fields) > SHOWN:
        lines.append(f"  and {len(fields) - SHOWN} more")
    return (
        f"{folder} holds the state of another run and will not be mixed with this one:\n"
        + "\n".join(lines)
        + "\nGive this run another folder, or remove the old state."
    )


def _fields(found: Any, wanted: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    if isinstance(found, dict) and isinstance(wanted, dict):
        for key in sorted(found.keys() | wanted.keys()):
            below = f"{path}.{key}" if path else str(key)
            yield from _fields(found.get(key, "nothing"), wanted.get(key, "nothing"), below)
    elif found != wanted:
        yield path, found, wanted
