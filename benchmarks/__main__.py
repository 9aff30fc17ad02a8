"""All benchmarks, each in a process of its own, and one table of what the issues ask for.

python -m benchmarks [--quick] [knn statistics capture reconstruction]
    python -m benchmarks gpu [OPTIONS]     whole runs beside the bare model; `gpu --help` tells the options
    python -m benchmarks cpu [OPTIONS]
    python -m benchmarks soak [OPTIONS]    a long run: memory and pictures a second
    python -m benchmarks training [OPTIONS]    what a probe costs the training that it watches
    python -m benchmarks neighbours        what the zoo's neighbours share, and what of it connectors keep
    python -m benchmarks budget [OPTIONS]      what a larger budget of the probes gains, connector by connector
    python -m benchmarks pressure [OPTIONS]    a card whose memory another process takes
    python -m benchmarks coverage [OPTIONS]    how often intervals hold the truth, by simulation
"""

from __future__ import annotations

import argparse
import multiprocessing
import runpy
import sys
import time
from concurrent.futures import ProcessPoolExecutor

from benchmarks.findings import Finding, found_by, machine, table

NAMES = ("knn", "statistics", "capture", "reconstruction")
ALONE = ("gpu", "cpu", "soak", "training", "neighbours", "budget", "pressure", "coverage")
"""Those with options of their own, which are no part of the one table."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", default=NAMES, help="those to run, all by default")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: shows that all runs, and no more")
    options = parser.parse_args()
    names = options.names
    if unknown := set(names) - set(NAMES):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    found: list[Finding] = []
    began, where = time.monotonic(), machine()
    for name in names:
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
            found += process.submit(found_by, name, options.quick).result()
    minutes = (time.monotonic() - began) / 60
    print(f"\n{where}; {minutes:.0f} minutes\n\n{table(found)}")


if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1] in ALONE:
        runpy.run_module(f"benchmarks.{sys.argv.pop(1)}", run_name="__main__", alter_sys=True)
    else:
        main()
