"""Fitting one candidate of the ladder on one budget: which probe, on how many scenes, for how many steps."""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from benchmarks.budget_data import Connected, Sides, cell_rows
from connector_bench.reconstruction.config import ReconstructionConfig
from connector_bench.reconstruction.patch_boxes import query_boxes
from connector_bench.reconstruction.probes import attention_fit, mlp
from connector_bench.reconstruction.probes.attention_batches import (
    ImageSample,
    PackedImages,
    errors_by_image,
    summed,
)
from connector_bench.reconstruction.probes.attention_probe import AttentionProbe, TokenPlaces
from connector_bench.reconstruction.probes.mlp import MLPProbe, Rows, RowSample
from connector_bench.reconstruction.probes.ridge import choose, pooled_r2
from connector_bench.reconstruction.probes.training_loop import (
    SOLVED,
    Sample,
    Schedule,
    parameter_groups,
    rate_at,
)
from connector_bench.reconstruction.probes.training_step import OptimizerStep, side_stream
from connector_bench.types import Tile, TokenLayout

CHECKS = 20
"""Evaluations on the validation scenes in a fit."""
AVERAGED = 0.05
"""Share of the steps over which weights are averaged."""
SCORED_ROWS = 16_384


@dataclass(frozen=True)
class Candidate:
    """A probe and how it is trained."""

    name: str
    steps: int
    width: int = 1024
    layers: int = 3
    context: bool = False
    batch: int = 4096
    rate: float = 3e-3
    averaged: bool = False
    """Constant rate, and the running mean of the weights, instead of a cosine to zero."""
    rows: int | None = None
    """Cells that it learns from at most; None for all of its scenes."""
    patches: int = 64
    """Patches an image that the attention probe is asked for in training."""
    seed: int = 0


class Problem(Protocol):
    """One connector's data at one budget, ready to train on and to test."""

    @property
    def sample(self) -> Sample: ...

    ridge: float
    """The ridge's R2 on the test scenes."""
    validation_scale: float
    """Mean squared error of the mean on the validation scenes, in the training loop's units."""

    def network(self, candidate: Candidate) -> nn.Module: ...

    def test_r2(self, network: Any) -> float: ...


class CellProblem:
    """Tokens with places: from a token, or nine, to its cell."""

    def __init__(self, data: Connected, scenes: int, context: bool, rows: int | None) -> None:
        x, y = cell_rows(data.training.first(scenes), data.layout, context)
        if rows is not None and rows < len(x):
            chosen = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))[:rows].to(x.device)
            x, y = x[chosen], y[chosen]
        validation = Rows(*cell_rows(data.validation, data.layout, context))
        self._config = ReconstructionConfig()
        training = Rows(x, y)
        self._moments = training.moments(self._config)
        held_out = validation.moments(self._config)
        self._test = Rows(*cell_rows(data.test, data.layout, context))
        self._ridge = choose(self._moments, held_out, self._config.penalties).affine
        self.ridge = pooled_r2(self._ridge, self._test.moments(self._config), self._moments.mean_y)
        start = self._built(512, 3, 0)
        self.sample = RowSample(start, training, validation, SCORED_ROWS)
        self.validation_scale = float(self.sample.validation.y.double().square().mean())

    def _built(self, width: int, layers: int, seed: int) -> MLPProbe:
        config = replace(self._config, mlp_width=width, mlp_layers=layers, seed=seed)
        return mlp.untrained_probe(self._moments, self._ridge, config)

    def network(self, candidate: Candidate) -> MLPProbe:
        return self._built(candidate.width, candidate.layers, candidate.seed)

    @torch.no_grad()
    def test_r2(self, network: MLPProbe) -> float:
        sums = torch.zeros(2, dtype=torch.float64, device=self._test.device)
        for x, y in zip(self._test.x.split(SCORED_ROWS), self._test.y.split(SCORED_ROWS), strict=True):
            sums[0] += (network.predict(x) - y).square().sum()
            sums[1] += (y.double() - self._moments.mean_y).square().sum()
        return 1 - float(sums[0] / sums[1])


class ImageProblem:
    """Tokens without a place: from all of an image's tokens to its patches."""

    def __init__(self, data: Connected, scenes: int, patches: int) -> None:
        self._config = ReconstructionConfig()
        training = _packed(data.training.first(scenes), patches, seed=0)
        self._training, self._validation = training, _packed(data.validation, patches, seed=1)
        self._test = _packed(data.test, 196, seed=2)
        self._mean = data.training.first(scenes).pre.flatten(0, 1).double().mean(0)
        pooled = choose(
            training.means.moments(self._config),
            self._validation.means.moments(self._config),
            self._config.penalties,
        )
        self._pooled = pooled.affine
        start = self._built(128, 0)
        self.sample = ImageSample(start, training, self._validation, 64)
        assert self.sample.validation is not None
        self.validation_scale = float(self.sample.validation.patches.double().square().mean())
        self.ridge = self._r2(start, "pooled")

    def _built(self, width: int, seed: int) -> AttentionProbe:
        config = replace(self._config, attention_width=width, seed=seed)
        return attention_fit.untrained_probe(self._training, self._validation, config)

    def network(self, candidate: Candidate) -> AttentionProbe:
        return self._built(candidate.width, candidate.seed)

    def test_r2(self, network: AttentionProbe) -> float:
        return self._r2(network, "attention")

    def _r2(self, network: AttentionProbe, name: str) -> float:
        by_image = errors_by_image(self._test, self._pooled, network, self._mean, 64)
        errors, total = summed(by_image)
        return 1 - errors[name] / total


