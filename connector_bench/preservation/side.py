"""One side of the connector, searched and ranked once: what overlap, geometry and retrieval read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64, Int

from connector_bench.preservation.design_effect import MAX_SAMPLE
from connector_bench.preservation.drawn_together import Drawn, sample_rows
from connector_bench.preservation.neighbours.ranking import (
    Ordered,
    Reader,
    average_precision,
    ranks_of,
    read_rankings,
)
from connector_bench.preservation.neighbours.search import neighbours

RANKED = 10
"""Neighbours on the other side whose ranks are found."""
QUERIES = 2_000
"""Up to so many images each ranks all others; of more, so many are drawn: sorting would outgrow the search."""


@dataclass(frozen=True, eq=False)
class Side:
    """The images' vectors on one side, and what is near to what there."""

    vectors: Float[np.ndarray, "n d"]
    lists: Int[np.ndarray, "n c"]
    """The nearest others of every image."""
    queries: Int[np.ndarray, " q"]
    """The images whose ranking of all others was read; all of them, unless there are more than `QUERIES`."""
    ranks: Int[np.ndarray, "q r"]
    """Their ranks on this side of the images that are nearest on the other one, at most `RANKED` of them."""
    precisions: tuple[Float64[np.ndarray, " q"], ...]
    """Average precision of their rankings for each set of classes."""
    sample: Ordered
    """The ranking among the images by which design effects are measured."""
    sampled: Int[np.ndarray, " m"]
    """These images."""
    drawn: Drawn
    """Which of all images were drawn together."""

    def __len__(self) -> int:
        return len(self.vectors)

    def spread(self, values: Float64[np.ndarray, " q"]) -> Float64[np.ndarray, " n"]:
        """Values of the queries as values of all images; NaN for the others."""
        column = np.full(len(self), np.nan)
        column[self.queries] = values
        return column


def _precision_of(classes: Int[np.ndarray, " n"]) -> Reader:
    return lambda numbers, order: average_precision(classes[order] == classes[numbers, None])


def both_sides(
    pre: Float[np.ndarray, "n d_pre"],
    post: Float[np.ndarray, "n d_post"],
    columns: int,
    *,
    distance: str = "l2",
    classes: Sequence[Int[np.ndarray, " n"]] = (),
    drawn: Drawn | None = None,
    seed: int = 0,
    device: str = "cpu",
) -> tuple[Side, Side]:
    """Search both sides for lists of so many `columns`, then read each one's ranking once.

    Raises:
        ValueError: different numbers of images, and what `neighbours` refuses.
    """
    if len(pre) != len(post):
        raise ValueError(f"both sides hold the same images, got {len(pre)} and {len(post)} vectors")
    vectors = pre, post
    names = "before the connector", "after the connector"
    lists = [
        neighbours(side, columns, distance, device=device, title=f"searching {name}")
        for side, name in zip(vectors, names, strict=True)
    ]
    drawn = drawn or Drawn.alone(len(pre))
    rows = sample_rows(drawn, seed, MAX_SAMPLE)
    queries = sample_rows(Drawn.alone(len(pre)), seed, QUERIES)

    def one(own: int) -> Side:
        readers: list[Reader] = [ranks_of(lists[1 - own][:, :RANKED])]
        readers += [_precision_of(one) for one in classes]
        title = f"ranking {names[own]}"
        ranks, *precisions = read_rankings(
            vectors[own], distance, *readers, queries=queries, device=device, title=title
        )
        sample = Ordered.of(vectors[own][rows], distance)
        return Side(vectors[own], lists[own], queries, ranks, tuple(precisions), sample, rows, drawn)

    return one(0), one(1)
