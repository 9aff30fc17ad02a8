"""A fingerprint onto the disk."""

from __future__ import annotations

from pathlib import Path

from connector_bench.atomic_files import write_atomically
from connector_bench.connectors.base import ConnectorAdapter, UnsupportedModel
from connector_bench.connectors.transformers_adapter import TransformersAdapter
from connector_bench.fingerprint.stages import fingerprint_of


def write_fingerprint(adapter: ConnectorAdapter, path: Path) -> None:
    """Write an adapter's fingerprint. UnsupportedModel where it runs no model of transformers."""
    if not isinstance(adapter, TransformersAdapter):
        raise UnsupportedModel(f"{adapter.info.model} is no model of transformers, whose stages are known")
    write_atomically(path, fingerprint_of(adapter).model_dump_json(exclude_none=True).encode())
