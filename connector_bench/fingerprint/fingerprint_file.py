"""`fingerprint.json`: what it holds, whoever has written it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, FiniteFloat

from connector_bench.captured.written import Count, Hash, Name, Text, WrittenPart, read_part

FINGERPRINT = "fingerprint.json"

MARKS = 4
Values = Annotated[list[FiniteFloat], Field(min_length=1, max_length=1_000_000)]


class StageValues(WrittenPart):
    """One picture at one stage, all its tokens as rows."""

    rows: Count
    width: Count
    rms: FiniteFloat
    """Root of the mean square of all values."""
    pooled: Values
    """The mean token: its first values, or all."""
    first: Values | None = None
    """The first token, likewise."""
    marks: list[Annotated[list[FiniteFloat], Field(min_length=MARKS, max_length=MARKS)]] | None = None
    """Of every token in order four numbers that tell it from others: the sum of its values with signs that change every
    1, 2, 4 and 8 values, over the root of their number."""
    grid: tuple[Count, Count] | None = None
    """Rows and columns of tokens, where the picture is one tile."""


class Stage(WrittenPart):
    """One stage of the vision pass."""

    name: Name
    """`inputs`, `embeddings`, `layer 1` ..., `pre`, `pre_normed`, `post`, `pre of branch 1`, `post of branch 1` ..."""
    module: Text | None = None
    """Path of the module whose output it is."""
    pictures: Annotated[list[StageValues], Field(min_length=1)]
    """In the order of the drawn pictures."""


class FingerprintFile(WrittenPart):
    """A model in one runtime."""

    schema_version: Literal[1]
    model: Name
    dtype: Name | None
    """What tower and connector ran in; None where it is not known."""
    versions: dict[Name, Name | None]
    hardware: Name | None
    pictures: Annotated[list[Hash], Field(min_length=1)]
    """Names of the pictures."""
    stages: Annotated[list[Stage], Field(min_length=1)]
    """In the order in which they run."""

    def named(self) -> dict[str, Stage]:
        """The stages by name."""
        return {stage.name: stage for stage in self.stages}


def read_fingerprint(path: Path) -> FingerprintFile:
    """A fingerprint, or that of a capture's folder.

    Raises:
        ValueError: it is none; stages and pictures do not fit.
        OSError: it cannot be read.
    """
    folder, name = (path, FINGERPRINT) if path.is_dir() else (path.parent, path.name)
    found = read_part(FingerprintFile, folder, name)
    for stage in found.stages:
        if len(stage.pictures) != len(found.pictures):
            raise ValueError(
                f"{path}: stage {stage.name} has {len(stage.pictures)} pictures of {len(found.pictures)}"
            )
    if len(found.named()) < len(found.stages):
        raise ValueError(f"{path}: two stages have one name")
    return found
