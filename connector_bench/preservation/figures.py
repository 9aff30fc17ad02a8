"""What `knn_preservation` reports of a set of image vectors: overlap, geometry, retrieval and their controls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np
from jaxtyping import Float, Int

from connector_bench import metrics
from connector_bench.pictures import images_fingerprint
from connector_bench.preservation import geometry, influence, knn, retrieval
from connector_bench.preservation.control_figures import control_figures, control_rows
from connector_bench.preservation.design_effect import InHalves, design_effects, sample_rows
from connector_bench.preservation.options import PreservationOptions
from connector_bench.preservation.overlap_interval import Columns, Scores, SearchedGallery, depth
from connector_bench.preservation.principal import Principal
from connector_bench.preservation.side import RANKED, Side, both_sides
from connector_bench.progress import doing
from connector_bench.stats import jackknife
from connector_bench.stats.intervals import plain

HUBNESS_K = 10
"""Neighbours whose occurrences hubness counts."""


@dataclass(frozen=True)
class PreservationFigures:
    """Figures per image and, for the whole set, intervals and provenance."""

    per_image: Mapping[str, Mapping[str, float | str]]
    summary: dict[str, object]
    warnings: tuple[str, ...] = field(default=())
    per_document: dict[int, dict[str, float]] = field(default_factory=dict)
    """Empty: every figure is an image's."""
    lists: tuple[Int[np.ndarray, "n c"], Int[np.ndarray, "n c"]] | None = field(default=None, compare=False)
    """Neighbours before and after by row among the images; None where the protocol has none of its own."""


def metric_names(options: PreservationOptions) -> dict[str, bool | None]:
    """Every metric these options can give, and whether higher is better (None: neither)."""
    return metrics.reported("knn_preservation", ks=options.ks, published=options.protocol == "paper")


def preservation_figures(
    images: Sequence[str],
    pre: Float[np.ndarray, "n d_pre"],
    post: Float[np.ndarray, "n d_post"],
    options: PreservationOptions,
    labels: Sequence[object] | None = None,
    untrained: Sequence[Float[np.ndarray, "m d_post"]] = (),
    token_widths: tuple[int, int] | None = None,
    *,
    untrained_rows: Int[np.ndarray, " m"] | None = None,
    device: str = "cpu",
) -> PreservationFigures:
    """Every figure that N allows; `images` name the rows, `labels` add retrieval where it can be computed.

    What is left out stands in the warnings.

    `untrained` holds the connector's side as untrained copies of it give it, one array a seed, of all images or of
    `untrained_rows`. `token_widths` are those of one token on either side, where a vector is several tokens in a row:
    control maps act on tokens. Controls are measured on at most `CONTROL_TEST_IMAGES` images as a gallery of their own;
    then the summary's `at_control_gallery` has the connector's own overlap there. `device` is where both sides are
    searched and ranked, see `neighbours`.

    Raises:
        ValueError: N allows no k. A k needs at least k + 2 images, since with k = N - 1 any two sets agree.
    """
    n = len(images)
    warnings: list[str] = []
    ks = tuple(k for k in options.ks if k <= n - 2)
    if not ks:
        wanted = ", ".join(map(str, options.ks))
        raise ValueError(f"k = {wanted} needs at least {min(options.ks) + 2} different images, got {n}")
    lists = None
    if options.protocol == "paper":
        columns, scores, extra = _paper(pre, post, ks, options)
    else:
        classes = None
        if labels is not None:
            try:
                classes = retrieval.classes_of(labels)
            except ValueError as error:
                warnings.append(f"no recall and map: {error}")
        sides = both_sides(
            pre,
            post,
            depth(max(ks), n),
            distance=options.distance,
            classes=classes,
            seed=options.seed,
            device=device,
        )
        lists = sides[0].lists, sides[1].lists
        with doing("halving the images"):
            gallery = SearchedGallery.of(*lists, ks, seed=options.seed)
        columns, scores, extra = _ours(*sides, gallery, options, classes)
        held = untrained_rows if untrained_rows is not None else np.arange(n)
        controlled = control_rows(images, held if untrained else None)
        copies = [side[np.searchsorted(held, controlled)] for side in untrained]
        with doing("overlap of controls"):
            references = control_figures(
                gallery,
                images,
                (pre, post),
                controlled,
                copies,
                token_widths or (pre.shape[1], post.shape[1]),
                distance=options.distance,
                seed=options.seed,
            )
        columns |= references.columns
        scores |= references.scores
        extra |= references.extra
        if few := [k for k in ks if f"identity_knor_{k}" not in references.scores]:
            wanted = ", ".join(map(str, few))
            warnings.append(f"controls are measured on {len(controlled)} images, too few for k = {wanted}")
    of_the_set = metrics.of_owner(scores, "set") & set(metric_names(options))
    constant = {name: float(scores[name]["value"]) for name in scores if name in of_the_set}
    with doing("figures of every image"):
        rows = {
            image: {"n_images": n}
            | {name: float(column[row]) for name, column in columns.items() if np.isfinite(column[row])}
            | constant
            for row, image in enumerate(images)
        }
    summary = {
        "options": asdict(options),
        "n_images": n,
        "images_sha256": images_fingerprint(images),
        "pre_width": int(pre.shape[1]),
        "post_width": int(post.shape[1]),
        "scores": scores,
        **extra,
    }
    needed = {f"k = {k}": k + 2 for k in options.ks}
    if options.protocol != "paper":
        needed |= {"cka": 4, "hubness": HUBNESS_K + 2, "trustworthiness and continuity": 2 * RANKED + 1}
        needed |= {f"recall at {k}": k + 2 for k in retrieval.KS if "map_pre" in columns}
    if missing := [f"{name} (needs {least})" for name, least in needed.items() if n < least]:
        warnings.insert(0, f"{n} different images are too few for {', '.join(missing)}")
    return PreservationFigures(rows, summary, tuple(warnings), lists=lists)


