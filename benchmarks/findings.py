"""What a benchmark hands back: figures beside their targets, and the machine they were measured on."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from tabulate import tabulate


@dataclass(frozen=True)
class Finding:
    """One figure that an issue asks for; `most` or `least` is its target, if it has one."""

    what: str
    value: float
    unit: str = "x"
    most: float | None = None
    least: float | None = None
    note: str = ""

    @property
    def target(self) -> str:
        if self.most is not None:
            return f"<= {self.most:g} {self.unit}"
        return "" if self.least is None else f">= {self.least:g} {self.unit}"

    @property
    def verdict(self) -> str:
        if self.most is None and self.least is None:
            return ""
        met = (self.most is None or self.value <= self.most) and (
            self.least is None or self.value >= self.least
        )
        return "met" if met else "MISSED"


def found_by(name: str, quick: bool) -> list[Finding]:
    """What one benchmark found; its details are printed."""
    benchmark = import_module(f"benchmarks.{name}")
    found: list[Finding] = benchmark.run_quick() if quick else benchmark.run()
    return found


def table(findings: Iterable[Finding]) -> str:
    """One line a figure."""
    rows = [(f.what, f"{f.value:.3g} {f.unit}", f.target, f.verdict, f.note) for f in findings]
    return tabulate(rows, headers=("figure", "measured", "target", "verdict", "note"), tablefmt="github")


def now() -> float:
    """Seconds by the clock on the wall; with OMP_NUM_THREADS=1 seconds of the processor, which a busy machine
    does not spoil."""
    return time.process_time() if processor_time() else time.perf_counter()


def processor_time() -> bool:
    """Whether seconds of the processor are taken, not those of the clock on the wall."""
    return os.environ.get("OMP_NUM_THREADS") == "1"


def machine() -> str:
    """Processor, threads, and how busy it is: what a reader needs to judge a ratio."""
    processors = os.cpu_count() or 1
    threads = os.environ.get("OMP_NUM_THREADS", str(processors))
    busy = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    clock = "processor time" if processor_time() else "wall time"
    return f"{_processor()}, {processors} processors{busy}; {threads} threads, {clock}"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if not info.exists():
        return platform.processor() or platform.machine()
    fields = dict(line.split(":", 1) for line in info.read_text(encoding="utf-8").splitlines() if ":" in line)
    named = {key.strip(): value.strip() for key, value in fields.items()}
    wide = " with AVX-512" if "avx512f" in named.get("flags", "") else ""
    return named.get("model name", platform.machine()) + wide
