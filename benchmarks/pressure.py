"""A card whose memory another process takes: what a run says and gives that has too little for its batch, or loses it
in the middle.

    python -m benchmarks.pressure --pictures 600 --leave 8 --batch-size 512

Three runs of both tasks on LLaVA's released sizes: with the card to itself; beside a process that leaves `--leave` GB
of it; and beside one that waits until the run's passes have begun, then takes all but a third of a GB. Each ends with
figures, which stand beside those of the first, or with a sentence.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from tabulate import tabulate

from benchmarks import harness_run, released
from benchmarks.stages import Bench

GB = 10**9
TASKS = [harness_run.KNN, harness_run.RECONSTRUCTION]
FIGURES = {harness_run.KNN: "knor_10", harness_run.RECONSTRUCTION: "lost"}
MIDDLE_LEFT = GB // 3


def take(leave: int, after_a_pass: bool) -> None:
    """Hold all but `leave` bytes of the card until ended; `after_a_pass` waits for another that fills some."""
    torch.zeros(1, device="cuda")
    begun, _ = torch.cuda.mem_get_info()
    while after_a_pass and torch.cuda.mem_get_info()[0] > begun - 5 * GB:
        time.sleep(0.2)
    held = []
    for size in (2 * GB, GB // 4, GB // 16):
        while torch.cuda.mem_get_info()[0] - size > leave:
            try:
                held.append(torch.empty(size, dtype=torch.uint8, device="cuda"))
            except torch.OutOfMemoryError:
                break
    print(f"holding {sum(part.nbytes for part in held) / GB:.1f} GB", flush=True)
    time.sleep(3600)


@contextmanager
def beside(leave: int | None, after_a_pass: bool = False) -> Iterator[None]:
    """Another process that takes memory, ended at the end; none where `leave` is None."""
    if leave is None:
        yield
        return
    command = [sys.executable, "-m", "benchmarks.pressure", "--take", str(leave)]
    taker = subprocess.Popen([*command, *(["--after-a-pass"] if after_a_pass else [])])
    try:
        if not after_a_pass:
            time.sleep(15)
        yield
    finally:
        taker.kill()
        taker.wait()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pictures", type=int, default=600)
    parser.add_argument("--leave", type=float, default=8, help="GB that the other process leaves")
    parser.add_argument("--batch-size", type=int, default=512)
    parser.add_argument("--limit-s", type=float, default=120)
    parser.add_argument("--cases", default="alone,little,middle", help="which of the three, with commas")
    parser.add_argument("--take", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--after-a-pass", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.take is not None:
        take(options.take, options.after_a_pass)
        return
    cases = {
        "alone": ("the card to itself", None, False),
        "little": (f"{options.leave:g} GB left", int(options.leave * GB), False),
        "middle": ("taken in the middle", MIDDLE_LEFT, True),
    }
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench("cuda", False, options.pictures, options.limit_s, Path(folder))
        path, pictures = bench.checkpoint("llava"), bench.files[0].parents[1]
        torch.cuda.empty_cache()
        wrapper = released.GEOMETRIES["llava"].wrapper
        for words, leave, after_a_pass in map(cases.__getitem__, options.cases.split(",")):
            with beside(leave, after_a_pass):
                ran = harness_run.run(wrapper, path, pictures, TASKS, "cuda", bench.limit, options.batch_size)
            figures = [ran.scores.get(task, {}).get(name) for task, name in FIGURES.items()]
            print(f"{words}: {ran.seconds:.0f} s {ran.problem}", *ran.of_memory, sep="\n    ", flush=True)
            rows.append([words, ran.seconds, *figures, ran.problem[:200]])
    print(tabulate(rows, headers=["", "s", *FIGURES.values(), "problem"], tablefmt="github", floatfmt=".6g"))


if __name__ == "__main__":
    main()
