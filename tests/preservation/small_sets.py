"""Few scenes, with the labels that data sets have: what the YAMLs of `test_small_sets` name."""

from collections.abc import Callable
from typing import Any

from datasets import Dataset

from connector_bench.zoo import scenes

LABELS: dict[str, list[Any]] = {
    "two_classes": ["cat", "dog"] * 12,
    "each_its_own": [f"person {i}" for i in range(24)],
    "one_class": ["pictures"] * 24,
    "half_without": ["cat", "dog", None, None] * 6,
    "half_minus_one": [0, 1, -1, -1] * 6,
    "half_nan": [0.0, 1.0, float("nan"), float("nan")] * 6,
    "none": [None] * 24,
}
SIZES = (3, 4, 5, 6, 8, 10, 12)


def unlabelled(index: Dataset) -> Dataset:
    """24 scenes without a column of labels."""
    return scenes.load("test").select(range(24)).remove_columns("label")


def _labelled(name: str) -> Callable[[Dataset], Dataset]:
    return lambda index: unlabelled(index).add_column("label", LABELS[name])


def _first(size: int) -> Callable[[Dataset], Dataset]:
    return lambda index: _labelled("two_classes")(index).select(range(size))


globals().update({name: _labelled(name) for name in LABELS})
globals().update({f"first_{size}": _first(size) for size in SIZES})
