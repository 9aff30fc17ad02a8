"""What every adapter offers: images in, pairs of token sets out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from connector_bench.types import ConnectorInfo, TokenBatch, TokenPair

if TYPE_CHECKING:
    import numpy as np
    import torch
    from PIL.Image import Image

    from connector_bench.connectors.rewriting import Changed, Located, Rewritten


class UnsupportedModel(ValueError):
    """The model has no connector that can be measured; the message says why in a sentence."""


@dataclass(frozen=True)
class Prepared:
    """Pictures of one batch as the model takes them."""

    images: tuple[str, ...]
    """Their names."""
    inputs: Any
    """What the adapter that prepared them makes of it."""


class ConnectorAdapter(ABC):
    """Runs vision tower and connector of one model, never its language model."""

    prepares_ahead = True
    """Whether `prepare` may be called in other threads while the model runs."""

    needs_pictures = True
    """Whether `prepare` looks at the pictures; else names are enough, and none is decoded for it."""

    own_change: Mapping[str, Any] | None = None
    """How much precision and size of batches alone change the figures of this model, where that was measured."""

    token_counts: Mapping[int, int] = {}
    """Encoder tokens by connector tokens of pictures that have passed, where their places are a user's word."""

    @property
    def place_remarks(self) -> list[str]:
        """What a caller from Python should be told of the places of the tokens that have passed."""
        return []

    @property
    def preparer(self) -> Callable[[Sequence[tuple[str, Image]]], Prepared] | None:
        """What `prepare` does as far as it needs no model, for other processes to do; None where all of it does."""
        return None

    @property
    def device(self) -> torch.device:
        """Where the model takes its inputs."""
        import torch

        return torch.device("cpu")

    @property
    @abstractmethod
    def info(self) -> ConnectorInfo:
        """The connector that is measured."""

    @property
    def claiming(self) -> ConnectorAdapter:
        """An adapter of the same model that hands out the places its family claims, also where they are refuted."""
        return self

    def word_embeddings(self, most: int, seed: int) -> np.ndarray | None:
        """What the language model reads words as: vectors `[words, width]` of at most so many, drawn by a seed.

        None where the adapter has none at hand. The language model does not run.
        """
        return None

    @abstractmethod
    def add_untrained(self, seeds: Sequence[int]) -> str | None:
        """From now on `run` can also give what untrained copies of the connector make, one for each seed.

        Where no such copy can be made or run, nothing changes and the reason is returned; else None.
        """

    @abstractmethod
    def prepare(self, images: Sequence[tuple[str, Image]]) -> Prepared:
        """Named pictures as model inputs, on the CPU, in the model's precision. ValueError where one is not RGB."""

    @abstractmethod
    def run(self, prepared: Prepared, *, untrained: bool = True) -> TokenBatch:
        """One batch through vision tower and connector, and through the untrained copies where they are wanted.

        Raises:
            ValueError: tokens and layout do not fit each other.
        """

    def located(self, image: Image) -> Located:
        """A picture's tokens, and where they stand in what the connector's modules take and give.

        Raises what `prepare` and `run` raise, and UnsupportedModel where nothing is known of modules.
        """
        raise UnsupportedModel("this model's tokens were captured earlier: there is no connector to change")

    def rewriting(self, pictures: Sequence[Rewritten]) -> AbstractContextManager[Changed]:
        """While it lasts, these pictures' tokens are changed as they pass the connector; see `rewriting`."""
        raise UnsupportedModel("this model's tokens were captured earlier: there is no connector to change")

    def capture(self, images: Sequence[Image]) -> list[TokenPair]:
        """RGB pictures in one batch: one pair a picture, fp32 on the CPU, in order. Raises what the others raise."""
        if not images:
            return []
        named = [(str(number), image) for number, image in enumerate(images)]
        return self.run(self.prepare(named)).pairs()
