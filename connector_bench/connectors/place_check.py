"""Whether a model's tokens lie where its family says: planted patches, tried once before the model is measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from loguru import logger

from connector_bench.connectors.coloured import coloured_picture
from connector_bench.connectors.planted import Planted, planted_patches, sides_of
from connector_bench.pictures import reason
from connector_bench.protocol import PLACES_NOT_KNOWN
from connector_bench.types import TokenBatch, TokenLayout

if TYPE_CHECKING:
    from connector_bench.connectors.base import ConnectorAdapter

PASSED = 0.9
"""Share of planted patches that must be found: trained towers have a few tokens that move with everything."""
SHAPES = ((336, 336), (448, 224), (280, 448))
"""Width and height of the pictures: square, wide and tall."""
PHOTOGRAPH = (1280, 960)
"""One more, of which processors that cut large pictures in tiles make more tiles."""
CELLS, CELLS_IN_DOUBT = 8, 40
"""Patches that are planted a picture and side of the connector; as many where one of the first was not found."""
DECLARED_SHAPE, DECLARED_CELLS = (448, 224), 4
"""What is tried of a declared family; all else follows where one patch is not found."""


@dataclass(frozen=True)
class PlaceCheck:
    """What planted patches say of the places that a family claims."""

    known: bool
    """Whether places are handed out; otherwise every layout is without them."""
    found: float | None
    """Share of the patches that were found, on the side and picture with the fewest; None where none was planted."""
    why: str = ""
    """Why places are not known, or were not tried, where it is not the share."""

    @property
    def phrase(self) -> str:
        """For record, report and board."""
        said = self.why or f"planted patch found in {self.found or 0.0:.0%}".replace("%", " %")
        return said if self.known else f"{PLACES_NOT_KNOWN}: {said}"

    def applied(self, batch: TokenBatch) -> TokenBatch:
        """The batch with the places that are known.

        Raises:
            ValueError: the model's places are known, and those of one of these pictures are not: a run would mix them.
        """
        if not self.known:
            return replace(batch, layouts=tuple(layout.without_places() for layout in batch.layouts))
        if any(layout.unplaced for layout in batch.layouts):
            raise ValueError("nothing says how the tokens of a picture of this shape lie")
        return batch


def check_places(claiming: ConnectorAdapter, name: str, declared: bool) -> PlaceCheck:
    """Try the places that an adapter claims, and warn where they are not known.

    A declared family is tried on one picture and a few patches, and in full where one is not found; any other on
    three shapes of picture. Each side of the connector on each picture must find `PASSED` of its patches.

    Args:
        claiming: an adapter that hands out what its family claims.
        name: of the model, for the warning.
        declared: whether the family is one of this package.
    """
    try:
        found = _declared(claiming) if declared else None
        check = found or _in_full(claiming, declared)
    except Exception as error:  # whatever stops the model also stops the run, which says so
        why = f"planted patch not tried ({reason(error)})"
        return PlaceCheck(declared, None, f"declared; {why}" if declared else why)
    if not check.known:
        hint = "this version of transformers may order tokens anew; " if declared else ""
        logger.warning(
            f"{name}: places of tokens are {check.phrase}; {hint}no loss maps, no probes per cell: "
            "an attention probe reads the tokens as a set without places"
        )
    return check


def _declared(claiming: ConnectorAdapter) -> PlaceCheck | None:
    """What a few patches on one picture say, where all are found."""
    results = _on(claiming, DECLARED_SHAPE, (DECLARED_CELLS,), _layout(claiming, DECLARED_SHAPE))
    if results and all(result.hits == result.cells for result in results):
        return _verdict(results, declared=True)
    return None


def _in_full(claiming: ConnectorAdapter, declared: bool) -> PlaceCheck:
    results: list[Planted] = []
    tiles: list[int] = []
    for shape in (*SHAPES, PHOTOGRAPH):
        layout = _layout(claiming, shape)
        if not sides_of(layout):
            return PlaceCheck(False, None, "nothing says how tokens lie")
        if shape in SHAPES:
            results += _on(claiming, shape, (CELLS, CELLS_IN_DOUBT), layout)
        elif len(layout.tiles) > max(tiles):
            results += _on(claiming, shape, (DECLARED_CELLS, CELLS_IN_DOUBT), layout)
        tiles.append(len(layout.tiles))
    return _verdict(results, declared)


def _layout(claiming: ConnectorAdapter, shape: tuple[int, int]) -> TokenLayout:
    return claiming.capture([coloured_picture(*shape)])[0].layout


def _on(
    claiming: ConnectorAdapter, shape: tuple[int, int], limits: Sequence[int], layout: TokenLayout
) -> list[Planted]:
    """Results of one picture by side, with more patches where one was not found."""
    picture, results = coloured_picture(*shape), []
    for side in sides_of(layout):
        for limit in limits:
            result = planted_patches(claiming, picture, side, limit=limit)
            if result.hits == result.cells:
                break
        results.append(result)
    return results


def _verdict(results: Sequence[Planted], declared: bool) -> PlaceCheck:
    shares = [result.share for result in results if result.cells]
    if not shares:
        why = "no planted patch changed a token"
        return PlaceCheck(declared, None, f"declared; {why}" if declared else why)
    return PlaceCheck(min(shares) >= PASSED, min(shares))
