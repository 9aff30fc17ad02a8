"""One task of one run as lmms-eval's files have it: record, metrics, documents, answers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from connector_bench.foreign_files import parsed
from connector_bench.metrics import Measure
from connector_bench.results.data_sets import configured_data_set, data_sets_of
from connector_bench.results.harness_files import ResultFile, UnusableResult, as_file_name
from connector_bench.results.main_rows import NORMAL_95
from connector_bench.stats.bounds import Bound, bound_of
from connector_bench.stats.intervals import Score, bounded
from connector_bench.stats.oracles import as_it_must_be

if TYPE_CHECKING:
    import pandas as pd

PRESERVATION: Literal["knn_preservation"] = "knn_preservation"
RECONSTRUCTION: Literal["patch_reconstruction"] = "patch_reconstruction"
STAGES: Literal["connector_stages"] = "connector_stages"
MEASURES = (PRESERVATION, RECONSTRUCTION, STAGES)

HARNESS_COLUMNS = frozenset(
    ("doc_id", "target", "input", "filtered_resps", "resps", "token_counts", "doc_hash", "input_media")
)
"""What lmms-eval writes into every sample row; further columns are metrics or come from the task."""
OUTCOMES = frozenset(("image", "unreadable", "left_out"))
"""One of them is in every answer of a task of ours."""
GROUP_COLUMN = "drawn_group"
"""In an answer whose image was drawn with others: the number of their group."""


@dataclass(frozen=True)
class TaskMetric:
    """One number that lmms-eval aggregated over a task's documents."""

    name: str
    """`accuracy`, or `accuracy (strict-match)` where a filter other than `none` made it."""
    column: str
    """What sample rows and `higher_is_better` call it, whichever filter made it."""
    value: float
    """May be infinite or NaN."""
    stderr: float | None

    @property
    def ends(self) -> tuple[float, float] | None:
        """The 95 % interval that lmms-eval's standard error gives; None of one that is 0: all answers are alike."""
        if not self.stderr or not math.isfinite(self.stderr):
            return None
        return self.value - NORMAL_95 * self.stderr, self.value + NORMAL_95 * self.stderr


@dataclass(frozen=True)
class SampleRow:
    """One document as `--log_samples` kept it."""

    doc_id: int
    target: Any
    input: str
    response: Any
    """What the model answered, filtered."""
    columns: Mapping[str, Any]
    """The document's metrics, and what the task passes through, such as `image_id`."""

    @property
    def target_text(self) -> str:
        """The target as text, empty where there is none."""
        return "" if self.target is None else str(self.target)


