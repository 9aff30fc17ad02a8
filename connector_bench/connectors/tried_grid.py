"""What planted patches say of the grid that a user states for bare modules, and what is to be said of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from connector_bench.connectors.base import ConnectorAdapter
from connector_bench.connectors.coloured import coloured_picture
from connector_bench.connectors.place_check import CELLS, CELLS_IN_DOUBT, PASSED
from connector_bench.connectors.planted import Side, planted_patches
from connector_bench.connectors.stated_grid import StatedGrid
from connector_bench.pictures import reason
from connector_bench.protocol import PLACES_NOT_KNOWN
from connector_bench.types import WHOLE_PICTURE, Box, TokenLayout

FOLLOWS = "no loss maps, no probes per cell: an attention probe reads the tokens as a set without places"


@dataclass(frozen=True)
class TriedGrid:
    """A stated grid, and for how many tokens of the connector it may be used."""

    grid: StatedGrid
    known: bool
    phrase: str
    found: float | None = None
    assumptions: tuple[str, ...] = ()
    counts: Collection[int] | None = None
    """Numbers of connector tokens that were tried and found; None where nothing could be tried, and any will do."""
    found_post: float | None = None
    """Share of planted patches behind the connector, where these were too few."""

    def layout(self, n_pre: int, n_post: int, box: Box = WHOLE_PICTURE) -> TokenLayout:
        """The layout of a picture, with the places that are known. ValueError for grids of another number of tokens."""
        layout = self.grid.layout(n_pre, n_post, box, merges=True)
        if not self.known:
            return layout.without_places()
        if self.counts is None or n_post in self.counts:
            return layout
        return self.grid.without_post().layout(n_pre, n_post, box)

    def remarks(self, arrived: Mapping[int, int]) -> list[str]:
        """One sentence where a grid was stated and does not hold; `arrived` has encoder tokens by connector tokens."""
        grid = self.grid
        if grid.pre is None or not arrived:
            return []
        if not self.known:
            return [
                f"{grid.spoken} does not hold: of the encoder's {grid.pre[0] * grid.pre[1]} tokens a changed patch "
                f"changed the one at its place most in {_percent(self.found)} of the tries, {_percent(PASSED)} are "
                f"needed: {FOLLOWS}"
            ]
        without = sorted(post for post, pre in arrived.items() if not self.layout(pre, post).has_places)
        if not without or (grid.post_is_said and grid.post is None):
            return []
        numbers = str(without[0]) if len(without) == 1 else f"{without[0]} to {without[-1]}"
        return [
            f"{grid.spoken} does not hold behind the connector, which made {numbers} tokens of "
            f"{grid.pre[0] * grid.pre[1]}{self._why(without, arrived)}; they are taken to have no place: {FOLLOWS}; "
            f"grid=({grid.pre}, None) says that they have none, grid=({grid.pre}, (rows, columns)) where they lie"
        ]

    def _why(self, without: Collection[int], arrived: Mapping[int, int]) -> str:
        if self.found_post is not None:
            return (
                f": a changed patch changed the token at its place most in {_percent(self.found_post)} of the tries, "
                f"{_percent(PASSED)} are needed"
            )
        could = [n for n in without if self.grid.layout(arrived[n], n, merges=True).has_places]
        if could:
            return f": no trial could show where {could[0]} of them lie"
        return ", neither as many nor r x r times fewer"


def tried(claiming: Callable[[], ConnectorAdapter], grid: StatedGrid, size: tuple[int, int]) -> TriedGrid:
    """Try the grid on a picture of this size, and on a square one where that does not show every patch.

    What `claiming` makes hands out what the grid says. Where the connector makes more tokens of one of the trial's
    pictures than of another, the trial says nothing of where they lie.
    """
    if grid.pre is None:
        return TriedGrid(grid, False, f"{PLACES_NOT_KNOWN}: no grid was given")
    shares: dict[Side, float] = {}
    counts: dict[int, float] = {}
    why = ""
    for width, height in dict.fromkeys((size, (min(size), min(size)))):
        adapter = claiming()
        try:
            layout = adapter.capture([coloured_picture(width, height)])[0].layout
            sides: tuple[Side, ...] = ("pre", "post") if layout.has_places else ("pre",)
            for side in sides:
                share = _share(adapter, side, (width, height))
                if side == "post" and len(adapter.token_counts) > 1:
                    continue
                if share is not None:
                    shares[side] = max(share, shares.get(side, 0.0))
                if side == "post":
                    shown = PASSED if share is None else share
                    counts[layout.n_post] = max(shown, counts.get(layout.n_post, 0.0))
        except Exception as error:  # whatever stops the model also stops the run, which says so
            why = f" ({reason(error)})"
        if len(shares) > 0 and min(shares.values()) >= PASSED:
            break
    if "pre" not in shares:
        return TriedGrid(grid, True, f"as stated; planted patch not tried{why}")
    found = min(shares.values())
    phrase = f"planted patch found in {_percent(found)}"
    if shares["pre"] < PASSED:
        return TriedGrid(grid, False, f"{PLACES_NOT_KNOWN}: {phrase}", found)
    if shares.get("post", 1.0) >= PASSED:
        passed = {count for count, share in counts.items() if share >= PASSED}
        return TriedGrid(grid, True, phrase, found, counts=passed)
    said = f"the connector's tokens are taken to have no place in the picture: {phrase} of them"
    before = f"planted patch found in {_percent(shares['pre'])} before"
    return TriedGrid(grid, True, before, shares["pre"], (said,), (), shares["post"])


def _share(claiming: ConnectorAdapter, side: Side, size: tuple[int, int]) -> float | None:
    """Share of planted patches found, of more of them where one of the first was not; None where none changed."""
    share = None
    for limit in (CELLS, CELLS_IN_DOUBT):
        result = planted_patches(claiming, coloured_picture(*size), side, limit=limit)
        share = result.share if result.cells else None
        if result.hits == result.cells:
            break
    return share


def _percent(share: float | None) -> str:
    return f"{share or 0.0:.0%}".replace("%", " %")
