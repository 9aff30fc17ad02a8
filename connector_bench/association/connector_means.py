"""Every figure and every score of trained connectors as means over their seeds, a value a connector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from connector_bench.association.across import DECIMALS, require_same_documents
from connector_bench.association.connectors_across import Measured
from connector_bench.association.losses import candidates_of_a_set


@dataclass(frozen=True)
class ConnectorMeans:
    """Figures and scores that all these connectors have, each the mean over their seeds."""

    connectors: tuple[str, ...]
    figures: Mapping[str, Float64[np.ndarray, " n"]]
    """By `task: figure`."""
    baselines: Mapping[str, Float64[np.ndarray, " n"]]
    """Sizes, as they are and as logarithms."""
    scores: Mapping[str, Float64[np.ndarray, " n"]]
    """By `task: score`."""
    left_out: tuple[str, ...]
    """Which models, figures and scores are not among these, and why."""


def figures_of(model: Measured) -> dict[str, float]:
    """What may predict a model's answers, by `task: figure`; rounded as losses across connectors are."""
    return {
        f"{task}: {name}": round(value, DECIMALS)
        for task, held in model.tasks.items()
        if held.measures_connector
        for name, value in candidates_of_a_set(held.figures).items()
    }


def scores_of(model: Measured) -> dict[str, float]:
    """What a model answers, by `task: score`."""
    return {
        f"{task}: {name}": value
        for task, held in model.tasks.items()
        if not held.measures_connector
        for name, value in held.figures.items()
    }


def seeds_of(models: Sequence[Measured]) -> dict[str, list[Measured]]:
    """Trained connectors in the order of their names, each with its seeds."""
    trained = sorted((model for model in models if model.group == "trained"), key=lambda one: one.model)
    return {
        name: [model for model in trained if model.connector == name]
        for name in sorted({model.connector for model in trained})
    }


def connector_means(models: Sequence[Measured]) -> ConnectorMeans:
    """The trained models that ran every task that at least half of them ran, and what all of those have.

    Raises:
        UnusableResult: the figures of one task rest on other pictures or documents in one model than in another.
    """
    trained = [model for held in seeds_of(models).values() for model in held]
    ran = [task for model in trained for task in model.tasks]
    common = [task for task in dict.fromkeys(ran) if 2 * ran.count(task) >= len(trained)]
    whole = [model for model in trained if set(common) <= set(model.tasks)]
    for task in common:
        require_same_documents(task, whole)
    left_out = [
        f"{model.model} did not run {', '.join(task for task in common if task not in model.tasks)}"
        for model in trained
        if model not in whole
    ]
    left_out += [f"{task} ran on few of them" for task in dict.fromkeys(ran) if task not in common]
    seeds = seeds_of(whole)
    figures, scores = (
        {
            model.model: {
                name: value for name, value in read(model).items() if name.partition(": ")[0] in common
            }
            for model in whole
        }
        for read in (figures_of, scores_of)
    )
    means = [_means(seeds, held, left_out) for held in (figures, scores)]
    return ConnectorMeans(tuple(seeds), means[0], _sizes(seeds, left_out), means[1], tuple(left_out))


def _means(
    seeds: Mapping[str, Sequence[Measured]], values: Mapping[str, Mapping[str, float]], left_out: list[str]
) -> dict[str, Float64[np.ndarray, " n"]]:
    found = {}
    for name in dict.fromkeys(name for held in values.values() for name in held):
        holding = sum(name in held for held in values.values())
        if holding < len(values):
            left_out.append(f"{name} is known of {holding} of {len(values)} models")
            continue
        column = np.array(
            [np.mean([values[model.model][name] for model in models]) for models in seeds.values()]
        )
        if np.ptp(column) == 0:
            left_out.append(f"{name} is {column[0]:.4g} for all connectors")
        else:
            found[name] = column
    return found


def _sizes(
    seeds: Mapping[str, Sequence[Measured]], left_out: list[str]
) -> dict[str, Float64[np.ndarray, " n"]]:
    """A predictor of answers that takes no measuring; the logarithm too, since sizes differ by orders."""
    found = {}
    for name in ("tokens", "parameters"):
        sizes = [models[0].size(name) for models in seeds.values()]
        known = np.array([size for size in sizes if size is not None], dtype=np.float64)
        if len(known) < len(sizes):
            left_out.append(f"{name} are known of {len(known)} of {len(sizes)} connectors")
        elif known.size and np.ptp(known) > 0:
            found[name] = known
            if known.min() > 0:
                found[f"log2 {name}"] = np.log2(known)
    return found
