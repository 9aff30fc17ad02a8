"""What is said of masks in the order of the loss: a verdict only where there is an interval."""

from __future__ import annotations

import math
from pathlib import Path

from connector_bench.intervention_curves.curve_text import order_sentences
from connector_bench.intervention_curves.paired_points import PointDifference
from connector_bench.interventions.intervention import Mask
from connector_bench.stats.paired import Difference, untold


def point(share: float, difference: Difference, q: float) -> PointDifference:
    mask = Mask.model_validate({"kind": "mask", "order": "falling", "share": share, "from": Path("earlier")})
    return PointDifference("mine", mask, "accuracy", 0.5, 0.4, difference, q, 10, 10, None)


def test_masks_without_an_interval_are_not_said_to_be_alike() -> None:
    """Of ten images it said `is not told apart`, as it says of hundreds."""
    known = point(0.5, Difference(0.01, -0.02, 0.04, 0.5, "", ""), 0.5)
    unknown = point(0.25, untold(0.4, 0.5, "no interval: 10 images, 20 are needed"), math.nan)
    (said,) = order_sentences([known, unknown])
    assert "is not told apart from masking random ones at 0.5, and more than 0.040 is excluded; " in said
    assert said.endswith("is not compared at 0.25, no interval: 10 images, 20 are needed.")
