"""Finding the connector of a model that nobody declared, by its structure; it says what it assumed."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from connector_bench.connectors import layouts
from connector_bench.connectors.base import UnsupportedModel
from connector_bench.connectors.boxes import fitted
from connector_bench.connectors.family import Batch, Family, Placement
from connector_bench.connectors.places import by_grid_thw
from connector_bench.types import WHOLE_PICTURE, Box, Grid, Tile, TokenLayout

if TYPE_CHECKING:
    from torch import nn

NAME = re.compile(
    r"^(multi_?modal_(projector|projection)|mm_?proj(ector|ection)?|vision_proj(ector|ection)?|"
    r"visual_proj(ector|ection)?|image_proj(ector|ection)?|language_projection|vision_language_adapter|"
    r"vision_adapter|modality_projection|connector|aligner|merger|patch_merger|resampler|perceiver(_resampler)?|"
    r"abstractor|embed_vision|projector|mlp1)$"
)
"""Last parts of a path that authors give to connectors."""

ELSEWHERE = re.compile(r"audio|speech|language_model|text_model|gen_|generation")
"""Parts of a model in which a module of such a name is no connector of the vision tower."""

OVERRIDE = "set CONNECTOR_BENCH_CONNECTOR='{module: PATH, layout: grid}' to name it"

UNDECLARED = (
    "layout undeclared: tokens lie in raster order (in blocks where the processor reports image_grid_thw)",
    "layout undeclared: a picture of several tiles has no token places",
)
"""What is assumed of the places of tokens where nobody declared them."""


def candidates(model: nn.Module) -> list[str]:
    """Paths of modules that are named like a connector and hold parameters, none inside another."""
    found: list[str] = []
    for path, module in model.named_modules():
        inside = any(path.startswith(f"{outer}.") for outer in found)
        named = NAME.match(path.rsplit(".", 1)[-1]) and not ELSEWHERE.search(path)
        if named and not inside and any(True for _ in module.parameters()):
            found.append(path)
    return found


def family_by_structure(model: nn.Module) -> Family:
    """A family for an unknown model, found by module names.

    Raises:
        UnsupportedModel: no module looks like a connector, or several do; the candidates are listed.
    """
    found = candidates(model)
    kind, model_type = type(model).__name__, getattr(model.config, "model_type", "?")
    if not found:
        children = ", ".join(name for name, _ in model.named_children())
        raise UnsupportedModel(
            f"{kind} ({model_type}) has no module that is named like a connector (children: {children}); "
            f"if it has one, {OVERRIDE}."
        )
    if len(found) > 1:
        raise UnsupportedModel(
            f"{kind} ({model_type}) has several modules that could be its connector: "
            f"{', '.join(found)}; {OVERRIDE}."
        )
    return generic_family(model_type, found[0], (f"the connector is {found[0]}, by its name",))


def generic_family(model_type: str, module: str, assumptions: tuple[str, ...]) -> Family:
    """A family with the layout that `place` reads from shapes alone."""
    return Family(
        model_types=(model_type,),
        connector="unknown",
        modules=(module,),
        place=place,
        one_at_a_time=True,
        assumptions=(*assumptions, *UNDECLARED),
    )


def place(batch: Batch) -> list[Placement]:
    """Placement of one picture, from the shapes at the connector."""
    if "image_grid_thw" in batch.inputs and hasattr(batch.config.vision_config, "spatial_merge_size"):
        return by_grid_thw()(batch)
    pre, post = batch.pre_shapes[0], batch.post_shapes[0]
    n_tiles = pre[0] if len(pre) >= 3 else 1
    n_pre, n_post = math.prod(pre[:-1]) // n_tiles, math.prod(post[:-1]) // n_tiles
    pre_grid, skip = _grid_and_skip(pre, n_pre)
    post_grid = _cells(pre_grid, n_post, post) if n_tiles == 1 else None
    box: Box = fitted(batch, batch.sizes[0]) if n_tiles == 1 else WHOLE_PICTURE
    if pre_grid is None:
        tile = Tile((1, n_pre), None, box)
        layout = TokenLayout((tile,) * n_tiles, n_post * n_tiles)
        return [Placement(layout, layouts.raster((n_tiles, n_pre)), layouts.raster((n_tiles, n_post)))]
    return layouts.tiled([[box] * n_tiles], pre_grid, post_grid, n_post, skip_pre=skip)


def _grid_and_skip(pre: tuple[int, ...], n_pre: int) -> tuple[Grid | None, int]:
    """The patch grid, and the leading tokens to leave out so that the rest is square (one CLS at most)."""
    if len(pre) == 4:
        return (pre[1], pre[2]), 0
    for skip in (0, 1):
        if math.isqrt(n_pre - skip) ** 2 == n_pre - skip:
            return layouts.square(n_pre - skip), skip
    return None, 0


def _cells(pre_grid: Grid | None, n_post: int, post: tuple[int, ...]) -> Grid | None:
    """The grid of connector tokens where they divide the patches in equal squares; otherwise no place."""
    if len(post) == 4:
        return post[1], post[2]
    if pre_grid is None or n_post == 0 or math.prod(pre_grid) % n_post:
        return None
    merge = math.isqrt(math.prod(pre_grid) // n_post)
    fits = (
        merge * merge * n_post == math.prod(pre_grid)
        and pre_grid[0] % merge == 0
        and pre_grid[1] % merge == 0
    )
    return layouts.merged(pre_grid, merge) if fits else None
