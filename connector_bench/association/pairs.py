"""Every loss of a joined table beside every score: correlation, quartiles, prediction of failure, calibration."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float64, Shaped

from connector_bench.association.no_narrower import tested_correlation, tested_shares
from connector_bench.association.prediction import Failure, failures, predict
from connector_bench.association.testing import Over, interval, rate, tested
from connector_bench.association.values import JoinedTable, Pair, Partial, Quartiles, Settings, Skipped
from connector_bench.stats.cluster_jackknife import (
    RanksWithout,
    partials,
    ranks_without_each,
    sums_without_each,
)
from connector_bench.stats.floors import (
    LEAST_IMAGES,
    LEAST_OUTCOMES,
    apart_from_the_most_frequent,
    floored,
)
from connector_bench.stats.intervals import Score, cluster_sums
from connector_bench.stats.paired import ROUNDING


@dataclass(frozen=True)
class _Rows:
    """Documents on which several losses and one score are known, and their ranks without each cluster."""

    table: JoinedTable
    score_name: str
    losses: dict[str, Float64[np.ndarray, " n"]]
    controls: dict[str, Float64[np.ndarray, " n"]]
    score: Float64[np.ndarray, " n"]
    failure: Failure
    clusters: Shaped[np.ndarray, " n"]
    images: int
    draws: RanksWithout
    """Columns: losses, controls, score; the one outcome is failure."""


def pairs_of(table: JoinedTable, settings: Settings) -> tuple[tuple[Pair, ...], tuple[Skipped, ...]]:
    """All pairs of a loss and a score that can be compared, and a reason for each that cannot."""
    pairs: list[Pair] = []
    skipped: list[Skipped] = []
    for score_name in table.scores:
        for names, known in _same_documents(table, score_name):
            rows, missing = _rows(table, score_name, names, known, settings)
            skipped += missing
            if rows is not None:
                pairs += [_pair(rows, index, settings) for index in range(len(rows.losses))]
    order = {name: place for place, name in enumerate(table.losses)}
    return tuple(sorted(pairs, key=lambda pair: order[pair.loss])), tuple(skipped)


def complete_controls(
    table: JoinedTable, known: Bool[np.ndarray, " n"]
) -> dict[str, Float64[np.ndarray, " n"]]:
    """The baselines that are known and vary on the chosen documents."""
    chosen = {name: values[known] for name, values in table.baselines.items()}
    return {
        name: values for name, values in chosen.items() if np.isfinite(values).all() and np.ptp(values) > 0
    }


def _same_documents(
    table: JoinedTable, score_name: str
) -> Iterator[tuple[list[str], Bool[np.ndarray, " n"]]]:
    """Losses in groups that are known on the same documents, so that the same images are left out."""
    groups: dict[bytes, tuple[list[str], np.ndarray]] = {}
    for name, values in table.losses.items():
        known = np.isfinite(values) & np.isfinite(table.scores[score_name])
        groups.setdefault(known.tobytes(), ([], known))[0].append(name)
    yield from groups.values()


def _rows(
    table: JoinedTable, score_name: str, names: list[str], known: Bool[np.ndarray, " n"], settings: Settings
) -> tuple[_Rows | None, list[Skipped]]:
    clusters, unit = np.array(table.clusters)[known], table.unit
    score = table.scores[score_name][known]
    where = f"{table.model}: {table.connector_task} beside {score_name} of {table.score_task}"
    if (count := len(set(clusters))) < LEAST_IMAGES:
        why = f"{count} {unit} have both figures, {LEAST_IMAGES} are needed"
        return None, [Skipped(f"{where} ({', '.join(names)})", why)]
    if np.ptp(score) == 0:
        return None, [Skipped(f"{where} ({', '.join(names)})", f"every document scores {score[0]:g}")]
    if (apart := apart_from_the_most_frequent(score, clusters)) < LEAST_OUTCOMES:
        why = f"{apart} {unit} score other than the most frequent score, {LEAST_OUTCOMES} are needed"
        return None, [Skipped(f"{where} ({', '.join(names)})", why)]
    losses = {name: table.losses[name][known] for name in names}
    flat = [name for name, values in losses.items() if np.ptp(values) < ROUNDING]
    skipped = [
        Skipped(f"{where} ({name})", f"the loss is {losses[name][0]:.3g} on every document") for name in flat
    ]
    alike = {
        name: apart_from_the_most_frequent(values, clusters)
        for name, values in losses.items()
        if name not in flat
    }
    few = [name for name, apart in alike.items() if apart < LEAST_OUTCOMES]
    skipped += [
        Skipped(
            f"{where} ({name})",
            f"{alike[name]} {unit} lose other than the most frequent loss, {LEAST_OUTCOMES} are needed",
        )
        for name in few
    ]
    losses = {name: values for name, values in losses.items() if name not in [*flat, *few]}
    if not losses:
        return None, skipped
    controls = complete_controls(table, known)
    failure = failures(score_name, score, table.higher_is_better[score_name], settings.failure_below)
    draws = ranks_without_each(
        np.stack([*losses.values(), *controls.values(), score]),
        failure.failed[None],
        clusters,
        seed=settings.seed,
    )
    images = len(set(np.array(table.images)[known]))
    return _Rows(table, score_name, losses, controls, score, failure, clusters, images, draws), skipped


def _pair(rows: _Rows, index: int, settings: Settings) -> Pair:
    name, loss = list(rows.losses.items())[index]
    correlations, unit = rows.draws.correlations, rows.table.unit
    over = Over(rows.draws.clusters, unit)
    first, last = len(rows.losses), len(rows.losses) + len(rows.controls)
    partial = None
    if rows.controls:
        draws = partials(correlations, index, last, range(first, last))
        partial = Partial(tuple(rows.controls), tested_correlation(draws, over, len(loss), settings))
    quartiles = _quartiles(loss, rows.score, rows.clusters, unit, settings)
    prediction = predict(
        loss,
        rows.failure,
        rows.clusters,
        unit,
        rows.draws.areas[:, index, 0],
        {
            control: (values, rows.draws.areas[:, first + i, 0])
            for i, (control, values) in enumerate(rows.controls.items())
        },
        settings,
    )
    reasons = {
        "no partial correlation: the files hold no mask area, entropy or encoder norm": partial is None,
        "no quartiles: too many documents share one loss": quartiles is None,
        f"no AUROC: needs {LEAST_OUTCOMES} {unit} with a failure and as many with a success": prediction
        is None,
    }
    return Pair(
        model=rows.table.model,
        connector_task=rows.table.connector_task,
        score_task=rows.table.score_task,
        loss=name,
        score=rows.score_name,
        documents=len(loss),
        images=rows.images,
        spearman=tested_correlation(correlations[:, index, last], over, len(loss), settings),
        partial=partial,
        quartiles=quartiles,
        prediction=prediction,
        notes=tuple(reason for reason, holds in reasons.items() if holds),
        unit=unit,
        draws=over.n if rows.table.drawn_with else None,
    )


def _quartiles(
    loss: Float64[np.ndarray, " n"],
    score: Float64[np.ndarray, " n"],
    clusters: Shaped[np.ndarray, " n"],
    unit: str,
    settings: Settings,
) -> Quartiles | None:
    """Means of the scores at both ends of the loss; the ends are those of the whole sample."""
    first, third = np.quantile(loss, [0.25, 0.75])
    if first == third:
        return None
    ends = np.stack([loss <= first, loss >= third], axis=1).astype(np.float64)
    sums = cluster_sums(np.concatenate([ends * score[:, None], ends], axis=1), clusters)
    totals = sums_without_each(sums, seed=settings.seed)
    with np.errstate(invalid="ignore", divide="ignore"):
        lowest, highest = (totals[:, :2] / totals[:, 2:]).T
    over = Over(len(sums), unit)
    means = [
        _of_an_end(draws, over, score[inside], clusters[inside], settings)
        for draws, inside in zip((lowest, highest), ends.T > 0, strict=True)
    ]
    if not np.isin(score[ends.any(axis=1)], (0, 1)).all():
        return Quartiles(means[0], means[1], tested(highest - lowest, over, 0.0, settings))
    below, above = (len(set(clusters[inside])) for inside in ends.T > 0)
    apart = tested_shares((lowest, below), (highest, above), over, settings)
    return Quartiles(means[0], means[1], apart)


def _of_an_end(
    draws: Float64[np.ndarray, " draws"],
    over: Over,
    score: Float64[np.ndarray, " m"],
    clusters: Shaped[np.ndarray, " m"],
    settings: Settings,
) -> Score:
    """The mean score of one end of the loss. Of right and wrong answers it is a share, whose interval holds however few
    are wrong; of other scores there is none where hardly an image scores other than the rest."""
    inside = len(set(clusters))
    if np.isin(score, (0, 1)).all():
        return replace(rate(draws, Over(inside, over.unit), settings), n=over.n)
    mean = interval(draws, over, None, settings)
    found = floored(replace(mean, n=inside), unit=over.unit)
    apart = apart_from_the_most_frequent(score, clusters)
    if apart >= LEAST_OUTCOMES or not np.isfinite(found.low):
        return replace(found, n=over.n)
    what = f"{over.unit} score other than the most frequent score"
    why = f"no interval: {apart} {what}, {LEAST_OUTCOMES} are needed"
    return replace(mean, low=np.nan, high=np.nan, method=why)
