"""Local files are loaded without a word to any server."""

from __future__ import annotations

from functools import wraps
from typing import Any


def count_no_local_files(loading: Any) -> None:
    """Keep `datasets` from telling a server that its reader of JSON, Parquet or pictures was used once more.

    Data sets of the Hub are counted as ever.

    Args:
        loading: the module `datasets.load`, whose `increase_load_count` is wrapped where it has one.
    """
    from datasets.packaged_modules import _PACKAGED_DATASETS_MODULES

    original = getattr(loading, "increase_load_count", None)
    if original is None or hasattr(original, "__wrapped__"):
        return

    @wraps(original)
    def increase_load_count(name: str) -> None:
        if name not in _PACKAGED_DATASETS_MODULES:
            original(name)

    loading.increase_load_count = increase_load_count
