"""One request of the harness: what all tasks of a run share, from the model's adapter to the record of each task."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from loguru import logger

from connector_bench.atomic_files import NotWritten, make_folder, write_atomically
from connector_bench.connectors import ConnectorAdapter, adapter_for
from connector_bench.connectors.capture import BatchSize
from connector_bench.environment import environment
from connector_bench.processes import on_every_rank, rank_and_size
from connector_bench.progress import doing
from connector_bench.reconstruction.config import TaskOptions
from connector_bench.reconstruction.learning import ProbeLearner
from connector_bench.reconstruction.measured import MeasuredReconstruction
from connector_bench.reconstruction.state_folder import IN_USE
from connector_bench.run.documents import Document, PictureRows
from connector_bench.run.measurement import (
    Failed,
    Failures,
    Measure,
    ProbeTraining,
    TaskFigures,
    measure_documents,
)
from connector_bench.run.workforce import Workforce, workforce
from connector_bench.timing import Timing
from connector_bench.workers import worker_count

if TYPE_CHECKING:
    import torch

    from connector_bench.types import ConnectorInfo

ARTEFACTS = "connector_bench"
"""Folder below `--output_path` for what is neither result nor sample file."""
RECORD = "record.json"
"""The latest record of a task in its folder, the same as in lmms-eval's result file."""
BATCH_SIZE, BATCH_SIZE_CUDA = 8, 32
"""Pictures that pass the model together where `--batch_size` does not say: on the CPU, and on a graphics card."""
UNTRAINED_SEEDS = (0, 1, 2)
"""Initialisations of the connector that are measured beside it as a control."""


@dataclass
class Run:
    """What the tasks of one run share."""

    connector: ConnectorInfo
    output: Path | None
    """`--output_path`; None where nothing may be written."""
    trainings: dict[str, ProbeTraining] = field(default_factory=dict)
    """By what is learnt from what: tasks that need the same probes share them."""
    timing: Timing = field(default_factory=Timing)
    words_of: Callable[[int, int], Any] | None = None
    """Input embeddings of the language model's words, see `ConnectorAdapter.word_embeddings`."""
    device: torch.device | None = None
    """The model's; None where it does not matter."""

    def folder(self, task: str) -> Path | None:
        """Where a task leaves state and artefacts of this model."""
        if self.output is None:
            return None
        model = hashlib.sha256(self.connector.model.encode()).hexdigest()[:12]
        return self.output / ARTEFACTS / f"{task}-{model}"

    def fingerprint(self, **parts: Any) -> dict[str, Any]:
        """What state on the disk depends on: model, versions and these parts. States of several processes add up."""
        return {
            "model": asdict(self.connector),
            "versions": environment()["versions"],
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
    wrapper: Any,
    documents: Callable[[], Sequence[Document]],
    tasks: Mapping[str, MeasuringTask],
    output: Callable[[], Path | None],
) -> dict[str, TaskFigures | Failed]:
    """Measure every task on its documents and fill in its record, with the error where it has failed.

    `documents` gives this rank's, `output` the folder for what is left behind. Raises what the model raises, and what
    these two raise, on all ranks alike.
    """
    timing = Timing()
    with timing.of("start"), doing("Listing documents"):
        adapter, own, folder = on_every_rank(lambda: (adapter_for(wrapper), documents(), output()))
    with workforce(adapter) as workers:
        batch_size = BatchSize(batch_size_of(wrapper, adapter))
        return measured_with(
            adapter, own, tasks, folder, batch_size=batch_size, timing=timing, workers=workers
        )


