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

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from torch import Tensor

from connector_bench.reconstruction.config import ReconstructionConfig, target_of
from connector_bench.reconstruction.folds import Fold
from connector_bench.reconstruction.probes.attention_fit import pooled_rows
from connector_bench.reconstruction.probes.fitted_controls import ONE, ControlProbes, linear_controls
from connector_bench.reconstruction.probes.linear import (
    PARTS,
    POOLED,
    LinearProbe,
    LinearSample,
    mapped,
    part_of,
)
from connector_bench.reconstruction.probes.mlp import MLPProbe, Rows, fit_rows
from connector_bench.reconstruction.probes.moments import Moments, MomentsStream
from connector_bench.reconstruction.probes.ridge import best_linear_r2, choose
from connector_bench.reconstruction.probes.sample import ProbeSample
from connector_bench.types import TokenPair

TRAINED = ("identity", "rotation", "shuffled")
"""Controls that get an MLP too."""


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
