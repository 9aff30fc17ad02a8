"""`connector-bench plates`."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

QUERIES = 3


def plates(
    results: Annotated[list[Path], typer.Argument(help="lmms-eval result files or folders that hold them.")],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Folder for the plates, one PNG a model and task.")
    ] = Path("plates"),
    document: Annotated[
        list[int] | None, typer.Option(help="Number of a document whose image is shown; may be repeated.")
    ] = None,
    worst: Annotated[
        int | None,
        typer.Option(min=0, help=f"How many images that lost most are shown. [default: {QUERIES}]"),
    ] = None,
    neighbours: Annotated[int, typer.Option(min=1, max=10, help="Neighbours on each side.")] = 5,
    model: Annotated[str | None, typer.Option(help="This model alone.")] = None,
    task: Annotated[str | None, typer.Option(help="This task alone.")] = None,
    include_path: Annotated[
        Path | None, typer.Option(help="Folder of the task's YAML, as lmms-eval was given it.")
    ] = None,
) -> None:
    """Draw images with their nearest ones before and after the connector: what it keeps near, and what it does not.

    Pictures come from the task's data set, which must be at hand as it was for the run: no server is asked for it.
    """
    os.environ.update(
        HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1"
    )  # read when the libraries are first imported
    from connector_bench.atomic_files import write_atomically
    from connector_bench.entry import loaded_plugin
    from connector_bench.plates.neighbour_gallery import galleries
    from connector_bench.plates.plate import draw_plate
    from connector_bench.results.refusals import refusals

    most_lost = worst if worst is not None else (0 if document else QUERIES)
    with refusals("no plate", RuntimeError):
        found = galleries(results, model, task)
        chosen = [gallery.rows(document or (), most_lost) for gallery in found]
        tasks = dict.fromkeys(gallery.task for gallery in found)
        documents = {name: loaded_plugin().documents_of(name, include_path) for name in tasks}
        with TemporaryDirectory() as folder:  # all of them or none
            drawn = [
                draw_plate(Path(folder), gallery, rows, neighbours, documents[gallery.task])
                for gallery, rows in zip(found, chosen, strict=True)
            ]
            output.mkdir(parents=True, exist_ok=True)
            for path in drawn:
                write_atomically(output / path.name, path.read_bytes())
                typer.echo(output / path.name)