def _packed(sides: Sides, patches: int, seed: int) -> PackedImages:
    """All of each scene's tokens and some of its patches."""
    count, tokens, width = sides.post.shape
    device = sides.post.device
    layout = TokenLayout((Tile((14, 14), None),), tokens)
    order = torch.rand(count, 196, generator=torch.Generator().manual_seed(seed)).argsort(1)[:, :patches]
    chosen = order.sort(1).values.to(device)
    places = TokenPlaces.of(layout).to(device)
    boxes = torch.from_numpy(query_boxes(layout)).to(device, torch.float32)
    asked = sides.pre.gather(1, chosen[..., None].expand(-1, -1, sides.pre.shape[2]))
    return PackedImages(
        tokens=sides.post.reshape(-1, width),
        token_index=places.index.expand(count, -1).reshape(-1),
        token_boxes=places.boxes.expand(count, -1, -1).reshape(-1, 4),
        patches=asked.flatten(0, 1),
        patch_boxes=boxes[chosen].flatten(0, 1),
        means=Rows(sides.post.double().mean(1), asked.double().mean(1)),
        token_counts=torch.full((count,), tokens, device=device),
        patch_counts=torch.full((count,), patches, device=device),
        longest=(tokens, patches),
    )


def problem_of(data: Connected, scenes: int, candidate: Candidate) -> Problem:
    """What this candidate learns from, of so many scenes."""
    if data.layout.grid is None:
        return ImageProblem(data, scenes, candidate.patches)
    return CellProblem(data, scenes, candidate.context, candidate.rows)


def now(device: torch.device) -> float:
    """Seconds, once the device has done what was asked of it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def fitted(problem: Problem, candidate: Candidate) -> dict[str, Any]:
    """Train one candidate and test the weights that were best on the validation scenes: plain values."""
    network = problem.network(candidate).train()
    device = problem.sample.device
    began = now(device)
    losses, best_step = _trained(network, problem.sample, candidate)
    seconds = now(device) - began
    scale = problem.validation_scale
    return {
        "ridge_r2": problem.ridge,
        "validation_r2": [[step, 1 - loss / scale] for step, loss in losses],
        "best_step": best_step,
        "test_r2": problem.test_r2(network.eval()),
        "seconds": seconds,
        "examples": problem.sample.examples,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
    }


def _trained(network: nn.Module, sample: Sample, candidate: Candidate) -> tuple[list[tuple[int, float]], int]:
    """Validation loss by step, the untrained probe first; the network keeps the best weights."""
    schedule = Schedule(learning_rate=candidate.rate, seed=candidate.seed)
    batch = min(candidate.batch, sample.examples)
    weights = copy.deepcopy(network) if candidate.averaged else network
    averages, current = list(weights.parameters()), list(network.parameters())
    blend = 1 / max(AVERAGED * candidate.steps, 1)

    def rate(number: int) -> float:
        warm = rate_at(number, candidate.steps, schedule.warmup)
        return (
            min(1.0, (number + 1) / max(1, schedule.warmup * candidate.steps)) if candidate.averaged else warm
        )

    losses = [(0, _validated(weights, sample))]
    best, best_step = copy.deepcopy(weights.state_dict()), 0
    if losses[0][1] <= SOLVED:
        return losses, 0
    every = max(1, candidate.steps // CHECKS)
    with side_stream(sample.device):
        step = OptimizerStep(
            network, sample.loss, parameter_groups(network, schedule), rate, batch, 1, sample.device, True
        )
        order = _batches(sample, batch, candidate.seed)
        while step.steps < candidate.steps:
            step(next(order))
            if candidate.averaged:
                with torch.no_grad():
                    torch._foreach_lerp_(averages, current, max(blend, 1 / step.steps))
            if step.steps % every == 0 or step.steps == candidate.steps:
                losses.append((step.steps, _validated(weights, sample)))
                if losses[-1][1] <= min(loss for _, loss in losses):
                    best, best_step = copy.deepcopy(weights.state_dict()), step.steps
    network.load_state_dict(best)
    return losses, best_step


def _batches(sample: Sample, batch: int, seed: int) -> Any:
    """Full batches without end, every pass in another order."""
    generator = torch.Generator(sample.device).manual_seed(seed)
    while True:
        order: Tensor = torch.randperm(sample.examples, generator=generator, device=sample.device)
        yield from order[: len(order) // batch * batch].split(batch)


@torch.no_grad()
def _validated(network: nn.Module, sample: Sample) -> float:
    network.eval()
    loss = sample.validation_loss(network)
    network.train()
    return loss
