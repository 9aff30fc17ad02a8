"""Ties `patch_reconstruction` to a run: which probes a task needs, who shares them, where both leave their state."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from connector_bench.exchange import rank_and_size
from connector_bench.measurement import Lesson
from connector_bench.reconstruction.learning import ProbeLearner
from connector_bench.reconstruction.measured import MeasuredReconstruction
from connector_bench.reconstruction.options import TaskOptions
from connector_bench.rows import PictureRows
from connector_bench.running import Run


def reconstruction_of(
    run: Run,
    task: str,
    options: TaskOptions,
    test: PictureRows,
    training: PictureRows | None,
    row_of: Callable[[int], Mapping[str, Any]],
) -> MeasuredReconstruction:
    """The measure of one task; `row_of` gives a document without its pictures, for the answer mask."""
    lesson = _lesson(run, task, options, training)
    lesson.tested_by.add(task)
    learner, mask = lesson.learner, options.mask
    assert isinstance(learner, ProbeLearner)
    return MeasuredReconstruction(
        learner,
        picture_of=test.picture,
        mask_of=None if mask is None else lambda number: mask(row_of(number)),
        folder=run.folder(task),
        fingerprint=run.fingerprint(**learner.fingerprint, task=task, test=test.source),
        every=options.shard,
    )


def _lesson(run: Run, task: str, options: TaskOptions, training: PictureRows | None) -> Lesson:
    """The probes that a task needs; another task of the run may have asked for them already."""
    name = f"{task} training"
    numbers = []
    source = str(options.probes)
    if training is not None and options.train is not None:
        numbers, source = training.spread(options.train.images), training.source
    parts = {"options": options.config.as_json(), "train": source, "train_documents": len(numbers)}
    key = json.dumps(parts, sort_keys=True)
    if key not in run.lessons:
        rank, size = rank_and_size()
        mine = [training.document(name, number) for number in numbers[rank::size]] if training else []
        learner = ProbeLearner(
            options.config,
            folder=run.folder(task),
            fingerprint=run.fingerprint(**parts),
            reuse=options.probes,
            every=options.shard,
        )
        run.lessons[key] = Lesson(name, learner, mine)
    return run.lessons[key]
