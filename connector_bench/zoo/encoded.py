"""The encoder's tokens of pictures met before in this process, so that four questions about a scene encode it once.

The encoder is frozen and the same for the whole zoo, so one memory serves all models and all tasks of a run.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from jaxtyping import Float

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from connector_bench.zoo.model import ZooModel
else:
    Tensor = object

CAPACITY = 8192
"""Pictures kept, the least recently used go first: 88 kB each. All tasks of the zoo show 6,448, so that a run of many
models encodes each once; with fewer kept than are shown, the first would be gone whenever they come again."""

_known: OrderedDict[bytes, Tensor] = OrderedDict()


def encoded(model: ZooModel, images: Sequence[Image]) -> Float[Tensor, "b 196 112"]:
    """What `model.encode` gives for these pictures, computing only what is not known yet."""
    import torch

    keys = [
        hashlib.sha256(repr(image.size).encode() + image.convert("RGB").tobytes()).digest()
        for image in images
    ]
    missing = {key: image for key, image in zip(keys, images, strict=True) if key not in _known}
    found = dict(zip(missing, model.encode(list(missing.values())), strict=True)) if missing else {}
    tokens = []
    for key in keys:
        if key in _known:
            _known.move_to_end(key)
        else:
            _known[key] = found[key].clone()
        tokens.append(_known[key])
    while len(_known) > CAPACITY:
        _known.popitem(last=False)
    return torch.stack(tokens)
