"""A leaderboard's folder: results, and the files that are generated from them, which `build` and `check` know."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from connector_bench.leaderboard.board_files import name_on_board, run_path, run_text, stored_runs
from connector_bench.leaderboard.data_files import csv_file, json_file
from connector_bench.leaderboard.harness_results import run_of
from connector_bench.leaderboard.loss_maps import PICTURES
from connector_bench.leaderboard.loss_maps import pictures as loss_pictures
from connector_bench.leaderboard.markdown import TOPICS, markdown, published_page, topic_tables
from connector_bench.leaderboard.merge import merge
from connector_bench.leaderboard.page import page
from connector_bench.leaderboard.schema import StoredRun
from connector_bench.leaderboard.table import Table
from connector_bench.leaderboard.writing import finish_interrupted, locked, replace_together
from connector_bench.results.harness_files import UnusableResult, read_results

LARGEST_RUN = 2**20
"""Bytes of one committed result; a larger one holds what nobody reads in a table."""


def _of_table(render: Callable[[Table], str]) -> Callable[[Table, Path], str]:
    return lambda table, board: render(table)


RENDERINGS: Mapping[str, Callable[[Table, Path], str]] = {
    "LEADERBOARD.md": _of_table(markdown),
    **{f"tables/{name}.md": _of_table(topic_tables(topic)) for name, topic in TOPICS.items()},
    "tables/published.md": _of_table(published_page),
    "leaderboard.csv": lambda table, board: csv_file(table),
    "leaderboard.json": lambda table, board: json_file(table),
    "index.html": page,
}
"""Path below the board -> the file's whole text, from the table and what else is committed below the board.

Nothing else goes into it, no date and no version, so that a stale file shows.
"""


def read_runs(
    results: Sequence[Path], name: str | None = None, pictures: bool = False, board: Path | None = None
) -> list[StoredRun]:
    """Runs of all result files in folders and files, oldest first, under `name` or the names they have on a board.

    Raises UnusableResult as soon as one cannot be taken.
    """
    stored = [] if board is None else stored_runs(board)
    found: dict[Path, tuple[Path, StoredRun]] = {}
    for file in read_results(results):
        path, run = file.path, run_of(file, name, pictures)
        if name is None:
            run = _named(run, name_on_board(file, stored))
            stored.append(run)
        filed = run_path(Path(), run)
        if filed in found and found[filed][1] != run:
            raise UnusableResult(
                f"{path} and {found[filed][0]}: two results of {run.model} of {run.provenance.date} that differ"
            )
        if (size := len(run_text(run))) > LARGEST_RUN:
            raise UnusableResult(
                f"{path}: would take {size:,} bytes of the board, at most {LARGEST_RUN:,} are taken"
            )
        found[filed] = path, run
    return [run for _, run in found.values()]


def _named(run: StoredRun, model: str) -> StoredRun:
    connector = run.connector and run.connector.model_copy(update={"model": model})
    return run.model_copy(update={"model": model, "connector": connector})


def read_pictures(results: Sequence[Path]) -> dict[str, bytes]:
    """Pictures of the loss maps of all result files, by their path below the board."""
    return {name: content for file in read_results(results) for name, content in loss_pictures(file).items()}


def table_with(board: Path, runs: Sequence[StoredRun], replace: bool = False) -> tuple[Table, list[str]]:
    """The board's table once these runs are in it, and the files that they push out.

    With `replace`, results that the board holds of the same models make way, whatever they were measured on. Raises
    UnusableResult where the rest cannot stand beside the new runs.
    """
    new = {run_path(board, run): run for run in runs}
    old = {run_path(board, run): run for run in stored_runs(board)}
    models = {run.model for run in runs} if replace else set()
    leaving = [path for path, run in old.items() if run.model in models and path not in new]
    staying = {path: run for path, run in (old | new).items() if path not in leaving}
    shown = {
        board / loss_map.picture
        for run in staying.values()
        for result in run.tasks.values()
        for loss_map in result.loss_maps
        if loss_map.picture
    }
    leaving += [path for path in sorted((board / PICTURES).glob("*.webp")) if path not in shown]
    return merge(list(staying.values())), [path.relative_to(board).as_posix() for path in leaving]


def add_results(
    board: Path,
    results: Sequence[Path],
    name: str | None = None,
    replace: bool = False,
    pictures: bool = False,
) -> tuple[list[StoredRun], Table]:
    """Read result files and take their runs in; of several adds at once each sees the board that the last one left.

    Raises UnusableResult as `read_runs` and `add`, with nothing written and no folder made.
    """
    shown = read_pictures(results) if pictures else {}
    if not board.is_dir():
        table_with(board, read_runs(results, name, pictures), replace)
    with locked(board):
        finish_interrupted(board)
        runs = read_runs(results, name, pictures, board)
        return runs, add(board, runs, replace, shown)


def add(
    board: Path, runs: Sequence[StoredRun], replace: bool = False, pictures: Mapping[str, bytes] | None = None
) -> Table:
    """Take runs in and generate everything again: all files change, or none does.

    Raises UnusableResult, with nothing written, where the runs cannot stand beside the others.
    """
    if not board.is_dir():
        table_with(board, runs, replace)
    with locked(board):
        finish_interrupted(board)
        table, leaving = table_with(board, runs, replace)
        files: dict[str, str | bytes] = dict(pictures or {})
        files |= {run_path(board, run).relative_to(board).as_posix(): run_text(run) for run in runs}
        with _as_it_will_be(board, files) as staged:
            files |= _generated(table, staged)
        replace_together(board, files, leaving)
    return table


@contextmanager
def _as_it_will_be(board: Path, files: Mapping[str, str | bytes]) -> Iterator[Path]:
    """A folder with the board's pictures, old and new, for renderings that show them."""
    with TemporaryDirectory() as folder:
        staged = Path(folder)
        if (board / PICTURES).is_dir():
            shutil.copytree(board / PICTURES, staged / PICTURES, symlinks=True)
        for name, content in files.items():
            if isinstance(content, bytes):
                (staged / name).parent.mkdir(exist_ok=True)
                (staged / name).write_bytes(content)
        yield staged


def build(board: Path) -> Table:
    """Generate everything again from the results. Raises UnusableResult where one of them is invalid."""
    with locked(board):
        finish_interrupted(board)
        table = merge(stored_runs(board))
        replace_together(board, _generated(table, board))
    return table


def stale_files(board: Path) -> list[Path]:
    """Generated files that are not what the results give. Raises UnusableResult where a result is invalid."""
    finish_interrupted(board)
    return [
        board / name
        for name, text in _generated(merge(stored_runs(board)), board).items()
        if not (path := board / name).is_file() or path.read_bytes() != text.encode()
    ]


def _generated(table: Table, board: Path) -> dict[str, str]:
    """Text of every generated file by its path below the board."""
    return {name: render(table, board) for name, render in RENDERINGS.items()}
