"""dots3 note: packed patches, a norm, blocks of 2x2 merged by a perceptron."""

from connector_bench.connectors.family import Family
from connector_bench.connectors.places import by_grid_thw

DOTS3_NOTE = Family(
    model_types=("dots3_note",),
    connector="patch merger",
    modules=("model.vision_tower.merger",),
    place=by_grid_thw(),
    leading_norm="ln_q",
)

FAMILIES = (DOTS3_NOTE,)
