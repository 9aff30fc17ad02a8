"""The version of what is measured, and the places where it is read off: the same words in every task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PROTOCOL_VERSION = "2"
"""Raised whenever the same model on the same images would get another figure. Versions never merge."""

CONTROL_TRAINING_IMAGES, CONTROL_TEST_IMAGES = 2000, 1000
"""How many images controls learn from, and are measured on, at most; see `for_controls`."""

TAPS = ("pre", "pre_normed")
"""Where the encoder's side is read: at the connector's input, or behind its leading norm."""

PROTOCOLS = ("connector_bench", "paper")
"""Whose procedure is followed: ours, or the published one, whose figures have names of their own."""

OLD_NAMES = {"target": "tap", "shuffled_pairs": "control_pairs"}
OLD_VALUES = {("protocol", "default"): "connector_bench", ("reservoir_dtype", "float32"): "auto"}
"""How `patch_reconstruction` once spelled the same options."""


def respelled(options: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Options in today's spelling, and what was spelled otherwise, as `old -> new`."""
    found: dict[str, Any] = {}
    changes = []
    for old, given in options.items():
        name = OLD_NAMES.get(old, old)
        value = OLD_VALUES.get((name, given), given) if isinstance(given, str) else given
        if name == "protocol_version":
            value = str(given)
        if (name, value) != (old, given):
            changes.append(f"{old}: {given} -> {name}: {value}")
        found[name] = value
    return found, changes


PLACES_NOT_KNOWN = "not known"
"""How `places` of a recorded connector begins where nobody knows which part of the picture a token is of."""
