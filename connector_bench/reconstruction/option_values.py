"""What an option's value may be, and the sentence that says so of any other: read before anything is measured."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

SHOWN = 80
"""Characters of a wrong value."""


def _known_device(name: str) -> str:
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", name):
        raise ValueError("must be auto, cpu, cuda or cuda:<number>")
    return name


Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(gt=0, lt=1)]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Device = Annotated[str, AfterValidator(_known_device)]

Options = TypeVar("Options")


def checked(options: type[Options], given: Mapping[str, Any]) -> Options:
    """The options of a dataclass. ValueError naming each value that is not allowed, and what is."""
    try:
        return TypeAdapter(options).validate_python(given)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_context=False)
        said = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}, got {e['input']!r:.{SHOWN}}" for e in faults]
        raise ValueError("; ".join(said)) from error


def refuse_unknown(what: str, given: Iterable[object], allowed: Iterable[str]) -> None:
    """ValueError where a name is not among those that are allowed."""
    listed = list(allowed)
    if unknown := sorted(str(name) for name in given if name not in listed):
        raise ValueError(f"unknown {what} {', '.join(unknown)}; allowed are {', '.join(listed)}")
