"""With what a figure was made: packages, threads and hardware. Importing it costs nothing."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import TypedDict

from connector_bench.protocol import PROTOCOL_VERSION

PACKAGES = ("connector-bench", "lmms-eval", "transformers", "torch", "faiss-cpu", "datasets", "numpy")


class Environment(TypedDict):
    """Ready for JSON."""

    protocol: str
    versions: dict[str, str | None]
    threads: int
    hardware: str


def environment() -> Environment:
    """Versions of the packages that make a figure, thread count and hardware."""
    import torch

    cuda = torch.cuda.is_available()
    return {
        "protocol": PROTOCOL_VERSION,
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}},
        "threads": torch.get_num_threads(),
        "hardware": torch.cuda.get_device_name(0) if cuda else f"CPU {platform.machine()}",
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
