"""How checkpoints are called: a hub's name as it stands, a folder by no more of its path than tells it from others."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator
from pathlib import PurePosixPath, PureWindowsPath

MOST_PARTS = 3
"""Further up a path lie the names of machines and people."""


def without_folders(name: str) -> str:
    """A checkpoint's name; of a path on somebody's machine only its last part."""
    return tails(name)[0]


def tails(name: str) -> list[str]:
    """What a checkpoint may be called, shortest first: a path's last part, its last two, its last three.

    Any other name, such as `org/model`, is the only one.
    """
    parts = _folders(name)
    if parts is None:
        return [name]
    return ["/".join(parts[-count:]) for count in range(1, min(len(parts), MOST_PARTS) + 1)] or ["unnamed"]


def folder_id(name: str) -> str | None:
    """Eight digits that tell local folders apart and from which no path can be read; None for a hub's name."""
    parts = _folders(name)
    return None if parts is None else hashlib.sha256("/".join(parts).encode()).hexdigest()[:8]


def told_apart(names: Collection[str]) -> dict[str, str]:
    """By checkpoint: the shortest of its tails that no other checkpoint of these has."""
    return {name: next(free(name, set(names) - {name})) for name in names}


def free(name: str, others: Collection[str]) -> Iterator[str]:
    """What a checkpoint may be called beside others, shortest first; the last name holds its folder's hash."""
    taken = [tails(other) for other in others]
    for depth, tail in enumerate(tails(name)):
        if all(tail != found[min(depth, len(found) - 1)] for found in taken):
            yield tail
    yield f"{tails(name)[0]} ({folder_id(name)})" if folder_id(name) else name


def _folders(name: str) -> list[str] | None:
    """The parts of a path on somebody's machine, without drive, home and dots; None for any other name."""
    posix, windows = PurePosixPath(name), PureWindowsPath(name)
    if windows.drive or "\\" in name:
        parts = windows.parts[1:] if windows.anchor else windows.parts
    elif posix.is_absolute() or name.startswith((".", "~")) or ".." in posix.parts:
        parts = posix.parts[1:] if posix.is_absolute() else posix.parts
    else:
        return None
    return [stripped for part in parts if not part.startswith("~") and (stripped := part.strip("."))]
