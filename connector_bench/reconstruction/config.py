"""What is decided before a reconstruction run begins; read once, saved with every result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal

import torch

from connector_bench.reconstruction.probes.ridge import PENALTIES
from connector_bench.reconstruction.probes.training_loop import Schedule
from connector_bench.types import TokenPair

PROTOCOL_VERSION = 1
"""Goes up when figures of the same run would change."""

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class ReconstructionConfig:
    """Options of patch reconstruction. The same values for every model, or the figures do not compare."""

    protocol: Literal["default", "paper"] = "default"
    target: Literal["pre", "pre_normed"] = "pre"
    """Which side of the connector's own leading norm is to be reconstructed; the same where it has none."""
    validation: float = 0.1
    """Share of the training images that chooses penalties and stops training."""
    seed: int = 0
    patch_pairs: int = 200_000
    """Cells that the trained probes learn from."""
    validation_pairs: int = 20_000
    attention: Literal["auto", "always", "never"] = "auto"
    """The attention probe: for connectors without places only, for all, or for none."""
    attention_images: int = 2_000
    attention_patches: int = 64
    """Patches of each of those images that the attention probe is asked for."""
    reservoir_dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """bfloat16 loses nothing where the model itself ran in bfloat16."""
    mlp_width: int = 512
    mlp_layers: int = 3
    linear_path: bool = True
    whiten: bool = True
    """Give the MLP uncorrelated inputs of variance 1, so that a connector's last linear map costs no training."""
    standardize_targets: bool = False
    """Train on every target dimension over its own deviation; else on one scale, as R2 weighs them."""
    attention_width: int = 256
    attention_heads: int = 8
    attention_layers: int = 2
    schedule: Schedule = field(default_factory=Schedule)
    attention_schedule: Schedule = field(
        default_factory=lambda: Schedule(epochs=40, batch_size=32, patience=10)
    )
    """Longer patience: attention may stay where it began until it has found which token is where."""
    penalties: tuple[float, ...] = PENALTIES
    control_rank: int = 8
    """Directions that the control of known rank keeps."""
    untrained_seeds: int = 3
    """Initialisations of the connector that are measured as a control; 0 for none."""
    shuffled_pairs: int = 20_000
    """Cells that the MLP on shuffled pairs learns from."""
    curve: bool = True
    """Also fit on 1/4 and 1/2 of the images, to tell loss from too little data."""
    more_data_gain: float = 0.005
    """Gain in validation R2 from 1/2 to all of the images from which more data still helps."""
    chunk_rows: int = 2048
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.attention_width % self.attention_heads:
            raise ValueError(f"{self.attention_heads} heads do not divide a width of {self.attention_width}")

    def as_json(self) -> dict[str, Any]:
        """Plain values, the protocol's version among them."""
        return {**asdict(self), "penalties": list(self.penalties), "protocol_version": PROTOCOL_VERSION}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> ReconstructionConfig:
        """The inverse of `as_json`; ValueError for another version or an option that does not exist."""
        values = dict(values)
        version = values.pop("protocol_version", None)
        if version != PROTOCOL_VERSION:
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


def target_of(pair: TokenPair, config: ReconstructionConfig) -> torch.Tensor:
    """The encoder's tokens that are to be reconstructed, `[n_pre, d_pre]`."""
    if config.target == "pre_normed" and pair.pre_normed is not None:
        return pair.pre_normed
    return pair.pre
