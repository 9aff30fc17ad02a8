"""The controls of a run: gathered in the same pass as the connector's own pairs, fitted on the same images.

| control | probes | costs |
|---|---|---|
| identity, rotation | ridge, MLP | nothing: ridge from the patches' own moments, MLP from the sample's patches |
| rank-r | ridge, and beside it the closed form of the best linear reconstruction | nothing |
| untrained connector | ridge (from mean tokens where they have no place), one an initialisation | moments |
| shuffled pairs | ridge and MLP fitted on the sample's tokens against another image's patches | a short training |

MLPs learn from `control_pairs` of the sample's cells at most.

What is fitted on shuffled pairs is asked about true ones: it must do no better than the mean.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from connector_bench.reconstruction.cells import cells_of
from connector_bench.reconstruction.config import ReconstructionConfig, target_of
from connector_bench.reconstruction.folds import Fold
from connector_bench.reconstruction.probes.control_fit import ONE, fit_linear, fit_shuffled
from connector_bench.reconstruction.probes.fit_log import FitLog, fit_device
from connector_bench.reconstruction.probes.linear import (
    PARTS,
    POOLED,
    LinearControl,
    LinearProbe,
    LinearSample,
    identity,
    one_to_one,
    part_of,
    projection,
    rotation,
)
from connector_bench.reconstruction.probes.mlp import MLPProbe, MLPShape
from connector_bench.reconstruction.probes.moments import Moments, MomentsStream
from connector_bench.reconstruction.probes.sample import ProbeSample
from connector_bench.types import TokenPair


def linear_controls(width: int, config: ReconstructionConfig) -> tuple[LinearControl, ...]:
    """The controls that are linear maps of each patch, for an encoder of this width."""
    rank = min(config.control_rank, width)
    return identity(width), rotation(width, config.seed), projection(width, rank, config.seed)


@contextmanager
def _noting(control: str, failed: dict[str, str]) -> Iterator[None]:
    """A control that cannot be made is left out with its reason: it is there to check the figures, not to cost them."""
    try:
        yield
    except Exception as error:
        failed.setdefault(control, f"{type(error).__name__}: {error}")


class ControlSample:
    """What the controls are fitted from besides the connector's own sample."""

    def __init__(self, config: ReconstructionConfig) -> None:
        self.config = config
        self._patches: dict[str, MomentsStream] = {}
        self._untrained: list[LinearSample] = []
        self.failed: dict[str, str] = {}
        """Controls that could not be made, and why; the others and the connector's own figures stay."""

    def update(self, fold: Fold, pair: TokenPair) -> None:
        """Take one training image."""
        part = part_of(fold)
        pre = target_of(pair, self.config).detach().cpu()
        self._stream(part, pre.shape[1]).add(pre, pre[:, :0])
        for seed, post in enumerate(pair.untrained[: self.config.untrained_seeds]):
            with _noting(f"untrained.{seed}", self.failed):
                self._sample(seed).add(part, pre, post.detach().cpu(), pair.layout)

    def _stream(self, part: str, width: int) -> MomentsStream:
        if part not in self._patches:
            config = self.config
            self._patches[part] = MomentsStream(width, 0, config.chunk_rows, config.device)
        return self._patches[part]

    def _sample(self, seed: int) -> LinearSample:
        while len(self._untrained) <= seed:
            self._untrained.append(LinearSample(self.config))
        return self._untrained[seed]

    def absorb(self, other: ControlSample) -> None:
        """Add another process's state."""
        self.failed = other.failed | self.failed
        for part, stream in other._patches.items():
            moments = stream.value()
            self._stream(part, len(moments.mean_x)).absorb(moments)
        for seed, sample in enumerate(other._untrained):
            self._sample(seed).absorb(sample)

    def tensors(self) -> dict[str, Tensor]:
        """Everything gathered, under `control.`."""
        stored: dict[str, Tensor] = {}
        for part, stream in self._patches.items():
            stored |= stream.value().tensors(f"control.patches.{part}")
        for seed, sample in enumerate(self._untrained):
            stored |= sample.tensors(f"control.untrained.{seed}")
        return stored

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], config: ReconstructionConfig) -> ControlSample:
        """The inverse of `tensors`."""
        self = cls(config)
        for part in PARTS:
            if f"control.patches.{part}.n" in tensors:
                moments = Moments.from_tensors(f"control.patches.{part}", tensors)
                self._stream(part, len(moments.mean_x)).absorb(moments)
        seeds = {name.split(".")[2] for name in tensors if name.startswith("control.untrained.")}
        for seed in range(len(seeds)):
            self._sample(seed).load(f"control.untrained.{seed}", tensors)
        return self

    def fit(self, connector: ProbeSample) -> ControlProbes:
        """Fit all controls; `connector` holds the connector's own sample of the same images.

        On that sample's device, if the options name no other; the probes come back on the CPU.
        """
        training, validation = (self._patches[part].value() for part in PARTS)
        device = fit_device(self.config.device, connector.device)
        log = FitLog()
        probes: dict[str, LinearProbe] = {}
        networks: dict[str, MLPProbe] = {}
        closed: dict[str, float] = {}
        failed = dict(self.failed)
        with log.stage("controls", device):
            patches = connector.sampled_patches()
            for control in linear_controls(len(training.mean_x), self.config):
                with _noting(control.name, failed):
                    fit = partial(fit_linear, control, training, validation, patches, self.config)
                    found = log.with_room(f"the control {control.name}", fit, device)
                    probes[control.name], closed[control.name], network = found
                    if network is not None:
                        networks[f"{control.name}.1x1"] = network
            for seed, sample in enumerate(self._untrained):
                if f"untrained.{seed}" not in failed:
                    with _noting(f"untrained.{seed}", failed):
                        what = f"the control untrained.{seed}"
                        probes[f"untrained.{seed}"] = log.with_room(what, sample.fit, device)
            with _noting("shuffled", failed):
                both = partial(fit_shuffled, connector, self.config)
                shuffled, trained = log.with_room("the control shuffled", both, device)
                probes["shuffled"], networks = shuffled, networks | trained
        return ControlProbes(self.config, training.mean_x, probes, networks, closed, failed, log)


