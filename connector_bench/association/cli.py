"""`connector-bench analyze`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from connector_bench.atomic_files import write_atomically


def analyze(
    results: Annotated[
        list[Path], typer.Argument(help="lmms-eval result files, folders of them, or leaderboard folders.")
    ],
    json: Annotated[Path | None, typer.Option(help="Write every figure to this file.")] = None,
    csv: Annotated[Path | None, typer.Option(help="Write the joined table, a row a document.")] = None,
    figure: Annotated[
        Path | None, typer.Option(help="Draw loss against score across connectors (PNG).")
    ] = None,
    across: Annotated[
        bool, typer.Option("--across", help="Across connectors only; no sample files needed.")
    ] = False,
    prediction: Annotated[
        Path | None,
        typer.Option(
            help="A prediction of connectors' scores that was fixed beforehand, to hold against them."
        ),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Show every loss, not the headlines alone.")
    ] = False,
    failure_below: Annotated[float, typer.Option(help="Scores within 0..1 below this are failures.")] = 0.5,
    seed: Annotated[int, typer.Option(help="Seed of random permutations.")] = 0,
) -> None:
    """Set what the connector loses beside what the model gets wrong, image by image and across connectors."""
    from rich.console import Console

    from connector_bench.association import analysis as association
    from connector_bench.association.export import as_json, as_table
    from connector_bench.association.fixed_prediction import read_prediction
    from connector_bench.association.printed import terminal
    from connector_bench.association.study_picture import picture
    from connector_bench.association.values import Settings
    from connector_bench.results.refusals import refusals, refuse

    settings = Settings(seed=seed, failure_below=failure_below)
    with refusals("refused"):
        file = read_prediction(prediction) if prediction else None
        found = association.analyze(results, settings, images=not across, prediction=file)
        drawn = picture(found.across, found.fixed) if figure else b""
    Console().print(terminal(found, everything))
    with refusals("cannot write"):
        _write(json, lambda: as_json(found).encode())
        _write(csv, lambda: as_table(found).to_csv(index=False).encode())
        _write(figure, lambda: drawn)
    if not (found.pairs or found.across or found.skipped):
        refuse(
            "refused: no loss beside a score: a task of connector_bench and one of another kind are needed"
        )
    if any(skipped.refused for skipped in found.skipped) or not (found.pairs or found.across):
        raise typer.Exit(1)


def _write(path: Path | None, content: Callable[[], bytes]) -> None:
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content())
