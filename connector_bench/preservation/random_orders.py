"""Neighbours kept where every image gets another one's output: the mean over random orders, and its exact null.

A control that uses one order has that order's luck in it. The mean over `ORDERS` of them has less, and how much less is
known: the overlap of two neighbour graphs under a uniformly random order of one of them has a mean and a variance in
closed form (Mantel, Cancer Research 27 (1967) 209; Hubert and Schultz 1976), from sizes, in-degrees, mutual pairs and
chains of the graphs alone. Hubs and mutual neighbours make it up to several times that of lists drawn at random.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction

import numpy as np
from jaxtyping import Float, Int
from scipy import special

from connector_bench.preservation.neighbours.search import neighbours
from connector_bench.preservation.overlap import CommonNeighbours, chance, chance_corrected
from connector_bench.preservation.searched_gallery import Columns, Scores
from connector_bench.stats.intervals import Score

ORDERS = 20
CONFIDENCE = 0.95
METHOD = (
    f"{100 * CONFIDENCE:g} % interval over {ORDERS} random orders, variance over all orders in closed form"
)


def random_orders(n: int, images_sha256: str, seed: int) -> Iterator[Int[np.ndarray, " n"]]:
    """Uniformly random orders; they depend on seed and pictures, so that two data sets have different luck."""
    rng = np.random.default_rng([seed, int(images_sha256[:16], 16)])
    for _ in range(ORDERS):
        yield rng.permutation(n)


def shuffled_overlaps(
    lists: CommonNeighbours,
    post: Float[np.ndarray, "n w"],
    ks: Sequence[int],
    *,
    distance: str,
    images_sha256: str,
    seed: int,
) -> tuple[Columns, Scores]:
    """Overlap of each image's neighbours with those of the output that it got, at every k; must be chance.

    Every order's outputs are searched anew, so that a search that goes by an image's place shows. `lists` are both
    sides' neighbours in their own order, with at least `max(ks)` columns; they give the null.
    """
    n, columns = len(post), max(ks)
    before = lists.pre[:, :columns]
    found = {k: np.zeros(n) for k in ks}
    for order in random_orders(n, images_sha256, seed):
        after = neighbours(post[order], columns, distance, title="searching shuffled pairs")
        common = CommonNeighbours.of(before, after)
        for k in ks:
            found[k] += common.overlap(k) / ORDERS
    values: Columns = {}
    scores: Scores = {}
    for k in ks:
        null = OverlapNull.of(lists.pre[:, :k], lists.post[:, :k])
        score, p = null.score(float(found[k].mean()))
        values |= {f"knor_{k}": found[k], f"knor_adj_{k}": np.asarray(chance_corrected(found[k], k, n))}
        scores |= {
            f"knor_{k}": asdict(score) | {"p": p},
            f"knor_adj_{k}": asdict(score.adjusted()) | {"p": p},
        }
    return values, scores


@dataclass(frozen=True)
class OverlapNull:
    """What the mean overlap of two neighbour graphs is when one of them is put into a random order."""

    n: int
    mean: float
    """`k / (n - 1)`, over all orders."""
    variance: float
    """Over all orders, of one order."""

    @classmethod
    def of(cls, pre: Int[np.ndarray, "n k"], post: Int[np.ndarray, "n k"]) -> OverlapNull:
        """Of two sides' lists of one shape; exact, in whole numbers."""
        n, k = pre.shape
        first, second = _pairs_of_edges(pre), _pairs_of_edges(post)
        square = Fraction(0)
        places = 1
        for kinds, more in zip(zip(first, second, strict=True), (n * (n - 1), n - 2, n - 3), strict=True):
            places *= more
            if places == 0:
                break
            square += Fraction(sum(a * b for a, b in zip(*kinds, strict=True)), places)
        mean = Fraction(n * k * n * k, n * (n - 1))
        scale = n * k
        return cls(n, chance(k, n), float((square - mean**2) / scale**2))

    def score(self, value: float) -> tuple[Score, float]:
        """A mean over `ORDERS` random orders with its interval, and its two-sided p-value.

        Overlaps are counts of rare coincidences, so the tails are Poisson's, over-dispersed to the exact variance; they
        become normal ones where many are expected.
        """
        dispersion = self.variance / ORDERS / self.mean
        if dispersion <= 0:
            return Score(value, value, value, self.n, self.mean, METHOD), float(np.isclose(value, self.mean))
        counted, expected, tail = value / dispersion, self.mean / dispersion, (1 - CONFIDENCE) / 2
        low = special.gammaincinv(counted, tail) * dispersion if counted > 0 else 0.0
        high = special.gammainccinv(counted + 1, tail) * dispersion
        above = special.gammainc(counted, expected) if counted > 0 else 1.0
        below = special.gammaincc(counted + 1, expected)
        p = min(1.0, 2 * float(min(above, below)))
        return Score(value, float(min(low, value)), float(min(1.0, high)), self.n, self.mean, METHOD), p


def _pairs_of_edges(
    lists: Int[np.ndarray, "n k"],
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """How many ordered pairs of edges of a neighbour graph share two ends, one, or none, by how they share them."""
    n, k = lists.shape
    edges = n * k
    linked = np.zeros((n, n), dtype=bool)
    np.put_along_axis(linked, lists, True, axis=1)
    mutual = int(np.count_nonzero(linked & linked.T))
    degrees = [int(degree) for degree in np.bincount(lists.ravel(), minlength=n)]
    same_source = edges * (k - 1)
    same_target = sum(degree * (degree - 1) for degree in degrees)
    chains = edges * k - mutual
    none = edges**2 - edges - mutual - same_source - same_target - 2 * chains
    return (edges, mutual), (same_source, same_target, chains, chains), (none,)
