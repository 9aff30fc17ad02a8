"""Ridge and MLP fitted on rows that are held in memory: a sample of tokens and what they are to predict.

Everything an MLP starts from (statistics, whitening, the ridge of its linear path) comes from its rows alone. The
rows of a sample do not depend on the order or the process that images came in, so neither does the MLP, to the bit.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from connector_bench.reconstruction.config import ReconstructionConfig
from connector_bench.reconstruction.probes.mlp import MLPProbe, MLPShape, whitening
from connector_bench.reconstruction.probes.moments import Moments, MomentsStream
from connector_bench.reconstruction.probes.ridge import RidgeFit, choose
from connector_bench.reconstruction.probes.training_loop import TrainingRecord, build_seeded, train

CHUNK = 4096


@dataclass(frozen=True, eq=False)
class Rows:
    """Tokens and targets, row by row."""

    x: Float[Tensor, "n d_in"]
    y: Float[Tensor, "n d_out"]

    def __len__(self) -> int:
        return len(self.x)

    def moments(self, config: ReconstructionConfig) -> Moments:
        """Their moments, float64."""
        stream = MomentsStream(self.x.shape[1], self.y.shape[1], config.chunk_rows, config.device)
        for x, y in zip(self.x.split(CHUNK), self.y.split(CHUNK), strict=True):
            stream.add(x, y)
        return stream.value()


@dataclass(frozen=True, eq=False)
class RowFit:
    """Both probes of a sample."""

    ridge: RidgeFit
    mlp: MLPProbe
    training: TrainingRecord


class RowProblem:
    """Rows as batches for the training loop, in the network's units from the start."""

    def __init__(
        self, network: MLPProbe, training: Rows, validation: Rows, batch_size: int, device: str
    ) -> None:
        self.training, self.validation = _prepared(network, training), _prepared(network, validation)
        self.batch_size, self.device = max(batch_size, 1024), device

    @property
    def examples(self) -> int:
        """Rows to learn from."""
        return len(self.training)

    def loss(self, network: nn.Module, index: Int[Tensor, " b"]) -> Tensor:
        """Mean squared error in the targets' training units."""
        return self._error(network, self.training.x[index], self.training.y[index]).mean()

    def validation_loss(self, network: nn.Module) -> float:
        """The same on the validation rows, summed in float64."""
        rows = self.validation
        parts = zip(rows.x.split(self.batch_size), rows.y.split(self.batch_size), strict=True)
        error = sum(float(self._error(network, x, y).double().sum()) for x, y in parts)
        return error / max(rows.y.numel(), 1)

    def _error(self, network: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        return (network(x.to(self.device)).float() - y.to(self.device)).square()


@torch.no_grad()
def _prepared(network: MLPProbe, rows: Rows) -> Rows:
    x = [network.prepare(part) for part in rows.x.split(CHUNK)]
    y = [network.targets(part) for part in rows.y.split(CHUNK)]
    return Rows(torch.cat(x), torch.cat(y))


def fit_rows(training: Rows, validation: Rows, config: ReconstructionConfig) -> RowFit:
    """Fit both probes; the penalty is chosen, and training stopped, on the validation rows.

    ValueError where there is no row to learn from.
    """
    if not len(training):
        raise ValueError("there is no row to fit a probe on")
    moments = training.moments(config)
    ridge = choose(moments, validation.moments(config), config.penalties)
    matrix = whitening(moments) if config.whiten else None
    shape = MLPShape(
        training.x.shape[1],
        training.y.shape[1],
        config.mlp_width,
        config.mlp_layers,
        config.linear_path,
        None if matrix is None else matrix.shape[1],
    )
    network = build_seeded(lambda: MLPProbe(shape), config.schedule.seed + config.seed)
    network.inputs.set(moments.mean_x, (moments.xx.diagonal() / moments.n).sqrt())
    variance = moments.yy / moments.n
    scale = variance.sqrt() if config.standardize_targets else variance.mean().sqrt().expand_as(variance)
    network.targets.set(moments.mean_y, scale)
    if matrix is not None:
        network.whiten(matrix)
    if config.linear_path:
        network.start_at(ridge.affine)
    problem = RowProblem(network, training, validation, config.schedule.batch_size, config.device)
    record = train(network, problem, config.schedule, config.device)
    return RowFit(ridge, network.to("cpu"), record)
