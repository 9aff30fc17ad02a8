"""The fits of the controls that are made from the connector's own sample, on a device; they come back on the CPU."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from connector_bench.reconstruction.cells import CellShape
from connector_bench.reconstruction.config import ReconstructionConfig
from connector_bench.reconstruction.probes.attention_batches import pooled_rows
from connector_bench.reconstruction.probes.fitted_controls import ONE
from connector_bench.reconstruction.probes.linear import POOLED, LinearControl, LinearProbe, mapped
from connector_bench.reconstruction.probes.mlp import CHUNK, MLPProbe, Rows, fit_rows
from connector_bench.reconstruction.probes.moments import Moments
from connector_bench.reconstruction.probes.ridge import Affine, best_linear_r2, choose
from connector_bench.reconstruction.probes.sample import ProbeSample

TRAINED = ("identity", "rotation", "shuffled")
"""Controls that get an MLP too."""
PAIRINGS = 12
"""Random pairings of tokens and patches, a ridge each: what one agrees with the truth by is chance."""


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
) -> tuple[list[LinearProbe], dict[str, MLPProbe]]:
    """Ridges from each token to the patches of a random one, one a pairing, and the MLPs of the first pairing.

    Over all pairings tokens and patches are uncorrelated exactly, so what a ridge agrees with the truth by is that of
    `place_means` on average over pairings, 0 where there are none, and its spread is the fit's own noise.
    """
    if connector.attention is not None and not connector.cells:
        parts = (connector.attention.training.images(), connector.attention.validation.images())
        if len(parts[0]) < 2:
            raise ValueError("of one training image nothing can be shuffled")
        training = pooled_rows(parts[0]).to(device)
        validation = pooled_rows(parts[1]).to(device) if parts[1] else Rows(training.x[:0], training.y[:0])
        return [LinearProbe({POOLED: one}) for one in _ridges(training, validation, config)], {}
    maps: list[dict[CellShape, Affine]] = [{} for _ in range(PAIRINGS)]
    networks = {}
    for shape, sample in connector.cells.items():
        training, validation = sample.rows_up_to("full").to(device), sample.validation_rows().to(device)
        if len(training) < 2:
            continue
        for own, ridge in zip(maps, _ridges(training, validation, config), strict=True):
            own[shape] = ridge
        if config.protocol != "paper":
            order = random_pairing(len(training), config.seed, 0, device)[: config.control_pairs]
            few = Rows(training.x[: config.control_pairs], training.y[order])
            held_out = Rows(
                validation.x, validation.y[random_pairing(len(validation), config.seed, 0, device)]
            )
            fitted = fit_rows(few, held_out, config)
            networks[f"shuffled.{shape[0]}x{shape[1]}"] = fitted.mlp.to("cpu")
    return [LinearProbe(own) for own in maps], networks


def place_means(connector: ProbeSample) -> LinearProbe | None:
    """What is known of a patch from its place among those that one token stands for: the mean training patch there.

    Shuffled pairs teach it too, since a token stays a token of its cell. None where every token stands for one patch.
    """
    rows = {shape: sample.rows_up_to("full") for shape, sample in connector.cells.items() if shape != ONE}
    means = {shape: one.y.double().mean(0).cpu() for shape, one in rows.items() if len(one) >= 2}
    if not means:
        return None
    return LinearProbe(
        {
            shape: Affine(mean.new_zeros(rows[shape].x.shape[1], len(mean)), mean)
            for shape, mean in means.items()
        }
    )


def random_pairing(n: int, seed: int, number: int, device: torch.device) -> Int[Tensor, " n"]:
    """Whose patches each token is fitted to: a uniformly random order, the same on every device."""
    generator = torch.Generator().manual_seed(seed + number * 1_000_003)
    return torch.randperm(n, generator=generator).to(device)


def _ridges(training: Rows, validation: Rows, config: ReconstructionConfig) -> Iterator[Affine]:
    """The ridge of every pairing; moments of the tokens alone, and of the patches alone, are those of all."""
    parts = (training, validation)
    moments = [rows.moments(config) for rows in parts]
    for number in range(PAIRINGS):
        fitted_on, held_out = (
            _paired(rows, own, random_pairing(len(rows), config.seed, number, rows.device))
            for rows, own in zip(parts, moments, strict=True)
        )
        yield choose(fitted_on, held_out, config.penalties).affine.to("cpu")


def _paired(rows: Rows, moments: Moments, order: Int[Tensor, " n"]) -> Moments:
    cross = torch.zeros_like(moments.xy)
    for own, other in zip(
        torch.arange(len(rows), device=rows.device).split(CHUNK), order.split(CHUNK), strict=True
    ):
        x, y = rows.x[own].double() - moments.mean_x, rows.y[other].double() - moments.mean_y
        cross.addmm_(x.T, y)
    return replace(moments, xy=cross)
