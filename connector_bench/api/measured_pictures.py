"""Measures from Python by the code that the tasks run: pictures or tokens in, a `Result` out."""

from __future__ import annotations

import json
import math
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from connector_bench.api.result import MeasuredPart, Result
from connector_bench.api.result_files import STAMP, task_of
from connector_bench.api.spoken import say
from connector_bench.connectors import ConnectorAdapter
from connector_bench.connectors.capture import BatchSize
from connector_bench.metrics import Measure as MeasureName
from connector_bench.metrics import of_owner
from connector_bench.preservation.figures import metric_names as overlap_metrics
from connector_bench.preservation.options import PreservationOptions
from connector_bench.preservation.pooled import PooledPreservation
from connector_bench.preservation.reference import ReferenceSpace
from connector_bench.processes import gather_all, on_first_rank, rank_and_size
from connector_bench.reconstruction.config import ReconstructionConfig
from connector_bench.reconstruction.figures import metric_names as reconstruction_metrics
from connector_bench.reconstruction.learning import ProbeLearner
from connector_bench.reconstruction.measured import MeasuredReconstruction
from connector_bench.results.written_results import mean_and_error
from connector_bench.run.answers import figure_of_the_set
from connector_bench.run.measurement import Failed, Measure, ProbeTraining
from connector_bench.run.running import ARTEFACTS, Run, measured_with
from connector_bench.timing import Timing
from connector_bench.types import ConnectorInfo

if TYPE_CHECKING:
    from PIL.Image import Image

    from connector_bench.run.documents import Document

LEFT_TO_LOOK_AT = ("selection.json", "maps.json", "nearest.npz", "pictures/*", "scored-*/maps-*.safetensors")


@dataclass
class AskedMeasure:
    """One measure that is wanted of some pictures."""

    measure_name: MeasureName
    documents: Sequence[Document]
    metrics: Mapping[str, bool | None]
    of_the_set: set[str]
    """Figures that are no mean over pictures."""
    begin: Callable[[Run], Measure]
    record: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        self.record = {"measure": self.measure_name}

    @property
    def task(self) -> str:
        """What it is called among lmms-eval's tasks."""
        return task_of(self.measure_name)

    def measure(self, run: Run) -> Measure:
        """Fresh state that will see the pictures."""
        return self.begin(run)


def asked_overlap(
    documents: Sequence[Document],
    options: PreservationOptions,
    reference: ReferenceSpace | None = None,
    *,
    pictures_at_hand: bool = True,
) -> AskedMeasure:
    """Neighbours kept, on these pictures, and whether neighbourhoods move towards a reference."""
    if reference is not None:
        options = replace(options, reference=reference.name)
    by_number = {one.doc_id: one for one in documents}

    def picture_of(number: int) -> Image:
        return by_number[number].load()

    columns = tuple(dict.fromkeys(column for one in documents for column in one.labels))
    name: MeasureName = "knn_preservation"
    metrics = overlap_metrics(options, columns[1:])

    def begin(run: Run) -> Measure:
        return PooledPreservation(
            options,
            run.folder(task_of(name)),
            labels=columns,
            reference=reference,
            picture_of=picture_of if pictures_at_hand else None,
            words_of=run.words_of,
        )

    return AskedMeasure(name, documents, metrics, of_owner(metrics, "set"), begin)


def asked_reconstruction(
    documents: Sequence[Document],
    training: Sequence[Document],
    config: ReconstructionConfig,
    *,
    pictures_at_hand: bool = True,
) -> AskedMeasure:
    """Patches rebuilt by probes that learn from `training`, on these pictures."""
    name: MeasureName = "patch_reconstruction"
    metrics = reconstruction_metrics(config)
    training_task = training[0].task if training else f"{name} training"
    by_number = {one.doc_id: one for one in documents}

    def picture_of(number: int) -> Image:
        return by_number[number].load()

    def begin(run: Run) -> Measure:
        rank, size = rank_and_size()
        learner = ProbeLearner(config)
        mine = [one for one in training if one.doc_id % size == rank]
        run.trainings[name] = ProbeTraining(training_task, learner, mine, {task_of(name)})
        return MeasuredReconstruction(
            learner,
            picture_of=picture_of if pictures_at_hand else None,
            folder=run.folder(task_of(name)),
            fingerprint=run.fingerprint(task=task_of(name)),
        )

    return AskedMeasure(name, documents, metrics, set(metrics) - of_owner(metrics, "question"), begin)


