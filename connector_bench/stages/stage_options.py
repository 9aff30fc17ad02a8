"""What is decided before stages are measured: kinds of questions, the readers' budget, where their scenes come from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from connector_bench.protocol import PROTOCOL_VERSION
from connector_bench.reconstruction.config import TrainingImages, training_images
from connector_bench.reconstruction.option_values import Share, checked, refuse_unknown
from connector_bench.reconstruction.probes.training_loop import Schedule
from connector_bench.stages.scene_questions import StageQuestion

OF_THE_TASK = ("train", "question_of", "questions_of", "answered_by")


@dataclass(frozen=True)
class StageConfig:
    """Options of the measurement. The same values for every model, or the figures do not compare."""

    kinds: tuple[str, ...]
    """Kinds of questions that figures are given of."""
    validation: Share = 0.1
    """Share of the training scenes that chooses weights and stops training."""
    attention: Schedule = field(
        default_factory=lambda: Schedule(epochs=8, batch_size=8, learning_rate=2e-3, warmup=0.1, patience=8)
    )
    """Batches are of scenes, each with all its questions."""
    linear: Schedule = field(
        default_factory=lambda: Schedule(epochs=8, batch_size=8, learning_rate=2e-3, warmup=0.1, patience=8)
    )

    def as_json(self) -> dict[str, Any]:
        """Plain values, the protocol's version among them."""
        return {**asdict(self), "kinds": list(self.kinds), "protocol_version": PROTOCOL_VERSION}

    @property
    def schedules(self) -> dict[str, Schedule]:
        """By reader."""
        return {"attention": self.attention, "linear": self.linear}


@dataclass(frozen=True)
class StageOptions:
    """All options of one task."""

    config: StageConfig
    train: TrainingImages
    question_of: Callable[[Mapping[str, Any]], StageQuestion]
    """From a document to its question."""
    questions_of: Callable[[Any], Sequence[Sequence[StageQuestion]]]
    """From the training documents to the questions about each of them."""
    answered_by: str | None
    """The task whose answers about the same documents are the model's own."""


def stage_options(given: Mapping[str, Any]) -> StageOptions:
    """Options from a task's YAML block. Raises ValueError for a key or a value that is not allowed."""
    own = {key: value for key, value in given.items() if key not in OF_THE_TASK}
    known = [entry.name for entry in fields(StageConfig)]
    refuse_unknown("option", given, [*known, *OF_THE_TASK])
    for name in ("train", "question_of", "questions_of", "kinds"):
        if name not in given:
            raise ValueError(f"connector_stages needs the option {name}")
    defaults = StageConfig(())
    for name in ("attention", "linear"):
        if isinstance(own.get(name), Mapping):
            refuse_unknown(f"option of {name}", own[name], [entry.name for entry in fields(Schedule)])
            own[name] = asdict(getattr(defaults, name)) | dict(own[name])
    config = checked(StageConfig, own)
    if not config.kinds or not all(kind.isidentifier() for kind in config.kinds):
        raise ValueError(f"kinds are words of letters, digits and _, at least one; got {list(config.kinds)}")
    train = training_images(given["train"])
    if train.documents is None:
        raise ValueError("connector_stages learns from `train.documents`, a function that gives the rows")
    return StageOptions(config, train, given["question_of"], given["questions_of"], given.get("answered_by"))
