"""Overlap, ranks, geometry and retrieval of one gallery, searched on both sides of the connector."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from connector_bench.metrics import HEADLINE_K
from connector_bench.preservation import geometry, influence, retrieval
from connector_bench.preservation.design_effect import InHalves, design_effects
from connector_bench.preservation.drawn_together import Drawn
from connector_bench.preservation.gallery_curve import gallery_curve
from connector_bench.preservation.options import PreservationOptions
from connector_bench.preservation.principal import Principal
from connector_bench.preservation.searched_gallery import Columns, Scores, SearchedGallery
from connector_bench.preservation.sharing import Captions, LabelColumn
from connector_bench.preservation.side import Side
from connector_bench.progress import doing
from connector_bench.stats.intervals import Score, plain

HUBNESS_K = 10
"""Neighbours whose occurrences hubness counts."""
Found = tuple[Columns, Scores, dict[str, object]]
"""Values of images by figure, scores of the set, and what else the record holds."""


def gallery_figures(
    pre: Side,
    post: Side,
    gallery: SearchedGallery,
    options: PreservationOptions,
    labels: Sequence[LabelColumn],
    captions: Captions | None,
) -> Found:
    """Every figure of both sides that needs neither controls nor a reference."""
    with doing("overlap and its intervals"):
        columns, scores = gallery.overlaps_and_gaps()
    in_halves: list[InHalves] = [geometry.rank_geometry_in_halves]
    recalls = [k for k in retrieval.KS if k <= len(pre) - 2]
    sampled = pre.sampled
    in_halves += [one.in_halves(sampled, (pre, post), recalls) for one in labels]
    if captions is not None and len(pre) >= retrieval.NEAREST + 2:
        in_halves.append(captions.in_halves(sampled))
    with doing("intervals of ranks and retrieval"):
        together = pre.drawn.take(sampled)
        effects = design_effects(pre.sample, post.sample, in_halves, drawn=together, seed=options.seed)
    near, near_scores = geometry.rank_geometry(pre, post, effects)
    columns |= near
    scores |= {name: plain(score) for name, score in near_scores.items()}
    with doing("geometry of all images"):
        scores |= set_geometry(pre, post)
    for number, one in enumerate(labels):
        with doing(f"retrieval by {one.column}"):
            retrieved, retrieved_scores = one.figures(number, pre, post, effects, recalls)
        columns |= retrieved
        scores |= {name: plain(score) for name, score in retrieved_scores.items()}
    if captions is not None and len(pre) >= retrieval.NEAREST + 2:
        alike, alike_scores = captions.figures(pre, post, effects)
        columns |= alike
        scores |= {name: plain(score) for name, score in alike_scores.items()}
    with doing("overlap against retrieval"):
        scores |= _overlap_recall(columns, pre.drawn, options.seed)
    curve = gallery.common.curve(max(gallery.ks)).mean(axis=0)
    extra: dict[str, object] = {"curve": [round(float(value), 6) for value in curve]}
    if labels:
        extra["labels"] = {one.column: one.noted() for one in labels}
    return columns, scores, extra


def over_sizes(
    pre: Side,
    post: Side,
    gallery: SearchedGallery,
    scores: Scores,
    options: PreservationOptions,
    device: str,
) -> dict[str, object] | None:
    """The overlap in smaller galleries, where that is measured."""
    recorded = scores[f"knor_adj_{HEADLINE_K}"]
    low, high = (np.nan if recorded[end] is None else recorded[end] for end in ("low", "high"))
    whole = Score(recorded["value"], low, high, recorded["n"], recorded["chance"], recorded["method"])
    sides = pre.vectors, post.vectors
    return gallery_curve(*sides, gallery, whole, distance=options.distance, seed=options.seed, device=device)


def set_geometry(pre: Side, post: Side) -> Scores:
    """What is told of both sides as whole sets of vectors."""
    n, sides = len(pre), (Principal.of(pre.vectors), Principal.of(post.vectors))
    values = {"procrustes_paper": geometry.paper_procrustes_residual(*sides)}
    if n >= HUBNESS_K + 2:
        values["hubness_pre"] = geometry.hubness(pre.lists[:, :HUBNESS_K])
        values["hubness_post"] = geometry.hubness(post.lists[:, :HUBNESS_K])
    scores: Scores = {name: {"value": value, "n": n} for name, value in values.items()}
    before, after = (influence.spectral(side, pre.drawn) for side in sides)
    scores |= {f"{name}_pre": plain(score) for name, score in before.items()}
    scores |= {f"{name}_post": plain(score) for name, score in after.items()}
    if before and after:  # similarity to a side that does not vary has no meaning
        scores["procrustes"] = plain(influence.procrustes(*sides, pre.drawn))
        cka = influence.debiased_cka(*sides, pre.drawn) if n >= 4 else None
        if cka is not None and np.isfinite(cka.value):
            scores["cka"] = plain(cka)
    return scores


def _overlap_recall(columns: Columns, drawn: Drawn, seed: int) -> Scores:
    """Whether images whose neighbours change also lose their retrieval, where there are values of both."""
    overlap, recall = columns.get("knor_10"), columns.get("recall_post_5")
    if overlap is None or recall is None or np.isfinite(recall).sum() < 3:
        return {}
    against = retrieval.overlap_recall(overlap, recall, drawn=drawn, seed=seed)
    return {"spearman_knor_10_recall_post_5": plain(against)} if np.isfinite(against.value) else {}
