"""`analyze`: from result files to joined tables, figures of every pair, and figures across connectors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

from connector_bench.association.across import across_connectors
from connector_bench.association.grounded import grounded_of
from connector_bench.association.join import JoinRefused, join, join_retrieval
from connector_bench.association.measured import is_board, measured
from connector_bench.association.pairs import pairs_of
from connector_bench.association.sides import (
    ConnectorSide,
    ScoredSide,
    connector_side,
    scored_side,
)
from connector_bench.association.testing import adjusted
from connector_bench.association.types import Analysis, Grounded, JoinedTable, Pair, Settings, Skipped
from connector_bench.results.data_sets import configured_data_set
from connector_bench.results.harness_files import ResultFile, UnusableResult, read_results

PACKAGES = ("connector-bench", "numpy", "scipy", "pycocoevalcap")


def analyze(results: Sequence[Path], settings: Settings | None = None, *, images: bool = True) -> Analysis:
    """Join what the files hold and say how loss and scores go together.

    `results` are lmms-eval's result files, folders that hold them, or leaderboard folders. Per image (which takes
    sample files) every loss is set beside every score of the same model on the same data set, unless `images` is
    false; across connectors every loss beside every score of the same data set.

    Raises:
        UnusableResult: a file or folder that is not one of these, or figures across connectors that rest on other
            pictures.
    """
    from tqdm import tqdm

    settings = settings or Settings()
    boards = [path for path in results if is_board(path)]
    others = [path for path in results if path not in boards]
    runs = read_results(others) if others else []
    tables, skipped = joined_tables(runs) if images else ((), ())
    pairs: list[Pair] = []
    grounded: list[Grounded] = []
    for table in tqdm(tables, desc="Analysing", unit="table", disable=None):
        found, without = pairs_of(table, settings)
        pairs += found
        skipped += without
        grounded += grounded_of(table, settings)
    return Analysis(
        settings=settings,
        versions={package: version(package) for package in PACKAGES},
        tables=tables,
        pairs=adjusted(tuple(pairs)),
        grounded=adjusted(tuple(grounded)),
        across=adjusted(across_connectors(measured(runs, boards), settings)),
        skipped=skipped,
    )


def joined_tables(runs: Sequence[ResultFile]) -> tuple[tuple[JoinedTable, ...], tuple[Skipped, ...]]:
    """Every connector task joined with its own retrieval and with each other task of its model and data set.

    Runs of one model are taken together; of a task that ran twice the later run counts, but a task of the same run
    is preferred.
    """
    tables: list[JoinedTable] = []
    skipped: list[Skipped] = []
    by_model: dict[str, list[ResultFile]] = {}
    for run in sorted(runs, key=lambda run: run.date):
        by_model.setdefault(run.model, []).append(run)
    for model, theirs in by_model.items():
        latest = {task: run for run in theirs for task in run.records}
        for task, run in latest.items():
            try:
                connector = connector_side(run, task)
            except UnusableResult as error:
                skipped.append(Skipped(f"{model}: {task}", str(error)))
                continue
            for outcome in _tables_of(connector, theirs):
                (tables if isinstance(outcome, JoinedTable) else skipped).append(outcome)  # type: ignore[arg-type]
    return tuple(tables), tuple(skipped)


def _tables_of(connector: ConnectorSide, runs: Sequence[ResultFile]) -> Iterator[JoinedTable | Skipped]:
    where = f"{connector.run.model}: {connector.task}"
    if own := join_retrieval(connector):
        yield own
    partners = {
        task: run
        for run in (*(run for run in runs if run is not connector.run), connector.run)
        for task in run.tasks
        if task in (run.content.get("configs") or {}) and task not in run.records
        if configured_data_set(run.content["configs"][task]) == connector.data_set
    }
    if not partners:
        yield Skipped(where, f"no other task of this model read its data set ({connector.data_set})")
    for task, run in partners.items():
        try:
            scored = scored_side(run, task)
            yield from _without_scores(scored)
            yield join(connector, scored)
        except JoinRefused as error:
            yield Skipped(f"{where} beside {task}", str(error), refused=True)
        except UnusableResult as error:
            yield Skipped(f"{where} beside {task}", str(error))


def _without_scores(scored: ScoredSide) -> Iterator[Skipped]:
    """One sentence for all metrics that lack a value a document for the same reason."""
    metrics: dict[str, list[str]] = {}
    for metric, note in scored.scores.notes.items():
        if metric not in scored.scores.values:
            metrics.setdefault(note, []).append(metric)
    for note, names in metrics.items():
        yield Skipped(f"{scored.run.model}: {', '.join(names)} of {scored.task}", note)
