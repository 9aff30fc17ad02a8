"""Patch reconstruction: how much of what the encoder saw the connector's tokens can rebuild, and where.

    sample = ProbeSample(ReconstructionConfig())
    for batch in training_batches:
        sample.learn(batch)
    probes = sample.fit()
    errors = [probes.score(batch) for batch in test_batches]

One pass over the training images, whose memory does not depend on their number: moments for the ridges,
samples of fixed size for the trained probes. States of several processes add up (`absorb`), in any order.
Source: PROTOCOL section 2, after arXiv 2509.11986.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from connector_bench.reconstruction.cells import CellShape, cell_rows, is_placed, on_device
from connector_bench.reconstruction.config import ReconstructionConfig, target_of
from connector_bench.reconstruction.folds import FOLDS, Fold, LeakError, Ledger, fold_of, image_key, unit_keys
from connector_bench.reconstruction.image_errors import refuse_not_finite
from connector_bench.reconstruction.probes.attention_fit import AttentionSample, fit_attention
from connector_bench.reconstruction.probes.cell_fit import CellSample, fit_cells
from connector_bench.reconstruction.probes.fitted import FittedProbes
from connector_bench.reconstruction.probes.gains import ImageGains
from connector_bench.reconstruction.probes.learning_curve import learning_curve
from connector_bench.reconstruction.probes.moments import MomentsStream, TargetStatistics
from connector_bench.stats.floors import LEAST_VALIDATION_IMAGES
from connector_bench.types import TokenBatch


class ProbeSample:
    """Gathers training images, a `TokenBatch` at a time, and fits the probe ladder on them."""

    def __init__(self, config: ReconstructionConfig) -> None:
        self.config = config
        self.held_out = Ledger()
        """Test images, none of which may be learnt."""
        self.seen = Ledger()
        self.validation_share = config.validation
        """Share of the training images that validate; see `folds.validation_share` for few images."""
        self.validation_images = 0
        self._targets: MomentsStream | None = None
        """Of the patches of training images, as the second side of pairs whose first has no dimension."""
        self._cells: dict[CellShape, CellSample] = {}
        self._attention: AttentionSample | None = None
        self._placed: bool | None = None
        self._widths: tuple[int, int] | None = None

    def learn(self, batch: TokenBatch) -> list[int]:
        """Take training images, where their tokens lie; the positions of those whose name was not taken before.

        Of a batch with a fault nothing is taken: ValueError where shapes and layout disagree or change between
        images, LeakError for a held-out image.
        """
        new: dict[str, int] = {}
        for position, image in enumerate(batch.images):
            if image in self.held_out:
                raise LeakError(f"image {image!r} is a test image and cannot train the probes")
            if image not in self.seen:
                new.setdefault(image, position)
        if not new:
            return []
        pre = target_of(batch, self.config).detach()
        self._check(batch, pre)
        folds: dict[int, Fold] = {position: self.fold_of(image) for image, position in new.items()}
        for fold in FOLDS:
            positions = [position for position, own in folds.items() if own == fold]
            if positions and self._placed:
                self._gather(batch, pre, positions, fold)
        if self._wants_attention():
            self._attention = self._attention or AttentionSample(*self._known_widths, self.config)
            self._attention.add(batch, pre, [folds.get(position) for position in range(len(batch))])
        for image in new:
            self.seen.add(image)
        learnt_from = [position for position, fold in folds.items() if fold != "validation"]
        self.validation_images += len(folds) - len(learnt_from)
        if learnt_from:
            parts = [batch.pre_rows[position] for position in learnt_from]
            rows = np.concatenate([np.arange(part.start, part.stop) for part in parts])
            patches = pre.index_select(0, on_device(rows, pre.device))
            self._targets_of(patches.shape[1]).add(patches[:, :0], patches)
        return list(folds)

    def fold_of(self, image_id: str) -> Fold:
        """The fold of a training image."""
        return fold_of(image_id, self.validation_share)

    def _check(self, batch: TokenBatch, pre: Tensor) -> None:
        n_pre, n_post = (
            sum(part) for part in zip(*((one.n_pre, one.n_post) for one in batch.layouts), strict=True)
        )
        names = ", ".join(map(repr, batch.images))
        if (len(pre), len(batch.post)) != (n_pre, n_post):
            raise ValueError(
                f"image {names}: {len(pre)} -> {len(batch.post)} tokens, its layout says {(n_pre, n_post)}"
            )
        # the device is asked once a batch
        if not (torch.isfinite(pre).all() & torch.isfinite(batch.post).all()):
            for image, before, after in zip(batch.images, batch.pre_rows, batch.post_rows, strict=True):
                sides = pre[before], batch.post[after]
                finite = [bool(torch.isfinite(side).all()) for side in sides]
                refuse_not_finite(image, finite, [side.dtype for side in sides])
        widths, placed = (batch.post.shape[1], pre.shape[1]), {is_placed(one) for one in batch.layouts}
        if self._widths not in (None, widths):
            raise ValueError(f"image {names} has widths {widths}, the images before {self._widths}")
        if len(placed) > 1 or self._placed not in (None, *placed):
            raise ValueError(f"image {names}: tokens with and without places cannot be mixed in one run")
        self._widths, self._placed = widths, placed.pop()

    def _gather(self, batch: TokenBatch, pre: Tensor, positions: list[int], fold: Fold) -> None:
        """Take the cells of the images of one fold."""
        post, (d_in, d_pre) = batch.post.detach(), self._known_widths
        keys, images = np.zeros(len(post), dtype=np.uint64), np.zeros(len(post), dtype=np.uint64)
        for position in positions:
            own, image = batch.post_rows[position], batch.images[position]
            keys[own], images[own] = unit_keys(image, own.stop - own.start), image_key(image)
        for cells in cell_rows(batch, positions):
            if cells.shape not in self._cells:
                self._cells[cells.shape] = CellSample(d_in, math.prod(cells.shape) * d_pre, self.config)
            own_images = images[cells.tokens].view(np.int64)
            self._cells[cells.shape].add(fold, keys[cells.tokens], own_images, cells.x(post), cells.y(pre))

    def _targets_of(self, width: int) -> MomentsStream:
        if self._targets is None:
            self._targets = MomentsStream(0, width, self.config.chunk_rows, self.config.sums)
        return self._targets

    @property
    def _known_widths(self) -> tuple[int, int]:
        assert self._widths is not None
        return self._widths

    @property
    def _target(self) -> TargetStatistics | None:
        """On the CPU."""
        if self._targets is None or not self._targets.n:
            return None
        found = self._targets.value()
        return TargetStatistics(found.n, found.mean_y.cpu(), found.yy.cpu())

    def _wants_attention(self) -> bool:
        if self.config.attention == "auto":
            return not self._placed
        return self.config.attention == "always"

    def absorb(self, other: ProbeSample) -> None:
        """Add another process's state; ValueError where options differ or an image was seen by both."""
        if (other.config, other.validation_share) != (self.config, self.validation_share):
            raise ValueError("states of different options do not add up")
        self.seen = self.seen + other.seen
        if other._widths is None:
            return
        if self._widths is None:
            self._widths, self._placed = other._widths, other._placed
        if (self._widths, self._placed) != (other._widths, other._placed):
            raise ValueError(f"states of widths {self._widths} and {other._widths} do not add up")
        self.validation_images += other.validation_images
        if other._targets is not None:
            targets = other._targets.value()
            self._targets_of(len(targets.mean_y)).absorb(targets)
        for shape, sample in other._cells.items():
            if shape not in self._cells:
                self._cells[shape] = CellSample(sample.d_in, sample.d_out, self.config)
            self._cells[shape].absorb(sample)
        if other._attention is not None:
            if self._attention is None:
                self._attention = AttentionSample(*self._widths, self.config)
            self._attention.absorb(other._attention)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Everything gathered, as tensors and plain values: what `RunStore.write` takes."""
        tensors = {"seen": torch.from_numpy(self.seen.array())}
        if self._targets is not None:
            tensors.update(self._targets.tensors("target"))
        for (rows, columns), sample in self._cells.items():
            tensors.update(sample.tensors(f"cell-{rows}x{columns}"))
        if self._attention is not None:
            tensors.update(self._attention.tensors("attention"))
        meta = {
            "config": self.config.as_json(),
            "widths": self._widths,
            "placed": self._placed,
            "validation_images": self.validation_images,
            "validation_share": self.validation_share,
            "cells": [[*shape, sample.d_in, sample.d_out] for shape, sample in self._cells.items()],
            "attention": self._attention is not None,
        }
        return tensors, meta

    @classmethod
    def from_state(cls, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> ProbeSample:
        """The inverse of `state`."""
        self = cls(ReconstructionConfig.from_json(meta["config"]))
        self.seen = Ledger.from_array(tensors["seen"].numpy())
        self._widths = tuple(meta["widths"]) if meta["widths"] is not None else None
        self._placed, self.validation_images = meta["placed"], meta["validation_images"]
        self.validation_share = meta["validation_share"]
        if "target.mean_y" in tensors:
            self._targets_of(len(tensors["target.mean_y"])).load("target", tensors)
        for rows, columns, d_in, d_out in meta["cells"]:
            sample = CellSample(d_in, d_out, self.config)
            sample.load(f"cell-{rows}x{columns}", tensors)
            self._cells[(rows, columns)] = sample
        if meta["attention"]:
            assert self._widths is not None
            self._attention = AttentionSample(*self._widths, self.config)
            self._attention.load("attention", tensors)
        return self

    @property
    def cells(self) -> Mapping[CellShape, CellSample]:
        """The sample of each shape of cell."""
        return self._cells

    @property
    def attention(self) -> AttentionSample | None:
        """The sampled images, where the connector's tokens have no place."""
        return self._attention

    @property
    def device(self) -> torch.device:
        """Where the sampled rows lie."""
        if self._cells:
            return next(iter(self._cells.values())).device
        return torch.device("cpu") if self._attention is None else self._attention.device

    def sampled_patches(self) -> tuple[Float[Tensor, "n d"], Float[Tensor, "m d"]]:
        """Patches of the sample, for training and validation: what the controls' MLPs learn from."""
        assert self._widths is not None
        width, config = self._widths[1], self.config
        if self._cells:
            samples = self._cells.values()
            parts = [[s.rows_up_to("full").y for s in samples], [s.validation_rows().y for s in samples]]
        else:
            assert self._attention is not None
            images = (self._attention.training.images(), self._attention.validation.images())
            parts = [[image.patches for image in part] for part in images]
        limits = (min(config.control_pairs, config.patch_pairs), config.validation_pairs)
        training, validation = (
            torch.cat(
                [part[:rows].reshape(-1, width).to(self.device) for part in one] or [torch.zeros(0, width)]
            )[:rows]
            for one, rows in zip(parts, limits, strict=True)
        )
        return training, validation

    def fit(self) -> FittedProbes:
        """Fit the ladder; ValueError where too few images came for two folds, or all patches are the same.

        Where fewer validation images than `floors.LEAST_VALIDATION_IMAGES` would choose, nothing is chosen: the penalty
        is the middle one, no network is trained, and the linear probe counts as the best.
        """
        training = len(self.seen) - self.validation_images
        target = self._target
        if target is None or not self.validation_images:
            raise ValueError(
                f"{training} training and {self.validation_images} validation images: both are needed, and "
                "at least two images that are no test images"
            )
        target.require_spread()
        enough = self.validation_images >= LEAST_VALIDATION_IMAGES
        if not enough and self.config.protocol != "paper":
            self._cells = {shape: sample.without_validation() for shape, sample in self._cells.items()}
            self._attention = self._attention and self._attention.without_validation()
        troubles: list[str] = []
        fitted = {
            shape: fit_cells(shape, sample, target, self.config, troubles)
            for shape, sample in sorted(self._cells.items())
            if sample.trained_on
        }
        attention = fit_attention(self._attention, target, self.config, troubles) if self._attention else None
        curves = [probes.curve for probes in fitted.values()]
        if attention is not None:
            curves.append(attention.curve)
        beyond = {
            name
            for name, gains in (
                ("mlp", [probes.gains for probes in fitted.values() if probes.gains is not None]),
                ("attention", [] if attention is None or attention.gains is None else [attention.gains]),
            )
            if gains and ImageGains.together(gains).beyond_noise
        }
        curve = learning_curve(curves, self.config, beyond)
        curve = replace(curve, validation_images=self.validation_images)
        if not enough:
            curve = replace(curve, more_data_helps=None)
            if self.config.protocol != "paper":
                curve = replace(curve, r2={}, best="ridge" if fitted else "pooled")
        return FittedProbes(self.config, target, self.seen, fitted, attention, curve, tuple(troubles))
