"""Connectors that are not linear and whose loss is known: how much of it the probe ladder itself misses.

    python -m benchmarks.oracles [--rows 80000 --width 512 --epochs 5 --batch 256 --rate 0.003]

A *flow* is a stack of invertible layers, each a random rotation and an affine coupling: it loses nothing. A *quantiser*
keeps so many bits of every dimension of a Gaussian, by the best levels there are, and a flow of one layer behind it
hides them from a linear probe: it loses what the closed form of its cells says. What a fitted probe calls lost beyond
that is the probe's own failure.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from scipy.stats import norm
from tabulate import tabulate
from torch import Tensor

from connector_bench.reconstruction.config import ReconstructionConfig
from connector_bench.reconstruction.probes.mlp import Rows, fit_rows
from connector_bench.reconstruction.probes.training_loop import Schedule

STRETCH = 0.8
"""Largest logarithm of what a coupling multiplies by."""


class Flow:
    """`depth` layers of a rotation and an affine coupling whose functions have `hidden` units; float64."""

    def __init__(self, width: int, depth: int, hidden: int, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)

        def drawn(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator, dtype=torch.float64)

        self._half = half = width // 2
        self._layers = [
            (
                torch.linalg.qr(drawn(width, width))[0],
                drawn(half, hidden) * 1.5 / half**0.5,
                drawn(hidden, 2 * (width - half)) * 1.5 / hidden**0.5,
            )
            for _ in range(depth)
        ]

    def __call__(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """Through all layers."""
        for rotation, first, second in self._layers:
            kept, moved = (x @ rotation).tensor_split([self._half], dim=1)
            stretch, shift = ((kept @ first).tanh() @ second).chunk(2, dim=1)
            x = torch.cat([kept, moved * (STRETCH * stretch.tanh()).exp() + shift], dim=1)
        return x

    def inverse(self, y: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """What went in: nothing is lost."""
        for rotation, first, second in reversed(self._layers):
            kept, moved = y.tensor_split([self._half], dim=1)
            stretch, shift = ((kept @ first).tanh() @ second).chunk(2, dim=1)
            y = torch.cat([kept, (moved - shift) * (-STRETCH * stretch.tanh()).exp()], dim=1) @ rotation.T
        return y


class Quantiser:
    """The best `2 ** bits` levels of a standard Gaussian (Lloyd's iteration, Max 1960), dimension by dimension."""

    def __init__(self, bits: int) -> None:
        self.levels = norm.ppf((np.arange(2**bits) + 0.5) / 2**bits)
        for _ in range(2000):
            self.levels = self._means()

    @property
    def _edges(self) -> np.ndarray:
        return np.concatenate([[-np.inf], (self.levels[1:] + self.levels[:-1]) / 2, [np.inf]])

    def _means(self) -> np.ndarray:
        """Mean of the Gaussian within each cell."""
        edges = self._edges
        return -np.diff(norm.pdf(edges)) / np.diff(norm.cdf(edges))

    @property
    def loss(self) -> float:
        """Share of the variance that the levels do not hold, in closed form: `1 - sum of p * mean ** 2`."""
        return float(1 - (np.diff(norm.cdf(self._edges)) * self._means() ** 2).sum())

    def __call__(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """Every number's level."""
        cells = torch.bucketize(x, torch.from_numpy(self._edges[1:-1]))
        return torch.from_numpy(self.levels)[cells]


@dataclass(frozen=True)
class Oracle:
    """A connector of a Gaussian, and what it loses."""

    name: str
    connect: Callable[[Tensor], Tensor]
    loss: float

    @classmethod
    def flow(cls, width: int, depth: int, hidden: int) -> Oracle:
        """Loses nothing."""
        return cls(f"flow, {depth} layers of {hidden} hidden units", Flow(width, depth, hidden), 0.0)

    @classmethod
    def quantiser(cls, width: int, bits: int, hidden: int) -> Oracle:
        """Loses what its cells hold, with a flow of one layer behind it."""
        flow, quantiser = Flow(width, 1, hidden), Quantiser(bits)
        return cls(f"quantiser of {bits} bits a dimension", lambda x: flow(quantiser(x)), quantiser.loss)


@dataclass(frozen=True)
class Missed:
    """What two probes call lost, beside what is."""

    known: float
    ridge: float
    mlp: float


def measured(oracle: Oracle, width: int, rows: int, config: ReconstructionConfig) -> Missed:
    """Fit on so many rows, choose on a tenth as many, test on as many again."""
    generator = torch.Generator().manual_seed(1)
    drawn = torch.randn(rows + 2 * (rows // 10), width, generator=generator, dtype=torch.float64)
    parts = drawn.split([rows, rows // 10, rows // 10])
    training, validation, test = (Rows(oracle.connect(y).float(), y.float()) for y in parts)
    fit = fit_rows(training, validation, config)
    truth = test.y.double()
    total = float((truth - training.y.double().mean(0)).square().sum())
    errors = [float((probe(test.x) - truth).square().sum()) for probe in (fit.ridge.affine, fit.mlp.predict)]
    return Missed(oracle.loss, errors[0] / total, errors[1] / total)


def oracles(width: int, hidden: int) -> list[Oracle]:
    flows = [Oracle.flow(width, depth, hidden) for depth in (1, 2, 4)]
    return flows + [Oracle.quantiser(width, bits, hidden) for bits in (1, 2, 3)]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dimensions", type=int, default=32)
    parser.add_argument("--hidden", type=int, default=32, help="units of a coupling's functions")
    parser.add_argument("--rows", type=int, default=80_000)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--rate", type=float, default=3e-3)
    given = parser.parse_args()
    schedule = Schedule(epochs=given.epochs, batch_size=given.batch, learning_rate=given.rate)
    config = ReconstructionConfig(mlp_width=given.width, schedule=schedule)
    rows = []
    for oracle in oracles(given.dimensions, given.hidden):
        found = measured(oracle, given.dimensions, given.rows, config)
        rows.append([oracle.name, found.known, found.ridge, found.mlp, found.mlp - found.known])
        print(*rows[-1], flush=True)
    heads = ["connector", "lost, known", "ridge says", "MLP says", "missed by the MLP"]
    print(tabulate(rows, headers=heads, floatfmt=".3f", tablefmt="github"))


if __name__ == "__main__":
    main()