@dataclass(frozen=True, eq=False)
class ControlProbes:
    """The fitted controls; they score the same test images as the connector's probes."""

    config: ReconstructionConfig
    mean: Float[Tensor, " d"]
    """Mean training patch."""
    linear: dict[str, LinearProbe]
    """By control; `untrained.0` and so on for each initialisation."""
    networks: dict[str, MLPProbe]
    """By control and shape of cell, such as `shuffled.2x2`."""
    closed_form: dict[str, float]
    """Best linear R2 by the training patches' covariance, for the controls that are linear maps."""
    failed: dict[str, str] = field(default_factory=dict)
    """Controls that could not be fitted, and why."""
    log: FitLog = field(default_factory=FitLog)
    """How long the fit took; not saved."""

    @torch.no_grad()
    def squared_errors(self, pair: TokenPair) -> dict[str, float]:
        """Squared error over an image's patches, by figure; `untrained_r2_ridge.0` and so on."""
        truth = target_of(pair, self.config).double()
        errors: dict[str, float] = {}

        def note(name: str, predicted: Tensor) -> None:
            errors[name] = float((truth - predicted).square().sum())

        for control in linear_controls(len(self.mean), self.config):
            if control.name not in self.linear:
                continue
            through = replace(pair, post=truth @ control.matrix, layout=one_to_one(pair.layout))
            note(f"{control.name}_r2_ridge", self.linear[control.name].maps[ONE](through.post))
            if f"{control.name}.1x1" in self.networks:
                note(
                    f"{control.name}_r2_mlp",
                    self.networks[f"{control.name}.1x1"].predict(through.post.float()),
                )
        for seed, post in enumerate(pair.untrained):
            probe = self.linear.get(f"untrained.{seed}")
            if probe is not None:
                name = f"untrained_r2_{_kind(probe)}.{seed}"
                note(name, probe.predict(post, pair.layout, self.mean))
        if "shuffled" in self.linear:
            shuffled = self.linear["shuffled"]
            note(f"shuffled_r2_{_kind(shuffled)}", shuffled.predict(pair.post, pair.layout, self.mean))
            if POOLED not in shuffled.maps:
                note("shuffled_r2_mlp", self._shuffled_mlp(pair))
        return errors

    def _shuffled_mlp(self, pair: TokenPair) -> Tensor:
        patches = self.mean.expand(pair.layout.n_pre, len(self.mean)).clone()
        for cells in cells_of(pair.layout):
            network = self.networks.get(f"shuffled.{cells.shape[0]}x{cells.shape[1]}")
            if network is not None:
                found = network.predict(pair.post[cells.tokens])
                patches[cells.patches] = found.unflatten(1, (-1, len(self.mean)))
        return patches

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Everything, as tensors and plain values: what `RunStore.write` takes."""
        tensors = {"mean": self.mean}
        for name, probe in self.linear.items():
            tensors |= probe.tensors(f"linear.{name}")
        for name, network in self.networks.items():
            tensors |= {f"mlp.{name}.{key}": value for key, value in network.state_dict().items()}
        meta = {
            "config": self.config.as_json(),
            "linear": list(self.linear),
            "networks": {name: asdict(network.shape) for name, network in self.networks.items()},
            "closed_form": self.closed_form,
            "failed": self.failed,
        }
        return tensors, meta

    @classmethod
    def from_state(cls, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> ControlProbes:
        """The inverse of `state`."""
        networks = {}
        for name, shape in meta["networks"].items():
            network = MLPProbe(MLPShape(**shape))
            head = f"mlp.{name}."
            network.load_state_dict(
                {key[len(head) :]: value for key, value in tensors.items() if key.startswith(head)}
            )
            networks[name] = network.eval()
        linear = {name: LinearProbe.from_tensors(f"linear.{name}", tensors) for name in meta["linear"]}
        config = ReconstructionConfig.from_json(meta["config"])
        return cls(config, tensors["mean"], linear, networks, dict(meta["closed_form"]), dict(meta["failed"]))


def _kind(probe: LinearProbe) -> str:
    return "pooled" if POOLED in probe.maps else "ridge"
