"""What is decided before a reconstruction run begins: the options, what a task's YAML says of them, read once."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field

from connector_bench.protocol import PROTOCOL_VERSION, respelled
from connector_bench.reconstruction.option_values import (
    Count,
    Device,
    Finite,
    Rate,
    Seed,
    Share,
    checked,
    refuse_unknown,
)
from connector_bench.reconstruction.probes.moments import Sums
from connector_bench.reconstruction.probes.ridge import PENALTIES
from connector_bench.reconstruction.probes.training_loop import Schedule
from connector_bench.reconstruction.state_folder import WAIT, seconds_to_wait
from connector_bench.types import TokenBatch, TokenPair

DTYPES = {
    "auto": None,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


@dataclass(frozen=True)
class ReconstructionConfig:
    """Options of patch reconstruction. The same values for every model, or the figures do not compare."""

    protocol: Literal["connector_bench", "paper"] = "connector_bench"
    tap: Literal["pre", "pre_normed"] = "pre"
    """Which side of the connector's own leading norm is to be reconstructed; the same where it has none."""
    validation: Share = 0.1
    """Share of the training images that chooses penalties and stops training."""
    seed: Seed = 0
    patch_pairs: Count = 200_000
    """Cells that the trained probes learn from."""
    validation_pairs: Count = 20_000
    attention: Literal["auto", "always", "never"] = "auto"
    """The attention probe: for connectors without places only, for all, or for none."""
    attention_images: Count = 2_000
    attention_patches: Count = 64
    """Patches of each of those images that the attention probe is asked for."""
    reservoir_dtype: Literal["auto", "bfloat16", "float16"] = "auto"
    """Precision of the rows that the trained probes learn from; `auto` is the model's own, which loses nothing."""
    mlp_width: Count = 512
    mlp_layers: Annotated[int, Field(ge=2)] = 3
    linear_path: bool = True
    whiten: bool = True
    """Give the MLP uncorrelated inputs of variance 1, so that a connector's last linear map costs no training."""
    standardize_targets: bool = False
    """Train on every target dimension over its own deviation; else on one scale, as R2 weighs them."""
    attention_width: Count = 256
    attention_heads: Count = 8
    attention_layers: Count = 2
    schedule: Schedule = field(default_factory=Schedule)
    attention_schedule: Schedule = field(
        default_factory=lambda: Schedule(epochs=40, batch_size=32, patience=10)
    )
    """Longer patience: attention may stay where it began until it has found which token is where."""
    penalties: Annotated[tuple[Rate, ...], Field(min_length=1)] = PENALTIES
    control_rank: Count = 8
    """Directions that the control of known rank keeps."""
    untrained_seeds: Annotated[int, Field(ge=0)] = 3
    """Initialisations of the connector that are measured as a control; 0 for none."""
    control_pairs: Count = 20_000
    """Cells that an MLP learns from as a control: on shuffled pairs, on identity and on rotation."""
    curve: bool = True
    """Also fit on 1/4 and 1/2 of the images, to tell loss from too little data."""
    more_data_gain: Finite = 0.005
    """Gain in validation R2 from 1/2 to all of the images from which more data still helps."""
    chunk_rows: Count | None = None
    """Rows that are multiplied together; None for 2,048 on the CPU and 8,192 on CUDA."""
    sums: Sums = "auto"
    """How scatter is summed: in float64 where the device is fast at it, else in float32 over short runs."""
    device: Device = "auto"
    """Where what is gathered lies, and the probes are fitted: `auto` is where the model ran, if it has room."""

    def __post_init__(self) -> None:
        if self.attention_heads < 1 or self.attention_width % self.attention_heads:
            raise ValueError(f"{self.attention_heads} heads do not divide a width of {self.attention_width}")

    def as_json(self) -> dict[str, Any]:
        """Plain values, the protocol's version among them."""
        return {**asdict(self), "penalties": list(self.penalties), "protocol_version": PROTOCOL_VERSION}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> ReconstructionConfig:
        """The inverse of `as_json`; ValueError for another version or an option that does not exist."""
        values, _ = respelled(values)
        version = values.pop("protocol_version", None)
        if str(version) != PROTOCOL_VERSION:
            raise ValueError(f"written under protocol version {version}, this is version {PROTOCOL_VERSION}")
        unknown = set(values) - {entry.name for entry in fields(cls)}
        if unknown:
            raise ValueError(f"unknown options: {', '.join(sorted(unknown))}")
        for name in ("schedule", "attention_schedule"):
            values[name] = Schedule(**values[name])
        return cls(**{**values, "penalties": tuple(values["penalties"])})


