"""What `knn_preservation` reports of a set of image vectors: overlap, geometry, retrieval and their controls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import nan

import numpy as np
from jaxtyping import Float, Int

from connector_bench import metrics
from connector_bench.metrics import HEADLINE_K
from connector_bench.pictures import images_fingerprint
from connector_bench.preservation import knn, retrieval
from connector_bench.preservation.control_figures import control_figures, control_rows
from connector_bench.preservation.drawn_together import Drawn, drawn_by
from connector_bench.preservation.gain import AgreementWith
from connector_bench.preservation.gallery_curve import headline
from connector_bench.preservation.gallery_figures import HUBNESS_K, Found, gallery_figures, over_sizes
from connector_bench.preservation.options import PreservationOptions
from connector_bench.preservation.overlap import allowed_ks, too_few
from connector_bench.preservation.overlap_interval import depth
from connector_bench.preservation.reference import ReferenceVectors
from connector_bench.preservation.searched_gallery import Columns, Scores, SearchedGallery
from connector_bench.preservation.sharing import Captions, label_columns
from connector_bench.preservation.side import RANKED, both_sides
from connector_bench.preservation.text_side import TokenSample, token_figures
from connector_bench.progress import doing
from connector_bench.stats.intervals import Score, plain
from connector_bench.stats.oracles import not_as_they_must_be


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


def metric_names(
    options: PreservationOptions, further_labels: Sequence[str] = (), *, captions: bool = False
) -> dict[str, bool | None]:
    """Every metric these options can give of images with such labels behind the first, and with captions or without.

    Its value says whether higher is better (None: neither).
    """
    paper = options.protocol == "paper"
    further = () if paper else further_labels
    return metrics.reported(
        "knn_preservation",
        ks=options.ks,
        published=paper,
        further_labels=further,
        captions=captions,
        reference=options.reference is not None,
    )


def preservation_figures(
    images: Sequence[str],
    pre: Float[np.ndarray, "n d_pre"],
    post: Float[np.ndarray, "n d_post"],
    options: PreservationOptions,
    labels: Mapping[str, Sequence[object]] | None = None,
    untrained: Sequence[Float[np.ndarray, "m d_post"]] = (),
    token_widths: tuple[int, int] | None = None,
    *,
    untrained_rows: Int[np.ndarray, " m"] | None = None,
    captions: Sequence[str | None] | None = None,
    reference: ReferenceVectors | None = None,
    tokens: SampledTokens | None = None,
    device: str = "cpu",
) -> PreservationFigures:
    """Every figure that N allows; `images` name the rows, `labels` of one or more columns add retrieval where it can be
    computed, `captions` how alike those of neighbours are, a `reference` whether neighbourhoods move towards it,
    `tokens` how they lie beside the language model's words.

    What is left out stands in the warnings.

    `untrained` holds the connector's side as untrained copies of it give it, one array a seed, of all images or of
    `untrained_rows`. `token_widths` are those of one token on either side, where a vector is several tokens in a row:
    control maps act on tokens. Controls are measured on at most `CONTROL_TEST_IMAGES` images as a gallery of their own;
    then the summary's `at_control_gallery` has the connector's own overlap there. `device` is where both sides are
    searched and ranked, see `neighbours`.

    Raises:
        ValueError: N allows no k, which needs at least k + 2 images, since with k = N - 1 any two sets agree; or all
            images have one vector before the connector.
    """
    n = len(images)
    warnings: list[str] = []
    ks = allowed_ks(options.ks, n)
    knn.require_neighbours(pre)
    lists = None
    drawn, alone = drawn_by(options.drawn_together, labels or {}, n)
    warnings += alone
    if options.protocol == "paper":
        columns, scores, extra = _paper(pre, post, ks, options, drawn)
    else:
        columns_of_labels, refused = label_columns(labels or {})
        warnings += refused
        described = None
        if captions is not None:
            try:
                described = Captions.of(captions)
            except ValueError as error:
                warnings.append(f"no likeness of captions: {error}")
        sides = both_sides(
            pre,
            post,
            depth(max(ks), n, drawn.most),
            distance=options.distance,
            classes=[one.classes for one in columns_of_labels],
            drawn=drawn,
            seed=options.seed,
            device=device,
        )
        lists = sides[0].lists, sides[1].lists
        with doing("halving the images"):
            gallery = SearchedGallery.of(*lists, ks, seed=options.seed, drawn=drawn)
        columns, scores, extra = gallery_figures(*sides, gallery, options, columns_of_labels, described)
        extra |= drawn.noted()
        agreement = None
        if reference is not None:
            with doing("agreement with the reference"):
                agreement, found = _against(reference, gallery, options.seed, device)
            columns |= found[0]
            scores |= found[1]
        if f"knor_adj_{HEADLINE_K}" in scores:
            with doing("overlap in smaller galleries"):
                curve = over_sizes(*sides, gallery, scores, options, device)
            scores |= headline(curve)
            extra |= {"gallery_curve": curve} if curve is not None else {}
        if tokens is not None:
            with doing("tokens beside the words"):
                found_columns, found_scores, noted = token_figures(
                    tokens.sample, tokens.words, drawn.take(tokens.rows)
                )
            columns |= {name: tokens.spread(values, n) for name, values in found_columns.items()}
            scores |= found_scores
            extra["token_sample"] = noted
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
                agreement=agreement,
                reference=reference,
            )
        columns |= references.columns
        scores |= references.scores
        extra |= references.extra
        if few := [k for k in ks if f"identity_knor_{k}" not in references.scores]:
            wanted = ", ".join(map(str, few))
            warnings.append(f"controls are measured on {len(controlled)} images, too few for k = {wanted}")
    of_the_set = metrics.of_owner(scores, "set") & set(metric_names(options, tuple(labels or ())[1:]))
    constant = {name: float(scores[name]["value"]) for name in scores if name in of_the_set}
    with doing("figures of every image"):
        rows = {
            image: {"n_images": n}
            | {name: float(column[row]) for name, column in columns.items() if np.isfinite(column[row])}
            | constant
            | ({} if drawn.independent else {"drawn_group": int(drawn.group[row])})
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
        if "map_pre" in columns or captions is not None:
            needed["what neighbours share"] = retrieval.NEAREST + 2
    if said := too_few(needed, n):
        warnings.insert(0, said)
    warnings += not_as_they_must_be(scores, asdict(options))
    return PreservationFigures(rows, summary, tuple(warnings), lists=lists)


OF_PAPER = "no interval: images are each other's neighbours, which the published procedure leaves out; knor_k has one"


def _paper(
    pre: np.ndarray, post: np.ndarray, ks: Sequence[int], options: PreservationOptions, drawn: Drawn
) -> Found:
    columns = {f"paper_knor_{k}": knn.paper_overlap(pre, post, k, options.distance) for k in ks}
    found = {
        name: Score(float(column.mean()), nan, nan, len(pre), None, OF_PAPER)
        for name, column in columns.items()
    }
    return columns, {name: plain(score) for name, score in found.items()}, drawn.noted()


def _against(
    reference: ReferenceVectors, gallery: SearchedGallery, seed: int, device: str
) -> tuple[AgreementWith, tuple[Columns, Scores]]:
    common = gallery.common
    lists = reference.lists(common.pre.shape[1], seed=seed, device=device)
    agreement = AgreementWith.of(lists, gallery.ks, seed=seed, drawn=gallery.drawn)
    return agreement, agreement.gains(agreement.side(common.pre), agreement.side(common.post))


@dataclass(frozen=True, eq=False)
class SampledTokens:
    """Some tokens of some images, and words of the language model to hold them against."""

    rows: Sequence[int]
    """Of the images that have some."""
    sample: TokenSample
    words: Float[np.ndarray, "v d"] | None

    def spread(self, values: Float[np.ndarray, " m"], n: int) -> Float[np.ndarray, " n"]:
        """Values of these images as values of all; NaN for the others."""
        column = np.full(n, np.nan)
        column[list(self.rows)] = values
        return column
