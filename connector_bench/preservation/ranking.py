"""Every vector's distance to all others, for measures that need ranks beyond the first k. Block by block,
never N x N at once.

Distances are float64 products of centred vectors (relative error near 1e-12); equal vectors are at exactly
equal distances, and ties go to the lower index, as in `search.neighbours`.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Float64, Int

from connector_bench.preservation.space import Space, checked

_ROWS = 256


def full_ranking(
    vectors: Float[np.ndarray, "n d"], distance: str = "l2"
) -> Iterator[tuple[Int[np.ndarray, " q"], Int[np.ndarray, "q others"]]]:
    """All other vectors in order of their distance, for block after block of rows: `(rows, order)`.

    Raises:
        ValueError: what `search.neighbours` refuses.
    """
    for rows, away in _distances(vectors, distance):
        yield rows, np.argsort(away, axis=1, kind="stable")[:, :-1]


def ranks(
    vectors: Float[np.ndarray, "n d"], partners: Int[np.ndarray, "n c"], distance: str = "l2"
) -> Int[np.ndarray, "n c"]:
    """Rank of each row's partners among all its neighbours in `vectors`: 1 is the nearest, n - 1 the
    farthest.

    Raises:
        ValueError: what `search.neighbours` refuses, or partners that are not one row of other images for
            each image.
    """
    n = len(vectors)
    if partners.ndim != 2 or len(partners) != n or (partners == np.arange(n)[:, None]).any():
        raise ValueError(
            f"partners must be [n, c] with n={n} and never the image itself, got shape {partners.shape}"
        )
    out = np.empty(partners.shape, dtype=np.int64)
    for rows, away in _distances(vectors, distance):
        to_partner = np.take_along_axis(away, partners[rows], axis=1)
        ordered = np.sort(away, axis=1)
        for place, row in enumerate(rows):
            nearer = np.searchsorted(ordered[place], to_partner[place], side="left")
            tied = np.searchsorted(ordered[place], to_partner[place], side="right") - nearer
            for column in np.flatnonzero(tied > 1):
                before = away[place, : partners[row, column]]
                nearer[column] += np.count_nonzero(before == to_partner[place, column])
            out[row] = nearer + 1
    return out


def _distances(
    vectors: Float[np.ndarray, "n d"], distance: str
) -> Iterator[tuple[Int[np.ndarray, " q"], Float64[np.ndarray, "q n"]]]:
    """Squared distances of blocks of rows to every row, up to a constant per row; infinity to itself."""
    points = checked(vectors, 1, distance)
    space = Space.of(points, distance)
    _, gallery, same = np.unique(points, axis=0, return_index=True, return_inverse=True)
    for start in range(0, len(points), _ROWS):
        rows = np.arange(start, min(start + _ROWS, len(points)))
        queries = space.centred(rows)
        parts = [space.centred(part) for part in np.array_split(gallery, len(gallery) // 1024 + 1)]
        away = np.concatenate([np.square(part).sum(1) - 2 * queries @ part.T for part in parts], axis=1)
        away = away[:, same.ravel()]
        away[np.arange(len(rows)), rows] = np.inf
        yield rows, away