def paper_config(**changes: Any) -> ReconstructionConfig:
    """`protocol=paper`: the probes of arXiv 2509.11986 as its README documents them, for comparison.

    Documented: standardised embeddings, hidden size 3072, 16 layers for transformers, learning rate 1e-4,
    30 epochs, seed 42, batches of 64 images; 24 heads, and a step every fourth batch, from PROTOCOL section
    6. Kept from ours: training statistics, splits by image, best weights, a schedule in optimiser steps,
    and the cross-attention layout of the probe for resamplers (the paper's own is not documented). A batch
    of patch pairs stands for one of images.
    """
    schedule = Schedule(
        epochs=30, batch_size=256, learning_rate=1e-4, weight_decay=0.0, accumulate=4, patience=30, seed=42
    )
    paper = ReconstructionConfig(
        protocol="paper",
        seed=42,
        mlp_width=3072,
        mlp_layers=3,
        linear_path=False,
        whiten=False,
        standardize_targets=True,
        attention_width=3072,
        attention_heads=24,
        attention_layers=16,
        schedule=schedule,
        attention_schedule=replace(schedule, batch_size=64),
    )
    return replace(paper, **changes)


def target_of(tokens: TokenPair | TokenBatch, config: ReconstructionConfig) -> torch.Tensor:
    """The encoder's tokens that are to be reconstructed, `[n_pre, d_pre]`; of all images of a batch, end to end."""
    if config.tap == "pre_normed" and tokens.pre_normed is not None:
        return tokens.pre_normed
    return tokens.pre


PROBES_VARIABLE = "CONNECTOR_BENCH_PROBES"
"""Names a folder of probes that an earlier run has left, to be used instead of training."""

OF_THE_TASK = ("train", "mask", "probes", "shard", WAIT)


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
    wait: float = 0
    """Seconds to wait for another run that has the folder of state and artefacts."""


def task_options(given: Mapping[str, Any]) -> TaskOptions:
    """Options from a task's YAML block. Raises ValueError for a key or a value that is not allowed."""
    given, old = respelled(given)
    for change in old:
        warnings.warn(
            f"patch_reconstruction: an old spelling was read, {change}", FutureWarning, stacklevel=2
        )
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
    wait = seconds_to_wait(given)
    return TaskOptions(config, train, given.get("mask"), Path(path) if path else None, shard, wait)


def reconstruction_config(given: Mapping[str, Any]) -> ReconstructionConfig:
    """The probes' options; `protocol: paper` starts from the published ones. ValueError as `task_options`."""
    allowed = [field.name for field in fields(ReconstructionConfig)]
    refuse_unknown("option", given, [*allowed, *OF_THE_TASK])
    base = paper_config() if given.get("protocol") == "paper" else ReconstructionConfig()
    values = {name: getattr(base, name) for name in allowed} | dict(given)
    for name in ("schedule", "attention_schedule"):
        if isinstance(values[name], Mapping):
            known = [field.name for field in fields(Schedule)]
            refuse_unknown(f"option of {name}", values[name], known)
            begun = getattr(base, name)
            values[name] = {key: getattr(begun, key) for key in known} | dict(values[name])
    return checked(ReconstructionConfig, values)


def training_images(given: Mapping[str, Any]) -> TrainingImages:
    """The block `train`. ValueError for a key that is not allowed, or one that is missing."""
    allowed = [field.name for field in fields(TrainingImages)]
    if not isinstance(given, Mapping) or ("split" in given) == ("documents" in given):
        raise ValueError(
            f"train says either `split` or `documents`, beside any of {', '.join(allowed)}; got {given!r}"
        )
    refuse_unknown("option of train", given, allowed)
    if "documents" in given and "doc_to_visual" not in given:
        raise ValueError("train.documents needs train.doc_to_visual, which gives a row's pictures")
    images = given.get("images")
    if images is not None and (not isinstance(images, int) or images < 1):
        raise ValueError(f"train.images must be a whole number of at least 1, got {images!r}")
    return TrainingImages(**given)
