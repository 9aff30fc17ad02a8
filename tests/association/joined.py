"""A join of losses with one score, as made values rather than files give it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from connector_bench.association.values import JoinedTable


def joined(
    losses: Mapping[str, np.ndarray],
    accuracy: np.ndarray,
    images: Sequence[object] | None = None,
    baselines: Mapping[str, np.ndarray] | None = None,
) -> JoinedTable:
    """Each document about an image of its own unless `images` says otherwise."""
    n = len(accuracy)
    return JoinedTable(
        model="m",
        connector_task="patch_reconstruction",
        score_task="vqa",
        identity="document number",
        documents=tuple(range(n)),
        images=tuple(map(str, range(n) if images is None else images)),
        losses=losses,
        baselines=baselines or {},
        scores={"accuracy": np.asarray(accuracy, dtype=float)},
        higher_is_better={"accuracy": True},
    )
