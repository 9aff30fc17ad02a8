"""The fits of the controls that are made from the connector's own sample, on a device; they come back on the CPU."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from connector_bench.reconstruction.config import ReconstructionConfig
from connector_bench.reconstruction.probes.attention_batches import pooled_rows
from connector_bench.reconstruction.probes.fitted_controls import ONE
from connector_bench.reconstruction.probes.linear import POOLED, LinearControl, LinearProbe, mapped
from connector_bench.reconstruction.probes.mlp import MLPProbe, Rows, fit_rows
from connector_bench.reconstruction.probes.moments import Moments
from connector_bench.reconstruction.probes.ridge import best_linear_r2, choose
from connector_bench.reconstruction.probes.sample import ProbeSample

TRAINED = ("identity", "rotation", "shuffled")
"""Controls that get an MLP too."""


def fit_linear(
    control: LinearControl,
    training: Moments,
    validation: Moments,
    patches: tuple[Float[Tensor, "n d"], Float[Tensor, "m d"]],
    config: ReconstructionConfig,
    device: torch.device,
) -> tuple[LinearProbe, float, MLPProbe | None]:
    """A linear map's ridge, its best linear R2 in closed form, and the MLP of those that have one."""
    training, validation = training.to(device), validation.to(device)
    matrix = control.matrix.to(device)
    ridge = choose(mapped(training, matrix), mapped(validation, matrix), config.penalties)
    closed = best_linear_r2(training.xx / training.n, matrix)
    network = None
    if control.name in TRAINED and config.protocol != "paper":
        on_device = [rows.to(device).float() for rows in patches]
        seen, held_out = (Rows((rows.double() @ matrix).float(), rows) for rows in on_device)
        network = fit_rows(seen, held_out, config).mlp.to("cpu")
    return LinearProbe({ONE: ridge.affine.to("cpu")}), closed, network


def fit_shuffled(
    connector: ProbeSample, config: ReconstructionConfig, device: torch.device
) -> tuple[LinearProbe, dict[str, MLPProbe]]:
    """Each token against the patches of the next one in the sample, whose order is that of hashes."""
    if connector.attention is not None and not connector.cells:
        parts = (connector.attention.training.images(), connector.attention.validation.images())
        if len(parts[0]) < 2:
            raise ValueError("of one training image nothing can be shuffled")
        rows = [_rolled(pooled_rows(images).to(device)) for images in parts if images]
        moments = [part.moments(config) for part in rows]
        held_out = moments[1] if len(moments) > 1 else Moments.zeros(*moments[0].xy.shape).to(device)
        affine = choose(moments[0], held_out, config.penalties).affine
        return LinearProbe({POOLED: affine.to("cpu")}), {}
    maps, networks = {}, {}
    for shape, sample in connector.cells.items():
        training = _rolled(sample.rows_up_to("full").to(device))
        validation = _rolled(sample.validation_rows().to(device))
        if len(training) < 2:
            continue
        ridge = choose(training.moments(config), validation.moments(config), config.penalties)
        maps[shape] = ridge.affine.to("cpu")
        if config.protocol != "paper":
            few = Rows(training.x[: config.control_pairs], training.y[: config.control_pairs])
            fitted = fit_rows(few, validation, config)
            networks[f"shuffled.{shape[0]}x{shape[1]}"] = fitted.mlp.to("cpu")
    return LinearProbe(maps), networks


def _rolled(rows: Rows) -> Rows:
    return Rows(rows.x, rows.y.roll(1, dims=0))