@dataclass(frozen=True)
class TaskRun:
    """One task of one run."""

    file: ResultFile
    name: str

    @property
    def model(self) -> str:
        """The model's name."""
        return self.file.model

    @cached_property
    def record(self) -> Mapping[str, Any]:
        """What connector_bench recorded; empty for a task that is not ours."""
        return self.file.records.get(self.name, {})

    @property
    def error(self) -> str | None:
        """Why a task of ours gave no figures; None where it gave some."""
        return str(self.record["error"]) if "error" in self.record else None

    @property
    def measure(self) -> Measure | None:
        """Which of our measures this is; None for a task that is not ours."""
        if not self.record:
            return None
        named = str(self.record.get("measure") or self.name)
        return next((measure for measure in MEASURES if named.startswith(measure)), PRESERVATION)

    @property
    def anchor(self) -> str:
        """The name as it may stand in an address or a file name; tasks of different names differ in it."""
        return as_file_name(self.name)

    @property
    def config(self) -> Mapping[str, Any]:
        """The task's configuration; empty for a group of tasks."""
        return self._of("configs") or {}

    @property
    def data_set(self) -> str:
        """Which data was read, as the run was configured."""
        return configured_data_set(self.config)

    @property
    def data_sets(self) -> frozenset[str]:
        """All names of the data that was read."""
        return data_sets_of(self.name, self.version, self.config)

    @property
    def effective(self) -> int | None:
        """How many documents were asked about."""
        return (self._of("n-samples") or {}).get("effective")

    @property
    def n(self) -> int | None:
        """How many images a task of ours measured, or documents any other asked about."""
        return self.record.get("n_images") or self.effective

    @property
    def version(self) -> str | None:
        """lmms-eval's version of the task."""
        found = self._of("versions")
        return None if found is None else str(found)

    @property
    def samples_hash(self) -> str | None:
        """lmms-eval's hash of the documents."""
        return self._of("task_hashes")

    @property
    def higher_is_better(self) -> Mapping[str, bool | None]:
        """By column of a metric."""
        return self._of("higher_is_better") or {}

    def bound(self, metric: str) -> Bound | None:
        """What a figure of the run is a bound of; None where it is none."""
        return bound_of(metric, self.record.get("more_data_helps"))

    @cached_property
    def scores(self) -> Mapping[str, Score]:
        """Our record's scores that have a value; a missing end is NaN, a missing chance None."""
        return scores_of(self.record)

    @cached_property
    def scores_beside_controls(self) -> Mapping[str, Score]:
        """`scores`, but of the images alone that controls were measured on, where these are not all."""
        return {**self.scores, **scores_of(self.record.get("at_control_gallery") or {})}

    def as_it_must_be(self, name: str) -> bool | None:
        """Whether a control's score is what it must be; None of any other, and where nobody can tell."""
        score = self.scores.get(name)
        recorded = self.record.get("scores", {}).get(name) or {}
        options = self.record.get("options") or {}
        return None if score is None else as_it_must_be(name, score, _number(recorded.get("p")), options)

    @cached_property
    def metrics(self) -> tuple[TaskMetric, ...]:
        """Every number that lmms-eval aggregated, in its order."""
        results = self.file.content["results"].get(self.name) or {}
        return tuple(
            TaskMetric(
                column if made_by == "none" else f"{column} ({made_by})",
                column,
                value,
                _number(results.get(f"{column}_stderr,{made_by}")),
            )
            for column, made_by, given in self._aggregated()
            if (value := _number(given)) is not None
        )

    @property
    def figures(self) -> dict[str, float]:
        """Every finite number that lmms-eval aggregated, by its name."""
        return {metric.name: metric.value for metric in self.metrics if math.isfinite(metric.value)}

    @property
    def metric_columns(self) -> list[str]:
        """Columns of the sample rows that are metrics; for what a task only passes through lmms-eval writes a list."""
        found = (column for column, _, value in self._aggregated() if not isinstance(value, list))
        return list(dict.fromkeys(found))

    @property
    def has_samples(self) -> bool:
        """Whether the run kept its documents."""
        return self.file.samples_path(self.name).is_file()

    @cached_property
    def documents(self) -> Mapping[int, SampleRow]:
        """The documents by number. Raises UnusableResult where there are none, or one stands there twice."""
        path = self.file.samples_path(self.name)
        rows: dict[int, SampleRow] = {}
        for row in self.file.samples(self.name):
            doc_id = row.get("doc_id")
            if not isinstance(doc_id, int):
                raise UnusableResult(f"{path}: a document without a doc_id: {row!r:.80}")
            if doc_id in rows:
                raise UnusableResult(
                    f"{path}: document {doc_id} stands there twice; "
                    "a task with several filters writes no sign of which row is which"
                )
            columns = {name: value for name, value in row.items() if name not in HARNESS_COLUMNS}
            rows[doc_id] = SampleRow(
                doc_id, row.get("target"), str(row.get("input", "")), row.get("filtered_resps"), columns
            )
        if not rows:
            raise UnusableResult(f"{path}: holds no documents")
        return dict(sorted(rows.items()))

    @cached_property
    def answers(self) -> Mapping[int, Mapping[str, Any]]:
        """What a task of ours answered by document: its image and figures, or why it has none.

        Raises UnusableResult as `documents`, and for an answer that is no such thing.
        """
        return {number: self._answer(row) for number, row in self.documents.items()}

    @property
    def kept_answers(self) -> Mapping[int, Mapping[str, Any]]:
        """As `answers`; empty where the run kept none."""
        return self.answers if self.has_samples else {}

    def to_pandas(self) -> pd.DataFrame:
        """A row a document: number, target, input, response, then columns and, of a task of ours, its figures."""
        import pandas as pd

        answers = self.answers if self.record else {}
        return pd.DataFrame(
            {"doc_id": number, "target": row.target, "input": row.input, "response": row.response}
            | {**row.columns, **answers.get(number, {})}
            for number, row in self.documents.items()
        )

    def _of(self, part: str) -> Any:
        return (self.file.content.get(part) or {}).get(self.name)

    def _aggregated(self) -> Iterator[tuple[str, str, Any]]:
        """Metric, filter and value; lmms-eval writes `metric,filter`, and standard errors between them."""
        for key, value in (self.file.content["results"].get(self.name) or {}).items():
            column, _, made_by = key.partition(",")
            if made_by and "_stderr" not in column:
                yield column, made_by, value

    def _answer(self, row: SampleRow) -> dict[str, Any]:
        where = f"{self.file.samples_path(self.name)}: document {row.doc_id}"
        try:
            answer = parsed(row.response)
        except (TypeError, ValueError) as error:
            raise UnusableResult(f"{where} has no answer of a connector task: {error!r}") from error
        if not isinstance(answer, dict) or not OUTCOMES & set(answer):
            raise UnusableResult(f"{where} answers {answer!r:.80}, expected its image's figures")
        return answer


def numbers(row: Mapping[str, Any]) -> dict[str, float]:
    """What is a finite number in a row or an answer."""
    found = ((name, _number(value)) for name, value in row.items())
    return {name: value for name, value in found if value is not None and math.isfinite(value)}


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def scores_of(record: Mapping[str, Any]) -> dict[str, Score]:
    """A record's scores that have a value; a missing end is NaN, a missing chance None."""
    found = {}
    for name, given in record.get("scores", {}).items():
        if given.get("value") is not None:
            low, high = (math.nan if given.get(end) is None else float(given[end]) for end in ("low", "high"))
            method = str(given.get("method") or "no interval")
            score = Score(float(given["value"]), low, high, int(given["n"]), given.get("chance"), method)
            found[name] = bounded(score, bound_of(name, record.get("more_data_helps")))
    return found


def most_tokens(record: Mapping[str, Any]) -> int | None:
    """Most tokens of an image behind the connector, None where a record does not say."""
    counts = (record.get("tokens_per_image") or {}).get("post")
    return max(counts) if counts else None
