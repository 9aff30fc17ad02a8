"""`connector-bench sweep`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def sweep_command(
    file: Annotated[Path, typer.Argument(help="YAML with connectors, data_sets and seeds.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Name the runs and their folders, and run none.")
    ] = False,
) -> None:
    """Measure connectors x checkpoints x data sets x seeds through lmms-eval; what is there is not run again."""
    from connector_bench.results.refusals import refusals
    from connector_bench.sweep.execute import RUNS, execute
    from connector_bench.sweep.plan import read_sweep, runs_of
    from connector_bench.sweep.summary import TABLE, write_summary
    from connector_bench.sweep.unknown_names import require_known_names

    with refusals("no sweep"):
        sweep = read_sweep(file)
        require_known_names(sweep)
        output, runs = Path(sweep.output), runs_of(sweep)
        if dry_run:
            for run in runs:
                typer.echo(f"{run.name}: {output / RUNS / run.folder}")
            return
        outcomes = execute(runs, output, typer.echo)
        text, page = write_summary(outcomes, output)
    typer.echo(text)
    typer.echo(f"table: {output / TABLE}" + (f", page: {page}" if page is not None else ""))
    failed = [outcome for outcome in outcomes if outcome.failed is not None]
    if failed:
        typer.secho(
            f"{len(failed)} of {len(runs)} runs failed; the same command runs them again", fg="red", err=True
        )
        raise typer.Exit(1)
