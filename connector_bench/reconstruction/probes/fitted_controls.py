"""The fitted controls of a run, which are measured on test images beside the connector's own probes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from connector_bench.progress import doing
from connector_bench.reconstruction.cells import CellShape
from connector_bench.reconstruction.config import ReconstructionConfig, target_of
from connector_bench.reconstruction.end_to_end import rebuilt, sums_by_image
from connector_bench.reconstruction.precision import affine
from connector_bench.reconstruction.probes.folded_mlp import FoldedMLP
from connector_bench.reconstruction.probes.linear import (
    POOLED,
    LinearControl,
    LinearProbe,
    identity,
    projection,
    rotation,
)
from connector_bench.reconstruction.probes.mlp import MLPProbe, MLPShape
from connector_bench.reconstruction.probes.stored_probes import under
from connector_bench.types import TokenBatch

ONE: CellShape = (1, 1)
PLACES = "places"
"""What shuffled pairs teach without a leak: the mean patch of each place in a token's cell."""
BY_PLACES = f"{PLACES}.alone"
"""Names its errors, which are what chance is of shuffled pairs and no figure of their own."""


def linear_controls(width: int, config: ReconstructionConfig) -> tuple[LinearControl, ...]:
    """The controls that are linear maps of each patch, for an encoder of this width."""
    rank = min(config.control_rank, width)
    with doing("drawing the controls' rotation and projection"):
        return identity(width), rotation(width, config.seed), projection(width, rank, config.seed)


@dataclass(frozen=True, eq=False)
class ControlProbes:
    """The fitted controls; they score the same test images as the connector's probes."""

    config: ReconstructionConfig
    mean: Float[Tensor, " d"]
    """Mean training patch."""
    linear: dict[str, LinearProbe]
    """By control; `untrained.0` and so on for each initialisation, `shuffled.0` for each pairing."""
    networks: dict[str, MLPProbe]
    """By control and shape of cell, such as `shuffled.2x2`."""
    closed_form: dict[str, float]
    """Best linear R2 by the training patches' covariance, for the controls that are linear maps."""
    failed: dict[str, str] = field(default_factory=dict)
    """Controls that could not be fitted, and why."""
    troubles: tuple[str, ...] = ()
    """What stood in the fit's way, for the task's warnings; not saved."""

    @cached_property
    def _maps(self) -> dict[str, Float[Tensor, "d r"] | None]:
        """The matrix of every linear control that was fitted; None for the one that changes nothing."""
        return {
            control.name: None if control.name == "identity" else control.matrix.to(self.mean.device)
            for control in linear_controls(len(self.mean), self.config)
            if control.name in self.linear
        }

    @cached_property
    def _folded(self) -> dict[str, FoldedMLP]:
        return {name: FoldedMLP(network) for name, network in self.networks.items()}

    @torch.no_grad()
    def squared_errors(self, batch: TokenBatch) -> dict[str, Float[Tensor, " images"]]:
        """Squared error over each image's patches, by figure; `untrained_r2_ridge.0` and so on. Nothing waits."""
        truth, layouts = target_of(batch, self.config).double(), batch.layouts
        counts = [layout.n_pre for layout in layouts]
        errors: dict[str, Tensor] = {}

        def note(name: str, predicted: Tensor) -> None:
            errors[name] = sums_by_image((truth - predicted).square_().sum(1), counts)

        for name, matrix in self._maps.items():
            seen = truth if matrix is None else affine(truth, matrix, matrix.new_zeros(matrix.shape[1]))
            note(f"{name}_r2_ridge", self.linear[name].maps[ONE](seen))
            if f"{name}.1x1" in self.networks:
                note(f"{name}_r2_mlp", self._folded[f"{name}.1x1"].predict(seen.float()))
        for seed, post in enumerate(batch.untrained):
            probe = self.linear.get(f"untrained.{seed}")
            if probe is not None:
                note(f"untrained_r2_{_kind(probe)}.{seed}", probe.predict(post, layouts, self.mean))
        for name, probe in self.linear.items():
            if name.startswith("shuffled."):
                pairing = name.removeprefix("shuffled")
                note(f"shuffled_r2_{_kind(probe)}{pairing}", probe.predict(batch.post, layouts, self.mean))
        if PLACES in self.linear:
            note(BY_PLACES, self.linear[PLACES].predict(batch.post, layouts, self.mean))
        if self._shuffled:
            note("shuffled_r2_mlp", rebuilt(batch.post, layouts, self.mean, self._shuffled))
        return errors

    @cached_property
    def _shuffled(self) -> dict[CellShape, Callable[[Tensor], Tensor]]:
        found: dict[CellShape, Callable[[Tensor], Tensor]] = {}
        for name, network in self._folded.items():
            control, shape = name.split(".")
            if control == "shuffled":
                rows, columns = map(int, shape.split("x"))
                found[(rows, columns)] = network.predict
        return found

    def on(self, device: torch.device) -> ControlProbes:
        """The same on a device. Trained networks are moved, not copied."""
        if device == self.mean.device:
            return self
        return replace(
            self,
            mean=self.mean.to(device),
            linear={name: probe.to(device) for name, probe in self.linear.items()},
            networks={name: network.to(device) for name, network in self.networks.items()},
        )

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
            network.load_state_dict(under(f"mlp.{name}.", tensors))
            networks[name] = network.eval()
        linear = {name: LinearProbe.from_tensors(f"linear.{name}", tensors) for name in meta["linear"]}
        config = ReconstructionConfig.from_json(meta["config"])
        return cls(config, tensors["mean"], linear, networks, dict(meta["closed_form"]), dict(meta["failed"]))


def _kind(probe: LinearProbe) -> str:
    return "pooled" if POOLED in probe.maps else "ridge"
