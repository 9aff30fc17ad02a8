"""What every adapter offers: images in, pairs of token sets out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from connector_bench.types import ConnectorInfo, TokenPair

if TYPE_CHECKING:
    from PIL.Image import Image


class UnsupportedModel(ValueError):
    """The model has no connector that can be measured; the message says why in a sentence."""


class ConnectorAdapter(Protocol):
    """Runs vision tower and connector of one model, never its language model."""

    @property
    def info(self) -> ConnectorInfo:
        """The connector that is measured."""
        ...

    def add_untrained(self, seeds: Sequence[int]) -> str | None:
        """From now on pairs also carry what untrained copies of the connector give, one for each seed.

        Where no such copy can be made or run, nothing changes and the reason is returned; else None.
        """
        ...

    def capture(self, images: Sequence[Image]) -> list[TokenPair]:
        """One batch of RGB pictures through vision tower and connector; one pair per picture, in order."""
        ...
