"""``connector-bench zoo``: train, list and preview."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="The embedded vision-language models and scenes.", no_args_is_help=True)


Names = Annotated[list[str] | None, typer.Argument(help="Names, or import paths module:Class.")]
Everything = Annotated[bool, typer.Option("--all", help="Every connector of the zoo.")]
Seeds = Annotated[list[int] | None, typer.Option("--seed", help="May be given several times; default 0.")]
SeedCount = Annotated[int | None, typer.Option("--seeds", min=1, help="So many seeds: 0, 1, 2 ...")]
Epochs = Annotated[int | None, typer.Option(min=1, help="Passes over the training scenes.")]
Scenes = Annotated[int | None, typer.Option(min=1, help="Fewer training scenes, for a first look.")]
Folder = Annotated[Path | None, typer.Option(help="Default: the cache, where the zoo looks first.")]


@app.command()
def train(
    connectors: Names = None,
    everything: Everything = False,
    seed: Seeds = None,
    seeds: SeedCount = None,
    epochs: Epochs = None,
    scenes: Scenes = None,
    out: Folder = None,
) -> None:
    """Train connectors and their decoders on the scenes, minutes each on one core, and say where each then stands."""
    from dataclasses import replace

    from connector_bench.foreign_files import printable
    from connector_bench.results.refusals import refuse
    from connector_bench.zoo.bench import bench_text
    from connector_bench.zoo.model import build_parts
    from connector_bench.zoo.named_connectors import connector_names, layout_doubt
    from connector_bench.zoo.train import Diverged, TrainingConfig
    from connector_bench.zoo.train import train as train_one

    names = connector_names() if everything else list(connectors or [])
    if not names:
        raise typer.BadParameter("name at least one connector, or give --all")
    if seed and seeds:
        raise typer.BadParameter("give --seeds, or --seed once for each, and not both")
    chosen = {key: value for key, value in (("epochs", epochs), ("scenes", scenes)) if value is not None}
    config = replace(TrainingConfig(), **chosen)
    diverged: list[str] = []
    try:
        for name in names:
            _, layout, _ = build_parts(name, 0)
            if doubt := layout_doubt(name, layout):
                typer.secho(doubt, fg="yellow", err=True)
        for name in names:
            trained: list[Path] = []
            numbers = seed or list(range(seeds or 1))
            for number in numbers:
                try:
                    trained.append(train_one(name, number, config, out))
                except Diverged as error:
                    diverged.append(str(error))
            for path in trained:
                typer.echo(path)
            if trained:
                typer.echo(bench_text(trained))
            if 0 < len(trained) < len(numbers):
                typer.echo(
                    f"these are figures of {len(trained)} of {len(numbers)} trainings: of those that did not diverge"
                )
    except (ValueError, OSError) as error:
        raise typer.BadParameter(printable(str(error))) from error
    if diverged:
        refuse("; ".join(diverged))


@app.command("list")
def list_connectors() -> None:
    """Every trained connector and seed, with its accuracy on the test scenes."""
    from rich.console import Console
    from rich.table import Table

    from connector_bench.number_style import number
    from connector_bench.zoo.shipped import read_cards

    heads = ("test scenes", "unseen drawings")
    table = Table(
        "connector", "seed", "parameters", *heads, title="share of questions about scenes that are answered"
    )
    try:
        cards = read_cards()
    except (OSError, ValueError) as error:
        raise typer.BadParameter(str(error)) from error
    for card in cards:
        scores = (card.accuracy.get(split, {}).get("overall") for split in ("test", "test_unseen"))
        table.add_row(card.connector, str(card.seed), f"{card.connector_parameters:,}", *map(number, scores))
    Console().print(table)


@app.command()
def preview(
    out: Annotated[Path, typer.Argument(help="PNG file to write.")],
    split: Annotated[
        str, typer.Option(help="A split of the scenes, such as test, or objects_test.")
    ] = "test",
    scenes: Annotated[int, typer.Option(min=1, max=60)] = 12,
) -> None:
    """Write a contact sheet: scenes, a question and its answer each, the answer mask outlined; or objects."""
    from connector_bench.zoo.preview import contact_sheet

    try:
        contact_sheet(split, scenes).save(out)
    except (ValueError, OSError) as error:
        raise typer.BadParameter(str(error)) from error
    typer.echo(out)
