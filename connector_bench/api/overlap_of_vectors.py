"""`knn_preservation`: how far two sets of image vectors agree on each image's nearest neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from jaxtyping import Shaped

from connector_bench.api.measured_pictures import figures_of, now, plain
from connector_bench.api.result import MeasuredPart, Result
from connector_bench.api.spoken import require_name, say
from connector_bench.api.tokens import Tokens, hash_of, hashed
from connector_bench.api.vectors import tensor_of, vectors
from connector_bench.connectors.execution import require_device
from connector_bench.environment import environment
from connector_bench.metrics import reported
from connector_bench.pictures import images_fingerprint
from connector_bench.preservation import knn
from connector_bench.preservation.drawn_together import Drawn
from connector_bench.preservation.neighbours.space import as_vectors
from connector_bench.preservation.overlap import allowed_ks, too_few
from connector_bench.preservation.retrieval import classes_of
from connector_bench.spaces.opening import as_reference


def knn_preservation(
    pre: Any,
    post: Any = None,
    *,
    ks: Sequence[int] = knn.KS,
    distance: str = "l2",
    seed: int = 0,
    labels: Shaped[np.ndarray, " n"] | Sequence[object] | None = None,
    clusters: Shaped[np.ndarray, " n"] | Sequence[object] | None = None,
    drawn_together: Shaped[np.ndarray, " n"] | Sequence[object] | None = None,
    reference: Any = None,
    confidence: float = 0.95,
    device: str = "cpu",
    names: Sequence[str] | None = None,
    name: str = "arrays",
) -> Result:
    """How many of an image's k nearest neighbours before a connector are among its k nearest after it.

    >>> import torch, connector_bench as cb
    >>> pre = torch.randn(100, 64, generator=torch.Generator().manual_seed(0)).bfloat16()
    >>> cb.knn_preservation(pre, pre[:, :48], ks=(10,))
    Result(arrays, knor_10 0.620 ±.042, n=100)

    Args:
        pre: one vector an image, `[images, width]`, or tokens, `[images, tokens, width]` or a list of `[tokens, width]`
            of unequal length, which are mean-pooled. Arrays and tensors of any precision and device. Or what `capture`
            gives, whose both sides are taken.
        post: the same images after the connector, of any width.
        ks: neighbourhood sizes; those that the number of images does not allow are left out with a warning.
        distance: `l2`, `cosine` or `l2_standardized`, on both sides.
        seed: of whatever is drawn for the intervals.
        labels: a class for each image; adds retrieval of images of the same class.
        clusters: a group for each image (near-duplicates, frames of a video) to be resampled together. The interval
            then holds the gallery fixed; without clusters it is for galleries of as many other images.
        drawn_together: what each image was drawn with, such as the object it is a view of (None: nothing). Every
            interval is then for galleries of as many other objects, and `compare` pairs halves of the objects.
        reference: vectors of the same images in an independent space, `[images, width]`, held against each other by
            cosine; or a sparse matrix of counts of what is in each. Adds `gain_<k>`, with a 95 % interval for other
            galleries whatever the clusters and the confidence.
        confidence: of the intervals.
        device: where the search runs: `cpu`, `torch-cpu`, `cuda` or `cuda:1`.
        names: what tells images apart where results are compared; a hash of each vector before unless told.
        name: of the connector, under which the result is filed.

    Returns:
        `knor_<k>` and `knor_adj_<k>` (chance taken off) with intervals, and of each image. Controls and geometry are
        `measure`'s.

    Raises:
        TypeError: a name that is no text.
        ValueError: naming what arrived: no k that the images allow, sides of different numbers of images, the wrong
            rank, NaN or infinity, an unknown distance, a device that is not here, a confidence outside 0..1.
    """
    require_name(name)
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}; it lies between 0 and 1, such as 0.95")
    if (device := str(device)) != "cpu":
        require_device(device.removeprefix("torch-"), "device")
    if isinstance(pre, Tokens):
        if post is not None:
            raise ValueError("captured tokens hold both sides: knn_preservation(tokens), without post")
        pre, post, names = pre.pre, pre.post, names or pre.images
    elif post is None:
        raise ValueError("post is missing: the same images after the connector")
    sides = vectors(pre, "pre"), vectors(post, "post")
    n = len(sides[0])
    if len(sides[1]) != n:
        raise ValueError(f"pre and post hold the same images, got {n} and {len(sides[1])}")
    if clusters is not None and drawn_together is not None:
        raise ValueError(
            "clusters hold the gallery fixed, drawn_together draws other galleries: give one of the two"
        )
    drawn = {"name": names, "label": labels, "cluster": clusters, "drawn_together": drawn_together}
    for what, given in drawn.items():
        if given is not None and len(given) != n:
            raise ValueError(f"one {what} an image: got {len(given)} and {n} images")
    for side, what in zip(sides, ("pre", "post"), strict=True):
        as_vectors(side, what)
    allowed = allowed_ks(ks, n)
    said = [line for line in [too_few({f"k = {k}": k + 2 for k in ks}, n)] if line]
    if labels is not None:
        try:
            classes_of(list(labels))
        except ValueError as error:
            said.append(f"no recall and map: {error}")
            labels = None
    space = None if reference is None else as_reference(reference)
    if space is not None and len(space) != n:
        raise ValueError(f"reference holds the same images, got {len(space)} vectors and {n} images")
    together = Drawn.alone(n) if drawn_together is None else Drawn.together(list(drawn_together))
    found = knn.knn_preservation(
        *sides,
        reference=space,
        ks=allowed,
        distance=distance,
        seed=seed,
        labels=None if labels is None else np.asarray(labels),
        clusters=None if clusters is None else np.asarray(clusters),
        drawn=together,
        confidence=confidence,
        device=device,
    )
    say(said)
    images = _different([hashed(text) for text in names] if names is not None else _hashes(sides[0]))
    scores: dict[str, Any] = {key: asdict(score) for key, score in found.scores.items()}
    for k, gaps in found.halving_gaps.items():
        scores[f"knor_{k}"]["halving_gaps"] = [round(float(gap), 6) for gap in gaps]
    columns = {f"knor_{k}": values for k, values in found.overlap.items()}
    columns |= {f"knor_adj_{k}": np.asarray(knn.chance_corrected(v, k, n)) for k, v in found.overlap.items()}
    if found.gained is not None:
        columns |= found.gained[0]
        scores |= found.gained[1]
    if found.retrieval is not None:
        columns |= found.retrieval.columns()
        scores |= {key: asdict(score) for key, score in found.retrieval.scores.items()}
    answers = {
        row: {"image": image, "n_images": n}
        | {key: float(column[row]) for key, column in columns.items() if np.isfinite(column[row])}
        for row, image in enumerate(images)
    }
    record = {
        "measure": "knn_preservation",
        **environment(),
        "options": {
            **{"ks": list(ks), "distance": distance, "pooling": "mean", "seed": seed},
            **{
                "confidence": confidence,
                "clusters": None if clusters is None else "given",
                "drawn_together": None if drawn_together is None else "given",
                "source": "arrays",
                "reference": None if space is None else "given vectors",
            },
        },
        "n_images": n,
        "images_sha256": images_fingerprint(images),
        "pre_width": int(sides[0].shape[1]),
        "post_width": int(sides[1].shape[1]),
        "scores": scores,
        **together.noted(),
    }
    better = reported("knn_preservation", ks=allowed, reference=space is not None)
    figures, stderrs = figures_of(better, answers, record, of_the_set=set())
    part = MeasuredPart("knn_preservation", plain(record), figures, stderrs, better, answers)
    return Result(name, "knn_preservation", n, (part,), now(), tuple(said))


def _hashes(side: np.ndarray) -> list[str]:
    return [hash_of(row) for row in tensor_of(side)]


def _different(names: Sequence[str]) -> list[str]:
    """The names, of rows that share one each its own: rows are images, also where they are equal."""
    seen: dict[str, int] = {}
    found = []
    for name in names:
        seen[name] = seen.get(name, -1) + 1
        found.append(name if seen[name] == 0 else hashed(f"{name} {seen[name]}"))
    return found
