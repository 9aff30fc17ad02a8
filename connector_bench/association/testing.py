"""From values without each image to tested figures, and Benjamini and Hochberg's adjustment over all of a kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float64
from scipy import special

from connector_bench.association.values import Settings, Tested
from connector_bench.stats import jackknife
from connector_bench.stats.cluster_jackknife import p_value, score_of
from connector_bench.stats.floors import IMAGES, floored
from connector_bench.stats.intervals import Score, wilson
from connector_bench.stats.jackknife import Scale
from connector_bench.stats.paired import false_discovery_rate

Value = TypeVar("Value")


@dataclass(frozen=True)
class Over:
    """How many independent draws a figure rests on, and what they are called."""

    n: int
    unit: str = IMAGES


def tested(
    draws: Float64[np.ndarray, " draws"],
    over: Over,
    chance: float,
    settings: Settings,
    *,
    scale: Scale = "plain",  # noqa: PT028
) -> Tested:
    """The figure of the sample (entry 0), its interval and its p-value against `chance`."""
    score = interval(draws, over, chance, settings, scale)
    return Tested(score, p_value(draws, over.n, null=chance, scale=scale))


def interval(
    draws: Float64[np.ndarray, " draws"],
    over: Over,
    chance: float | None,
    settings: Settings,
    scale: Scale = "plain",
) -> Score:
    """The figure of the sample (entry 0) with its jackknife interval."""
    return score_of(draws, over.n, chance=chance, confidence=settings.confidence, scale=scale, unit=over.unit)


def rate(rates: Float64[np.ndarray, " draws"], over: Over, settings: Settings) -> Score:
    """A share of answers: Wilson's interval of as many independent draws as would vary as much; of all where all
    agree."""
    value, error = float(rates[0]), share_error(rates)
    quantile = -float(special.stdtrit(max(over.n - 1, 1), (1 - settings.confidence) / 2))
    low, high = wilson(value, error**2, over.n, quantile)
    method = f"{100 * settings.confidence:g} % Wilson interval over {over.unit}"
    return floored(Score(value, low, high, over.n, None, method), unit=over.unit)


def share_error(draws: Float64[np.ndarray, " draws"]) -> float:
    """The jackknife's standard error of a share, over those draws whose removal leaves some answers."""
    without = draws[1:]
    return jackknife.estimate(float(draws[0]), without[np.isfinite(without)], "ranks").error


def adjusted(value: Value) -> Value:
    """The same values with `q` in every `Tested`: false discovery rates (scipy) over all of the same kind.

    A kind is where a figure stands, such as the AUROCs of all pairs' predictions; where there is no p-value there is
    no q.
    """
    families: dict[str, list[float]] = {}

    def note(kind: str, found: Tested) -> Tested:
        if found.p is not None:
            families.setdefault(kind, []).append(found.p)
        return found

    _with_each_tested(value, note)
    adjusted_of = {kind: iter(false_discovery_rate(p)) for kind, p in families.items()}
    return _with_each_tested(
        value,
        lambda kind, found: found if found.p is None else replace(found, q=next(adjusted_of[kind])),
    )


def _with_each_tested(value: Any, change: Callable[[str, Tested], Tested], kind: str = "") -> Any:
    if isinstance(value, Tested):
        return change(kind, value)
    if isinstance(value, tuple):
        return tuple(_with_each_tested(item, change, kind) for item in value)
    if isinstance(value, Mapping):
        return {key: _with_each_tested(item, change, kind) for key, item in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        found = {
            field.name: _with_each_tested(
                getattr(value, field.name), change, f"{kind}.{type(value).__name__}.{field.name}"
            )
            for field in fields(value)
        }
        return replace(value, **found)
    return value
