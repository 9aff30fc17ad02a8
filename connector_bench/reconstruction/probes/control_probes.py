"""The controls of a run: gathered in the same pass as the connector's own pairs, fitted on the same images.

| control | probes | costs |
|---|---|---|
| identity, rotation | ridge, MLP | nothing: ridge from the patches' own moments, MLP from the sample's patches |
| rank-r | ridge, and beside it the closed form of the best linear reconstruction | nothing |
| untrained connector | ridge (from mean tokens where they have no place), one an initialisation | moments |
| shuffled pairs | ridge and MLP fitted on the sample's tokens against another image's patches | a short training |

What is fitted on shuffled pairs is asked about true ones: it must do no better than the mean.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from connector_bench.reconstruction.cells import CellShape, cell_rows, cells_of, is_placed
from connector_bench.reconstruction.config import ReconstructionConfig, target_of
from connector_bench.reconstruction.folds import Fold
from connector_bench.reconstruction.probes.attention_fit import pooled_rows
from connector_bench.reconstruction.probes.linear import (
    PARTS,
    POOLED,
    LinearControl,
    LinearProbe,
    LinearSample,
    Part,
    identity,
    mapped,
    one_to_one,
    part_of,
    projection,
    rotation,
)
from connector_bench.reconstruction.probes.mlp import MLPProbe, MLPShape, Rows, fit_rows
from connector_bench.reconstruction.probes.moments import Moments, MomentsStream
from connector_bench.reconstruction.probes.ridge import best_linear_r2, choose
from connector_bench.reconstruction.probes.sample import ProbeSample
from connector_bench.types import TokenBatch, TokenPair, means_by_image

ONE: CellShape = (1, 1)
TRAINED = ("identity", "rotation", "shuffled")
"""Controls that get an MLP too."""


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
    """What the controls are fitted from besides the connector's own sample.

    All of it comes from the control images alone, the patches' own moments too: what is said of every control is
    then said of the same images.
    """

    def __init__(self, config: ReconstructionConfig) -> None:
        self.config = config
        self.images: Collection[str] | None = None
        """The images that controls learn from; None for all that come."""
        self._patches: dict[str, MomentsStream] = {}
        self._untrained: list[LinearSample] = []
        self.failed: dict[str, str] = {}
        """Controls that could not be made, and why; the others and the connector's own figures stay."""

    def learns_from(self, image: str) -> bool:
        """Whether this training image is one of the control images."""
        return self.images is None or image in self.images

    def update(self, batch: TokenBatch, folds: Sequence[Fold]) -> None:
        """Take those of some training images that controls learn from; `folds` has the fold of each."""
        parts: dict[Part, list[int]] = {part: [] for part in PARTS}
        for position, (image, fold) in enumerate(zip(batch.images, folds, strict=True)):
            if self.learns_from(image):
                parts[part_of(fold)].append(position)
        for part, positions in parts.items():
            if positions:
                self._gather(part, batch.take(positions))

    def _gather(self, part: Part, batch: TokenBatch) -> None:
        pre = target_of(batch, self.config).detach()
        self._stream(part, pre.shape[1]).add(pre.clone(), pre[:, :0])
        untrained = batch.untrained[: self.config.untrained_seeds]
        if not untrained:
            return
        if not all(map(is_placed, batch.layouts)):
            pooled = means_by_image(pre, batch.pre_rows)
            for seed, post in enumerate(untrained):
                with _noting(f"untrained.{seed}", self.failed):
                    mean = means_by_image(post.detach(), batch.post_rows)
                    self._sample(seed).add(part, POOLED, mean, pooled)
            return
        for cells in cell_rows(batch, range(len(batch))):
            patches = cells.y(pre)
            for seed, post in enumerate(untrained):
                with _noting(f"untrained.{seed}", self.failed):
                    self._sample(seed).add(part, cells.shape, cells.x(post.detach()), patches)

    def _stream(self, part: str, width: int) -> MomentsStream:
        if not self._patches:
            config = self.config
            self._patches = {one: MomentsStream(width, 0, config.chunk_rows, config.sums) for one in PARTS}
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
            with _noting(f"untrained.{seed}", self.failed):
                self._sample(seed).absorb(sample)

    def tensors(self) -> dict[str, Tensor]:
        """Everything gathered, under `control.`."""
        stored: dict[str, Tensor] = {}
        for part, stream in self._patches.items():
            stored |= stream.tensors(f"control.patches.{part}")
        for seed, sample in enumerate(self._untrained):
            stored |= sample.tensors(f"control.untrained.{seed}")
        return stored

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], config: ReconstructionConfig) -> ControlSample:
        """The inverse of `tensors`."""
        self = cls(config)
        for part in PARTS:
            if f"control.patches.{part}.n" in tensors:
                width = len(tensors[f"control.patches.{part}.mean_x"])
                self._stream(part, width).load(f"control.patches.{part}", tensors)
        seeds = {int(name.split(".")[2]) for name in tensors if name.startswith("control.untrained.")}
        for seed in sorted(seeds):
            self._sample(seed).load(f"control.untrained.{seed}", tensors)
        return self

    def fit(self, connector: ProbeSample) -> ControlProbes:
        """Fit all controls; `connector` holds the connector's own sample of the same images."""
        training, validation = (self._patches[part].value() for part in PARTS)
        covariance = training.xx / training.n
        probes: dict[str, LinearProbe] = {}
        networks: dict[str, MLPProbe] = {}
        closed: dict[str, float] = {}
        patches = connector.sampled_patches()
        failed = dict(self.failed)
        for control in linear_controls(len(training.mean_x), self.config):
            with _noting(control.name, failed):
                ridge = choose(
                    mapped(training, control.matrix),
                    mapped(validation, control.matrix),
                    self.config.penalties,
                )
                probes[control.name] = LinearProbe({ONE: ridge.affine})
                closed[control.name] = best_linear_r2(covariance, control.matrix)
                if control.name in TRAINED and self.config.protocol != "paper":
                    seen, held_out = (
                        Rows((rows.double() @ control.matrix).float(), rows) for rows in patches
                    )
                    networks[f"{control.name}.1x1"] = fit_rows(seen, held_out, self.config).mlp
        for seed, sample in enumerate(self._untrained):
            if f"untrained.{seed}" not in failed:
                with _noting(f"untrained.{seed}", failed):
                    probes[f"untrained.{seed}"] = sample.fit()
        with _noting("shuffled", failed):
            probes["shuffled"], trained = _fit_shuffled(connector, self.config)
            networks |= trained
        return ControlProbes(self.config, training.mean_x, probes, networks, closed, failed)


