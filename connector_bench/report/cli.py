"""`connector-bench report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    results: Annotated[
        list[str],
        typer.Argument(
            help="lmms-eval result files or folders that hold them; FOLDER:MODEL of several models."
        ),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="The page.")] = Path("report.html"),
    png: Annotated[Path | None, typer.Option(help="Folder for the same figures as PNG.")] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(help="Which model, where the results hold several; repeat it to set some side by side."),
    ] = None,
) -> None:
    """Write one page on a model, or on a few side by side: what is lost, what need not be, where neighbours went, and
    whether connector or language model is to blame."""
    from connector_bench.number_style import counted
    from connector_bench.report.assemble import assemble
    from connector_bench.report.measured_runs import read_models
    from connector_bench.report.side_by_side import assemble_side_by_side
    from connector_bench.report.write import write_figures, write_page
    from connector_bench.results.refusals import refusals

    with refusals("no report"):
        found = read_models(results, model or [])
        contents = assemble(found[0]) if len(found) == 1 else assemble_side_by_side(found)
        write_page(output, contents)
        drawn = [] if png is None else write_figures(png, contents)
    models = "" if len(found) == 1 else f" on {len(found)} models"
    figures = f", {counted(len(drawn), 'figure')} in {png}" if png is not None else ""
    typer.echo(f"{output} written{models}{figures}")
