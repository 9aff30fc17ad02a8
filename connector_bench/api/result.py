"""`Result`: what a measurement from Python gives, one frozen value for one measure or both."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from connector_bench.metrics import Measure
from connector_bench.results.tasks import numbers, scores_of
from connector_bench.stats.intervals import Score

if TYPE_CHECKING:
    import pandas as pd

    from connector_bench.reconstruction.lossmaps import LossMap

FIGURES_SCHEMA = 1
"""Of what `save` writes and `to_dict` gives."""


@dataclass(frozen=True, eq=False)
class MeasuredPart:
    """One measure's figures."""

    measure: Measure
    record: Mapping[str, Any]
    """Scores with their intervals, options, images, versions: what a task's record holds, ready for JSON."""
    figures: Mapping[str, float]
    """Every figure as the task reports it, by its name."""
    stderrs: Mapping[str, float]
    """Standard errors of the figures that are means over pictures."""
    higher_is_better: Mapping[str, bool | None]
    answers: Mapping[int, Mapping[str, Any]]
    """By number of a picture: its name and figures, or why it has none."""
    files: Mapping[str, bytes] = field(default_factory=dict)
    """What a run leaves to be looked at, by path below the folder of results: loss maps, pictures, neighbours."""

    @property
    def scores(self) -> dict[str, Score]:
        """Every figure of the whole set that has an interval, or is one number of the set."""
        return scores_of(self.record)


@dataclass(frozen=True, eq=False, repr=False)
class Result:
    """Figures of one connector on one set of pictures.

    >>> import numpy as np, connector_bench as cb
    >>> pre = np.random.default_rng(0).normal(size=(200, 32))
    >>> result = cb.knn_preservation(pre, pre[:, :16], ks=(10,), name="half of it")
    >>> result
    Result(half of it, knor_10 0.376 ±.026, n=200)
    >>> result.scores["knor_10"].chance == 10 / 199
    True
    >>> result.column("knor_10").shape
    (200,)

    It holds no tensors and no model. `save` writes what `connector-bench report`, `compare` and `leaderboard add` read.
    """

    name: str
    """Of the connector, under which results are filed."""
    function: str
    """Which function of `connector_bench` made it."""
    pictures: int
    """How many pictures were given, duplicates and unreadable ones included."""
    parts: tuple[MeasuredPart, ...]
    date: str
    """`YYYYMMDD_HHMMSS`."""
    warnings: tuple[str, ...] = ()

    def __getitem__(self, measure: str) -> MeasuredPart:
        """The part of one measure, `knn_preservation` or `patch_reconstruction`."""
        found = next((part for part in self.parts if part.measure == measure), None)
        if found is None:
            raise KeyError(f"{measure!r}; there are {', '.join(part.measure for part in self.parts)}")
        return found

    @property
    def measures(self) -> tuple[str, ...]:
        """What was measured."""
        return tuple(part.measure for part in self.parts)

    @property
    def scores(self) -> dict[str, Score]:
        """Every score of all parts, by its name in docs/METRICS.md."""
        return {name: score for part in self.parts for name, score in part.scores.items()}

    def __repr__(self) -> str:
        from connector_bench.api.result_words import short

        return short(self)

    def summary(self) -> str:
        """The main figures in plain words with their intervals, controls beside them, in lines of 79 characters."""
        from connector_bench.api.result_words import plain_words

        return plain_words(self)

    def _repr_html_(self) -> str:
        from connector_bench.api.result_words import html_view

        return html_view(self)

    def column(self, figure: str) -> Float[np.ndarray, " pictures"]:
        """One figure of each picture, in the order in which they were given, NaN where it has none.

        A picture that was given twice has its figures twice. KeyError naming the figures that there are.
        """
        rows = self._rows
        if not any(figure in row for row in rows):
            known = sorted({name for row in rows for name in row})
            raise KeyError(f"no picture has {figure!r}; there are {', '.join(known)}")
        return np.array([row.get(figure, math.nan) for row in rows])

    @cached_property
    def _rows(self) -> list[dict[str, float]]:
        """Every picture's numbers, those of its twin where it is one."""
        rows: list[dict[str, float]] = [{} for _ in range(self.pictures)]
        for part in self.parts:
            for number, answer in part.answers.items():
                twin = answer.get("same_image_as")
                own = numbers({k: v for k, v in answer.items() if k != "same_image_as"})
                rows[number] |= own if twin is None else numbers(part.answers[twin]) | own
        return rows

    @cached_property
    def images(self) -> tuple[str | None, ...]:
        """Names of the pictures in order; None for those that could not be read, or were not measured."""
        names: dict[int, str] = {
            number: str(answer["image"])
            for part in self.parts
            for number, answer in part.answers.items()
            if "image" in answer
        }
        return tuple(names.get(number) for number in range(self.pictures))

    def per_image(self) -> pd.DataFrame:
        """A row a picture, in the order in which they were given: its name and every figure."""
        import pandas as pd

        table = pd.DataFrame(self._rows, index=pd.RangeIndex(self.pictures, name="picture"))
        table.insert(0, "image", list(self.images))
        return table

    def to_pandas(self) -> pd.DataFrame:
        """A row a score: measure, figure, value, low, high, n, chance and method."""
        import pandas as pd

        rows = [
            (part.measure, name, s.value, s.low, s.high, s.n, s.chance, s.method)
            for part in self.parts
            for name, s in part.scores.items()
        ]
        columns = ["measure", "figure", "value", "low", "high", "n", "chance", "method"]
        return pd.DataFrame(rows, columns=columns)

    def to_dict(self) -> dict[str, Any]:
        """Everything but loss maps and pictures as plain values, ready for JSON."""
        return {
            "schema_version": FIGURES_SCHEMA,
            "name": self.name,
            "function": self.function,
            "pictures": self.pictures,
            "date": self.date,
            "warnings": list(self.warnings),
            "measures": {
                part.measure: {
                    "record": dict(part.record),
                    "figures": dict(part.figures),
                    "answers": {str(number): dict(row) for number, row in part.answers.items()},
                }
                for part in self.parts
            },
        }

    @cached_property
    def loss_maps(self) -> tuple[LossMap | None, ...]:
        """Where each picture's patches were lost, in order; None for those that were not tested, or have no places.

        `loss` holds one number a patch: 0 is rebuilt exactly, 1 is what the training mean gets; `layout` says where.
        """
        from connector_bench.reconstruction.artefacts import MAPS, maps_in

        found: dict[str, LossMap] = {}
        with tempfile.TemporaryDirectory() as folder:
            for part in self.parts:
                shards = [content for path, content in part.files.items() if Path(path).match(MAPS)]
                for number, content in enumerate(shards):
                    shard = Path(folder) / f"{part.measure}-{number}.safetensors"
                    shard.write_bytes(content)
                    found |= {one.image_id: one for one in maps_in(shard)}
        return tuple(None if image is None else found.get(image) for image in self.images)

    def save(self, folder: str | Path) -> Path:
        """Write the result into a folder, beside others, and return its file.

        `connector-bench report FOLDER`, `compare` and `leaderboard add` read it, and `Result.load`.
        """
        from connector_bench.api.result_files import save

        return save(self, Path(folder).expanduser())

    @classmethod
    def load(cls, path: str | Path) -> Result:
        """Read what `save` has written: a file, or a folder with one.

        ValueError for anything else, naming what is there.
        """
        from connector_bench.api.result_files import load

        return load(Path(path).expanduser())
