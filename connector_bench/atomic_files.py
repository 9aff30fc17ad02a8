"""Files that appear whole or not at all, and what dead processes have left half written."""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

FORGOTTEN = 24 * 3600.0
"""Seconds after which a temporary file of another machine is taken for one of a dead process."""
_TEMPORARY = ".writing-"


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that a reader, or the next run, finds the old content or the new, never a part.

    A temporary file beside it, fsync, rename, fsync of the folder.
    """
    with appearing(path) as temporary:
        temporary.write_bytes(content)


@contextmanager
def appearing(path: Path) -> Iterator[Path]:
    """A temporary path whose file, once written and on the disk, takes the place of `path`."""
    owner = f"{os.getpid()}@{socket.gethostname()}"
    temporary = path.with_name(f"{_TEMPORARY}{owner}-{secrets.token_hex(8)}-{path.name}")
    try:
        yield temporary
        _flush(temporary)
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    _flush(path.parent)


def remove_leftovers(folder: Path) -> None:
    """Remove temporary files that dead processes have left here and below; those of living ones stay."""
    for path in folder.rglob(f"{_TEMPORARY}*"):
        number, _, rest = path.name.removeprefix(_TEMPORARY).partition("@")
        if number.isdigit() and not rest.startswith(f"{socket.gethostname()}-"):
            with suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > FORGOTTEN:
                    path.unlink()
        elif not (number.isdigit() and _is_alive(int(number))):
            path.unlink(missing_ok=True)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return True


def _flush(path: Path) -> None:
    """Force a file or folder onto the disk."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
