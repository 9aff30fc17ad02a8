"""Which images may be looked at for what: stable hashes, folds by image, and the ledger that refuses a leak.

Everything is decided by a hash of the image's name, so that it depends on neither order, batch nor process.
The name has to identify the *picture* across data sets (a content hash, or `coco/000000391895`): COCO
train2017 contains most of the Karpathy test images, and only equal names can be told to be equal pictures.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Iterable, Iterator
from typing import Literal, get_args

import numpy as np

from connector_bench.stats.floors import LEAST_VALIDATION_IMAGES

Fold = Literal["validation", "quarter", "half", "full"]
"""`validation` chooses penalties and stops training; the other three together are the training images."""

FOLDS: tuple[Fold, ...] = get_args(Fold)
TRAINING_FOLDS: tuple[Fold, ...] = ("quarter", "half", "full")
"""Nested budgets: the first is 1/4 of the training images, the first two are 1/2, all three everything."""

FRACTIONS: dict[Fold, float] = {"quarter": 0.25, "half": 0.5, "full": 1.0}


class LeakError(ValueError):
    """An image was about to be used both to fit and to test."""


def image_key(image_id: str, salt: str = "") -> int:
    """A 64-bit hash of an image's name: the same on every machine and in every process (BLAKE2b)."""
    if not image_id:
        raise ValueError("an image needs a name that is not empty: folds and leak checks go by it")
    digest = hashlib.blake2b(image_id.encode(), digest_size=8, key=salt.encode()[:64])
    return int.from_bytes(digest.digest(), "little")


def unit_keys(image_id: str, count: int, salt: str = "") -> np.ndarray:
    """One 64-bit key for each of an image's `count` patches or tokens, `[count]` of uint64.

    SplitMix64 (Steele, Lea, Flood 2014) of the image's hash and the index, hence uniform and reproducible.
    """
    with np.errstate(over="ignore"):
        index = np.arange(1, count + 1, dtype=np.uint64)
        state = np.uint64(image_key(image_id, salt)) + index * np.uint64(0x9E3779B97F4A7C15)
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return state ^ (state >> np.uint64(31))


def fold_of(image_id: str, validation: float) -> Fold:
    """The fold of an image; `validation` is the share of images kept for choosing and stopping."""
    if not 0 < validation < 1:
        raise ValueError(f"the validation share must lie between 0 and 1, got {validation}")
    place = image_key(image_id, salt="fold") / 2.0**64
    if place < validation:
        return "validation"
    place = (place - validation) / (1 - validation)
    return next(fold for fold in TRAINING_FOLDS if place < FRACTIONS[fold])


def validation_share(image_ids: Collection[str], wanted: float) -> float:
    """`wanted`, or the nearest share that puts `LEAST_VALIDATION_IMAGES` of these images in the validation fold.

    Half of them validate where there are fewer than twice as many, and at least one is left to train. Fewer than two
    cannot fill both folds.
    """
    places = sorted(image_key(image_id, salt="fold") / 2.0**64 for image_id in image_ids)
    if len(places) < 2:
        return wanted
    least = min(LEAST_VALIDATION_IMAGES, len(places) // 2)
    return min(max(wanted, math.nextafter(places[least - 1], 1.0)), places[-1])


class Ledger:
    """The images that were used, as 64-bit hashes: 8 bytes an image, all that grows with the data."""

    def __init__(self, keys: Iterable[int] = ()) -> None:
        self._keys = set(keys)

    @classmethod
    def of(cls, image_ids: Iterable[str]) -> Ledger:
        """The ledger of these names."""
        return cls(image_key(image_id) for image_id in image_ids)

    @classmethod
    def from_array(cls, keys: np.ndarray) -> Ledger:
        """The inverse of `array`."""
        return cls(int(key) for key in keys.astype(np.int64).view(np.uint64))

    def __contains__(self, image_id: str) -> bool:
        return image_key(image_id) in self._keys

    def __len__(self) -> int:
        return len(self._keys)

    def __iter__(self) -> Iterator[int]:
        return iter(sorted(self._keys))

    def add(self, image_id: str) -> bool:
        """Enter an image; False where it was there already."""
        size = len(self._keys)
        self._keys.add(image_key(image_id))
        return len(self._keys) > size

    def __add__(self, other: Ledger) -> Ledger:
        """Both together; an image that both have seen would count twice and is refused with ValueError."""
        common = self._keys & other._keys
        if common:
            raise ValueError(
                f"{len(common)} images were seen by both states (padding of a multi-process run?): "
                "their sums cannot be taken apart again, so deduplicate by image before updating"
            )
        return Ledger(self._keys | other._keys)

    def array(self) -> np.ndarray:
        """The hashes in rising order, `[n]`, as int64 bit patterns."""
        return np.array(sorted(self._keys), dtype=np.uint64).view(np.int64)

    def fingerprint(self) -> str:
        """SHA-256 of the sorted hashes: equal for equal sets of images, whatever the order."""
        return hashlib.sha256(self.array().tobytes()).hexdigest()
