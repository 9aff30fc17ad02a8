"""All benchmarks, each in a process of its own, and one table of what the issues ask for.

python -m benchmarks [knn capture reconstruction]
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module

from benchmarks.findings import Finding, machine, table

NAMES = ("knn", "capture", "reconstruction")


def findings(name: str) -> list[Finding]:
    """What one benchmark found; its details are printed."""
    return import_module(f"benchmarks.{name}").run()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", default=NAMES, help="those to run, all by default")
    names = parser.parse_args().names
    if unknown := set(names) - set(NAMES):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    found: list[Finding] = []
    began, where = time.monotonic(), machine()
    for name in names:
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
            found += process.submit(findings, name).result()
    minutes = (time.monotonic() - began) / 60
    print(f"\n{where}; {minutes:.0f} minutes\n\n{table(found)}")


if __name__ == "__main__":
    main()
