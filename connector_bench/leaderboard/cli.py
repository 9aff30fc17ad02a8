"""`connector-bench leaderboard`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from connector_bench.number_style import counted
from connector_bench.results.refusals import refusals

app = typer.Typer(no_args_is_help=True, help="Merge lmms-eval result files into one table.")

BOARD = Path("leaderboard")
Results = Annotated[list[Path], typer.Argument(help="lmms-eval result files or folders that hold them.")]
Board = Annotated[Path, typer.Option("--board", help="Folder of the leaderboard.")]
Name = Annotated[
    str | None, typer.Option("--name", help="File the runs under this name instead of their own.")
]
Replace = Annotated[bool, typer.Option("--replace", help="Older results of the same models make way.")]


@app.command()
def add(
    results: Results,
    board: Board = BOARD,
    name: Name = None,
    replace: Replace = False,
    pictures: Annotated[
        bool,
        typer.Option("--pictures", help="Publish the pictures below the loss maps too; mind their licence."),
    ] = False,
) -> None:
    """Take in result files and generate the table again; nothing is written when one of them cannot be taken."""
    from connector_bench.leaderboard import board as boards
    from connector_bench.leaderboard.alarms import alarms_of

    with refusals("refused"):
        runs, table = boards.add_results(board, results, name, replace, pictures)
    _say_off(
        f"{run.model}, {alarm.what}"
        for run in runs
        for task, result in run.tasks.items()
        for alarm in alarms_of(run.model, task, result)
    )
    competing = counted(len(table.competitors), "model competes", "models compete")
    typer.echo(f"{counted(len(runs), 'run')} added; {competing} in {board / 'LEADERBOARD.md'}")


@app.command()
def build(board: Board = BOARD) -> None:
    """Generate the table again from the committed results."""
    from connector_bench.leaderboard import board as boards

    with refusals("refused"):
        _require_board(board)
        boards.build(board)
    typer.echo(f"{board / 'LEADERBOARD.md'} generated again")


@app.command()
def show(
    results: Annotated[
        list[Path] | None, typer.Argument(help="lmms-eval results to be shown among those of the board.")
    ] = None,
    board: Annotated[
        Path | None, typer.Option("--board", help="Folder of the leaderboard; else the one that is shipped.")
    ] = None,
    metric: Annotated[
        list[str] | None, typer.Option("--metric", help="A metric to be shown; may be repeated.")
    ] = None,
) -> None:
    """Print a table, the zoo's unless another board is named, and the places of results in it; nothing is written."""
    from rich.console import Console

    from connector_bench.headlines import SHOWN
    from connector_bench.leaderboard import board as boards
    from connector_bench.leaderboard.board_files import shipped_board
    from connector_bench.leaderboard.printed_table import places, terminal

    with refusals("refused"):
        if board is not None:
            _require_board(board)
        shown = shipped_board() if board is None else board
        runs = boards.read_runs(results, board=shown) if results else []
        table, _ = boards.table_with(shown, runs)
        lacking = sorted(set(metric or ()) - {column.metric for column in table.columns})
        if lacking:
            raise ValueError(
                f"no result has {', '.join(lacking)}; connector-bench metrics lists what there may be"
            )
    models = {run.model for run in runs}
    view, console = terminal(table, metric or SHOWN, models), Console()
    console.width = max(console.width, console.measure(view).minimum)
    console.print(view)
    for line in places(table, models):
        typer.echo(line)


@app.command()
def check(board: Board = BOARD) -> None:
    """Fail when a committed result is invalid or a generated file is stale."""
    from connector_bench.leaderboard import board as boards

    with refusals("refused"):
        _require_board(board)
        stale = boards.stale_files(board)
    if stale:
        names = ", ".join(map(str, stale))
        typer.secho(f"stale: {names}; run: connector-bench leaderboard build", fg="red", err=True)
        raise typer.Exit(1)
    typer.echo(f"{board} is up to date")


@app.command()
def diff(
    results: Annotated[
        list[Path] | None, typer.Argument(help="lmms-eval results that would be added.")
    ] = None,
    board: Board = BOARD,
    before: Annotated[
        Path | None,
        typer.Option("--before", help="Folder of the board as it was, such as another checkout's."),
    ] = None,
    name: Name = None,
    replace: Replace = False,
) -> None:
    """Print what the table would change, as Markdown: from one board to another, or by adding results."""
    from connector_bench.leaderboard import board as boards
    from connector_bench.leaderboard.diff import table_diff

    if (before is None) == (not results):
        raise typer.BadParameter("give lmms-eval results, or --before and a board, and not both")
    with refusals("refused"):
        if before is not None:  # which may have been no board yet
            _require_board(board)
        new, _ = boards.table_with(
            board, boards.read_runs(results or [], name, board=board) if results else [], replace
        )
        old, _ = boards.table_with(board if before is None else before, [])
    typer.echo(table_diff(old, new), nl=False)


@app.command()
def verify(results: Results, board: Board = BOARD) -> None:
    """Fail when lmms-eval results move a committed figure beyond its interval under the same protocol version.

    A control that is not as it must be fails too.
    """
    from connector_bench.leaderboard import board as boards
    from connector_bench.leaderboard.board_files import stored_runs
    from connector_bench.leaderboard.verify import verify as compare

    with refusals("refused"):
        _require_board(board)
        found = compare(stored_runs(board), boards.read_runs(results, board=board))
    for why in found.other_version:
        typer.echo(f"not compared: {why}")
    for what in found.not_committed:
        typer.echo(f"not committed: {what}")
    for what in found.moved:
        typer.secho(f"moved: {what}", fg="red", err=True)
    _say_off(found.off)
    typer.echo(f"{counted(found.agreed, 'figure is', 'figures are')} what {board} holds")
    if found.moved:
        typer.secho(
            f"{len(found.moved)} moved; find the cause, or raise PROTOCOL_VERSION and file the results again",
            fg="red",
            err=True,
        )
    if found.moved or found.off:
        raise typer.Exit(1)


def _say_off(alarms: Iterable[str]) -> None:
    for alarm in alarms:
        typer.secho(f"control not as it must be: {alarm}", fg="red", err=True)


def _require_board(board: Path) -> None:
    """Refuse a folder that is no board: its table would be written there, or found to be empty."""
    from connector_bench.leaderboard.board_files import RESULTS
    from connector_bench.results.harness_files import UnusableResult

    if not (board / RESULTS).is_dir():
        problem = "has no folder results/" if board.is_dir() else "is no folder"
        raise UnusableResult(
            f"{board}: is no leaderboard, it {problem}; name one with --board, or begin one with "
            f"connector-bench leaderboard add RESULTS --board {board}"
        )
