"""What size an image processor gives pictures, in a few words for the record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from connector_bench.connectors.boxes import side

TILING = ("image_grid_pinpoints", "crop_to_patches", "do_image_splitting", "split_image")
"""Settings of processors that cut large pictures in tiles."""


def resolution_of(image_processor: Any, options: Mapping[str, Any]) -> str | None:
    """`336x336` (height x width), `448x448 tiles`, `longest edge 1540`, `3136 to 1003520 pixels`; None where unsaid.

    `options` are what a call gives beside the pictures; they go before the processor's own settings.
    """

    def setting(name: str) -> Any:
        said = options[name] if options.get(name) is not None else getattr(image_processor, name, None)
        return None if callable(said) else said  # some processors have a method `split_image`

    size = setting("size")
    if setting("do_center_crop") and setting("crop_size"):
        size = setting("crop_size")
    tiles = " tiles" if any(setting(name) for name in TILING) else ""
    tile = setting("max_image_size")
    if isinstance(tile, Mapping) and tiles:
        tiles = f" in tiles of {side(tile, 'longest_edge')}"
    height, width = side(size, "height"), side(size, "width")
    if height and width:
        return f"{height}x{width}{tiles}"
    shortest, longest = side(size, "shortest_edge"), side(size, "longest_edge")
    if shortest and longest and hasattr(image_processor, "temporal_patch_size"):
        return f"{shortest} to {longest} pixels"  # Qwen's processors keep areas under the names of edges
    edges = {"shortest edge": shortest, "longest edge": longest}
    in_words = ", ".join(f"{name} {pixels}" for name, pixels in edges.items() if pixels)
    if in_words:
        return f"{in_words}{tiles}"
    return f"{tile}x{tile}{tiles}" if isinstance(tile, int) else None
