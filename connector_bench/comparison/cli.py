"""`connector-bench compare`."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from connector_bench.atomic_files import write_atomically

if TYPE_CHECKING:
    from connector_bench.comparison.compared_runs import ComparisonSide


def compare_command(
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            help="lmms-eval output folders or result files, one a model; FOLDER:MODEL of several."
        ),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option("--model", help="A model of the one folder that is named; may be repeated."),
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(
            help="What a run is called, as NAME=RUN; a run that is not listed is added. May be repeated."
        ),
    ] = None,
    task: Annotated[
        list[str] | None, typer.Option("--task", help="Compare this task alone; may be repeated.")
    ] = None,
    steps: Annotated[
        str | None,
        typer.Option("--steps", help="Training steps of the checkpoints, such as 100,200,400."),
    ] = None,
    output: Annotated[Path, typer.Option(help="Folder for the text, the numbers and the plots.")] = Path(
        "comparison"
    ),
) -> None:
    """Paired differences of two models on the same documents; of more checkpoints, curves along training."""
    from connector_bench.comparison.compared_runs import (
        address,
        addressed,
        models_there,
        named_apart,
        side_of,
    )
    from connector_bench.results.refusals import refusals

    labels = _labels(label or [])
    places = list(dict.fromkeys([*map(addressed, runs or []), *map(addressed, labels)]))
    if model and (len(places) != 1 or places[0][1] is not None):
        raise typer.BadParameter(
            "--model chooses among the models of one folder; else name runs as FOLDER:MODEL"
        )
    if model:
        places = [(places[0][0], one) for one in model]
    if len(places) < 2:
        there = ""
        if places:
            with refusals("refused"):
                there = f"; {places[0][0]} holds {', '.join(models_there(places[0][0]))}"
        raise typer.BadParameter(
            f"name at least two runs, as folders or as FOLDER:MODEL, or two models with --model{there}"
        )
    with refusals("refused"):
        sides = named_apart(
            [side_of(*place) for place in places],
            {address(*addressed(run)): name for run, name in labels.items()},
        )
        output.mkdir(parents=True, exist_ok=True)
        if len(sides) == 2 and steps is None:
            text = _two(sides[0], sides[1], task or [], output)
        else:
            text = _many(sides, steps, task or [], output)
    typer.echo(text)
    typer.echo(f"text, numbers and plots: {output}")


def _labels(given: Sequence[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in given]
    if bad := [text for text, (name, _, run) in zip(given, pairs, strict=True) if not name or not run]:
        raise typer.BadParameter(f"--label is NAME=RUN, such as --label base=runs/base, got {bad[0]!r}")
    return {run: name for name, _, run in pairs}


def _two(first: ComparisonSide, second: ComparisonSide, tasks: Sequence[str], output: Path) -> str:
    from connector_bench.comparison.compare import compare
    from connector_bench.comparison.plots import plot_differences
    from connector_bench.comparison.words import comparison_markdown

    comparison = compare(first, second, tasks)
    text = comparison_markdown(comparison)
    write_atomically(output / "comparison.md", text.encode())
    write_atomically(output / "comparison.json", json.dumps(asdict(comparison), indent=1).encode())
    for task in dict.fromkeys(item.task for item in comparison.differences):
        plot_differences(comparison, task, output / f"differences_{_file_name(task)}.png")
    return text


def _many(sides: Sequence[ComparisonSide], steps: str | None, tasks: Sequence[str], output: Path) -> str:
    from connector_bench.comparison.curve_words import curves_markdown
    from connector_bench.comparison.plots import plot_curves
    from connector_bench.comparison.steps import curves, steps_of

    found = curves(sides, steps_of(sides, steps), tasks)
    text = curves_markdown(found)
    write_atomically(output / "curves.md", text.encode())
    write_atomically(
        output / "curves.json", json.dumps([asdict(curve) for curve in found], indent=1).encode()
    )
    for task in dict.fromkeys(curve.task for curve in found):
        plot_curves(found, task, output / f"curves_{_file_name(task)}.png")
    return text


def _file_name(task: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "_", task)[:100]
