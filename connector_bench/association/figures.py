"""Which of a document's figures are losses, baselines or retrieval, and which way they point."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

RISES = (
    *("lost", "nonlinear", "nmse", "imbalance_pre_post", "imbalance_post_pre"),
    *("loss_inside", "loss_outside", "norm_inside", "norm_outside"),
)
"""Figures that are higher where more is lost."""
FALLS = (
    *(r"knor_\d+", "trustworthiness", "continuity"),
    *("r2_ridge", "r2_pooled", "r2_mlp", "r2_attention", "cosine", "cosine_inside", "cosine_outside"),
)
"""Patterns of figures that are 1 where nothing is lost; the loss is 1 minus the figure."""
OF_A_SET = ("knor_adj_10", "cka", "procrustes")
"""Patterns of further figures that fall where more is lost, which only whole data sets have or need."""
BASELINES = ("mask_area", "entropy", "encoder_norm")
RETRIEVAL = (r"recall_post_\d+", "map_post")
OF_A_QUESTION = (
    "mask_area",
    *(f"{kind}_{side}" for kind in ("loss", "cosine", "norm") for side in ("inside", "outside")),
)
"""Figures that belong to a question and its answer mask; all others belong to the image."""

_FALLS, _OF_A_SET, _RETRIEVAL = (re.compile("|".join(patterns)) for patterns in (FALLS, OF_A_SET, RETRIEVAL))


def loss_name(figure: str) -> str | None:
    """What a figure's loss is called, `lost` or `1 - knor_10`; None for what is no loss, controls included."""
    if figure in RISES:
        return figure
    return f"1 - {figure}" if _FALLS.fullmatch(figure) else None


def losses_of_a_set(metrics: Mapping[str, float]) -> dict[str, float]:
    """The losses among a connector task's metrics, higher where more is lost."""
    further = {f"1 - {name}": 1 - value for name, value in metrics.items() if _OF_A_SET.fullmatch(name)}
    return losses(metrics) | further


def losses(row: Mapping[str, float]) -> dict[str, float]:
    """The losses among a document's figures, higher where more is lost."""
    named = ((loss_name(figure), value) for figure, value in row.items())
    return {name: 1 - value if name.startswith("1 - ") else value for name, value in named if name}


def retrieval(names: Iterable[str]) -> list[str]:
    """The figures that say whether an image is still found among its class behind the connector."""
    return [name for name in names if _RETRIEVAL.fullmatch(name)]
