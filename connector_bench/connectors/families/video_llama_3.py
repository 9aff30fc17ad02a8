"""VideoLLaMA 3: packed patches of any size, a bilinear shrinking of each block in the tower, then a perceptron."""

from __future__ import annotations

from connector_bench.connectors.family import Batch, Family, Placement
from connector_bench.connectors.layouts import packed
from connector_bench.connectors.places import packed_grids


def _place(batch: Batch) -> list[Placement]:
    """Blocks are as large as the image processor says; pictures have blocks of one patch unless it is told."""
    (merge,) = {int(size) for size in batch.inputs["image_merge_sizes"]}
    return packed(packed_grids(batch), merge, block_order=True)


VIDEO_LLAMA_3 = Family(
    model_types=("video_llama_3",),
    connector="bilinear shrinking + mlp",
    modules=("model.projector",),
    pre_output_of="model.vision_model.post_layernorm",
    place=_place,
    note="the tower shrinks blocks of patches to one token before the module, which is measured with it",
)

FAMILIES = (VIDEO_LLAMA_3,)
