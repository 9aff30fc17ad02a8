"""`connector-bench intervene`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

TABLE, NUMBERS, TASKS = "interventions.md", "interventions.json", "tasks"


def intervene_command(
    results: Annotated[
        list[Path],
        typer.Argument(help="lmms-eval output folders, each of one model with patch_reconstruction."),
    ],
    task: Annotated[str, typer.Option(help="The task that is answered.")] = "scenes_vqa",
    intervention: Annotated[
        list[str] | None,
        typer.Option(
            help="Such as '{kind: rank, rank: [2, 8, 32]}'; lists in all combinations. May be repeated."
        ),
    ] = None,
    metric: Annotated[
        list[str] | None, typer.Option(help="A figure of the task; its first unless told. May be repeated.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Documents of the task; all unless told.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of everything random.")] = 0,
    include_path: Annotated[Path | None, typer.Option(help="Folder of the task's YAML.")] = None,
    output: Annotated[Path, typer.Option(help="Folder for runs, table, numbers and pictures.")] = Path(
        "interventions"
    ),
) -> None:
    """Change a connector's tokens while its model answers: curves, each point paired with the untouched run."""
    import json

    from connector_bench.atomic_files import write_atomically
    from connector_bench.intervention_curves.asked_task import asked_task
    from connector_bench.intervention_curves.curve_drawing import draw_curves
    from connector_bench.intervention_curves.curve_text import curves_text
    from connector_bench.intervention_curves.paired_points import paired_curves
    from connector_bench.intervention_curves.points import USUAL, points_of, runs_of_points
    from connector_bench.results.harness_files import as_file_name
    from connector_bench.results.refusals import refusals
    from connector_bench.sweep.execute import execute

    arguments = [] if limit is None else ["--limit", str(limit)]
    with refusals("no curve"):
        asked = asked_task(task, include_path)
        points = [
            point
            for folder in results
            for point in points_of(folder, intervention or USUAL, asked, output / TASKS, arguments, seed)
        ]
        outcomes = execute(runs_of_points(points), output, typer.echo)
        curves = paired_curves(points, outcomes, task, metric or [])
        text = curves_text(curves)
        write_atomically(output / TABLE, text.encode())
        numbers = {
            "task": task,
            "untouched": curves.untouched,
            "against_untouched": [one.as_record() for one in curves.against_untouched],
            "against_random": [one.as_record() for one in curves.against_random],
        }
        write_atomically(output / NUMBERS, json.dumps(numbers, indent=1).encode())
        for name in dict.fromkeys(one.metric for one in curves.against_untouched):
            draw_curves(curves, name, output / f"{as_file_name(name)}.png")
    typer.echo(text)
    typer.echo(f"table, numbers and pictures: {output}")
    failed = [outcome for outcome in outcomes if outcome.failed is not None]
    if failed:
        typer.secho(
            f"{len(failed)} of {len(outcomes)} runs failed; the same command runs them again",
            fg="red",
            err=True,
        )
        raise typer.Exit(1)
