"""Stages of a run that need no model: fitting probes, searching neighbours; and what all stages share."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import released
from benchmarks.findings import Finding, now
from connector_bench.preservation.neighbours.search import neighbours
from connector_bench.reconstruction.config import ReconstructionConfig
from connector_bench.reconstruction.learning import ProbeLearner
from connector_bench.types import Tile, TokenBatch, TokenLayout

ROUNDS, WARM_UP = 7, 3
SEARCHED, NEIGHBOURS = (118_000, 1024), 100
FITTED_IMAGES, SIDE, D_PRE, D_POST = 400, 24, 1024, 4096
BEGUN = time.perf_counter()


def say(*what: object) -> None:
    print(f"[{time.perf_counter() - BEGUN:6.1f} s]", *what, flush=True)


@dataclass
class Bench:
    """Where and how large; `found` collects what is measured."""

    device: str
    tiny: bool
    pictures: int
    limit: float
    folder: Path
    found: list[Finding] = field(default_factory=list)
    bare: dict[str, float] = field(default_factory=dict)
    """Images a second of the bare tower and connector, by geometry."""

    def note(self, finding: Finding) -> None:
        self.found.append(finding)
        say(f"{finding.what}: {finding.value:.4g} {finding.unit} {finding.verdict} {finding.note}")

    def seconds(self, work: Callable[[], object], rounds: int = ROUNDS, warm_up: int = WARM_UP) -> float:
        """Median of rounds, the device waited for."""
        for _ in range(warm_up):
            work()
        return statistics.median(self.once(work) for _ in range(rounds))

    def once(self, work: Callable[[], object]) -> float:
        self.wait()
        begun = now()
        work()
        self.wait()
        return now() - begun

    def wait(self) -> None:
        if self.device != "cpu":
            torch.cuda.synchronize()

    @property
    def files(self) -> list[Path]:
        """The pictures, written when they are first asked for."""
        folder = self.folder / "pictures"
        if not folder.exists():
            released.write_photographs(folder, self.pictures)
            say(f"{self.pictures} JPEGs of 640x480 written")
        return sorted(folder.rglob("*.jpg"))

    def checkpoint(self, name: str) -> Path:
        path = self.folder / name
        if not path.exists():
            released.write_checkpoint(released.GEOMETRIES[name], path, self.device, self.tiny)
            say(f"checkpoint of {name} written")
        return path


def fit(bench: Bench) -> None:
    """Probes and all controls from synthetic tokens of LLaVA's sizes: gathering, then fitting."""
    images, side, d_pre, d_post = (40, 4, 16, 24) if bench.tiny else (FITTED_IMAGES, SIDE, D_PRE, D_POST)
    layout = TokenLayout((Tile((side, side), (side, side)),), side * side)
    torch.manual_seed(0)
    dtype = torch.float32 if bench.device == "cpu" else torch.bfloat16
    weight = torch.randn(d_pre, d_post, device=bench.device) / d_pre**0.5
    learner = ProbeLearner(ReconstructionConfig(device=bench.device))
    names = [f"image {number}" for number in range(images)]
    learner.begin(names, [])

    def learn(own: list[str]) -> None:
        pre = torch.randn(len(own) * layout.n_pre, d_pre, device=bench.device)
        post = pre @ weight + 0.3 * torch.randn(len(pre), d_post, device=bench.device)
        copies = tuple((pre @ weight.roll(seed + 1, 0)).to(dtype) for seed in range(3))
        wanted = copies if all(map(learner.wants_untrained, own)) else ()
        learner.learn(
            TokenBatch(tuple(own), (layout,) * len(own), pre.to(dtype), post.to(dtype), None, wanted)
        )

    size = min(16, images // 2)
    learn(names[:size])
    rest = [names[first : first + size] for first in range(size, images, size)]

    def gather() -> None:
        for own in rest:
            learn(own)

    gathering = bench.once(gather)
    bench.note(Finding("training state fed alone, all controls", (images - size) / gathering, "images/s"))
    taken = bench.once(learner.fit)
    if learner.ladder is None:
        raise RuntimeError(f"no probes came of it: {learner.failure}")
    what = f"fit of {images * layout.n_pre} patches {d_post} -> {d_pre} of {images} images, with all controls"
    bench.note(Finding(what, taken, "s", most=None if bench.tiny else 20))


def search(bench: Bench) -> None:
    """Exact neighbours over the cheapest thing that gives lists: cdist and topk in blocks, no ties, no float64."""
    n, d = (2000, 32) if bench.tiny else SEARCHED
    rng = np.random.default_rng(0)
    scale = (np.arange(1, d + 1) ** -0.5).astype(np.float32)
    x = (rng.standard_normal((n, d), dtype=np.float32) + rng.standard_normal(d, dtype=np.float32)) * scale
    on_device = torch.from_numpy(x).to(bench.device)

    def plain() -> Any:
        parts = on_device.split(2048)
        return [torch.cdist(part, on_device).topk(NEIGHBOURS + 1, largest=False).indices for part in parts]

    place = "torch-cpu" if bench.device == "cpu" else bench.device
    ours = bench.seconds(lambda: neighbours(x, NEIGHBOURS, device=place), rounds=3, warm_up=1)
    bare_search = bench.seconds(lambda: [found.cpu() for found in plain()], rounds=3, warm_up=1)
    what = f"exact search, {n} x {d}, k = {NEIGHBOURS}, over cdist and topk"
    note = f"{ours:.2f} s and {bare_search:.2f} s"
    bench.note(Finding(what, ours / bare_search, most=None if bench.tiny else 3, note=note))
