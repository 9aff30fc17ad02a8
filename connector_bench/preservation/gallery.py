"""A gallery of a fixed size out of a larger set, so that sets and models can be compared at the same N."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable


def draw(images: Iterable[str], size: int, seed: int = 0) -> set[str]:
    """The `size` images whose SHA-256 of seed and name is smallest: a draw that hangs on nothing but the images.

    Neither their order nor the number of processes matters, and of two sets that share images, the same ones come
    first.

    Raises:
        ValueError: fewer different images than `size`.
    """
    names = set(images)
    if len(names) < size:
        raise ValueError(f"a gallery of {size} needs as many different images, got {len(names)}")
    return set(sorted(names, key=lambda name: hashlib.sha256(f"{seed} {name}".encode()).digest())[:size])