Found = tuple[Columns, Scores, dict[str, object]]


def _paper(pre: np.ndarray, post: np.ndarray, ks: Sequence[int], options: PreservationOptions) -> Found:
    columns = {f"paper_knor_{k}": knn.paper_overlap(pre, post, k) for k in ks}
    return columns, {name: plain(jackknife.mean(column)) for name, column in columns.items()}, {}


def _ours(
    pre: Side,
    post: Side,
    gallery: SearchedGallery,
    options: PreservationOptions,
    classes: Int[np.ndarray, " n"] | None,
) -> Found:
    with doing("overlap and its intervals"):
        columns, scores = gallery.overlaps_and_gaps()
    in_halves: list[InHalves] = [geometry.rank_geometry_in_halves]
    recalls = [k for k in retrieval.KS if k <= len(pre) - 2]
    if classes is not None:
        sampled = classes[sample_rows(len(pre), options.seed)]
        in_halves.append(retrieval.retrieval_in_halves(pre.sample, post.sample, sampled, ks=recalls))
    with doing("intervals of ranks and retrieval"):
        effects = design_effects(pre.sample, post.sample, in_halves, seed=options.seed)
    near, near_scores = geometry.rank_geometry(pre, post, effects)
    columns |= near
    scores |= {name: plain(score) for name, score in near_scores.items()}
    with doing("geometry of all images"):
        scores |= _set_geometry(pre, post)
    if classes is not None:
        with doing("retrieval by label"):
            retrieved = retrieval.class_retrieval(pre, post, classes, effects, ks=recalls)
        columns |= retrieved.columns()
        scores |= {name: plain(score) for name, score in retrieved.scores.items()}
        with doing("overlap against retrieval"):
            scores |= _overlap_recall(columns, options.seed)
    curve = gallery.common.curve(max(gallery.ks)).mean(axis=0)
    return columns, scores, {"curve": [round(float(value), 6) for value in curve]}


def _set_geometry(pre: Side, post: Side) -> Scores:
    n, sides = len(pre), (Principal.of(pre.vectors), Principal.of(post.vectors))
    values = {"procrustes_paper": geometry.paper_procrustes_residual(*sides)}
    if n >= HUBNESS_K + 2:
        values["hubness_pre"] = geometry.hubness(pre.lists[:, :HUBNESS_K])
        values["hubness_post"] = geometry.hubness(post.lists[:, :HUBNESS_K])
    scores: Scores = {name: {"value": value, "n": n} for name, value in values.items()}
    before, after = (influence.spectral(side) for side in sides)
    scores |= {f"{name}_pre": plain(score) for name, score in before.items()}
    scores |= {f"{name}_post": plain(score) for name, score in after.items()}
    if before and after:  # similarity to a side that does not vary has no meaning
        scores["procrustes"] = plain(influence.procrustes(*sides))
        cka = influence.debiased_cka(*sides) if n >= 4 else None
        if cka is not None and np.isfinite(cka.value):
            scores["cka"] = plain(cka)
    return scores


def _overlap_recall(columns: Columns, seed: int) -> Scores:
    """Whether images whose neighbours change also lose their retrieval, where there are values of both."""
    overlap, recall = columns.get("knor_10"), columns.get("recall_post_5")
    if overlap is None or recall is None or np.isfinite(recall).sum() < 3:
        return {}
    against = retrieval.overlap_recall(overlap, recall, seed=seed)
    return {"spearman_knor_10_recall_post_5": plain(against)} if np.isfinite(against.value) else {}
