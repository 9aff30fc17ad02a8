"""The measure of stages in a run: its readers, shared by all tasks of the run that need the same ones."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from connector_bench.processes import rank_and_size
from connector_bench.run.documents import PictureRows
from connector_bench.run.measurement import ProbeTraining
from connector_bench.run.running import Run
from connector_bench.stages.measured_stages import MeasuredStages
from connector_bench.stages.stage_learner import ReaderLearner
from connector_bench.stages.stage_options import StageOptions


def stages_of(
    run: Run,
    task: str,
    options: StageOptions,
    training: PictureRows,
    row_of: Callable[[int], Mapping[str, Any]],
) -> MeasuredStages:
    """The measure of one task; `row_of` gives a document without its pictures."""
    numbers = training.spread(options.train.images)
    parts = {"options": options.config.as_json(), "train": training.source, "train_documents": len(numbers)}
    key = json.dumps({"connector_stages": parts}, sort_keys=True)
    if key not in run.trainings:
        name = f"{task} training"
        rank, size = rank_and_size()
        mine = [training.document(name, number) for number in numbers[rank::size]]
        readers = ReaderLearner(options.config, options.questions_of(training.rows))
        run.trainings[key] = ProbeTraining(name, readers, mine)
    run.trainings[key].tested_by.add(task)
    learner = run.trainings[key].learner
    assert isinstance(learner, ReaderLearner)
    return MeasuredStages(learner, question_of=lambda number: options.question_of(row_of(number)))