def measured_with(
    adapter: ConnectorAdapter,
    own: Sequence[Document],
    tasks: Mapping[str, MeasuringTask],
    folder: Path | None,
    *,
    batch_size: BatchSize,
    timing: Timing,
    workers: Workforce | None,
) -> dict[str, TaskFigures | Failed]:
    """As `measure_tasks`, for an adapter and this rank's documents; threads decode where there are no `workers`.

    Without these it is a caller in Python who says what is left out.
    """
    with timing.of("start"), doing("Trying the connector"):
        without_untrained = on_every_rank(lambda: adapter.add_untrained(UNTRAINED_SEEDS))
        info = on_every_rank(lambda: adapter.info)
    if without_untrained is not None and workers is not None and rank_and_size()[0] == 0:
        logger.warning(f"untrained control left out: {without_untrained}")
    run = Run(info, folder, timing=timing, words_of=adapter.word_embeddings, device=adapter.device)
    failures = Failures()
    measures: dict[str, Measure] = {}
    for name, task in tasks.items():
        measure = failures.attempt([name], partial(task.measure, run))
        if measure is not None:
            measures[name] = measure
    found: dict[str, TaskFigures | Failed] = {name: Failed(error) for name, error in failures.of.items()}
    trainings = list(run.trainings.values())
    if workers is not None:
        with timing.of("start of workers"):
            workers.hand_over([*own, *(one for training in trainings for one in training.documents)])
    crew = None if workers is None else workers.crew
    found |= measure_documents(
        adapter, own, measures, trainings, batch_size=batch_size, timing=run.timing, crew=crew
    )
    with_threads = {"workers": worker_count(), "workers_are": "threads"}
    for name, task in tasks.items():
        task.record.update(environment(), connector=asdict(adapter.info))
        task.record["ran"] = {
            "device": device_name(adapter),
            "batch_size": batch_size.now,
            **(with_threads if workers is None else workers.as_record()),
            "processes": rank_and_size()[1],
            "seconds": run.timing.as_record(),
        }
        task.record["untrained_seeds"] = UNTRAINED_SEEDS if without_untrained is None else ()
        if without_untrained is not None:
            task.record["untrained_left_out"] = without_untrained
        if adapter.own_change is not None:
            task.record["own_change"] = adapter.own_change
        outcome = found[name]
        task.record.update({"error": outcome.error} if isinstance(outcome, Failed) else outcome.summary)
    if rank_and_size()[0] == 0:
        _write_records(run, {name: task.record for name, task in tasks.items()})
    return found


def _write_records(run: Run, records: Mapping[str, Mapping[str, Any]]) -> None:
    """Leave the record of every task that has figures beside its artefacts, before lmms-eval writes its result file.

    That comes after all other tasks, and may not come. A folder that another run has is left alone.
    """
    troubles = []
    for name, record in records.items():
        folder = run.folder(name)
        if folder is None or "error" in record or record.get(IN_USE):
            continue
        content = json.dumps({"task": name, "record": record}, indent=1, default=str)
        try:
            make_folder(folder)
            write_atomically(folder / RECORD, content.encode())
        except NotWritten as error:
            troubles.append(str(error))
    if troubles:
        logger.warning(
            f"{'; '.join(troubles)}. lmms-eval's result file, which comes next, may be refused too"
        )


def batch_size_of(wrapper: Any, adapter: ConnectorAdapter) -> int:
    """Pictures that pass the model together: `--batch_size` as the wrapper keeps it.

    Its default of 1, which every wrapper has, says nothing: then 8 on the CPU and 32 on a graphics card.
    """
    for name in ("batch_size_per_gpu", "batch_size"):
        said = getattr(wrapper, name, None)
        if isinstance(said, int) and said > 1:
            return said
    return BATCH_SIZE_CUDA if adapter.device.type == "cuda" else BATCH_SIZE


def device_name(adapter: ConnectorAdapter) -> str:
    """What the model runs on."""
    import torch

    device = adapter.device
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def reconstruction_of(
    run: Run,
    task: str,
    options: TaskOptions,
    test: PictureRows,
    training: PictureRows | None,
    row_of: Callable[[int], Mapping[str, Any]],
) -> MeasuredReconstruction:
    """The measure of one task; `row_of` gives a document without its pictures, for the answer mask."""
    probes = _probe_training(run, task, options, training)
    probes.tested_by.add(task)
    learner, mask = probes.learner, options.mask
    assert isinstance(learner, ProbeLearner)
    return MeasuredReconstruction(
        learner,
        picture_of=test.picture,
        mask_of=None if mask is None else lambda number: mask(row_of(number)),
        folder=run.folder(task),
        fingerprint=run.fingerprint(**learner.fingerprint, task=task, test=test.source),
        every=options.shard,
    )


def _probe_training(run: Run, task: str, options: TaskOptions, training: PictureRows | None) -> ProbeTraining:
    """The probes that a task needs; another task of the run may have asked for them already."""
    name = f"{task} training"
    numbers = []
    source = str(options.probes)
    if training is not None and options.train is not None:
        numbers, source = training.spread(options.train.images), training.source
    parts = {"options": options.config.as_json(), "train": source, "train_documents": len(numbers)}
    key = json.dumps(parts, sort_keys=True)
    if key not in run.trainings:
        rank, size = rank_and_size()
        mine = [training.document(name, number) for number in numbers[rank::size]] if training else []
        learner = ProbeLearner(
            options.config,
            folder=run.folder(task),
            fingerprint=run.fingerprint(**parts),
            reuse=options.probes,
            every=options.shard,
            wait=options.wait,
            device=run.device,
        )
        run.trainings[key] = ProbeTraining(name, learner, mine)
    return run.trainings[key]
