"""One request of the harness: what all tasks of a run share, from the model's adapter to the record of each task."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from connector_bench.connectors import adapter_for
from connector_bench.documents import Document
from connector_bench.exchange import rank_and_size, together
from connector_bench.measurement import Lesson, Measure, TaskFigures, measure_documents
from connector_bench.provenance import environment

if TYPE_CHECKING:
    from connector_bench.types import ConnectorInfo

ARTEFACTS = "connector_bench"
"""Folder below `--output_path` for what is neither result nor sample file."""
BATCH_SIZE = 8
UNTRAINED_SEEDS = (0, 1, 2)
"""Initialisations of the connector that are measured beside it as a control."""


@dataclass
class Run:
    """What the tasks of one run share."""

    connector: ConnectorInfo
    output: Path | None
    """`--output_path`; None where nothing may be written."""
    lessons: dict[str, Lesson] = field(default_factory=dict)
    """By what is learnt from what: tasks that need the same probes share them."""

    def folder(self, task: str) -> Path | None:
        """Where a task leaves state and artefacts of this model."""
        if self.output is None:
            return None
        model = hashlib.sha256(self.connector.model.encode()).hexdigest()[:12]
        return self.output / ARTEFACTS / f"{task}-{model}"

    def fingerprint(self, **parts: Any) -> dict[str, Any]:
        """What state on the disk depends on: model, versions, number of processes, and these parts."""
        made_with = environment()
        return {
            "model": asdict(self.connector),
            "versions": made_with["versions"],
            "processes": rank_and_size()[1],
            **parts,
        }


class MeasuringTask(Protocol):
    """A task of ours, as the harness hands it over with its requests."""

    record: dict[str, Any]

    def measure(self, run: Run) -> Measure:
        """Fresh state that will see this task's pictures."""
        ...


def output_folder(output_path: str | None) -> Path | None:
    """`--output_path`, made. Raises ValueError where it cannot be written."""
    if not output_path:
        return None
    try:
        Path(output_path).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=output_path):
            pass
    except OSError as error:
        raise ValueError(
            f"--output_path {output_path} cannot be written: {error}; nothing was measured"
        ) from error
    return Path(output_path)


def measure_tasks(
    wrapper: Any, documents: Sequence[Document], tasks: Mapping[str, MeasuringTask], output: Path | None
) -> dict[str, TaskFigures]:
    """Measure every task on its documents and fill in its record. Raises what the model or a measure raises."""
    adapter = together(lambda: adapter_for(wrapper))
    has_untrained = adapter.add_untrained(UNTRAINED_SEEDS)
    run = Run(adapter.info, output)
    measures = together(lambda: {name: task.measure(run) for name, task in tasks.items()})
    figures = measure_documents(
        adapter, documents, measures, list(run.lessons.values()), batch_size=BATCH_SIZE
    )
    for name, task in tasks.items():
        task.record.update(environment(), connector=asdict(adapter.info))
        task.record["untrained_seeds"] = UNTRAINED_SEEDS if has_untrained else ()
        task.record.update(figures[name].summary)
    return figures
