"""DeepSeek-OCR 2 and Unlimited OCR: a padded whole and tiles of a larger picture, each behind SAM's encoder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from connector_bench.connectors.family import Batch, Family, Placement
from connector_bench.connectors.views import by_call, deepseek_views

if TYPE_CHECKING:
    from torch import Tensor


def _queried(batch: Batch) -> list[Placement]:
    return by_call(batch, deepseek_views(batch), queries=True)


def _place(batch: Batch) -> list[Placement]:
    return by_call(batch, deepseek_views(batch))


def _queries_alone(tokens: Tensor, given: Tensor) -> Tensor:
    """The queries' part of the sequence, which begins with the patches."""
    return tokens[:, -given.shape[1] :]


DEEPSEEK_OCR2 = Family(
    model_types=("deepseek_ocr2",),
    connector="language model over queries + linear",
    modules=("model.vision_tower.vision_encoder", "model.multi_modal_projector"),
    pre_argument="inputs_embeds",
    between_modules=_queries_alone,
    place=_queried,
    resamples=True,
    dropped="the queries' own embeddings, which follow the patches in the input",
    note="pre are SAM's patches behind its strided convolutions; untrained copies keep the trained queries",
)

UNLIMITED_OCR = Family(
    model_types=("unlimited_ocr",),
    connector="linear",
    modules=("model.multi_modal_projector",),
    place=_place,
    dropped="CLS (before the connector)",
    note="pre is a patch's token of the second tower beside that of SAM, whose strided convolutions lie before both; "
    "newline and separator tokens are added after the connector and are not measured",
)

FAMILIES = (DEEPSEEK_OCR2, UNLIMITED_OCR)
