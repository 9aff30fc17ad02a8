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
    from connector_bench.leaderboard.store import run_path, stored_runs, write_whole
    from connector_bench.leaderboard.table import merge

    try:
        runs = [read_run(path) for path in result_files(results)]
        known = {run_path(board, run): run for run in stored_runs(board)}
        merged = known | {run_path(board, run): run for run in runs}
        table = merge(sorted(merged.values(), key=lambda run: run.date))
    except UnusableResult as error:
        typer.secho(f"refused: {error}", fg="red", err=True)
        raise typer.Exit(1) from error
    for run in runs:
        write_whole(run_path(board, run), run.model_dump_json(indent=1, exclude_none=True) + "\n")
    _write(board, table)
    typer.echo(f"{len(runs)} runs added, {len(table.rows)} models in {board / 'LEADERBOARD.md'}")


@app.command()
def build(board: Board = Path("leaderboard")) -> None:
    """Generate the table again from the committed results."""
    _write(board, _table(board))


@app.command()
def check(board: Board = Path("leaderboard")) -> None:
    """Fail when a committed result is invalid or the table is stale."""
    from connector_bench.leaderboard.markdown import markdown

    page = board / "LEADERBOARD.md"
    if not page.is_file() or page.read_text(encoding="utf-8") != markdown(_table(board)):
        typer.secho(f"{page} is stale; run: connector-bench leaderboard build", fg="red", err=True)
        raise typer.Exit(1)
    typer.echo(f"{page} is up to date")


def _table(board: Path) -> Table:
    from connector_bench.harness_files import UnusableResult
    from connector_bench.leaderboard.store import stored_runs
    from connector_bench.leaderboard.table import merge

    try:
        return merge(stored_runs(board))
    except UnusableResult as error:
        typer.secho(f"refused: {error}", fg="red", err=True)
        raise typer.Exit(1) from error


def _write(board: Path, table: Table) -> None:
    from connector_bench.leaderboard.markdown import markdown
    from connector_bench.leaderboard.store import write_whole

    write_whole(board / "LEADERBOARD.md", markdown(table))
