"""How fast the ridge is beside its two matrix products and beside the paper's MLP, and what is stored.

    python benchmarks/reconstruction.py                      # a minute: 20k pairs, 512 -> 128, MLP in full
    python benchmarks/reconstruction.py --pairs 200000 --d-post 4096 --d-pre 1024 --mlp-width 3072
    --mlp-steps 20

Data are linear with noise (so that ridge is the right model, and its R2 is known); making them is not
timed. Matrix products are timed on the same float64 chunks. With `--mlp-steps` the MLP is timed on that
many steps and its 30 epochs are extrapolated, and said to be; without it the MLP is trained in full and its
R2 compared.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from connector_bench.reconstruction.lossmaps import LossMap, pack
from connector_bench.reconstruction.moments import MomentsStream
from connector_bench.reconstruction.patch_reconstruction import paper_config
from connector_bench.reconstruction.probe_training import build_seeded, train
from connector_bench.reconstruction.probes import MLPProbe, MLPShape
from connector_bench.reconstruction.ridge import choose, pooled_r2
from connector_bench.reconstruction.row_fit import RowProblem, Rows
from connector_bench.reconstruction.store import RunStore
from connector_bench.types import Tile, TokenLayout

PUBLISHED_BYTES_PER_IMAGE = 576 * (4096 + 1024) * 4
"""Pre and post tokens of LLaVA in float32, as the paper's pipeline writes them."""
CHUNK = 2048


@dataclass(frozen=True)
class Sizes:
    pairs: int
    d_post: int
    d_pre: int
    mlp_width: int
    mlp_steps: int | None
    noise: float = 0.3


