"""What is said to a user who calls from Python: warnings at the line that called, and refusals of an old order."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable

OURS = "connector_bench"


def say(lines: Iterable[str]) -> None:
    """Warn, line by line, at the first place outside this package."""
    frame, level = sys._getframe(), 1
    while frame.f_back is not None and frame.f_globals.get("__name__", "").split(".")[0] == OURS:
        frame, level = frame.f_back, level + 1
    for line in lines:
        warnings.warn(line, stacklevel=level)


def refuse_old_order(function: str, images: object) -> None:
    """TypeError where pictures are not where they should be: before 0.2, `measure` took the processor second."""
    if images is None or hasattr(images, "preprocess") or hasattr(images, "image_processor"):
        raise TypeError(
            f"the order is {function}(model, images, processor); images is {type(images).__name__}"
        )


def require_name(name: object) -> None:
    """TypeError for a name that is no text, ValueError for one without letters: results are filed under it."""
    if not isinstance(name, str):
        raise TypeError(f"name is {name!r:.60}; a text is needed, such as name={str(name)!r:.60}")
    if not name.strip():
        raise ValueError("name is empty; results are filed under it")


def require_options(given: object, kind: type, keyword: str) -> None:
    """TypeError for options of another kind, such as a dict of them."""
    if given is not None and not isinstance(given, kind):
        example = f"cb.{kind.__name__}(**...)" if isinstance(given, dict) else f"cb.{kind.__name__}(...)"
        raise TypeError(f"{keyword} is {type(given).__name__}; {keyword}={example} is needed")
