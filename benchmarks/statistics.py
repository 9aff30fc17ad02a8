"""What `knn_preservation` computes after its search, over that search: a step that grows faster than it would show.

    python -m benchmarks.statistics --n 1000 4000 20000 --d 256

The search is that of both sides; that of a reference, half as much, is not in the table. Controls are seven, searched
and measured among 1,000 images at most.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
from tabulate import tabulate
from tqdm import tqdm

from benchmarks.findings import Finding, machine, now, table
from benchmarks.knn import vectors
from connector_bench.preservation import geometry, retrieval
from connector_bench.preservation.control_figures import control_figures, control_rows
from connector_bench.preservation.design_effect import design_effects
from connector_bench.preservation.gain import AgreementWith
from connector_bench.preservation.gallery_curve import gallery_curve
from connector_bench.preservation.gallery_figures import set_geometry
from connector_bench.preservation.neighbours.search import neighbours
from connector_bench.preservation.options import PreservationOptions
from connector_bench.preservation.overlap import CommonNeighbours
from connector_bench.preservation.overlap_interval import Halvings, depth, scores_of_overlap
from connector_bench.preservation.searched_gallery import SearchedGallery
from connector_bench.preservation.side import both_sides
from connector_bench.stats.intervals import Score

T = TypeVar("T")
CLASSES = 16
SECONDS = 10.0
"""For everything after the search at N = 4,000, controls included."""


def costs(n: int, d: int) -> dict[str, float]:
    """Seconds of every step."""
    pre = vectors(n, d, "embedding")
    rng = np.random.default_rng(1)
    mixed = np.tanh(pre @ rng.normal(size=(d, d)) / d**0.5)
    post = (mixed + 0.3 * rng.standard_normal((n, d))).astype(np.float32)
    classes = np.arange(n) % CLASSES
    ks = [k for k in PreservationOptions().ks if k <= n - 2]
    columns = depth(max(ks), n)
    spent: dict[str, float] = {}

    def timed(name: str, work: Callable[[], T]) -> T:
        start = now()
        result = work()
        spent[name] = now() - start
        return result

    neighbours(pre[:100], 5)  # libraries start their threads
    timed("search", lambda: [neighbours(side, columns) for side in (pre, post)])
    sides = timed("rankings", lambda: both_sides(pre, post, columns, classes=[classes]))
    spent["rankings"] -= spent["search"]
    halvings = timed("halvings", lambda: Halvings.of(sides[0].lists, ks))

    def overlap() -> None:
        common = CommonNeighbours.of(sides[0].lists, sides[1].lists)
        scores_of_overlap(common, ks, halvings.jackknife_correction(common, halvings.gaps(common)))

    timed("overlap", overlap)
    halves = [
        geometry.rank_geometry_in_halves,
        retrieval.retrieval_in_halves(sides[0].sample, sides[1].sample, classes[sides[0].sampled]),
    ]
    effects = timed("design effects", lambda: design_effects(sides[0].sample, sides[1].sample, halves))
    timed("rank geometry", lambda: geometry.rank_geometry(*sides, effects))
    found = timed("retrieval", lambda: retrieval.class_retrieval(*sides, classes, effects))
    kept = CommonNeighbours.of(sides[0].lists, sides[1].lists).overlap(10)
    timed("overlap against recall", lambda: retrieval.overlap_recall(kept, found.post["recall_5"]))
    timed("geometry of the set", lambda: set_geometry(*sides))

    def controls() -> None:
        names = [str(number) for number in range(n)]
        rows = control_rows(names)
        copies = [post[rows]] * 3
        control_figures(gallery, names, (pre, post), rows, copies, (d, d), distance="l2", seed=0)

    gallery = SearchedGallery.of(sides[0].lists, sides[1].lists, ks, seed=0)
    whole = Score(**gallery.overlaps()[1]["knor_adj_10"])
    timed("smaller galleries", lambda: gallery_curve(pre, post, gallery, whole, distance="l2", seed=0))
    reference = neighbours(pre @ rng.normal(size=(d, d)).astype(np.float32), columns)

    def gain() -> None:
        agreement = AgreementWith.of((reference,), ks, seed=0)
        agreement.gains(*(agreement.side(side.lists) for side in sides))

    timed("gain", gain)
    timed("all controls", controls)
    return spent


def details(found: dict[int, dict[str, float]]) -> str:
    """A line for each number of images: seconds of the search, and the steps' over them."""
    names = [name for name in next(iter(found.values())) if name != "search"]
    rows = [
        [
            n,
            spent["search"],
            *(spent[name] / spent["search"] for name in names),
            _all(spent) / spent["search"],
        ]
        for n, spent in found.items()
    ]
    headers = ["N", "search, s", *(f"{name} / search" for name in names), "all / search"]
    return tabulate(rows, headers=headers, floatfmt=".2f", tablefmt="github")


def _all(spent: dict[str, float]) -> float:
    return sum(spent.values()) - spent["search"]


def run(n: Sequence[int] = (1000, 4000, 20_000), d: int = 256) -> list[Finding]:
    found = {size: costs(size, d) for size in tqdm(n, desc="statistics", unit="size")}
    print(details(found))
    largest, middle = max(n), sorted(n)[len(n) // 2]
    seconds = _all(found[middle])
    return [
        Finding(f"k-NN: all after the search, N = {middle:,}, with controls", seconds, "s", most=SECONDS),
        Finding(
            f"k-NN: all after the search over the search, N = {largest:,}",
            _all(found[largest]) / found[largest]["search"],
            note=f"{_all(found[min(n)]) / found[min(n)]['search']:.2f} for N = {min(n):,}",
        ),
    ]


def run_quick() -> list[Finding]:
    return run(n=[120, 240, 480], d=16)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--n", type=int, nargs="+", default=[1000, 4000, 20_000])
    parser.add_argument("--d", type=int, default=256)
    options = parser.parse_args()
    print(machine())
    print(table(run(**vars(options))))


if __name__ == "__main__":
    main()
