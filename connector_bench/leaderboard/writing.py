"""Several files changed together: after a crash or a power cut all are old or all are new.

The new files are written into a folder beside the old ones, which one rename then declares complete; only after it are
they moved into place. Whoever opens the board next finishes moves that were interrupted, and throws away a folder that
was not declared complete.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from connector_bench.foreign_files import read_json

LOCK, PENDING, COMPLETE = ".lock", ".pending", ".complete"
REMOVALS = ".removals.json"
PATIENCE = 2.0
"""Seconds after which a process that waits for another says so."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Have a folder, which is made, for this process alone; inside, it may be asked for again."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK, is_singleton=True)
    try:
        lock.acquire(timeout=PATIENCE)
    except Timeout:
        sys.stderr.write(f"{folder} is in use by another process: waiting for it\n")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def replace_together(folder: Path, files: Mapping[str, str | bytes], remove: Collection[str] = ()) -> None:
    """Write files and remove others below a folder, by their relative paths: all of it or nothing.

    Raises OSError, ValueError or UnicodeEncodeError with everything as it was.
    """
    contents = {name: text.encode() if isinstance(text, str) else text for name, text in files.items()}
    _require_inside(folder, [*contents, *remove])
    with locked(folder):
        _finish(folder)
        pending = folder / PENDING
        try:
            for name, content in contents.items():
                _write_through(pending / name, content)
            _write_through(pending / REMOVALS, json.dumps(sorted(remove)).encode())
            _sync_folders(pending)
            pending.rename(folder / COMPLETE)
        except BaseException:
            shutil.rmtree(pending, ignore_errors=True)
            raise
        _sync(folder)
        _finish(folder)


def finish_interrupted(folder: Path) -> None:
    """Bring a folder to the state that the last `replace_together` declared, if that was interrupted."""
    if any((folder / left).is_dir() for left in (PENDING, COMPLETE)):
        with locked(folder):
            _finish(folder)


def _finish(folder: Path) -> None:
    complete = folder / COMPLETE
    if complete.is_dir():
        removals = complete / REMOVALS
        leaving = _names_in(removals) if removals.is_file() else []
        arriving = sorted(path for path in complete.rglob("*") if not path.is_dir() and path != removals)
        _require_inside(folder, [*leaving, *(path.relative_to(complete) for path in arriving)])
        for path in arriving:
            target = folder / path.relative_to(complete)
            target.parent.mkdir(parents=True, exist_ok=True)
            path.replace(target)
        for name in leaving:
            (folder / name).unlink(missing_ok=True)
        _sync_folders(folder)
        shutil.rmtree(complete)
    if (folder / PENDING).is_dir():
        shutil.rmtree(folder / PENDING)


def _names_in(path: Path) -> list[str]:
    names = read_json(path)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{path} holds no list of files: nothing here has written {path.parent}, remove it")
    return names


def _require_inside(folder: Path, names: Iterable[str | Path]) -> None:
    """Raise ValueError for a name that leads out of the folder, or where a folder lies in a file's place."""
    for name in names:
        path = folder / name
        parent = os.path.realpath(path.parent)  # the last part may be a link: a rename takes its place
        if path.name == ".." or not Path(parent).is_relative_to(os.path.realpath(folder)):
            raise ValueError(f"{name} leads out of {folder}")
        if path.is_dir() and not path.is_symlink():
            raise ValueError(f"{path} is a folder where a file is to be written; remove it")


def _write_through(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folders(folder: Path) -> None:
    for path in (folder, *(path for path in folder.rglob("*") if path.is_dir())):
        _sync(path)


def _sync(folder: Path) -> None:
    """Make a folder's entries durable; Windows has no way to ask for it."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
