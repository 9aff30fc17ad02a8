"""`connector-bench references`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from connector_bench.number_style import counted, number, with_interval

if TYPE_CHECKING:
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
    closed_form_only: Annotated[
        bool, typer.Option("--closed-form-only", help="Leave out what is fitted, which takes minutes.")
    ] = False,
    layer: Annotated[int, typer.Option(help="Layer of a bare vision model.")] = -1,
    device: Annotated[str, typer.Option(help="Device that the tower runs on, or auto.")] = "auto",
) -> None:
    """What known kinds of connector lose behind a tower, untrained and as good as can be, beside one's own."""
    from connector_bench.pictures import images_fingerprint
    from connector_bench.references.kinds import closed_references, fitted_references
    from connector_bench.references.tower import tower_tokens
    from connector_bench.results.refusals import refusals

    with refusals("no references", RuntimeError):
        own = None if mine is None else _own(mine)
        found = tower_tokens(tower, images, limit=limit, device=device, layer=layer)
        for why in found.left_out[:3]:
            typer.secho(f"left out {why}", fg="yellow", err=True)
        if len(found.left_out) > 3:
            typer.secho(f"and {len(found.left_out) - 3} more", fg="yellow", err=True)
        if own is not None and own.record.get("images_sha256") != images_fingerprint(found.tested):
            typer.secho(
                "your result is of other pictures than these: run patch_reconstruction_imagefolder with "
                "CONNECTOR_BENCH_IMAGE_FOLDER on this folder, and references without --limit",
                fg="yellow",
                err=True,
            )
        title = f"patch variance lost; {counted(len(found.train), 'picture')} to learn from, {len(found.test):,} tested"
        rows = _shown(closed_references(found, tokens, width, rank or (8, 32)), title)
        if own is not None:
            typer.echo(_beside(own, rows, tokens, width, rank or ()))
        if not closed_form_only:
            rows += _shown(fitted_references(found, tokens, width, steps), f"fitted, {steps:,} steps each")
            if own is not None:
                typer.echo(_beside(own, rows, tokens, width, rank or ()))


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


def _shown(references: Iterable[Reference], title: str) -> list[Reference]:
    """The rows, each written as soon as it is there: what is broken off leaves what was done."""
    rows: list[Reference] = []
    for row in references:
        if not rows:
            typer.echo(f"{title}\n{'as good':>67}")
            typer.echo(_line("connector", "tokens", "width", "parameters", "untrained", "as can be"))
        sizes = (f"{row.tokens:,}", f"{row.width:,}", f"{row.parameters:,}")
        typer.echo(_line(row.name, *sizes, number(row.untrained), number(row.fitted), row.how))
        rows.append(row)
    typer.echo()
    return rows


def _line(name: str, tokens: str, width: str, parameters: str, before: str, after: str, how: str = "") -> str:
    """Within 80 columns, every name whole."""
    return f"{name:<14} {tokens:>7} {width:>7} {parameters:>14} {before:>10} {after:>10}  {how}".rstrip()


def _beside(own: TaskRun, rows: Sequence[Reference], tokens: int, width: int, ranks: Sequence[int]) -> str:
    """What one's own loses, what the asked ranks need lose, and the least that a reference of this size loses."""
    score, linear = own.scores["lost"], own.scores.get("r2_ridge")
    best = min((row for row in rows if row.tokens == tokens), key=lambda row: row.fitted)
    ridge = "" if linear is None else f" ({number(1 - linear.value)} to a linear probe)"
    shown = with_interval(score.value, score.low, score.high, own.bound("lost"))
    asked = [row for row in rows if row.name in {f"rank{rank}" for rank in ranks}]
    need = "".join(f"{row.name} need lose no more than {number(row.fitted)}; " for row in asked)
    return (
        f"{need}{own.model} loses {shown}{ridge} on {own.name}; of "
        f"{tokens} tokens with {width} numbers each, the least that a reference loses is {number(best.fitted)} "
        f"({best.name}, {best.how})"
    )
