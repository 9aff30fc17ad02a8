"""Files that appear whole or not at all, and what dead processes have left half written."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FORGOTTEN = 24 * 3600.0
"""Seconds after which a temporary file of another machine is taken for one of a dead process."""
CLOCKS_APART = 60.0
"""Seconds by which a disk's clock and this machine's may differ."""
_TEMPORARY = ".writing-"
_WHOLE_NAME = re.compile(r"\.writing-\d+@.+-[0-9a-f]{16}")
_writing: set[str] = set()
"""Names of the temporary folders that this process is writing into."""
_swept: set[Path] = set()
"""Folders that this process has cleared of what dead ones left there."""


class NotWritten(OSError):
    """What a full, read-only or vanished disk has refused: the path, the space that was wanted, and why."""

    def __init__(self, path: Path, size: int, error: Exception) -> None:
        """`size` in bytes; 0 for a folder."""
        large = size >= 2**20 / 10
        wanted = f" ({size / 2**20:,.1f} MB wanted)" if large else f" ({size / 2**10:.1f} kB wanted)"
        why = getattr(error, "strerror", None) or error
        super().__init__(f"{path} could not be written{wanted if size else ''}: {why}")
        self.errno = getattr(error, "errno", None)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that a reader, or the next run, finds the old content or the new, never a part.

    A temporary file beside it, fsync, rename, fsync of the folder. NotWritten where the disk refuses.
    """
    try:
        with appearing(path) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        raise NotWritten(path, len(content), error) from error


def make_folder(path: Path) -> None:
    """Make a folder and those above it, unless they are there. NotWritten where the disk refuses."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise NotWritten(path, 0, error) from error


@contextmanager
def appearing(path: Path) -> Iterator[Path]:
    """A temporary path whose file, once written and on the disk, takes the place of `path`.

    It lies in a folder of its own, since a writer that is killed may leave a temporary file of its own beside it, as
    that of safetensors does. Such folders of dead processes beside it are removed first.
    """
    _sweep(path.parent)
    owner = f"{os.getpid()}@{socket.gethostname()}"
    own = path.with_name(f"{_TEMPORARY}{owner}-{secrets.token_hex(8)}")
    _writing.add(own.name)
    try:
        own.mkdir()
        yield own / path.name
        _flush(own / path.name)
        (own / path.name).replace(path)
    finally:
        shutil.rmtree(own, ignore_errors=True)
        _writing.discard(own.name)
    _flush(path.parent)


def remove_leftovers(folder: Path) -> None:
    """Remove temporary files that dead processes have left here and below; those of living ones stay."""
    for path in list(folder.rglob(f"{_TEMPORARY}*")):
        if _is_left(path):
            _remove(path)


def _sweep(folder: Path) -> None:
    """Remove leftovers from a folder that may hold a user's files too, once: whole names of ours alone."""
    if folder in _swept:
        return
    _swept.add(folder)
    for path in list(folder.glob(f"{_TEMPORARY}*")):
        if _WHOLE_NAME.fullmatch(path.name) and path.is_dir() and _is_left(path):
            _remove(path)


def _is_left(path: Path) -> bool:
    """Whether the process that has written there is dead, its number one of ours or of another process by now."""
    number, _, rest = path.name.removeprefix(_TEMPORARY).partition("@")
    if not number.isdigit():
        return True
    try:
        written = path.stat().st_mtime
    except FileNotFoundError:
        return False
    if not rest.startswith(f"{socket.gethostname()}-"):
        return time.time() - written > FORGOTTEN
    if int(number) == os.getpid():
        return path.name not in _writing
    return not _was_alive(int(number), written)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _was_alive(process: int, written: float) -> bool:
    """Whether the process of this number is alive, and was when something was written."""
    import psutil

    try:
        return bool(psutil.Process(process).create_time() <= written + CLOCKS_APART)
    except (psutil.NoSuchProcess, OverflowError):
        return False
    except psutil.Error:
        return True


def _flush(path: Path) -> None:
    """Force a file or folder onto the disk."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
