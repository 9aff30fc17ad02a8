"""The cut-outs: names, categories and pictures of everyday objects, each in two drawings.

The pictures are Microsoft's Fluent Emoji (MIT; see ``assets/ATTRIBUTION.md``). ``3d`` is the drawing scenes
are trained on; ``flat`` is another drawing of the same object that training never shows.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Literal

from PIL import Image

ASSETS = Path(__file__).parent / "assets"
Drawing = Literal["3d", "flat"]

PLURALS: dict[str, str] = {
    "mammal": "mammals",
    "bird": "birds",
    "sea animal": "sea animals",
    "small animal": "small animals",
    "fruit": "fruits",
    "vegetable": "vegetables",
    "savoury food": "savoury foods",
    "sweet": "sweets",
    "drink": "drinks",
    "vehicle": "vehicles",
    "tool": "tools",
    "garment": "garments",
    "instrument": "instruments",
    "sports item": "sports items",
    "plant": "plants",
    "household item": "household items",
}


@cache
def read_catalogue() -> dict[str, tuple[str, ...]]:
    """Category -> names of its objects, in the committed order. Every name belongs to one category."""
    table = json.loads((ASSETS / "objects.json").read_text(encoding="utf-8"))
    return {category: tuple(names) for category, names in table.items()}


@cache
def categories_by_name() -> dict[str, str]:
    """Object name -> category."""
    return {name: category for category, names in read_catalogue().items() for name in names}


@cache
def load_sprite(name: str, drawing: Drawing) -> Image.Image:
    """One cut-out as 72 x 72 RGBA. The image is shared: copy before changing it.

    Raises:
        ValueError: unknown object or drawing.
    """
    if name not in categories_by_name() or drawing not in ("3d", "flat"):
        raise ValueError(f"no cut-out {name!r} in drawing {drawing!r}; drawings are '3d' and 'flat'")
    path = ASSETS / "sprites" / drawing / f"{name.replace(' ', '_')}.webp"
    return Image.open(path).convert("RGBA")
