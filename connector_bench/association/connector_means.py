"""Every figure and every score of trained connectors as means over their seeds, a value a connector."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float64

from connector_bench.association.across import DECIMALS, over_seeds, require_same_documents
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
    beside: Mapping[str, Mapping[str, Float64[np.ndarray, " n"]]] = field(default_factory=dict)
    """By figure that fewer seeds have: the scores of those seeds alone."""

    def scores_beside(self, figure: str) -> Mapping[str, Float64[np.ndarray, " n"]]:
        """The scores of the seeds that have the figure."""
        return self.beside.get(figure, self.scores)


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
    """The trained connectors that ran every task that at least half of them ran, and what all of those have.

    A mean is over the seeds that have the figure: a task may have been run on fewer of them.

    Raises:
        UnusableResult: the figures of one task rest on other pictures or documents in one model than in another.
    """
    seeds = seeds_of(models)
    ran = {name: {task for model in held for task in model.tasks} for name, held in seeds.items()}
    tasks = list(dict.fromkeys(task for held in seeds.values() for model in held for task in model.tasks))
    common = [task for task in tasks if 2 * sum(task in own for own in ran.values()) >= len(seeds)]
    left_out = [
        f"{name} did not run {', '.join(task for task in common if task not in own)}"
        for name, own in ran.items()
        if not own.issuperset(common)
    ]
    left_out += [f"{task} ran on few of them" for task in tasks if task not in common]
    seeds = {name: held for name, held in seeds.items() if ran[name].issuperset(common)}
    whole = [model for held in seeds.values() for model in held]
    for task in common:
        running = [model for model in whole if task in model.tasks]
        require_same_documents(task, running)
        if len(running) < len(whole):
            without = f"{len(whole) - len(running)} of {len(whole)} models did not run {task}"
            left_out.append(f"{without}: its figures stand beside what the others answered")
    figures, scores = (
        {name: [_of_tasks(common, read(model)) for model in held] for name, held in seeds.items()}
        for read in (figures_of, scores_of)
    )
    known, answered = _means(figures, left_out), _means(scores, left_out)
    beside: dict[str, Mapping[str, Float64[np.ndarray, " n"]]] = {}
    for task in common:
        if any(task not in model.tasks for model in whole):
            of_task = {
                name: [own for own, model in zip(scores[name], held, strict=True) if task in model.tasks]
                for name, held in seeds.items()
            }
            found = _means(of_task, [])
            if found.keys() >= answered.keys():  # the seeds that ran this task answered too
                beside |= {name: found for name in known if name.startswith(f"{task}: ")}
    sizes = _sizes(seeds, left_out)
    return ConnectorMeans(tuple(seeds), known, sizes, answered, tuple(left_out), beside)


def _of_tasks(tasks: Collection[str], values: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in values.items() if name.partition(": ")[0] in tasks}


def _means(
    values: Mapping[str, Sequence[Mapping[str, float]]], left_out: list[str]
) -> dict[str, Float64[np.ndarray, " n"]]:
    found = {}
    for name in dict.fromkeys(name for held in values.values() for seed in held for name in seed):
        of_seeds = [[seed[name] for seed in held if name in seed] for held in values.values()]
        if not all(of_seeds):
            holding = sum(map(bool, of_seeds))
            left_out.append(f"{name} is known of {holding} of {len(values)} connectors")
            continue
        column = np.array([over_seeds(own) for own in of_seeds])
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
