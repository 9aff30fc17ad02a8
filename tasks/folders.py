"""Folders of data that environment variables name."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["folder_of"]


def folder_of(variable: str, what: str) -> Path:
    """The folder that an environment variable names. ValueError where it is not set or leads to none."""
    named = os.environ.get(variable)
    if not named:
        raise ValueError(f"set {variable} to {what}; it is not set")
    folder = Path(named).expanduser()
    if not folder.is_dir():
        problem = "is a file" if folder.is_file() else "is not there"
        raise ValueError(f"set {variable} to {what}; it is {named!r}, which {problem}")
    return folder
