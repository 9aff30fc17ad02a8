"""Self-search of N vectors for k neighbours against faiss and scikit-learn: time ratios and peak memory.

    python benchmarks/knn.py --n 10000 50000 --d 1024 4096 --k 100

Every search runs in a process of its own. Time is the best of `--repeats`, by the clock on the wall or, where
others use the machine, of the processor under OMP_NUM_THREADS=1. Memory is what the search adds to the
process beyond its libraries, vectors included, over the size of the vectors. Targets: 1.15 x one faiss call,
1.3 x the vectors.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

Search = Callable[[np.ndarray, int], object]


def vectors(n: int, d: int, kind: str) -> np.ndarray:
    """`embedding`: variance 1/i along axis i, mean as large as the spread; `gaussian`: hardest to put in
    order."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, d), dtype=np.float32)
    if kind == "embedding":
        scale = (np.arange(1, d + 1) ** -0.5).astype(np.float32)
        x += rng.standard_normal(d, dtype=np.float32)
        x *= scale
    return x


def ours(x: np.ndarray, k: int) -> object:
    from connector_bench.preservation.knn import neighbours

    return neighbours(x, k)


def faiss_one_call(x: np.ndarray, k: int) -> object:
    import faiss

    index = faiss.IndexFlatL2(x.shape[1])
    index.add(x)
    return index.search(x, k + 1)


def faiss_batches(size: int) -> Search:
    def search(x: np.ndarray, k: int) -> object:
        import faiss

        index = faiss.IndexFlatL2(x.shape[1])
        index.add(x)
        return [index.search(x[start : start + size], k + 1) for start in range(0, len(x), size)]

    return search


def sklearn_brute(x: np.ndarray, k: int) -> object:
    from sklearn.neighbors import NearestNeighbors

    return NearestNeighbors(n_neighbors=k, algorithm="brute").fit(x).kneighbors()


SEARCHES: dict[str, Search] = {
    "ours": ours,
    "faiss, one call": faiss_one_call,
    "faiss, batches of 100": faiss_batches(100),
    "faiss, batches of 50": faiss_batches(50),
    "scikit-learn, brute": sklearn_brute,
}


def _peak() -> int:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _measure(name: str, n: int, d: int, k: int, kind: str, repeats: int, clock: str) -> tuple[float, float]:
    now = time.process_time if clock == "processor" else time.perf_counter
    SEARCHES[name](vectors(400, 16, kind), 5)  # libraries loaded and warm
    before = _peak()
    x = vectors(n, d, kind)
    seconds = []
    for _ in range(repeats):
        start = now()
        SEARCHES[name](x, k)
        seconds.append(now() - start)
    return min(seconds), (_peak() - before) / x.nbytes


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--n", type=int, nargs="+", default=[10_000])
    parser.add_argument("--d", type=int, nargs="+", default=[1024])
    parser.add_argument("--k", type=int, default=100)
    parser.add_argument(
        "--kind", choices=["embedding", "gaussian"], nargs="+", default=["embedding", "gaussian"]
    )
    parser.add_argument("--searches", choices=SEARCHES, nargs="+", default=list(SEARCHES))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--clock", choices=["processor", "wall"], default="wall")
    parser.add_argument("--json", help="also write the figures to this file")
    options = parser.parse_args()
    rows = []
    context = multiprocessing.get_context("spawn")
    for kind in options.kind:
        for n in options.n:
            for d in options.d:
                sizes = (n, d, options.k, kind, options.repeats, options.clock)
                for name in options.searches:
                    with context.Pool(1) as pool:
                        seconds, memory = pool.apply(_measure, (name, *sizes))
                    rows.append(
                        {"kind": kind, "n": n, "d": d, "search": name, "seconds": seconds, "memory": memory}
                    )
                    print(
                        f"{kind:10} n={n:<6} d={d:<5} {name:22} {seconds:8.2f} s  {memory:5.2f} x vectors",
                        flush=True,
                    )
                times = {
                    row["search"]: row["seconds"]
                    for row in rows
                    if (row["kind"], row["n"], row["d"]) == (kind, n, d)
                }
                if "ours" in times:
                    ratios = ", ".join(
                        f"{times['ours'] / t:.2f} x {s}" for s, t in times.items() if s != "ours"
                    )
                    print(f"{'':10} time of ours: {ratios}", flush=True)
    if options.json:
        Path(options.json).write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
