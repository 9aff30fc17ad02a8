"""How fast the ridge is beside its two matrix products and beside the paper's MLP, and what is stored.

    python -m benchmarks.reconstruction --pairs 200000 --d-post 4096 --d-pre 1024 --mlp-width 3072 --mlp-steps 20

Data are linear with noise, so that ridge is the right model; making them is not timed. Ridge is everything
from the rows to the chosen penalty. Products are X'X and X'Y alone, in float64, on the same chunks and in
turns with the ridge. With `--mlp-steps` the paper's MLP is timed on that many steps and its 30 epochs are
extrapolated; without, it is trained in full and its R2 on fresh rows compared.
"""

from __future__ import annotations

import argparse
import platform
import resource
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from benchmarks.findings import Finding, machine, now, table
from connector_bench.reconstruction.config import paper_config
from connector_bench.reconstruction.lossmaps import LossMap, pack
from connector_bench.reconstruction.probes.mlp import MLPProbe, MLPShape, Rows, RowSample
from connector_bench.reconstruction.probes.moments import Moments, MomentsStream
from connector_bench.reconstruction.probes.ridge import choose, pooled_r2
from connector_bench.reconstruction.probes.training_loop import build_seeded, train
from connector_bench.reconstruction.store import RunStore
from connector_bench.types import Tile, TokenLayout

PUBLISHED_BYTES_PER_IMAGE = 576 * (4096 + 1024) * 4
"""Pre and post tokens of LLaVA in float32, as the paper's pipeline writes them."""
CHUNK = 2048
OVER_PRODUCTS, FASTER_THAN_MLP = 1.5, 50


@dataclass(frozen=True)
class Sizes:
    """One problem; its name in the table is `pairs` of `d_post -> d_pre`."""

    pairs: int
    d_post: int
    d_pre: int
    mlp_width: int
    mlp_steps: int | None
    noise: float = 0.3

    def __str__(self) -> str:
        return f"{self.pairs} patch pairs {self.d_post} -> {self.d_pre}"


FULL_SIZE = Sizes(200_000, 4096, 1024, 3072, mlp_steps=20)
MLP_IN_FULL = Sizes(100_000, 512, 128, 384, mlp_steps=None)


