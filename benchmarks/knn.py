"""Self-search of N vectors for k neighbours beside faiss and scikit-learn: ratios of time, and peak memory.

    python -m benchmarks.knn --n 10000 50000 --d 1024 4096 --k 100

Every search runs in a process of its own. Its time is the best of `--repeats`; building an index is not
timed. Batches and scikit-learn search for the first 500 vectors alone, and their time is scaled up. Memory
is what the process takes beyond its libraries, vectors included, over the size of the vectors.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np
from tabulate import tabulate
from tqdm import tqdm

from benchmarks.findings import Finding, machine, now, table

Prepared = Callable[[np.ndarray], object]
FASTER, SMALLER = 1.15, 1.3
SAMPLED_QUERIES, OFTEN = 500, 10_000


@dataclass(frozen=True)
class Case:
    """One set of vectors to search."""

    n: int
    d: int
    k: int
    kind: str


@dataclass(frozen=True)
class Cost:
    """Seconds of a search for all vectors, and peak memory over the size of the vectors."""

    seconds: float
    memory: float


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


def ours(x: np.ndarray, k: int) -> Prepared:
    from connector_bench.preservation.neighbours.search import neighbours

    return lambda queries: neighbours(x, k)


def faiss_one_call(x: np.ndarray, k: int) -> Prepared:
    return faiss_batches(len(x))(x, k)


def faiss_batches(size: int) -> Callable[[np.ndarray, int], Prepared]:
    def prepare(x: np.ndarray, k: int) -> Prepared:
        import faiss

        index = faiss.IndexFlatL2(x.shape[1])
        index.add(x)
        return lambda queries: [
            index.search(queries[start : start + size], k + 1) for start in range(0, len(queries), size)
        ]

    return prepare


def scikit_learn(x: np.ndarray, k: int) -> Prepared:
    from sklearn.neighbors import NearestNeighbors

    return NearestNeighbors(n_neighbors=k + 1, algorithm="brute").fit(x).kneighbors


OURS, ONE_CALL = "ours", "one faiss call"
SEARCHES: dict[str, Callable[[np.ndarray, int], Prepared]] = {
    OURS: ours,
    ONE_CALL: faiss_one_call,
    "faiss by 100": faiss_batches(100),
    "faiss by 50": faiss_batches(50),
    "scikit-learn": scikit_learn,
}


def cost(name: str, case: Case, repeats: int) -> Cost:
    """Run one search in this process, which should be a fresh one."""
    warm = vectors(400, 16, case.kind)
    SEARCHES[name](warm, 5)(warm)
    before = _peak()
    x = vectors(case.n, case.d, case.kind)
    queries = x if name in (OURS, ONE_CALL) else x[:SAMPLED_QUERIES]
    search = SEARCHES[name](x, case.k)
    seconds = []
    for _ in range(repeats):
        start = now()
        search(queries)
        seconds.append(now() - start)
    return Cost(min(seconds) * case.n / len(queries), (_peak() - before) / x.nbytes)


def _peak() -> int:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def measure(cases: Sequence[Case], searches: Sequence[str], repeats: int) -> dict[tuple[Case, str], Cost]:
    found = {}
    wanted = [(case, name) for case in cases for name in searches]
    context = multiprocessing.get_context("spawn")
    for case, name in tqdm(wanted, desc="k-NN", unit="search"):
        with ProcessPoolExecutor(1, context) as process:
            often = repeats if case.n <= OFTEN else 1
            found[case, name] = process.submit(cost, name, case, often).result()
    return found


def details(cases: Sequence[Case], costs: dict[tuple[Case, str], Cost]) -> str:
    """A line for each set of vectors: our time over everybody's, and our memory."""
    others = [name for name in SEARCHES if name != OURS and (cases[0], name) in costs]
    rows = [
        [case.kind, case.n, case.d, costs[case, OURS].memory]
        + [costs[case, OURS].seconds / costs[case, name].seconds for name in others]
        for case in cases
    ]
    headers = ["vectors", "N", "d", "memory / vectors", *(f"time / {name}" for name in others)]
    return tabulate(rows, headers=headers, floatfmt=".2f", tablefmt="github")


def findings(cases: Sequence[Case], costs: dict[tuple[Case, str], Cost]) -> list[Finding]:
    """The worst case of each figure."""

    def worst(what: str, values: dict[Case, float], most: float | None = None) -> Finding:
        case = max(values, key=lambda case: values[case])
        return Finding(
            what, values[case], most=most, note=f"worst of {len(cases)}: {case.kind} {case.n} x {case.d}"
        )

    def over(name: str) -> dict[Case, float]:
        return {case: costs[case, OURS].seconds / costs[case, name].seconds for case in cases}

    return [
        worst("k-NN: time over one faiss call", over(ONE_CALL), FASTER),
        worst("k-NN: peak memory over the vectors", {c: costs[c, OURS].memory for c in cases}, SMALLER),
        worst("k-NN: time over faiss in batches of 100", over("faiss by 100")),
        worst("k-NN: time over faiss in batches of 50", over("faiss by 50")),
        worst("k-NN: time over scikit-learn brute force", over("scikit-learn")),
    ]


def run(
    n: Sequence[int] = (10_000, 50_000),
    d: Sequence[int] = (1024, 4096),
    k: int = 100,
    kinds: Sequence[str] = ("embedding", "gaussian"),
    repeats: int = 3,
) -> list[Finding]:
    cases = [Case(rows, width, k, kind) for rows in n for width in d for kind in kinds]
    costs = measure(cases, list(SEARCHES), repeats)
    print(details(cases, costs))
    return findings(cases, costs)


def run_quick() -> list[Finding]:
    return run(n=[300], d=[16], k=10, kinds=["embedding"], repeats=1)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--n", type=int, nargs="+", default=[10_000, 50_000])
    parser.add_argument("--d", type=int, nargs="+", default=[1024, 4096])
    parser.add_argument("--k", type=int, default=100)
    parser.add_argument(
        "--kinds", choices=["embedding", "gaussian"], nargs="+", default=["embedding", "gaussian"]
    )
    parser.add_argument("--repeats", type=int, default=3, help="for up to 10,000 vectors; once beyond")
    options = parser.parse_args()
    print(machine())
    print(table(run(**vars(options))))


if __name__ == "__main__":
    main()