class LinearData:
    """y from a decaying spectrum, x = y P + noise; the same rows for the same seed."""

    def __init__(self, sizes: Sizes) -> None:
        generator = torch.Generator().manual_seed(0)
        self.sizes = sizes
        self.spectrum = torch.logspace(0, -1, sizes.d_pre)
        self.projection = torch.randn(sizes.d_pre, sizes.d_post, generator=generator) / sizes.d_pre**0.5

    def chunks(self, rows: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
        generator = torch.Generator().manual_seed(seed)
        for first in range(0, rows, CHUNK):
            count = min(CHUNK, rows - first)
            y = torch.randn(count, self.sizes.d_pre, generator=generator) * self.spectrum
            noise = torch.randn(count, self.sizes.d_post, generator=generator)
            yield y @ self.projection + self.sizes.noise * noise, y


def time_products(data: LinearData, sizes: Sizes) -> float:
    """Seconds of X'X and X'Y alone, in float64."""
    xx = torch.zeros(sizes.d_post, sizes.d_post, dtype=torch.float64)
    xy = torch.zeros(sizes.d_post, sizes.d_pre, dtype=torch.float64)
    seconds = 0.0
    for x, y in _progress(data.chunks(sizes.pairs, seed=1), sizes.pairs, "products"):
        a, b = x.double(), y.double()
        begin = time.perf_counter()
        xx.addmm_(a.T, a)
        xy.addmm_(a.T, b)
        seconds += time.perf_counter() - begin
    return seconds


def time_ridge(data: LinearData, sizes: Sizes) -> dict[str, float]:
    """Gathering nine tenths for training, one for validation; choosing the penalty; scoring fresh rows."""
    training, validation = (MomentsStream(sizes.d_post, sizes.d_pre, CHUNK) for _ in range(2))
    gathering = 0.0
    for number, (x, y) in enumerate(_progress(data.chunks(sizes.pairs, seed=1), sizes.pairs, "moments")):
        begin = time.perf_counter()
        (validation if number % 10 == 9 else training).add(x, y)
        gathering += time.perf_counter() - begin
    begin = time.perf_counter()
    moments = training.value()
    fit = choose(moments, validation.value())
    solving = time.perf_counter() - begin
    held_out = MomentsStream(sizes.d_post, sizes.d_pre, CHUNK)
    for x, y in data.chunks(max(CHUNK, sizes.pairs // 10), seed=2):
        held_out.add(x, y)
    r2 = pooled_r2(fit.affine, held_out.value(), moments.mean_y)
    return {"gathering_s": gathering, "solving_s": solving, "r2": r2, "penalty": fit.penalty}


def time_mlp(data: LinearData, sizes: Sizes) -> dict[str, float | bool | int]:
    """The paper's MLP by its schedule, in full or for some steps."""
    schedule = paper_config().schedule
    rows = sizes.pairs
    if sizes.mlp_steps is not None:
        rows = min(rows, sizes.mlp_steps * schedule.batch_size * schedule.accumulate)
        schedule = replace(schedule, epochs=1)
    x, y = (torch.cat(parts) for parts in zip(*data.chunks(rows, seed=1), strict=True))
    xv, yv = (
        torch.cat(parts)
        for parts in zip(*data.chunks(CHUNK if sizes.mlp_steps is None else 64, seed=2), strict=True)
    )
    network = build_seeded(
        lambda: MLPProbe(MLPShape(sizes.d_post, sizes.d_pre, sizes.mlp_width, 3, linear_path=False)), seed=42
    )
    network.inputs.set(x.double().mean(0), x.double().std(0))
    network.targets.set(y.double().mean(0), y.double().std(0))
    begin = time.perf_counter()
    problem = RowProblem(network, Rows(x, y), Rows(xv, yv), schedule.batch_size, "cpu")
    record = train(network, problem, schedule)
    seconds = time.perf_counter() - begin
    planned = paper_config().schedule.steps(sizes.pairs)
    error = float((network.predict(xv) - yv).square().sum() / (yv - y.mean(0)).square().sum())
    return {
        "measured_s": seconds,
        "steps_measured": record.steps,
        "steps_of_30_epochs": planned,
        "seconds_of_30_epochs": seconds / record.steps * planned,
        "extrapolated": sizes.mlp_steps is not None,
        "r2": 1 - error,
        "parameters": network.parameters_count,
    }


def bytes_per_image(images: int = 256) -> float:
    """Loss maps of 576 patches as they are stored."""
    layout = TokenLayout((Tile((24, 24), (24, 24)),), 576)
    maps = [LossMap(f"{n:064x}", layout, *(torch.rand(576) for _ in range(3))) for n in range(images)]
    with tempfile.TemporaryDirectory() as folder:
        store = RunStore(Path(folder), {})
        store.write("maps", *pack(maps))
        return store.bytes_on_disk() / images


def peak_bytes() -> int:
    """Largest resident size of this process so far (Linux gives kibibytes, macOS bytes)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if platform.system() == "Darwin" else peak * 1024


def _progress(
    chunks: Iterator[tuple[Tensor, Tensor]], rows: int, name: str
) -> Iterator[tuple[Tensor, Tensor]]:
    return iter(tqdm(chunks, desc=name, total=-(-rows // CHUNK), file=sys.stderr, leave=False))


def measure(sizes: Sizes) -> dict[str, object]:
    data = LinearData(sizes)
    start = peak_bytes()
    ridge = time_ridge(data, sizes)
    peak = peak_bytes()
    products = time_products(data, sizes)
    mlp = time_mlp(data, sizes)
    total = ridge["gathering_s"] + ridge["solving_s"]
    stored = bytes_per_image()
    return {
        "sizes": asdict(sizes),
        "machine": {
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "cpu": platform.machine(),
        },
        "products_s": products,
        "ridge": {**ridge, "total_s": total, "over_products": total / products},
        "mlp": {**mlp, "over_ridge": float(mlp["seconds_of_30_epochs"]) / total},
        "peak_bytes": {"before": start, "ridge": peak},
        "bytes_per_image": {
            "ours": stored,
            "published": PUBLISHED_BYTES_PER_IMAGE,
            "ratio": PUBLISHED_BYTES_PER_IMAGE / stored,
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=20_000)
    parser.add_argument("--d-post", type=int, default=512)
    parser.add_argument("--d-pre", type=int, default=128)
    parser.add_argument("--mlp-width", type=int, default=384)
    parser.add_argument("--mlp-steps", type=int, default=None, help="time so many steps and extrapolate")
    parser.add_argument("--output", type=Path, default=None)
    options = parser.parse_args()
    found = measure(Sizes(options.pairs, options.d_post, options.d_pre, options.mlp_width, options.mlp_steps))
    text = json.dumps(found, indent=1)
    print(text)
    if options.output is not None:
        options.output.write_text(text + "\n")


if __name__ == "__main__":
    main()
