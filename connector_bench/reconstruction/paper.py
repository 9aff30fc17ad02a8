"""What `protocol: paper` reports, under names of its own: nobody shall take one procedure's figure for the other's.

The paper's figure is the MSE of its trained probe on standardised embeddings: 1 is what the mean gets. Its
standardisation used statistics of the test set; here they are those of the training images.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from connector_bench.reconstruction.scores import ImageReconstruction, ScoreBoard, summary_json

PAPER_METRICS: dict[str, bool | None] = {"paper_mse": False, "paper_r2": True}
TRAINED = ("attention", "mlp")
"""The paper's probe: a transformer where tokens have no place, an MLP where they have."""


def _trained(names: Mapping[str, Any], head: str) -> str:
    return next(probe for probe in TRAINED if f"{head}{probe}" in names)


def paper_row(image: ImageReconstruction, encoder_norm: float) -> dict[str, float]:
    """One image's figures."""
    sums = image.sums()
    probe = _trained(sums, "sse_")
    return {
        "paper_mse": sums[f"standardized_{probe}"] / sums["patches"],
        "paper_r2": image.r2(probe),
        "encoder_norm": encoder_norm,
    }


def paper_scores(board: ScoreBoard) -> dict[str, dict[str, Any]]:
    """Both figures over all images, with intervals."""
    scores = board.scores()
    probe = _trained(scores, "r2_")
    chosen = {"paper_mse": scores[f"mse_standardized_{probe}"], "paper_r2": scores[f"r2_{probe}"]}
    return dict(summary_json(chosen))
