"""`connector-bench report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    results: Annotated[list[Path], typer.Argument(help="lmms-eval result files or folders that hold them.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The page.")] = Path("report.html"),
    png: Annotated[Path | None, typer.Option(help="Folder for the same figures as PNG.")] = None,
    model: Annotated[str | None, typer.Option(help="Which model, where the results hold several.")] = None,
) -> None:
    """Write one page on a model: what its connector keeps, what it loses, and what it answers where it loses most."""
    from connector_bench.report.assemble import assemble
    from connector_bench.report.measured_runs import read_model
    from connector_bench.report.write import write_figures, write_page
    from connector_bench.results.refusals import refusals

    with refusals("no report"):
        contents = assemble(read_model(results, model))
        write_page(output, contents)
        drawn = [] if png is None else write_figures(png, contents)
    figures = f", {len(drawn)} figures in {png}" if png is not None else ""
    typer.echo(f"{output} written{figures}")
