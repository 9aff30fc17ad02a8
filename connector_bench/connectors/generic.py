"""Finding the connector of a model that nobody declared, by its structure; it says what it assumed."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from connector_bench.connectors import layouts
from connector_bench.connectors.base import UnsupportedModel
from connector_bench.connectors.boxes import fitted
from connector_bench.connectors.family import Batch, Family, Place, Placement
from connector_bench.connectors.places import by_grid_thw, by_image_sizes, pixels_of
from connector_bench.types import Grid, TokenLayout

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
    "layout undeclared: tokens have places where resolution and patch size, or the processor, give their grid",
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


REPORTED = ("image_grid_hws", "spatial_shapes", "tgt_sizes", "target_sizes")
"""What processors call rows and columns of patches, where they report them in raster order."""


def generic_family(model_type: str, module: str, assumptions: tuple[str, ...]) -> Family:
    """A family whose layout `place` reads from what processor and configuration say of a picture's patches."""
    return Family(
        model_types=(model_type,),
        connector="unknown",
        modules=(module,),
        place=place,
        one_at_a_time=True,
        assumptions=(*assumptions, *UNDECLARED),
    )


def place(batch: Batch) -> list[Placement]:
    """Placement of one picture by what is known of its patches; no places where nothing is.

    A grid is known where the processor reports it, and where resolution and patch size give as many patches as the
    connector received. A number of tokens alone says nothing of it.
    """
    pre, post = batch.pre_shapes[0], batch.post_shapes[0]
    n_pre, n_post = math.prod(pre[:-1]), math.prod(post[:-1])
    vision = _vision(batch.config)
    if "image_grid_thw" in batch.inputs and hasattr(vision, "spatial_merge_size"):
        return _if_it_fits(by_grid_thw(), batch, n_pre, n_post)
    if "image_sizes" in batch.inputs and isinstance(getattr(vision, "patch_size", None), int):
        merge = math.isqrt(n_pre // n_post) if n_post else 1
        return _if_it_fits(by_image_sizes(merge), batch, n_pre, n_post)
    n_tiles = pre[0] if len(pre) >= 3 else 1
    for grid, skip in _grids(batch, pre, n_pre) if n_tiles == 1 else ():
        post_grid = _cells(grid, n_post, post)
        return layouts.tiled([[fitted(batch, batch.sizes[0])]], grid, post_grid, n_post, skip_pre=skip)
    return _unplaced(n_pre, n_post)


def _unplaced(n_pre: int, n_post: int) -> list[Placement]:
    rows = layouts.raster((1, n_pre)), layouts.raster((1, n_post))
    return [Placement(TokenLayout((), n_post, n_pre), *rows)]


def _if_it_fits(reported: Place, batch: Batch, n_pre: int, n_post: int) -> list[Placement]:
    """What was reported, where it speaks of as many tokens as there are."""
    try:
        (found,) = reported(batch)
    except ValueError:  # no blocks fit its grid
        return _unplaced(n_pre, n_post)
    fits = (found.layout.n_pre, found.layout.n_post) == (n_pre, n_post)
    return [found] if fits else _unplaced(n_pre, n_post)


def _vision(config: Any) -> Any:
    return getattr(config, "vision_config", config)


def _grids(batch: Batch, pre: tuple[int, ...], n_pre: int) -> Iterator[tuple[Grid, int]]:
    """Grids of patches that something speaks for, the strongest first, with the leading tokens that are none.

    Tokens before the patches (a CLS, registers) are believed in where resolution and patch size leave just as many as
    the configuration has room for.
    """
    if len(pre) == 4:
        yield (pre[1], pre[2]), 0
    for name in REPORTED:
        reported = batch.inputs.get(name)
        if reported is not None and len(reported) == 1 and len(reported[0]) == 2:
            rows, columns = (int(number) for number in reported[0])
            if rows * columns == n_pre:
                yield (rows, columns), 0
    vision = _vision(batch.config)
    pixels, patch = pixels_of(batch), _pair(getattr(vision, "patch_size", None))
    if pixels is None and "pixel_values" not in batch.inputs:
        pixels = _pair(getattr(vision, "image_size", None))  # what a wrapper gave the tower is not known
    if pixels is None or patch is None:
        return
    grid = (pixels[0] // patch[0], pixels[1] // patch[1])
    leading = n_pre - math.prod(grid)
    if leading in (0, 1, 1 + int(getattr(vision, "num_register_tokens", None) or 0)):
        yield grid, leading
    pooled = _cells(grid, n_pre, pre)  # before the connector
    if pooled is not None:
        yield pooled, 0


def _pair(value: Any) -> Grid | None:
    """A size in pixels that a configuration states as one number or as two."""
    if isinstance(value, int):
        return value, value
    if isinstance(value, (list, tuple)) and len(value) == 2:
        return int(value[0]), int(value[1])
    return None


def _cells(pre_grid: Grid, n_post: int, post: tuple[int, ...]) -> Grid | None:
    """The grid of connector tokens where they divide the patches in equal squares; otherwise no place."""
    if len(post) == 4:
        return post[1], post[2]
    if n_post == 0 or math.prod(pre_grid) % n_post:
        return None
    merge = math.isqrt(math.prod(pre_grid) // n_post)
    fits = (
        merge * merge * n_post == math.prod(pre_grid)
        and pre_grid[0] % merge == 0
        and pre_grid[1] % merge == 0
    )
    return layouts.merged(pre_grid, merge) if fits else None
