"""Which runs a curve is made of: the untouched one, and one for every intervention that is asked for."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from connector_bench.intervention_curves.asked_task import AskedTask
from connector_bench.interventions.intervention import FROM, Intervention, as_mapping, asked_intervention
from connector_bench.results.harness_files import ResultFile, UnusableResult, read_results
from connector_bench.sweep.plan import SweepRun

OPTION = "--intervention"
USUAL = (
    "{kind: mask, order: [falling, rising, random], share: [.25, .5, .75]}",
    "{kind: mask, order: random, share: 1}",
    "{kind: swap}",
)
"""What is run where nothing is asked for, a process a text: masks by loss and at random, and the two floors."""


@dataclass(frozen=True, eq=False)
class AskedPoint:
    """One model's answers to one task."""

    model: str
    intervention: Intervention | None
    """None for the untouched answers."""
    task: str
    run: SweepRun
    """The process that asks; those of one text share one, so that the model is loaded once for them."""


def interventions_of(text: str, earlier: Path, seed: int = 0) -> list[Intervention]:
    """Every intervention that a text such as `{kind: rank, rank: [2, 8]}` stands for, lists in all combinations.

    Where one needs an earlier run and names none, it is `earlier`. ValueError as `asked_intervention`.
    """
    found: dict[Intervention, None] = {}
    for given in _each(as_mapping(text, OPTION)):
        needs = given.get("kind") == "reconstructed" or (
            given.get("kind") == "mask" and given.get("order") != "random"
        )
        named = {FROM: str(earlier.absolute())} if needs and FROM not in given else {}
        found[asked_intervention({"seed": seed, **given, **named}, OPTION)] = None
    return list(found)


def _each(given: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    listed = {name: value if isinstance(value, list) else [value] for name, value in given.items()}
    for values in product(*listed.values()):
        yield dict(zip(listed, values, strict=True))


def points_of(
    results: Path,
    texts: Sequence[str],
    task: AskedTask,
    folder: Path,
    arguments: Sequence[str] = (),
    seed: int = 0,
) -> list[AskedPoint]:
    """The answers of one model, whose results lie in a folder or are a file: the untouched ones first.

    Every run asks about one document at a time, so that no answer depends on what is in its batch. The tasks' YAML is
    written into `folder`.

    Raises
    ------
    UnusableResult
        There are no results, those of several models, or of one that cannot be loaded again by its arguments.
    ValueError
        An intervention is asked for that there is not.
    """
    file = _one_model(results)
    config = file.content["config"]
    command = [sys.executable, "-m", "lmms_eval", "--model", str(config["model"])]
    if config.get("model_args"):
        command += ["--model_args", _as_text(config["model_args"])]
    command += ["--batch_size", "1", "--log_samples", *arguments]

    def run(said: str, *tasks: str) -> SweepRun:
        return SweepRun(file.model, said, task.name, seed, (*command, *tasks), {})

    own = [] if task.include_path is None else ["--include_path", str(task.include_path.absolute())]
    found = [AskedPoint(file.model, None, task.name, run("untouched", *own, "--tasks", task.name))]
    for text in texts:
        asked = {task.written(one, folder): one for one in interventions_of(text, results, seed)}
        said = next(iter(asked.values())).said if len(asked) == 1 else f"{len(asked)} of {text}"
        process = run(said, "--include_path", str(folder.absolute()), "--tasks", ",".join(asked))
        found += [AskedPoint(file.model, one, name, process) for name, one in asked.items()]
    return found


def runs_of_points(points: Sequence[AskedPoint]) -> list[SweepRun]:
    """Their processes, each once."""
    return list({id(point.run): point.run for point in points}.values())


def _one_model(folder: Path) -> ResultFile:
    files = [file for file in read_results([folder]) if not file.interventions]
    models = dict.fromkeys(file.model for file in files)
    if len(models) != 1:
        raise UnusableResult(
            f"{folder}: holds {len(models)} untouched models ({', '.join(models)}); name a folder of one"
            if models
            else f"{folder}: holds no run that was not intervened on"
        )
    if any(file.given_connector for file in files):
        raise UnusableResult(
            f"{folder}: its model was given another connector, whose file no result names; run lmms-eval with "
            "CONNECTOR_BENCH_INTERVENE and compare"
        )
    return files[-1]


def _as_text(given: Any) -> str:
    return (
        ",".join(f"{key}={value}" for key, value in given.items())
        if isinstance(given, Mapping)
        else str(given)
    )
