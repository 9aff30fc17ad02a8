"""Granite Docling: pixel shuffle, a perceptron between norms, and deepstack mergers in one module; thumbnail last."""

from __future__ import annotations

from connector_bench.connectors import layouts
from connector_bench.connectors.families.idefics3 import reported_grid
from connector_bench.connectors.family import Batch, Family, Placement
from connector_bench.connectors.places import check_tiles, thumbnail_last, tokens_of


def _place(batch: Batch) -> list[Placement]:
    boxes = thumbnail_last(reported_grid)(batch)
    check_tiles(batch, boxes)
    n_post = batch.post_shapes[0][0] // batch.pre_shapes[0][0]
    return layouts.tiled(boxes, tokens_of(batch.pre_shapes[0]), layouts.square(n_post), n_post)


GRANITE_DOCLING = Family(
    model_types=("granite_docling",),
    connector="pixel shuffle + mlp",
    modules=("model.vision_model.connector",),
    joined=True,
    place=_place,
    nested=True,
    note="the last layer's tokens, then those of each deepstack layer, joined on the last dimension on both sides; "
    "the module holds a coarse and a fine path, of which the processor chooses one",
)

FAMILIES = (GRANITE_DOCLING,)
