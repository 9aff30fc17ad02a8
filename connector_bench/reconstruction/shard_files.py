"""The file of one shard: tensors, and plain JSON values beside them; read by numpy where torch is absent."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from safetensors import safe_open

from connector_bench.foreign_files import parsed

JSON = "json"
"""Under which name the values stand in the file's metadata."""


@contextmanager
def opened_shard(path: Path, framework: Literal["np", "pt"]) -> Iterator[tuple[Any, dict[str, Any]]]:
    """The open file, of which each tensor is read when it is asked for, and its values.

    Raises:
        SafetensorError: it is no such file.
        KeyError: it has no values.
        ValueError: its values are no JSON.
        OSError: it cannot be read.
    """
    with safe_open(path, framework=framework) as file:
        yield file, parsed((file.metadata() or {})[JSON])
