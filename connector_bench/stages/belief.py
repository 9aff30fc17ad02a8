"""How far a reader is believed beside what the question says alone.

Usable information asks for readers that may ignore what they see (Xu et al. 2020): tokens that say nothing then save no
bits and cost none. So a right answer's probability is a share of the reader's and the rest of the question's alone, and
validation questions choose the share, for each kind of question its own.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

SHARES = tuple(float(share) for share in np.linspace(0, 1, 21))
"""Shares of the reader that are tried."""


def believed_bits(
    read: Float[np.ndarray, " n"], alone: Float[np.ndarray, " n"], share: float | Float[np.ndarray, " n"]
) -> Float[np.ndarray, " n"]:
    """Of right answers, `-log2 p` of both together, from that of the reader and that of the question alone."""
    mixed: Float[np.ndarray, " n"] = -np.log2(share * np.exp2(-read) + (1 - share) * np.exp2(-alone))
    return mixed


def shares_by_kind(
    read: Float[np.ndarray, " n"], alone: Float[np.ndarray, " n"], kinds: Sequence[str]
) -> dict[str, float]:
    """The share that costs validation questions of each kind the fewest bits; answers without bits do not count."""
    of = np.array(kinds)
    known = np.isfinite(read) & np.isfinite(alone)
    chosen = {}
    for kind in dict.fromkeys(kinds):
        rows = known & (of == kind)
        costs = [believed_bits(read[rows], alone[rows], share).sum() for share in SHARES]
        chosen[kind] = SHARES[int(np.argmin(costs))]
    return chosen
