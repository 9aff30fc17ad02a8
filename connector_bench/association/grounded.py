"""Loss inside and outside the answer mask beside each score, as in figure 5 of arXiv 2509.11986."""

from __future__ import annotations

from typing import Literal

import numpy as np

from connector_bench.association.no_narrower import tested_correlation, tested_correlations_apart
from connector_bench.association.pairs import complete_controls
from connector_bench.association.testing import Over
from connector_bench.association.values import Grounded, JoinedTable, Partial, Settings
from connector_bench.metrics import metric
from connector_bench.stats.cluster_jackknife import partials, ranks_without_each
from connector_bench.stats.floors import LEAST_IMAGES, LEAST_OUTCOMES, apart_from_the_most_frequent
from connector_bench.stats.paired import ROUNDING

ErrorKind = Literal["mse", "norm", "cosine"]

PARTS: dict[ErrorKind, str] = {"mse": "loss", "norm": "norm", "cosine": "cosine"}
"""What the figures inside and outside of the answer begin with."""


def _sides(part: str) -> tuple[str, str]:
    """The names of the losses inside and outside of the answer."""
    inside, outside = (metric(f"{part}_{side}") for side in ("inside", "outside"))
    assert inside is not None
    assert outside is not None
    return str(inside.loss_name), str(outside.loss_name)


MEASURES = {measure: _sides(part) for measure, part in PARTS.items()}


def grounded_of(table: JoinedTable, settings: Settings) -> tuple[Grounded, ...]:
    """Both sides of the mask for each measure and score that are known on enough images and vary."""
    found = (
        _grounded(table, score, measure, settings)
        for score in table.scores
        for measure, sides in MEASURES.items()
        if set(sides) <= set(table.losses)
    )
    return tuple(entry for entry in found if entry is not None)


def _grounded(table: JoinedTable, score: str, measure: ErrorKind, settings: Settings) -> Grounded | None:
    columns = np.stack([*(table.losses[side] for side in MEASURES[measure]), table.scores[score]])
    known = np.isfinite(columns).all(axis=0)
    columns, clusters = columns[:, known], np.array(table.clusters)[known]
    if len(set(clusters)) < LEAST_IMAGES or np.ptp(columns, axis=1).min() < ROUNDING:
        return None
    if min(apart_from_the_most_frequent(column, clusters) for column in columns) < LEAST_OUTCOMES:
        return None
    controls = complete_controls(table, known)
    draws = ranks_without_each(
        np.stack([*columns, *controls.values()]),
        np.zeros((0, columns.shape[1]), dtype=bool),
        clusters,
        seed=settings.seed,
    )
    correlations, over = draws.correlations, Over(draws.clusters, table.unit)
    held = range(3, 3 + len(controls))
    counts = (over, columns.shape[1])
    held_fixed = [
        Partial(tuple(controls), tested_correlation(partials(correlations, side, 2, held), *counts, settings))
        if controls
        else None
        for side in (0, 1)
    ]
    return Grounded(
        model=table.model,
        connector_task=table.connector_task,
        score_task=table.score_task,
        score=score,
        measure=measure,
        documents=columns.shape[1],
        images=len(set(np.array(table.images)[known])),
        inside=tested_correlation(correlations[:, 0, 2], *counts, settings),
        outside=tested_correlation(correlations[:, 1, 2], *counts, settings),
        inside_partial=held_fixed[0],
        outside_partial=held_fixed[1],
        difference=tested_correlations_apart(correlations[:, :3, :3], *counts, settings),
        unit=over.unit,
        draws=over.n if table.drawn_with else None,
    )
