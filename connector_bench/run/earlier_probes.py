"""The probes that an earlier run of `patch_reconstruction` has left, for the connector that they were fitted on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from connector_bench.reconstruction.learning import PROBES
from connector_bench.reconstruction.precision import full_precision, scoring_device
from connector_bench.reconstruction.probes.fitted import FittedProbes
from connector_bench.results.harness_files import read_results
from connector_bench.results.tasks import RECONSTRUCTION, TaskRun
from connector_bench.types import ConnectorInfo, TokenBatch


def earlier_probes(folder: Path, connector: ConnectorInfo) -> FittedProbes:
    """The probes of the latest run in an output folder that measured this connector.

    Raises
    ------
    ValueError
        There is no result file, none of `patch_reconstruction`, none of a connector with these weights, or the
        run's own folder with its probes is no longer there; one sentence says which.
    """
    runs = list(_reconstructions(folder.expanduser()))
    if not runs:
        raise ValueError(f"{folder} holds no figures of patch_reconstruction, whose probes tell the loss")
    ours = [run for run in runs if _measured(run) == _identity(connector.weights_sha256, connector.model)]
    if not ours:
        others = ", ".join(
            dict.fromkeys(str((run.record.get("connector") or {}).get("model")) for run in runs)
        )
        raise ValueError(
            f"{folder} holds patch_reconstruction of {others}, whose connector has other weights than that of "
            f"{connector.model}"
        )
    left = next(
        (found for run in reversed(ours) if (found := run.file.left_behind(run.name)) is not None), None
    )
    if left is None or not (left / PROBES).is_dir():
        raise ValueError(
            f"{folder} no longer holds the probes of {connector.model}: the folder connector_bench beside the result "
            "file is needed"
        )
    return FittedProbes.load(left / PROBES)


def loss_by_patch(probes: FittedProbes, tokens: TokenBatch) -> Float[Tensor, " n_pre"]:
    """Of one picture, as its loss map has it: the best probe's squared error by patch.

    LeakError where a probe was fitted on the picture, ValueError where its patches have another width.
    """
    device = scoring_device(probes.config.device, tokens.pre.device)
    with full_precision(device):
        return probes.on(device).score(tokens.mapped(lambda side: side.to(device))).loss_map.cpu()


def rebuilt_patches(probes: FittedProbes, tokens: TokenBatch) -> Float[Tensor, "n_pre d_pre"]:
    """What the best probe makes of one picture's tokens, float64. ValueError where it rebuilds normed patches."""
    if probes.config.tap == "pre_normed" and tokens.pre_normed is not None:
        raise ValueError(
            "these probes rebuild what lies behind the connector's norm (tap: pre_normed), which cannot be sent "
            "through the connector again"
        )
    device = scoring_device(probes.config.device, tokens.post.device)
    best = probes.learning_curve.best
    with full_precision(device), torch.no_grad():
        if best == "mean":
            return probes.statistics.mean.expand(len(tokens.pre), -1)
        return probes.on(device).predict(tokens.mapped(lambda side: side.to(device)))[best].cpu()


def _reconstructions(folder: Path) -> Iterator[TaskRun]:
    """Tasks of that measure, oldest first."""
    for file in read_results([folder]):
        for name in file.tasks:
            run = TaskRun(file, name)
            if run.measure == RECONSTRUCTION and run.error is None:
                yield run


def _measured(run: TaskRun) -> tuple[str, ...]:
    connector = run.record.get("connector") or {}
    return _identity(connector.get("weights_sha256"), str(connector.get("model")))


def _identity(weights: str | None, model: str) -> tuple[str, ...]:
    """What tells connectors apart: the hash of their weights, else the model's name."""
    return (weights,) if weights is not None else ("by name", model)
