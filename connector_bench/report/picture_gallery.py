"""The gallery of a report: images with the most and the least loss and an even spread, with their questions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from connector_bench.report.answered_questions import OF_THE_ANSWER
from connector_bench.report.gallery_values import AskedQuestion, Gallery, Picture, PictureCard, SortKey
from connector_bench.report.overlap_table import headline_k, overlaps
from connector_bench.results.models import ModelRuns
from connector_bench.results.tasks import PRESERVATION, RECONSTRUCTION, numbers

EACH = 12
"""Images of each reason, where the run itself chose none."""
QUESTIONS = 6
"""Questions shown of one image."""
MOST, LEAST, SPREAD = "most lossy", "least lossy", "evenly spread"


def image_figures(results: ModelRuns) -> dict[str, dict[str, float]]:
    """Figures of every image by its hash, of all connector tasks together."""
    found: dict[str, dict[str, float]] = {}
    for measure in (PRESERVATION, RECONSTRUCTION):
        for task in results.of(measure):
            for row in task.kept_answers.values():
                if "image" in row and "same_image_as" not in row:
                    found.setdefault(str(row["image"]), {}).update(numbers(row))
    return found


def chosen(figures: Mapping[str, Mapping[str, float]]) -> dict[str, tuple[str, ...]]:
    """Images to show and why, those with the most loss first; empty where no image has a loss."""
    loss = {image: value for image, row in figures.items() if (value := loss_of(row)) is not None}
    order = sorted(loss, key=lambda image: (-loss[image], image))
    spread = np.linspace(0, len(order) - 1, min(EACH, len(order))).round().astype(int) if order else []
    why: dict[str, list[str]] = {}
    for reason, images in (
        (MOST, order[:EACH]),
        (SPREAD, [order[place] for place in spread]),
        (LEAST, order[-EACH:]),
    ):
        for image in images:
            why.setdefault(image, []).append(reason)
    return {image: tuple(why[image]) for image in order if image in why}


def loss_of(row: Mapping[str, float]) -> float | None:
    """What images are ordered by: `lost` where patches were rebuilt, else the share of neighbours not kept."""
    if "lost" in row:
        return row["lost"]
    kept = overlap_of(row)
    return None if kept is None else 1 - kept


def overlap_of(row: Mapping[str, float]) -> float | None:
    """Overlap at k = 10, else at the largest k that was measured."""
    kept = overlaps(row)
    return kept[headline_k(kept)] if kept else None


def gallery(
    why: Mapping[str, tuple[str, ...]],
    figures: Mapping[str, Mapping[str, float]],
    questions: Mapping[str, Sequence[AskedQuestion]],
    pictures: Mapping[str, Picture],
    shows: str,
) -> Gallery:
    """Cards of the chosen images in their order."""
    cards = [
        PictureCard(
            image=image,
            groups=groups,
            figures=_card_figures(figures.get(image, {}), questions.get(image, ())),
            questions=tuple(questions.get(image, ()))[:QUESTIONS],
            more_questions=max(0, len(questions.get(image, ())) - QUESTIONS),
            picture=pictures.get(image),
        )
        for image, groups in why.items()
    ]
    measures = tuple(measure for measure in MEASURES if any(measure.key in card.figures for card in cards))
    return Gallery("section-gallery", shows, measures, tuple(cards))


MEASURES = (
    SortKey("loss", "lost", "lost"),
    SortKey("overlap", "neighbours kept", "overlap", lossy_is_low=True),
    SortKey("inside", "error inside answers", "error inside"),
    SortKey("outside", "error outside answers", "error outside"),
    SortKey("ratio", "inside / outside", "inside / outside"),
    SortKey("right", "share of right answers", "right", lossy_is_low=True),
)


def _card_figures(row: Mapping[str, float], questions: Sequence[AskedQuestion]) -> dict[str, float]:
    inside, outside = (
        _mean([asked.figures[name] for asked in questions if name in asked.figures])
        for name in OF_THE_ANSWER.values()
    )
    scored = [
        float(q.outcome == "right") for q in questions if q.outcome in ("right", "wrong", "partly right")
    ]
    found = {
        "loss": row.get("lost"),
        "overlap": overlap_of(row),
        "inside": inside,
        "outside": outside,
        "ratio": inside / outside if inside is not None and outside else None,
        "right": _mean(scored),
    }
    return {key: value for key, value in found.items() if value is not None and math.isfinite(value)}


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None
