"""The controls of a run: gathered in the same pass as the connector's own pairs, fitted on the same images.

| control | probes | costs |
|---|---|---|
| identity, rotation | ridge, MLP | nothing: ridge from the patches' own moments, MLP from the sample's patches |
| rank-r | ridge, and beside it the closed form of the best linear reconstruction | nothing |
| untrained connector | ridge (from mean tokens where they have no place), one an initialisation | moments |
| shuffled pairs | a ridge on each random pairing of the sample's tokens and patches, an MLP on one | a short training |

MLPs learn from `control_pairs` of the sample's cells at most.

What is fitted on shuffled pairs is asked about true ones: it must do no better than the mean of each place in a token's
cell, but for the fit's noise.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial

from torch import Tensor

from connector_bench.reconstruction.cells import cell_rows, is_placed
from connector_bench.reconstruction.config import ReconstructionConfig, target_of
from connector_bench.reconstruction.folds import Fold
from connector_bench.reconstruction.precision import fit_device, with_room
from connector_bench.reconstruction.probes.control_fit import fit_linear, fit_shuffled, place_means
from connector_bench.reconstruction.probes.fitted_controls import PLACES, ControlProbes, linear_controls
from connector_bench.reconstruction.probes.linear import (
    PARTS,
    POOLED,
    LinearProbe,
    LinearSample,
    Part,
    part_of,
)
from connector_bench.reconstruction.probes.mlp import MLPProbe
from connector_bench.reconstruction.probes.moments import MomentsStream
from connector_bench.reconstruction.probes.sample import ProbeSample
from connector_bench.types import TokenBatch, means_by_image


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
        """Fit all controls; `connector` holds the connector's own sample of the same images.

        On that sample's device, if the options name no other; the probes come back on the CPU.
        """
        training, validation = (self._patches[part].value() for part in PARTS)
        device = fit_device(self.config.device, connector.device)
        troubles: list[str] = []
        probes: dict[str, LinearProbe] = {}
        networks: dict[str, MLPProbe] = {}
        closed: dict[str, float] = {}
        failed = dict(self.failed)
        patches = connector.sampled_patches()
        for control in linear_controls(len(training.mean_x), self.config):
            with _noting(control.name, failed):
                fit = partial(fit_linear, control, training, validation, patches, self.config)
                found = with_room(f"the control {control.name}", fit, device, troubles)
                probes[control.name], closed[control.name], network = found
                if network is not None:
                    networks[f"{control.name}.1x1"] = network
        for seed, sample in enumerate(self._untrained):
            if (name := f"untrained.{seed}") not in failed:
                with _noting(name, failed):
                    probes[name] = with_room(f"the control {name}", sample.fit, device, troubles)
        with _noting("shuffled", failed):
            both = partial(fit_shuffled, connector, self.config)
            shuffled, trained = with_room("the control shuffled", both, device, troubles)
            probes |= {f"shuffled.{number}": probe for number, probe in enumerate(shuffled)}
            networks |= trained
            if (places := place_means(connector)) is not None:
                probes[PLACES] = places
        mean = training.mean_x.cpu()
        return ControlProbes(self.config, mean, probes, networks, closed, failed, tuple(troubles))
