"""What a task's YAML says under `connector_bench:` for `patch_reconstruction`, read once."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from connector_bench.reconstruction.config import ReconstructionConfig, paper_config
from connector_bench.reconstruction.probes.training_loop import Schedule

PROBES_VARIABLE = "CONNECTOR_BENCH_PROBES"
"""Names a folder of probes that an earlier run has left, to be used instead of training."""

OF_THE_TASK = ("train", "mask", "probes", "shard")


@dataclass(frozen=True)
class TrainingImages:
    """Where the images come from that the probes learn from: `documents`, or a split of a task's data set."""

    split: str | None = None
    images_of: str | None = None
    """The task whose data set has that split; None for the task itself."""
    documents: Callable[[], Any] | None = None
    """A function that gives the rows, a `datasets.Dataset`."""
    process_docs: Callable[[Any], Any] | None = None
    doc_to_visual: Callable[[Any], Any] | None = None
    images: int | None = None
    """How many rows at most, evenly spread; None for all."""

    def functions(self) -> dict[str, Any]:
        """`process_docs` and `doc_to_visual` where they are said, else they are the data set's own."""
        said = {"process_docs": self.process_docs, "doc_to_visual": self.doc_to_visual}
        return {key: function for key, function in said.items() if function is not None}


@dataclass(frozen=True)
class TaskOptions:
    """All options of one task."""

    config: ReconstructionConfig
    train: TrainingImages | None
    mask: Callable[[Mapping[str, Any]], Any] | None
    """From a document (without pictures) to its answer mask, a boolean array [rows, columns], or None."""
    probes: Path | None
    """Probes to be reused."""
    shard: int = 512
    """Images after which state and loss maps are written to the disk."""


def task_options(given: Mapping[str, Any]) -> TaskOptions:
    """Options from a task's YAML block. Raises ValueError for a key or a value that is not allowed."""
    own = {key: value for key, value in given.items() if key not in OF_THE_TASK}
    config = reconstruction_config(own)
    train = training_images(given["train"]) if "train" in given else None
    path = os.environ.get(PROBES_VARIABLE) or given.get("probes")
    if train is None and not path:
        raise ValueError(
            "patch_reconstruction learns from training images: say `train: {split: ...}`, or name probes that an "
            f"earlier run has left with `probes: FOLDER` or {PROBES_VARIABLE}"
        )
    shard = given.get("shard", TaskOptions.shard)
    if not isinstance(shard, int) or shard < 1:
        raise ValueError(f"shard must be a whole number of images, at least 1, got {shard!r}")
    return TaskOptions(config, train, given.get("mask"), Path(path) if path else None, shard)


def reconstruction_config(given: Mapping[str, Any]) -> ReconstructionConfig:
    """The probes' options; `protocol: paper` starts from the published ones. ValueError as `task_options`."""
    allowed = [field.name for field in fields(ReconstructionConfig)]
    _refuse_unknown("option", given, [*allowed, *OF_THE_TASK])
    base = paper_config() if given.get("protocol") == "paper" else ReconstructionConfig()
    values = {name: getattr(base, name) for name in allowed} | dict(given)
    for name in ("schedule", "attention_schedule"):
        if isinstance(values[name], Mapping):
            known = [field.name for field in fields(Schedule)]
            _refuse_unknown(f"option of {name}", values[name], known)
            begun = getattr(base, name)
            values[name] = {key: getattr(begun, key) for key in known} | dict(values[name])
    try:
        return TypeAdapter(ReconstructionConfig).validate_python(values)
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}, got {e['input']!r}" for e in error.errors()]
        raise ValueError("; ".join(faults)) from error


def training_images(given: Mapping[str, Any]) -> TrainingImages:
    """The block `train`. ValueError for a key that is not allowed, or one that is missing."""
    allowed = [field.name for field in fields(TrainingImages)]
    if not isinstance(given, Mapping) or ("split" in given) == ("documents" in given):
        raise ValueError(
            f"train says either `split` or `documents`, beside any of {', '.join(allowed)}; got {given!r}"
        )
    _refuse_unknown("option of train", given, allowed)
    if "documents" in given and "doc_to_visual" not in given:
        raise ValueError("train.documents needs train.doc_to_visual, which gives a row's pictures")
    images = given.get("images")
    if images is not None and (not isinstance(images, int) or images < 1):
        raise ValueError(f"train.images must be a whole number of at least 1, got {images!r}")
    return TrainingImages(**given)


def _refuse_unknown(what: str, given: Mapping[str, Any], allowed: list[str] | tuple[str, ...]) -> None:
    if unknown := sorted(set(given) - set(allowed)):
        raise ValueError(f"unknown {what} {', '.join(unknown)}; allowed are {', '.join(allowed)}")
