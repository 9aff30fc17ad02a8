"""`connector-bench connectors`: the families that are known, and a closer look at one checkpoint."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from connector_bench.atomic_files import appearing
from connector_bench.connectors.base import ConnectorAdapter, UnsupportedModel
from connector_bench.connectors.execution import require_device
from connector_bench.connectors.place_check import PASSED
from connector_bench.foreign_files import first_line
from connector_bench.results.refusals import refuse
from connector_bench.types import TokenLayout, TokenPair

if TYPE_CHECKING:
    from PIL.Image import Image

    from connector_bench.connectors.planted import Planted

WIDTH = 79
"""Characters of a line of prose; a module's path is never broken."""

app = typer.Typer(help="Connectors of vision-language models.", invoke_without_command=True)


@app.callback()
def list_families(context: typer.Context) -> None:
    """List the families whose connectors are known."""
    if context.invoked_subcommand is None:
        typer.echo(families_text())


@app.command("inspect")
def inspect_checkpoint(
    pretrained: Annotated[str, typer.Argument(help="Folder or hub name of a checkpoint.")],
    image: Annotated[
        Path | None, typer.Option(help="Draw the token grid over this picture.", exists=True)
    ] = None,
    output: Annotated[Path, typer.Option(help="Where the drawing goes.")] = Path("tokens.png"),
    device: Annotated[str, typer.Option(help="Device that the model runs on.")] = "cpu",
    cells: Annotated[int, typer.Option(min=1, help="Patches to plant on each side of the connector.")] = 32,
) -> None:
    """Show a checkpoint's connector, its shapes and its token map, and run the planted-patch check."""
    console = Console()
    try:
        picture = opened(image)
        adapter = load(pretrained, device)
        pair = adapter.capture([picture])[0]
        console.print(connector_table(adapter, pair))
        console.print(layout_table(pair.layout, picture))
        results = planted(adapter, cells)
        console.print(planted_table(results))
        if image is not None and not pair.layout.unplaced:
            from connector_bench.connectors.token_grid_picture import draw_tokens

            output = output if output.suffix else output.with_suffix(".png")
            with appearing(output) as temporary:
                draw_tokens(picture, pair.layout).savefig(temporary, dpi=150)
            console.print(f"Token grid drawn to {output}")
    except (ValueError, OSError, RuntimeError) as error:
        refuse(f"cannot inspect {pretrained}: {error}")
    if not adapter.info.knows_places or any(result.share < PASSED for result in results):
        what = (
            "do not trust maps or per-patch figures of this model"
            if adapter.info.knows_places
            else "this model is measured without token places, so without loss maps and probes per cell"
        )
        typer.secho(f"Planted patches were not found: {what}.", fg="red", err=True)
        raise typer.Exit(2)


def load(pretrained: str, device: str) -> ConnectorAdapter:
    """The adapter of a checkpoint, with the checkpoint's own processor.

    Raises:
        UnsupportedModel: the checkpoint cannot be loaded or has no connector.
        ValueError: torch has no such device.
        OSError: there is no such checkpoint.
    """
    from safetensors import SafetensorError

    from connector_bench.connectors.fresh import observe_loading
    from connector_bench.connectors.given import give_connector
    from connector_bench.connectors.model_class import (
        config_of_checkpoint,
        model_class,
        processor_of_checkpoint,
    )
    from connector_bench.connectors.registry import adapter_for_model
    from connector_bench.connectors.unsupported import refuse as refuse_unsupported

    require_device(device)
    if Path(pretrained).is_absolute() and not Path(pretrained).is_dir():
        raise FileNotFoundError("there is no such folder")
    config = config_of_checkpoint(pretrained)
    refuse_unsupported(config)
    observe_loading()
    loader = model_class(config)
    try:
        model = loader.from_pretrained(pretrained, dtype="auto", trust_remote_code=False).to(device).eval()
    except SafetensorError as error:
        raise UnsupportedModel(f"its weights cannot be read, the copy may be cut short: {error}") from error
    except (ValueError, KeyError) as error:
        kind = getattr(config, "model_type", "?")
        reason = first_line(error)  # the others list every class of transformers
        raise UnsupportedModel(
            f"A {kind} model is none that reads images and writes text: {reason}"
        ) from error
    give_connector(model)
    return adapter_for_model(model, processor_of_checkpoint(pretrained), pretrained)