def _fit_shuffled(
    connector: ProbeSample, config: ReconstructionConfig
) -> tuple[LinearProbe, dict[str, MLPProbe]]:
    """Each token against the patches of the next one in the sample, whose order is that of hashes."""
    if connector.attention is not None and not connector.cells:
        parts = (connector.attention.training.images(), connector.attention.validation.images())
        if len(parts[0]) < 2:
            raise ValueError("of one training image nothing can be shuffled")
        rows = [_rolled(pooled_rows(images)) for images in parts if images]
        moments = [part.moments(config) for part in rows]
        held_out = moments[1] if len(moments) > 1 else Moments.zeros(*moments[0].xy.shape)
        return LinearProbe({POOLED: choose(moments[0], held_out, config.penalties).affine}), {}
    maps, networks = {}, {}
    for shape, sample in connector.cells.items():
        training, validation = _rolled(sample.rows_up_to("full")), _rolled(sample.validation_rows())
        if len(training) < 2:
            continue
        maps[shape] = choose(training.moments(config), validation.moments(config), config.penalties).affine
        if config.protocol != "paper":
            few = Rows(training.x[: config.shuffled_pairs], training.y[: config.shuffled_pairs])
            networks[f"shuffled.{shape[0]}x{shape[1]}"] = fit_rows(few, validation, config).mlp
    return LinearProbe(maps), networks


def _rolled(rows: Rows) -> Rows:
    return Rows(rows.x, rows.y.roll(1, dims=0))


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
