"""`analyze`: from result files to joined tables, figures of every pair, and figures across connectors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

from connector_bench.association.across import across_connectors
from connector_bench.association.across_prediction import left_out_prediction
from connector_bench.association.connectors_across import is_board, measured
from connector_bench.association.contrast import contrasts
from connector_bench.association.fixed_prediction import PredictionFile, held_against
from connector_bench.association.grounded import grounded_of
from connector_bench.association.join import JoinRefused, join, join_retrieval
from connector_bench.association.pairs import pairs_of
from connector_bench.association.sides import (
    ConnectorSide,
    ScoredSide,
    connector_side,
    scored_side,
)
from connector_bench.association.testing import adjusted
from connector_bench.association.values import Analysis, Grounded, JoinedTable, Pair, Settings, Skipped
from connector_bench.results.data_sets import tasks_that_read
from connector_bench.results.harness_files import ResultFile, UnusableResult, read_results
from connector_bench.results.models import ModelRuns, models_of
from connector_bench.results.tasks import STAGES, TaskRun

PACKAGES = ("connector-bench", "numpy", "scipy", "pycocoevalcap")


def analyze(
    results: Sequence[Path],
    settings: Settings | None = None,
    *,
    images: bool = True,
    prediction: PredictionFile | None = None,
) -> Analysis:
    """Join what the files hold and say how loss and scores go together.

    `results` are lmms-eval's result files, folders that hold them, or leaderboard folders. Per image (which takes
    sample files) every loss is set beside every score of the same model on the same data set, unless `images` is
    false; across connectors every loss beside every score of the same data set, and what predicts scores. A
    `prediction` that was fixed beforehand is held against what came out.

    Raises:
        UnusableResult: a file or folder that is not one of these, figures across connectors that rest on other
            pictures, or results that lack what a prediction needs.
    """
    boards = [path for path in results if is_board(path)]
    others = [path for path in results if path not in boards]
    return analyze_runs(
        read_results(others) if others else [], boards, settings, images=images, prediction=prediction
    )


def analyze_runs(
    runs: Sequence[ResultFile],
    boards: Sequence[Path] = (),
    settings: Settings | None = None,
    *,
    images: bool = True,
    prediction: PredictionFile | None = None,
) -> Analysis:
    """`analyze` of runs that are read already, as `read_results` named and ordered them."""
    from tqdm import tqdm

    settings = settings or Settings()
    tables, skipped = joined_tables(runs) if images else ((), ())
    pairs: list[Pair] = []
    grounded: list[Grounded] = []
    for table in tqdm(tables, desc="Analysing", unit="table", disable=None):
        found, without = pairs_of(table, settings)
        pairs += found
        skipped += without
        grounded += grounded_of(table, settings)
    models = measured(runs, boards)
    across = across_connectors(models, settings)
    return Analysis(
        settings=settings,
        versions={package: version(package) for package in PACKAGES},
        tables=tables,
        pairs=adjusted(tuple(pairs)),
        grounded=adjusted(tuple(grounded)),
        across=adjusted(across),
        contrasts=adjusted(contrasts(across, settings)),
        skipped=skipped,
        left_out=left_out_prediction(models, settings),
        fixed=None if prediction is None else held_against(prediction, models, settings),
    )


def joined_tables(runs: Sequence[ResultFile]) -> tuple[tuple[JoinedTable, ...], tuple[Skipped, ...]]:
    """Every connector task joined with its own retrieval and with each other task of its model and data set.

    Runs of one model are taken together; of a task that ran twice the later run counts, but a task of the same run
    is preferred.
    """
    tables: list[JoinedTable] = []
    skipped: list[Skipped] = []
    for model in models_of(runs).values():
        for task in model.latest.values():
            if (
                not task.record or task.measure == STAGES
            ):  # which says itself what the model answers beside it
                continue
            try:
                connector = connector_side(task)
            except UnusableResult as error:
                skipped.append(Skipped(f"{model.model}: {task.name}", str(error)))
                continue
            for outcome in _tables_of(connector, model):
                (tables if isinstance(outcome, JoinedTable) else skipped).append(outcome)  # type: ignore[arg-type]
    return tuple(tables), tuple(skipped)


def _tables_of(connector: ConnectorSide, model: ModelRuns) -> Iterator[JoinedTable | Skipped]:
    where = f"{model.model}: {connector.of.name}"
    if own := join_retrieval(connector):
        yield own
    own_run = {name: TaskRun(connector.of.file, name) for name in connector.of.file.tasks}
    scored_tasks = {
        name: task for name, task in {**model.latest, **own_run}.items() if task.config and not task.record
    }
    partners = {name: task for name, task in scored_tasks.items() if task.data_set == connector.of.data_set}
    if not partners:
        yield Skipped(where, _nothing_beside(connector.of, list(scored_tasks.values())))
    for name, task in partners.items():
        try:
            scored = scored_side(task)
            yield from _without_scores(scored)
            yield join(connector, scored)
        except JoinRefused as error:
            yield Skipped(f"{where} beside {name}", str(error), refused=True)
        except UnusableResult as error:
            yield Skipped(f"{where} beside {name}", str(error))


def _nothing_beside(own: TaskRun, others: Sequence[TaskRun]) -> str:
    """Why no task can be set beside this one image by image, and which of ours measures what others read."""
    said = f"no other task of this model read its data set ({own.data_set})"
    for other in others:
        readers = tasks_that_read(other.data_sets, own.measure) if own.measure else []
        measured = (
            f", which {' and '.join(readers)} measure{'s' if len(readers) == 1 else ''}" if readers else ""
        )
        said += f"; {other.name} read other pictures ({other.data_set}){measured}"
    return said


def _without_scores(scored: ScoredSide) -> Iterator[Skipped]:
    """One sentence for all metrics that lack a value a document for the same reason."""
    metrics: dict[str, list[str]] = {}
    for metric, note in scored.scores.notes.items():
        if metric not in scored.scores.values:
            metrics.setdefault(note, []).append(metric)
    for note, names in metrics.items():
        yield Skipped(f"{scored.of.model}: {', '.join(names)} of {scored.of.name}", note)
