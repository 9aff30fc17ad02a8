"""The folder that a curve lies in: one line a measurement, and the first step, so that a killed run goes on with it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonlines
import numpy as np
from jaxtyping import Float

from connector_bench.atomic_files import appearing, make_folder, remove_leftovers, write_atomically
from connector_bench.foreign_files import parsed

if TYPE_CHECKING:
    import pandas as pd

LINES, FIRST, PICTURE = "curve.jsonl", "first_step.safetensors", "curve.png"
EARLIER = "earlier-"
"""Begins the name of a folder that holds the curve of another run."""


class CurveFolder:
    """Lines of one curve by rising step, and the connector's output at the first of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lines: list[dict[str, Any]] = []
        self.first: Float[np.ndarray, "n d"] | None = None
        self._last = b""
        """What this probe wrote last, which the file ends with unless another one writes to it."""

    @property
    def file(self) -> Path:
        """The lines."""
        return self.folder / LINES

    def go_on_after(self, step: int, pictures: str) -> str | None:
        """Take up the curve of these pictures as it was at a step; later lines are dropped.

        A curve that has no line up to there, or is of other pictures, is another run's and is moved aside; the reply
        names where. So is any curve where training begins, at step 0. OSError where the disk refuses.
        """
        make_folder(self.folder)
        remove_leftovers(self.folder)
        self.lines, self.first, self._last = [], None, b""
        found = read_lines(self.file)
        if not found:
            return None
        first_step, first = self._read_first(pictures)
        until = [line for line in found if line["step"] <= step]
        if step <= 0 or first is None or first_step > step or not until:
            return self._move_aside()
        self.lines, self.first, self._last = until, first, _as_line(until[-1])
        write_atomically(self.file, b"".join(map(_as_line, until)))
        return None

    def add(self, line: Mapping[str, Any]) -> None:
        """Write one more line. FileExistsError where the curve is another probe's by now."""
        if self.file.exists() and not self.file.read_bytes().endswith(self._last):
            raise FileExistsError(f"{self.file} is another probe's by now; each needs a folder= of its own")
        self._last = _as_line(line)
        with self.file.open("ab") as file:
            file.write(self._last)
        self.lines.append(dict(line))

    def keep_first(self, step: int, pictures: str, post: Float[np.ndarray, "n d"]) -> None:
        """Write what later steps are compared with."""
        from safetensors.numpy import save_file

        with appearing(self.folder / FIRST) as temporary:
            save_file({"post": post}, temporary, {"step": str(step), "pictures": pictures})
        self.first = post

    def _read_first(self, pictures: str) -> tuple[int, Float[np.ndarray, "n d"] | None]:
        """The first step, None where there is none of these pictures."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(self.folder / FIRST, "np") as stored:
                said = stored.metadata() or {}
                if said.get("pictures") != pictures:
                    return 0, None
                return int(said["step"]), stored.get_tensor("post")
        except (OSError, SafetensorError, KeyError, ValueError):
            return 0, None

    def _move_aside(self) -> str:
        number = 1
        while (self.folder / f"{EARLIER}{number}").exists():
            number += 1
        aside = self.folder / f"{EARLIER}{number}"
        aside.mkdir()
        for path in [*self.folder.glob("events.out.*"), *(self.folder / n for n in (LINES, FIRST, PICTURE))]:
            if path.exists():
                path.rename(aside / path.name)
        return aside.name


def read_lines(file: Path) -> list[dict[str, Any]]:
    """The lines of a curve by rising step; one that a killed process has cut short is left out."""
    if not file.exists():
        return []
    with jsonlines.open(file, loads=parsed) as lines:
        found = [
            line for line in lines.iter(type=dict, skip_invalid=True) if isinstance(line.get("step"), int)
        ]
    return sorted(found, key=lambda line: line["step"])


def as_table(lines: list[dict[str, Any]]) -> pd.DataFrame:
    """One row a step: every score, its interval's ends under `_low` and `_high`, and what else a line says."""
    import pandas as pd

    rows = [{"step": line["step"], **flat(line)} for line in lines]
    return pd.DataFrame(rows or {"step": []}).set_index("step")


def flat(line: Mapping[str, Any]) -> dict[str, Any]:
    """A line's scores as plain columns; the step is left out."""
    columns: dict[str, Any] = {}
    for name, value in line.items():
        if isinstance(value, Mapping):
            columns |= {name: value["value"], f"{name}_low": value["low"], f"{name}_high": value["high"]}
        elif name != "step":
            columns[name] = value
    return columns


def _as_line(line: Mapping[str, Any]) -> bytes:
    import json

    return (json.dumps(line, allow_nan=False) + "\n").encode()
