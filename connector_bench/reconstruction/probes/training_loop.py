"""The one training loop of all probes: seeded, counted in optimiser steps, ending on the best weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Int
from pydantic import Field
from torch import Tensor, nn

from connector_bench.reconstruction.option_values import Count, Rate, Seed
from connector_bench.reconstruction.probes.training_step import OptimizerStep, has_bf16, side_stream

LINEAR_PATH_SLOWDOWN = 0.1
"""Learning rate of the linear path relative to the rest, since it starts at its optimum."""
SOLVED = 1e-6
"""Validation loss, as a share of the targets' variance, below which training ends: R2 is 0.999999."""
STILL_FALLING = 0.002
"""Relative fall of the validation loss over the last tenth of a run from which more steps would help."""

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class Schedule:
    """How long and how fast a probe trains; the same for every model that is compared."""

    epochs: Count = 20
    batch_size: Count = 256
    learning_rate: Rate = 1e-3
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1e-2
    warmup: Annotated[float, Field(ge=0, le=1)] = 0.05
    accumulate: Count = 1
    """Batches summed before the optimiser steps once."""
    patience: Count = 5
    """Evaluations on the validation fold without a new best after which training stops."""
    seed: Seed = 0

    def steps(self, examples: int) -> int:
        """Optimiser steps of a full run: what the learning-rate schedule counts, batches / `accumulate`."""
        return self.epochs * self.steps_per_epoch(examples)

    def steps_per_epoch(self, examples: int) -> int:
        """Optimiser steps an epoch; a last incomplete group of batches steps too."""
        return math.ceil(math.ceil(examples / self.batch_size) / self.accumulate)


@dataclass(frozen=True)
class TrainingRecord:
    """What happened in training; saved beside the weights."""

    examples: int
    examples_seen: int
    planned_steps: int
    steps: int
    best_step: int
    start_loss: float
    best_loss: float
    """Validation loss of the weights that were kept."""
    validation_losses: tuple[float, ...]
    """By epoch, the untrained probe first."""
    stopped: str
    """`solved`, `patience` or `budget`."""
    more_steps_help: bool
    seed: int
    threads: int
    device: str
    precision: str


@runtime_checkable
class Sample(Protocol):
    """Data that a probe learns from."""

    @property
    def examples(self) -> int:
        """Number of training examples."""
        ...

    @property
    def device(self) -> torch.device:
        """Where the data lie, and the network is trained."""
        ...

    def loss(self, network: nn.Module, index: Int[Tensor, " b"]) -> Tensor:
        """Mean squared error on these training examples, without waiting for the device."""
        ...

    def validation_loss(self, network: nn.Module) -> float:
        """Mean squared error on the validation fold."""
        ...


def build_seeded(build: Callable[[], Network], seed: int) -> Network:
    """A network whose first weights depend on the seed alone; the caller's generator stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


def train(network: nn.Module, sample: Sample, schedule: Schedule, *, graphed: bool = True) -> TrainingRecord:
    """Train in place, on the sample's device, and leave the network with the weights that were best in validation.

    The untrained network counts as a candidate, so that training never makes a probe worse there. `graphed`
    captures the step on CUDA; without, the same kernels are launched one by one.
    """
    network.to(sample.device).train()
    with side_stream(sample.device):
        return _trained(network, sample, schedule, graphed)


def _trained(network: nn.Module, sample: Sample, schedule: Schedule, graphed: bool) -> TrainingRecord:
    planned = schedule.steps(sample.examples)
    step = OptimizerStep(
        network,
        sample.loss,
        parameter_groups(network, schedule),
        lambda number: rate_at(number, planned, schedule.warmup),
        schedule.batch_size,
        schedule.accumulate,
        sample.device,
        graphed,
    )
    losses = [_evaluate(network, sample)]
    best, best_step, seen, since_best = _copy(network), 0, 0, 0
    stopped = "solved" if losses[0] <= SOLVED else "budget"
    for epoch in range(schedule.epochs):
        if stopped != "budget":
            break
        for rows in _order(sample, schedule, epoch).split(schedule.batch_size * schedule.accumulate):
            step(rows)
        seen += sample.examples
        losses.append(_evaluate(network, sample))
        if losses[-1] < min(losses[:-1]):
            best, best_step, since_best = _copy(network), step.steps, 0
        else:
            since_best += 1
        if losses[-1] <= SOLVED:
            stopped = "solved"
        elif since_best >= schedule.patience:
            stopped = "patience"
    network.load_state_dict(best)
    network.eval()
    return TrainingRecord(
        examples=sample.examples,
        examples_seen=seen,
        planned_steps=planned,
        steps=step.steps,
        best_step=best_step,
        start_loss=losses[0],
        best_loss=min(losses),
        validation_losses=tuple(losses),
        stopped=stopped,
        more_steps_help=_still_falling(losses),
        seed=schedule.seed,
        threads=torch.get_num_threads(),
        device=sample.device.type,
        precision="bfloat16 autocast" if has_bf16(sample.device) else "float32",
    )


def _order(sample: Sample, schedule: Schedule, epoch: int) -> Int[Tensor, " n"]:
    """All examples in an order that depends on seed and epoch, the same on every device."""
    generator = torch.Generator().manual_seed(schedule.seed * 1_000_003 + epoch)
    return torch.randperm(sample.examples, generator=generator).to(sample.device)


def parameter_groups(network: nn.Module, schedule: Schedule) -> list[dict[str, Any]]:
    """The linear path slower and without decay, which would pull it off the ridge; the rest as scheduled."""
    linear = [p for name, p in network.named_parameters() if name.split(".")[0] in ("linear", "pooled")]
    slow = {id(p) for p in linear}
    rest = [p for p in network.parameters() if id(p) not in slow]
    rate, decay = schedule.learning_rate, schedule.weight_decay
    groups: list[dict[str, Any]] = [{"params": rest, "weight_decay": decay, "lr": rate}]
    if linear:
        groups.append({"params": linear, "weight_decay": 0.0, "lr": LINEAR_PATH_SLOWDOWN * rate})
    return groups


def rate_at(step: int, planned: int, warmup: float) -> float:
    """Linear warm-up, then a cosine to zero at the last optimiser step."""
    rising = max(1, round(warmup * planned))
    if step < rising:
        return (step + 1) / rising
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - rising) / max(1, planned - rising))))


@torch.no_grad()
def _evaluate(network: nn.Module, sample: Sample) -> float:
    network.eval()
    loss = sample.validation_loss(network)
    network.train()
    if not math.isfinite(loss):
        raise FloatingPointError("the validation loss is no longer finite: lower the learning rate")
    return loss


def _copy(network: nn.Module) -> dict[str, Tensor]:
    """A copy of the weights, not the references that `state_dict` hands out and training goes on changing."""
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}


def _still_falling(losses: list[float]) -> bool:
    """Whether the best loss fell by more than `STILL_FALLING` of itself in the last tenth of the epochs."""
    tail = max(1, len(losses) // 10)
    if len(losses) <= tail:
        return False
    before, now = min(losses[:-tail]), min(losses)
    return before - now > STILL_FALLING * before
