"""The cache folder, and writing into it so that a cut run leaves nothing half-written behind."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from platformdirs import user_cache_dir

CACHE_VARIABLE = "CONNECTOR_BENCH_CACHE"


def cache_root() -> Path:
    """``$CONNECTOR_BENCH_CACHE`` if set, else the user's cache folder."""
    return Path(os.environ.get(CACHE_VARIABLE) or user_cache_dir("connector_bench"))


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """A temporary folder that becomes ``target`` when the block ends well, and is removed when it does not.

    A folder that another process finished first is kept.

    Raises:
        OSError: the cache folder cannot be written; the message names the variable that moves it.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    except OSError as error:
        raise OSError(f"cannot write the cache {target.parent}: {error}; set {CACHE_VARIABLE}") from error
    try:
        yield folder
        try:
            folder.rename(target)
        except OSError:
            if not target.is_dir():
                raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)
