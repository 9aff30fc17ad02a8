"""Loss where the answer lies, and beside it: figures of one question with an answer mask."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Bool

from connector_bench.reconstruction.lossmaps import LossMap, inside_outside, mask_areas

MASK_METRICS: dict[str, bool | None] = {
    "loss_inside": False,
    "loss_outside": False,
    "cosine_inside": True,
    "cosine_outside": True,
    "norm_inside": None,
    "norm_outside": None,
    "mask_area": None,
}
"""Every figure, and whether higher is better."""


def mask_figures(loss_map: LossMap, mask: Bool[np.ndarray, "rows columns"]) -> dict[str, float]:
    """The best probe's normalised MSE, cosine and difference of norms inside the mask and outside, and its area.

    Means over patches, weighted by how much of each lies on that side. A side that no patch touches has no
    figures: the processor's crop may have cut the answer away. `mask_area` is the share of the picture.
    """
    areas = mask_areas(loss_map.layout, mask)
    values = {"loss": loss_map.loss, "cosine": loss_map.cosine, "norm": loss_map.norm_difference}
    figures = {"mask_area": float(mask.mean())}
    for name, numbers in values.items():
        sides = zip(("inside", "outside"), inside_outside(numbers, areas), strict=True)
        figures |= {f"{name}_{side}": value for side, value in sides if not math.isnan(value)}
    return figures
