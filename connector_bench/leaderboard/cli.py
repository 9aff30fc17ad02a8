"""`connector-bench leaderboard`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from connector_bench.leaderboard.table import Table

app = typer.Typer(no_args_is_help=True, help="Merge lmms-eval result files into one table.")

Board = Annotated[Path, typer.Option("--board", help="Folder of the leaderboard.")]


@app.command()
def add(
    results: Annotated[list[Path], typer.Argument(help="lmms-eval result files or folders that hold them.")],
    board: Board = Path("leaderboard"),
) -> None:
    """Take in result files and rebuild the table; nothing is written when one of them cannot be taken."""
    from connector_bench.harness_files import UnusableResult, result_files
    from connector_bench.leaderboard.harness_results import read_run
    from connector_bench.leaderboard.merge import merge
    from connector_bench.leaderboard.store import run_path, run_text, stored_runs
    from connector_bench.leaderboard.writing import write_whole

    try:
        runs = [read_run(path) for path in result_files(results)]
        known = {run_path(board, run): run for run in stored_runs(board)}
        merged = known | {run_path(board, run): run for run in runs}
        table = merge(list(merged.values()))
    except UnusableResult as error:
        typer.secho(f"refused: {error}", fg="red", err=True)
        raise typer.Exit(1) from error
    for run in runs:
        write_whole(run_path(board, run), run_text(run))
    _write(board, table)
    typer.echo(f"{len(runs)} runs added, {len(table.rows)} models in {board / 'LEADERBOARD.md'}")


@app.command()
def build(board: Board = Path("leaderboard")) -> None:
    """Generate the table again from the committed results."""
    _write(board, _table(board))


@app.command()
def check(board: Board = Path("leaderboard")) -> None:
    """Fail when a committed result is invalid or a generated file is stale."""
    from connector_bench.leaderboard.generated import generated_files

    stale = [
        str(board / name)
        for name, text in generated_files(_table(board)).items()
        if not (path := board / name).is_file() or path.read_bytes() != text.encode()
    ]
    if stale:
        typer.secho(f"stale: {', '.join(stale)}; run: connector-bench leaderboard build", fg="red", err=True)
        raise typer.Exit(1)
    typer.echo(f"{board} is up to date")


def _table(board: Path) -> Table:
    from connector_bench.harness_files import UnusableResult
    from connector_bench.leaderboard.merge import merge
    from connector_bench.leaderboard.store import stored_runs

    try:
        return merge(stored_runs(board))
    except UnusableResult as error:
        typer.secho(f"refused: {error}", fg="red", err=True)
        raise typer.Exit(1) from error


def _write(board: Path, table: Table) -> None:
    from connector_bench.leaderboard.generated import generated_files
    from connector_bench.leaderboard.writing import write_whole

    for name, text in generated_files(table).items():
        write_whole(board / name, text)