class LinearData:
    """y from a decaying spectrum, x = y P + noise; the same rows for the same seed."""

    def __init__(self, sizes: Sizes) -> None:
        generator = torch.Generator().manual_seed(0)
        self.sizes = sizes
        self.spectrum = torch.logspace(0, -1, sizes.d_pre)
        self.projection = torch.randn(sizes.d_pre, sizes.d_post, generator=generator) / sizes.d_pre**0.5

    def chunks(self, rows: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
        generator = torch.Generator().manual_seed(seed)
        for first in tqdm(range(0, rows, CHUNK), desc=str(self.sizes), unit="chunk", leave=False):
            count = min(CHUNK, rows - first)
            y = torch.randn(count, self.sizes.d_pre, generator=generator) * self.spectrum
            noise = torch.randn(count, self.sizes.d_post, generator=generator)
            yield y @ self.projection + self.sizes.noise * noise, y


@dataclass(frozen=True)
class RidgeCost:
    """Seconds of the ridge and of the bare products, and R2 on fresh rows."""

    ridge: float
    products: float
    r2: float


def time_ridge(data: LinearData) -> RidgeCost:
    """Nine tenths of the chunks for training, one for validation."""
    sizes = data.sizes
    xx = torch.zeros(sizes.d_post, sizes.d_post, dtype=torch.float64)
    xy = torch.zeros(sizes.d_post, sizes.d_pre, dtype=torch.float64)
    training, validation = (MomentsStream(sizes.d_post, sizes.d_pre, CHUNK) for _ in range(2))
    ridge = products = 0.0
    for number, (x, y) in enumerate(data.chunks(sizes.pairs, seed=1)):
        a, b = x.double(), y.double()
        begin = now()
        xx.addmm_(a.T, a)
        xy.addmm_(a.T, b)
        between = now()
        (validation if number % 10 == 9 else training).add(x, y)
        products, ridge = products + between - begin, ridge + now() - between
    begin = now()
    moments = training.value()
    fit = choose(moments, validation.value())
    ridge += now() - begin
    held_out = MomentsStream(sizes.d_post, sizes.d_pre, CHUNK)
    for x, y in data.chunks(max(CHUNK, sizes.pairs // 100), seed=2):
        held_out.add(x, y)
    return RidgeCost(ridge, products, pooled_r2(fit.affine, held_out.value(), moments.mean_y))


def ridge_memory(sizes: Sizes) -> Finding:
    """Peak memory of gathering and solving; the number of rows plays no part in it, so ten chunks do."""
    data = LinearData(sizes)
    before = _peak()
    training, validation = (MomentsStream(sizes.d_post, sizes.d_pre, CHUNK) for _ in range(2))
    for number, (x, y) in enumerate(data.chunks(10 * CHUNK, seed=1)):
        (validation if number == 9 else training).add(x, y)
    choose(training.value(), validation.value())
    held = sum(part.nbytes for part in Moments.zeros(sizes.d_post, sizes.d_pre).tensors("").values())
    return Finding(
        f"ridge, {sizes.d_post} -> {sizes.d_pre}: peak memory, whatever the number of images",
        (_peak() - before) / 2**20,
        unit="MiB",
        note=f"the moments of one fold are {held / 2**20:.0f} MiB",
    )


def _peak() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if platform.system() == "Darwin" else peak * 1024


@dataclass(frozen=True)
class MLPCost:
    """Seconds of the paper's 30 epochs, how many of their steps were run, and R2 on fresh rows."""

    seconds: float
    steps: int
    planned: int
    r2: float


def time_mlp(data: LinearData) -> MLPCost:
    """The paper's MLP by its schedule, in full or for some steps."""
    sizes, schedule, rows = data.sizes, paper_config().schedule, data.sizes.pairs
    planned = schedule.steps(rows)
    if sizes.mlp_steps is not None:
        rows = min(rows, sizes.mlp_steps * schedule.batch_size * schedule.accumulate)
        schedule = replace(schedule, epochs=1)
    x, y = (torch.cat(parts) for parts in zip(*data.chunks(rows, seed=1), strict=True))
    fresh = CHUNK if sizes.mlp_steps is None else 64
    xv, yv = (torch.cat(parts) for parts in zip(*data.chunks(fresh, seed=2), strict=True))
    shape = MLPShape(sizes.d_post, sizes.d_pre, sizes.mlp_width, 3, linear_path=False)
    network = build_seeded(lambda: MLPProbe(shape), seed=schedule.seed)
    network.inputs.set(x.double().mean(0), x.double().std(0))
    network.targets.set(y.double().mean(0), y.double().std(0))
    begin = now()
    problem = RowSample(network, Rows(x, y), Rows(xv, yv), schedule.batch_size)
    record = train(network, problem, schedule)
    seconds = (now() - begin) / record.steps * planned
    error = float((network.predict(xv) - yv).square().sum() / (yv - y.mean(0)).square().sum())
    return MLPCost(seconds, record.steps, planned, 1 - error)


def speed(sizes: Sizes) -> list[Finding]:
    """Ridge beside its products and beside the MLP's whole schedule."""
    data = LinearData(sizes)
    ridge, mlp = time_ridge(data), time_mlp(data)
    return [
        Finding(
            f"ridge, {sizes}: time over its two matrix products",
            ridge.ridge / ridge.products,
            most=OVER_PRODUCTS,
            note=f"held-out R2 {ridge.r2:.4f}",
        ),
        Finding(
            f"ridge, {sizes}: the paper's MLP takes, for 30 epochs",
            mlp.seconds / ridge.ridge,
            least=FASTER_THAN_MLP,
            note=f"from {mlp.steps} of {mlp.planned} steps",
        ),
    ]


def quality(sizes: Sizes) -> Finding:
    """Ridge beside the MLP after its whole schedule, on rows that neither has seen."""
    data = LinearData(sizes)
    ridge, mlp = time_ridge(data), time_mlp(data)
    return Finding(
        f"ridge, {sizes}: held-out R2 above that of the paper's MLP",
        ridge.r2 - mlp.r2,
        unit="R2",
        least=0,
        note=f"ridge {ridge.r2:.4f}, MLP {mlp.r2:.4f} after {mlp.steps} of {mlp.planned} steps",
    )


def bytes_per_image(images: int = 256) -> Finding:
    """Loss maps of 576 patches as they are stored."""
    layout = TokenLayout((Tile((24, 24), (24, 24)),), 576)
    maps = [LossMap(f"{n:064x}", layout, *torch.rand(3, 576).numpy()) for n in range(images)]
    with tempfile.TemporaryDirectory() as folder:
        store = RunStore(Path(folder), {})
        store.write("maps", *pack(maps))
        stored = sum(path.stat().st_size for path in store.folder.iterdir()) / images
    return Finding(
        "reconstruction, LLaVA's 576 patches: on disk for each image",
        stored / 1000,
        unit="kB",
        note=f"published pipeline {PUBLISHED_BYTES_PER_IMAGE / 1e6:.1f} MB, "
        f"{PUBLISHED_BYTES_PER_IMAGE / stored:.0f} times as much",
    )


def run() -> list[Finding]:
    return [ridge_memory(FULL_SIZE), *speed(FULL_SIZE), quality(MLP_IN_FULL), bytes_per_image()]


def run_quick() -> list[Finding]:
    return [quality(Sizes(1024, 24, 8, 16, mlp_steps=None)), bytes_per_image()]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=20_000)
    parser.add_argument("--d-post", type=int, default=512)
    parser.add_argument("--d-pre", type=int, default=128)
    parser.add_argument("--mlp-width", type=int, default=384)
    parser.add_argument("--mlp-steps", type=int, default=None, help="time so many steps and extrapolate")
    sizes = Sizes(**vars(parser.parse_args()))
    print(machine())
    print(table([ridge_memory(sizes), *speed(sizes), quality(sizes), bytes_per_image()]))


if __name__ == "__main__":
    main()
