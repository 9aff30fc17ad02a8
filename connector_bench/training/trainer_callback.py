"""`ConnectorProbe` as a callback of `transformers.Trainer`."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from connector_bench.training.no_callback import NoCallback

if TYPE_CHECKING:
    from connector_bench.training.probe import ConnectorProbe


class ProbeOfTrainer(TrainerCallback, NoCallback):
    """Measures before the first step, every so many optimiser steps, and at the end of training."""

    def __init__(self, probe: ConnectorProbe) -> None:
        self.probe = probe

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any
    ) -> None:
        """Takes model and processor from the trainer where the probe has none, and goes on where training does."""
        self.probe.attach(given.get("model"), given.get("processing_class"))
        with _as_in_a_step(args):
            self.probe.begin(state.global_step)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any
    ) -> None:
        """Measures where it is time."""
        with _as_in_a_step(args):
            self.probe.step(state.global_step)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any
    ) -> None:
        """Measures the last step and draws the curve."""
        with _as_in_a_step(args):
            self.probe.finish()


def _as_in_a_step(args: TrainingArguments) -> AbstractContextManager[Any]:
    """The autocast of a training step."""
    dtype = torch.bfloat16 if args.bf16 else torch.float16 if args.fp16 else None
    return torch.autocast(args.device.type, dtype=dtype, enabled=dtype is not None, cache_enabled=False)