def measured(
    adapter: ConnectorAdapter,
    asked: Sequence[AskedMeasure],
    *,
    function: str,
    pictures: int,
    batch_size: int,
    warned: set[str] | None = None,
) -> Result:
    """Every measure that was asked for; in a process group all processes call this with the same pictures.

    `warned` has what was said of these tokens before and is not said again, and takes what is true of all of them.

    A measure without figures is left out with a warning. ValueError where there is no other, and what the model raises.
    """
    rank, size = rank_and_size()
    own = [one for wanted in asked for one in wanted.documents if one.doc_id % size == rank]
    folder = Path(on_first_rank(lambda _: tempfile.mkdtemp(prefix="connector_bench-"), None))
    try:
        found = measured_with(
            adapter,
            own,
            {wanted.task: wanted for wanted in asked},
            folder,
            batch_size=BatchSize(batch_size),
            timing=Timing(),
            workers=None,
        )
        files = on_first_rank(lambda _: _files_below(folder), None)
    finally:
        if rank == 0:
            shutil.rmtree(folder, ignore_errors=True)
    parts: list[MeasuredPart] = []
    errors: list[str] = []
    lines: list[str] = []
    for wanted in asked:
        outcome = found[wanted.task]
        error = outcome.error if isinstance(outcome, Failed) else wanted.record.get("error")
        if error is not None:
            errors.append(f"{wanted.measure_name} gave no figures: {error}")
            continue
        assert not isinstance(outcome, Failed)
        lines += outcome.warnings
        answers = {number: row for part in gather_all(outcome.answers) for number, row in part.items()}
        parts.append(_part(wanted, answers, files))
    if not parts:
        raise ValueError("; ".join(errors))
    record, of_tokens = asked[0].record, []
    if "untrained_left_out" in record:
        of_tokens.append(f"untrained control left out: {record['untrained_left_out']}")
    remarks = [line for part in gather_all(adapter.place_remarks) for line in part]
    if not remarks and not adapter.info.knows_places:
        remarks = [places_line(adapter.info)]
    of_tokens += remarks
    said = tuple(dict.fromkeys([*errors, *lines, *of_tokens]))
    before = warned or ()
    say(line for line in said if line not in before)
    if warned is not None:
        warned.update(of_tokens)
    return Result(adapter.info.model, function, pictures, tuple(parts), now(), said)


def places_line(info: ConnectorInfo) -> str:
    """What is said where nobody knows where tokens lie."""
    return f"places of tokens are {info.places}"


def _part(
    wanted: AskedMeasure, answers: Mapping[int, Mapping[str, Any]], files: Mapping[str, bytes]
) -> MeasuredPart:
    rows = {
        number: {
            name: value for name, value in row.items() if not isinstance(value, float) or math.isfinite(value)
        }
        for number, row in sorted(answers.items())
    }
    figures, stderrs = figures_of(wanted.metrics, rows, wanted.record, wanted.of_the_set)
    left = f"{ARTEFACTS}/{wanted.task}-"
    return MeasuredPart(
        wanted.measure_name,
        plain(wanted.record),
        figures,
        stderrs,
        dict(wanted.metrics),
        rows,
        {path: content for path, content in files.items() if path.startswith(left)},
    )


def figures_of(
    metrics: Mapping[str, bool | None],
    answers: Mapping[int, Mapping[str, Any]],
    record: Mapping[str, Any],
    of_the_set: set[str],
) -> tuple[dict[str, float], dict[str, float]]:
    """Every figure as lmms-eval aggregates a task's answers, and standard errors of the means."""
    figures: dict[str, float] = {}
    stderrs: dict[str, float] = {}
    for name in metrics:
        values = [row[name] for row in answers.values() if name in row]
        if not values:
            continue
        if name in of_the_set:
            figures[name] = figure_of_the_set(record, name, values)
            continue
        figures[name], error = mean_and_error(values)
        if error is not None:
            stderrs[name] = error
    return figures, stderrs


def _files_below(folder: Path) -> dict[str, bytes]:
    root = folder / ARTEFACTS
    paths = [path for pattern in LEFT_TO_LOOK_AT for path in sorted(root.glob(f"*/{pattern}"))]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def plain(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record as a file holds it."""
    found: dict[str, Any] = json.loads(json.dumps(record, default=str))
    return found


def now() -> str:
    """The time, as lmms-eval stamps results."""
    return datetime.now().strftime(STAMP)
