"""`connector-bench references`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from connector_bench.number_style import counted, number, with_interval

if TYPE_CHECKING:
    import rich.table

    from connector_bench.references.kinds import Reference
    from connector_bench.results.tasks import TaskRun


def references_command(
    tower: Annotated[str, typer.Argument(help="Vision model of transformers, or vision-language model.")],
    images: Annotated[Path, typer.Option(help="Folder of pictures.")],
    tokens: Annotated[int, typer.Option(min=1, help="Connector tokens a picture.")],
    width: Annotated[int, typer.Option(min=1, help="Numbers of a connector token.")],
    mine: Annotated[
        str | None, typer.Option(help="lmms-eval's results of your connector; FOLDER:MODEL of several.")
    ] = None,
    rank: Annotated[
        list[int] | None, typer.Option(help="Rank of a linear bottleneck; may be repeated.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many pictures, evenly spread.")] = None,
    steps: Annotated[int, typer.Option(min=1, help="Training steps where no closed form is known.")] = 600,
    layer: Annotated[int, typer.Option(help="Layer of a bare vision model.")] = -1,
    device: Annotated[str, typer.Option(help="Device that the tower runs on, or auto.")] = "auto",
) -> None:
    """What known kinds of connector lose behind a tower, untrained and as good as can be, beside one's own."""
    from rich.console import Console

    from connector_bench.pictures import images_fingerprint
    from connector_bench.references.kinds import references
    from connector_bench.references.tower import tower_tokens
    from connector_bench.results.refusals import refusals

    with refusals("no references", RuntimeError):
        own = None if mine is None else _own(mine)
        found = tower_tokens(tower, images, limit=limit, device=device, layer=layer)
        rows = list(references(found, tokens, width, rank or (8, 32), steps))
        same = own is None or own.record.get("images_sha256") == images_fingerprint(found.tested)
    for why in found.left_out[:3]:
        typer.secho(f"left out {why}", fg="yellow", err=True)
    if len(found.left_out) > 3:
        typer.secho(f"and {len(found.left_out) - 3} more", fg="yellow", err=True)
    Console().print(_table(rows, len(found.train), len(found.test)))
    if own is not None:
        typer.echo(_beside(own, rows, tokens, width))
        if not same:
            typer.secho(
                "your result is of other pictures than these: run patch_reconstruction_imagefolder with "
                "CONNECTOR_BENCH_IMAGE_FOLDER on this folder, and references without --limit",
                fg="yellow",
                err=True,
            )


def _own(mine: str) -> TaskRun:
    """The latest patch reconstruction of the runs, on a folder of pictures where there is one."""
    from connector_bench.comparison.compared_runs import addressed, side_of
    from connector_bench.results.harness_files import UnusableResult

    side = side_of(*addressed(mine))
    runs = [
        task for task in side.tasks.values() if task.measure == "patch_reconstruction" and task.error is None
    ]
    if not runs:
        raise UnusableResult(f"{mine}: has no patch_reconstruction; it has {', '.join(side.tasks)}")
    return max(runs, key=lambda task: task.name.endswith("_imagefolder"))


def _table(rows: Sequence[Reference], train: int, test: int) -> rich.table.Table:
    from rich.table import Table

    table = Table(title=f"patch variance lost; {counted(train, 'picture')} to learn from, {test:,} tested")
    for name, side in (
        ("connector", "left"),
        *((name, "right") for name in ("tokens", "width", "parameters")),
    ):
        table.add_column(name, justify=side)  # type: ignore[arg-type]
    for name in ("untrained", "as good as can be", ""):
        table.add_column(name, justify="right")
    for row in rows:
        sizes = (f"{row.tokens:,}", f"{row.width:,}", f"{row.parameters:,}")
        table.add_row(row.name, *sizes, number(row.untrained), number(row.fitted), row.how)
    return table


def _beside(own: TaskRun, rows: Sequence[Reference], tokens: int, width: int) -> str:
    score, linear = own.scores["lost"], own.scores.get("r2_ridge")
    best = min((row for row in rows if row.tokens == tokens), key=lambda row: row.fitted)
    ridge = "" if linear is None else f" ({number(1 - linear.value)} to a linear probe)"
    shown = with_interval(score.value, score.low, score.high, own.bound("lost"))
    return (
        f"{own.model} loses {shown}{ridge} on {own.name}; of "
        f"{tokens} tokens with {width} numbers each, the least that a reference loses is {number(best.fitted)} "
        f"({best.name}, {best.how})"
    )