def opened(path: Path | None) -> Image:
    """The picture to look at: the user's, or one of strong random colours."""
    from PIL import Image as pillow

    from connector_bench.connectors.coloured import coloured_picture
    from connector_bench.pictures import as_rgb

    return coloured_picture(448, 336) if path is None else as_rgb(pillow.open(path))


def planted(adapter: ConnectorAdapter, cells: int) -> list[Planted]:
    """The planted-patch check on a picture of strong colours, on every side for which the family claims places."""
    from connector_bench.connectors.coloured import coloured_picture
    from connector_bench.connectors.planted import check

    return list(check(adapter.claiming, coloured_picture(448, 336), limit=cells))


def families_text() -> str:
    """A paragraph a family: model types and connector, then a line for each module, so that its path can be copied."""
    from connector_bench.connectors.registry import declared_families, installed_families

    said = []
    for family in [*installed_families(), *declared_families()]:
        places = ", tokens have no place" if family.resamples else ""
        said.append(f"{', '.join(family.model_types)}: {family.connector}{places}")
        said += [f"  {module}" for module in (*family.modules, *family.parallel)]
        if family.remarks:
            said += wrap(family.remarks, WIDTH, initial_indent="    ", subsequent_indent="    ")
    return "\n".join(said)


def connector_table(adapter: ConnectorAdapter, pair: TokenPair) -> Table:
    """What the connector is, and the shapes on both sides of it for one picture."""
    info = adapter.info
    rows: Iterable[tuple[str, str]] = (
        ("model", info.model),
        ("family", info.family),
        ("connector", info.connector),
        ("modules", "\n".join(info.modules)),
        ("parameters", f"{info.parameters:,}"),
        ("precision", info.dtype),
        ("weights", (info.weights_sha256 or "not readable")[:16]),
        ("pre (encoder tokens)", _shape(pair.pre.shape)),
        (
            "pre after the connector's own norm",
            "-" if pair.pre_normed is None else _shape(pair.pre_normed.shape),
        ),
        ("post (connector tokens)", _shape(pair.post.shape)),
        ("places", info.places or "-"),
        ("assumed", "\n".join(info.assumptions) or "nothing"),
    )
    table = Table(show_header=False, title="Connector")
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def layout_table(layout: TokenLayout, picture: Image) -> Table:
    """Where the tokens of a picture lie, one row a tile."""
    table = Table(title=f"Tokens of a picture of {picture.width} x {picture.height}")
    for column in ("tile", "encoder grid", "connector grid", "left", "top", "right", "bottom"):
        table.add_column(column, justify="right")
    if layout.unplaced:
        table.add_row("-", f"{layout.unplaced} tokens, not known", f"{layout.n_post} tokens", *4 * "-")
    for number, tile in enumerate(layout.tiles):
        post = "no place" if tile.post_grid is None else _shape(tile.post_grid)
        table.add_row(str(number), _shape(tile.pre_grid), post, *(f"{edge:.3f}" for edge in tile.box))
    return table


def planted_table(results: Iterable[Planted]) -> Table:
    """Share of planted patches that moved their own token most."""
    table = Table(title="Planted patches")
    for column in ("side", "found", "of", "chance"):
        table.add_column(column, justify="right")
    for result in results:
        table.add_row(result.side, str(result.hits), str(result.cells), f"{result.chance:.3f}")
    return table


def _shape(sizes: Iterable[int]) -> str:
    return " x ".join(str(size) for size in sizes)
