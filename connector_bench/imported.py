"""Somebody's class or function by its import path, also from the folder in which a command is typed."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from connector_bench.foreign_files import first_line


def imported_factory(
    path: str, what: str = "connector", wanted: str = "an nn.Module class"
) -> Callable[..., Any]:
    """What an import path leads to; `what` it is to be, and of what kind, messages say.

    Whatever a module does on import (`sys.exit()` too) is its user's.

    Raises:
        ValueError: it leads nowhere, or to something that cannot be called.
    """
    module_name, _, attribute = path.partition(":")
    _look_in_this_folder()
    try:
        factory = getattr(importlib.import_module(module_name), attribute)
    except (Exception, SystemExit) as error:
        kind = "Class" if what == "connector" else "function"
        raise ValueError(
            f"cannot import {what} {path!r} (expected 'module:{kind}'; looked "
            f"for in {Path.cwd()} and among what is installed): {type(error).__name__}: {first_line(error)}"
        ) from error
    if not callable(factory):
        raise ValueError(f"{what} {path!r} is a {type(factory).__name__}, expected {wanted}")
    found: Callable[..., Any] = factory
    return found


def _look_in_this_folder() -> None:
    """Modules of the folder in which a command is typed can be imported, as with `python -m`."""
    here = str(Path.cwd())
    if not {here, ""} & set(sys.path):
        sys.path.insert(0, here)
