"""GOT-OCR 2.0: two strided convolutions and one linear layer over the feature map of SAM's encoder."""

from connector_bench.connectors.family import Family
from connector_bench.connectors.places import thumbnail_last, tiles
from connector_bench.connectors.tilings import cropped_grid

GOT_OCR2 = Family(
    model_types=("got_ocr2",),
    connector="strided convolutions + linear",
    modules=("model.multi_modal_projector",),
    place=tiles(thumbnail_last(cropped_grid)),
    channels_first=True,
)

FAMILIES = (GOT_OCR2,)
