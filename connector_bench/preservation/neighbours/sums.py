"""Sums whose order of additions is fixed, so that they are the same bits in every library and on every device."""

from __future__ import annotations

from typing import Any, TypeVar

from jaxtyping import Float64

Numbers = TypeVar("Numbers")  # a numpy array or a torch tensor


def sum_by_halves(values: Float64[Numbers, "*shape d"]) -> Float64[Numbers, "*shape"]:
    """Sum along the last axis, the second half added onto the first until one number is left; `values` are spent.

    A library's own sum may depend on where a row lies in memory: equal rows would then lie at distances that differ in
    the last bit, and ties would not be ties.
    """
    array: Any = values
    width = array.shape[-1]
    while width > 1:
        kept = (width + 1) // 2
        array[..., : width - kept] += array[..., kept:width]
        width = kept
    return array[..., 0]
