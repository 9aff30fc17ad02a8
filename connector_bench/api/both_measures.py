"""`measure` and `reconstruct`: what the tasks of a data set report, of any pictures or tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from connector_bench.api.chosen_adapter import adapter_of, adapter_of_tokens
from connector_bench.api.given_pictures import GivenImages, GivenPictures, Labels, tested_and_learnt
from connector_bench.api.measured_pictures import (
    AskedMeasure,
    asked_overlap,
    asked_reconstruction,
    measured,
)
from connector_bench.api.result import Result
from connector_bench.api.spoken import refuse_old_order, require_options
from connector_bench.api.tokens import Tokens
from connector_bench.captured.held_tokens import SeveralSources
from connector_bench.connectors import ConnectorAdapter
from connector_bench.connectors.stated_grid import GivenGrid
from connector_bench.preservation.options import PreservationOptions
from connector_bench.reconstruction.config import ReconstructionConfig
from connector_bench.results.tasks import MEASURES
from connector_bench.spaces.opening import opened_from_python

TRAINING = "training pictures"


def measure(
    model: Any,
    images: GivenImages | None = None,
    processor: Any = None,
    *,
    train: GivenImages | Tokens | None = None,
    grid: GivenGrid = None,
    measures: str | Sequence[str] = MEASURES,
    options: PreservationOptions | None = None,
    probes: ReconstructionConfig | None = None,
    labels: Labels | None = None,
    reference: Any = None,
    batch_size: int = 8,
    name: str | None = None,
) -> Result:
    """Neighbours kept and patches rebuilt, with their controls: the figures of the tasks, key for key.

    >>> import numpy as np, connector_bench as cb
    >>> from connector_bench import zoo
    >>> pictures = [np.random.default_rng(n).integers(0, 255, (40, 40, 3), np.uint8) for n in range(14)]
    >>> result = cb.measure(zoo.load("identity"), pictures, measures=["knn_preservation"],
    ...                     options=cb.PreservationOptions(ks=(5,)))
    >>> result.scores["knor_5"].value
    1.0
    >>> result["knn_preservation"].figures["random_linear_knor_5"] > 0.4
    True

    Probes take minutes to train on a processor; `measures=["knn_preservation"]` takes as long as the pictures take
    to pass. A picture that cannot be decoded, or that the processor refuses, is left out with a warning.

    Args:
        model: as for `capture`, or the tokens that `capture` gave.
        images: as for `capture`; left out where `model` is captured tokens. Identical ones count once.
        processor: as for `capture`.
        train: pictures or tokens that the probes learn from. Unless told, probes learn from four fifths of `images`,
            by a hash of their files, and are tested on one, as in `patch_reconstruction_imagefolder`.
        grid: of bare modules, as for `capture`.
        measures: `knn_preservation`, `patch_reconstruction`, or both.
        options: of `knn_preservation`: neighbourhood sizes, distance, pooling, tap, gallery.
        probes: of `patch_reconstruction`: sizes and schedules of the probes.
        labels: a class for each picture, which adds retrieval, or a mapping from names to such columns; a folder's
            sub-folders unless told.
        reference: an independent space to hold neighbourhoods against (`gain_<k>`): one vector a picture in the given
            order as an array, or a sparse matrix of counts; a file of embeddings; an image encoder's name; or the
            mapping of a task's YAML, `{"encoder": name, "distance": "l2"}`.
        batch_size: pictures that pass together.
        name: under which the result is filed.

    Returns:
        Both measures' scores with intervals, controls beside them, and figures of each picture in the given order.

    Raises:
        ValueError: naming what arrived: no k that the pictures allow, no picture that can be measured, NaN or infinity
            in the features of too many; as for `capture`.
    """
    wanted = [measures] if isinstance(measures, str) else list(measures)
    if not wanted or set(wanted) - set(MEASURES):
        raise ValueError(f"measures is {wanted}; allowed are {', '.join(MEASURES)}")
    require_options(options, PreservationOptions, "options")
    require_options(probes, ReconstructionConfig, "probes")
    if isinstance(model, Tokens):
        others = {"images": images, "processor": processor, "grid": grid, "labels": labels, "name": name}
        if said := [key for key, value in others.items() if value is not None]:
            raise ValueError(
                f"{', '.join(said)} is said when tokens are captured: measure(tokens) takes them as they are"
            )
        tokens, given = model, None
        count, keys, documents_of = len(tokens.documents), tokens.keys(), tokens.documents_of
        adapter = adapter_of_tokens(tokens.source)
    else:
        refuse_old_order("measure", images)
        assert images is not None
        tokens, given = None, GivenPictures.of(images, labels)
        count, keys, documents_of = len(given), given.keys(), given.of_task
        adapter = adapter_of(model, processor, grid, name, given.size_of_first())
    asked: list[AskedMeasure] = []
    if "knn_preservation" in wanted:
        task = "knn_preservation_python"
        asked_for = None if options is None else options.reference
        space = opened_from_python(asked_for if reference is None else reference)
        at_hand = tokens is None or bool(tokens.folder)
        asked.append(
            asked_overlap(
                documents_of(task), options or PreservationOptions(), space, pictures_at_hand=at_hand
            )
        )
    if "patch_reconstruction" in wanted:
        task = "patch_reconstruction_python"
        if train is None:
            tested, learnt = tested_and_learnt(keys)
            documents, training = documents_of(task, tested), documents_of(TRAINING, learnt)
        elif isinstance(train, Tokens):
            if tokens is None:
                raise ValueError(
                    "train is captured tokens and images are pictures; capture these too, or give both so"
                )
            adapter = adapter_of_tokens(SeveralSources((tokens.source, train.source)))
            documents, training = documents_of(task), train.documents_of(TRAINING)
        elif tokens is not None:
            raise ValueError(f"train is {type(train).__name__}; beside captured tokens it is captured tokens")
        else:
            documents = documents_of(task)
            training = GivenPictures.of(train, source=TRAINING).of_task(TRAINING)
        config, at_hand = probes or ReconstructionConfig(), tokens is None or bool(tokens.folder)
        asked.append(asked_reconstruction(documents, training, config, pictures_at_hand=at_hand))
    return measured(
        adapter,
        asked,
        function="measure",
        pictures=count,
        batch_size=batch_size,
        warned=None if tokens is None else tokens.warned,
    )


def reconstruct(
    train: Any,
    test: Any,
    *,
    grid: GivenGrid = None,
    probes: ReconstructionConfig | None = None,
    batch_size: int = 8,
    name: str = "arrays",
) -> Result:
    """How much of the encoder's patches can be rebuilt from the connector's tokens, and where the rest is lost.

    >>> import torch, connector_bench as cb
    >>> pre = torch.randn(100, 16, 8, generator=torch.Generator().manual_seed(0))
    >>> post = pre[..., :6]  # two of eight directions are gone
    >>> small = cb.ReconstructionConfig(mlp_width=16, patch_pairs=1000, curve=False)
    >>> result = cb.reconstruct((pre[:80], post[:80]), (pre[80:], post[80:]), grid=(4, 4), probes=small)
    >>> round(result.scores["lost"].value, 2)
    0.25
    >>> result.loss_maps[0].loss.shape
    (16,)

    Args:
        train: what the probes learn from: the tokens that `capture` gave, or `(pre, post)` as arrays or tensors
            `[images, tokens, width]`, or as lists of one `[tokens, width]` an image.
        test: other images, which the probes are tested on. An image that is in both is not learnt from.
        grid: of arrays: `(rows, columns)` of the encoder's tokens, or both sides' grids; None where nobody knows.
        probes: sizes and schedules of the probes.
        batch_size: images that are scored together.
        name: of the connector, of arrays.

    Returns:
        R2 of each probe, `lost` (what the best one cannot rebuild), controls, intervals, and a loss map an image.

    Raises:
        ValueError: naming what arrived and what is allowed: sides of different counts or ranks, NaN, a grid that does
            not fit, tokens of two connectors, too few images to learn from.
    """
    require_options(probes, ReconstructionConfig, "probes")
    sides = [
        given if isinstance(given, Tokens) else _from_arrays(given, what, grid, name)
        for what, given in (("train", train), ("test", test))
    ]
    learnt, tested = sides
    _require_same_widths(learnt, tested)
    if grid is not None and isinstance(train, Tokens) and isinstance(test, Tokens):
        raise ValueError("grid= is for arrays; captured tokens have their layout")
    adapter: ConnectorAdapter = adapter_of_tokens(SeveralSources((tested.source, learnt.source)))
    asked = asked_reconstruction(
        tested.documents_of("patch_reconstruction_python"),
        learnt.documents_of(TRAINING),
        probes or ReconstructionConfig(),
        pictures_at_hand=bool(tested.folder),
    )
    return measured(
        adapter, [asked], function="reconstruct", pictures=len(tested.documents), batch_size=batch_size
    )


def _require_same_widths(learnt: Tokens, tested: Tokens) -> None:
    """ValueError where a side has tokens of another width in training than in the test."""
    first = [one.source.tokens(one.images[:1], False) for one in (learnt, tested) if len(one)]
    for side in ("pre", "post") if len(first) == 2 else ():
        train, test = (getattr(one, side).shape[1] for one in first)
        if train != test:
            raise ValueError(f"tokens of {side} are {train} wide in train and {test} in test")


def _from_arrays(given: Any, what: str, grid: GivenGrid, name: str) -> Tokens:
    if not isinstance(given, (tuple, list)) or len(given) != 2:
        arrived = f"{len(given)} parts" if isinstance(given, (tuple, list)) else type(given).__name__
        raise ValueError(f"{what} is {arrived}; allowed are captured tokens and (pre, post)")
    return Tokens.of(*given, grid=grid, name=name)
