"""The embedded models: encoder and connector are methods, so nothing has to be hooked."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from connector_bench.connectors.base import ConnectorAdapter, Prepared
from connector_bench.connectors.given import filed_name, said_of_given
from connector_bench.connectors.hooks import Tapped
from connector_bench.connectors.rewriting import Changed, Located, Rewritten, rewriting
from connector_bench.types import ConnectorInfo, Tile, TokenBatch, TokenLayout

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor, nn

    from connector_bench.zoo.model import ZooModel
else:
    Tensor = object

ENCODER_GRID = (14, 14)
D_PRE = 112
LAYOUT_UNDECLARED = "layout undeclared: the connector's tokens are taken to have no place in the picture"
EDITED = "weights of other code: the connector's class was edited after it was trained"


def matches(model: Any) -> bool:
    """Whether a wrapper's model is one of the zoo's, told without importing the zoo."""
    return type(model).__module__ == "connector_bench.zoo.model"


class ZooAdapter(ConnectorAdapter):
    """Runs encoder and connector of a zoo model; its decoder never runs."""

    def __init__(self, model: ZooModel) -> None:
        self._model = model
        self._untrained: list[nn.Module] = []

    def add_untrained(self, seeds: Sequence[int]) -> None:
        """From now on pairs also carry what the same architecture gives at random initialisations."""
        from connector_bench.zoo.model import D_POST
        from connector_bench.zoo.named_connectors import build_connector

        name = self._model.connector_name
        self._untrained = [build_connector(name, D_PRE, D_POST, seed).eval() for seed in seeds]

    def word_embeddings(self, most: int, seed: int) -> np.ndarray | None:
        """The decoder's embeddings of words, without the padding's."""
        from connector_bench.zoo.decoder import PAD_ID

        words = self._model.decoder.words.weight.detach().cpu().numpy()
        order = np.random.default_rng(seed).permutation(np.delete(np.arange(len(words)), PAD_ID))
        return np.asarray(words[order[:most]])

    @cached_property
    def info(self) -> ConnectorInfo:
        """The connector that is measured."""
        state = self._model.connector.state_dict()
        digest = hashlib.sha256()
        for name in sorted(state):
            digest.update(name.encode() + state[name].cpu().numpy().tobytes())
        name = self._model.connector_name
        return ConnectorInfo(
            model=filed_name(self._model, f"connector_zoo/{name}-seed{self._model.seed}"),
            family="connector_zoo",
            connector=name,
            modules=("connector",),
            parameters=self._model.parameters_of_connector,
            dtype="float32",
            weights_sha256=digest.hexdigest(),
            resolution="224x224",
            assumptions=(
                *(() if self._model.layout.declared else (LAYOUT_UNDECLARED,)),
                *((EDITED,) if self._model.edited else ()),
                *said_of_given(self._model),
            ),
        )

    def prepare(self, images: Sequence[tuple[str, Image]]) -> Prepared:
        """The pictures as they are: those that were met before are not encoded again."""
        return as_they_are(images)

    @property
    def preparer(self) -> Callable[[Sequence[tuple[str, Image]]], Prepared]:
        """The same as `prepare`."""
        return as_they_are

    def run(self, prepared: Prepared, *, untrained: bool = True) -> TokenBatch:
        """One batch; of each picture `pre` has 196 rows of 112, `post` m of 128, both in raster order."""
        import torch

        from connector_bench.zoo.encoded import encoded
        from connector_bench.zoo.model import one_by_one

        pre = encoded(self._model, prepared.inputs)
        post = self._model.connect(pre)
        norm = self._leading_norm
        with torch.inference_mode():
            normed = None if norm is None else one_by_one(norm, pre)
            others = [one_by_one(connector, pre) for connector in self._untrained if untrained]
        return TokenBatch(
            prepared.images,
            (self._layout,) * len(pre),
            _end_to_end(pre),
            _end_to_end(post),
            None if normed is None else _end_to_end(normed),
            tuple(_end_to_end(tokens) for tokens in others),
        )

    def located(self, image: Image) -> Located:
        """A picture's tokens; input and output of the connector are nothing else."""
        import numpy as np

        tokens = self.run(self.prepare([("picture", image)]), untrained=False)
        counts = len(tokens.pre), len(tokens.post)
        widths = (tokens.pre.shape[1],), (tokens.post.shape[1],)
        return Located(tokens, np.arange(counts[0]), np.arange(counts[1]), counts, widths)

    def rewriting(self, pictures: Sequence[Rewritten]) -> AbstractContextManager[Changed]:
        """While it lasts, these pictures' tokens are changed as they pass the connector."""
        return rewriting([Tapped((self._model.connector,))], pictures)

    @property
    def _leading_norm(self) -> nn.Module | None:
        """The norm that the connector begins with, where it acts on tokens as they arrive.

        The norm of `pixel_shuffle` acts on cells of four joined tokens, so there is no tap behind it.
        """
        name = self._model.layout.norm
        norm = self._model.connector.get_submodule(name) if name else None
        return norm if getattr(norm, "normalized_shape", None) == (D_PRE,) else None

    @property
    def _layout(self) -> TokenLayout:
        layout = self._model.layout
        return TokenLayout((Tile(ENCODER_GRID, layout.grid),), n_post=layout.tokens)


def as_they_are(images: Sequence[tuple[str, Image]]) -> Prepared:
    """Named pictures, unchanged."""
    return Prepared(tuple(name for name, _ in images), [image for _, image in images])


def _end_to_end(tokens: Float[Tensor, "b n d"]) -> Float[Tensor, "rows d"]:
    """As an ordinary tensor, which training may use."""
    return tokens.flatten(0, 1).clone()
