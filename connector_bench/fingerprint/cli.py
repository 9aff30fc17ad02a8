"""`connector-bench fingerprint`: a model's fingerprint, and what sets two of them apart."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from connector_bench.atomic_files import appearing
from connector_bench.fingerprint.verdict import Verdict
from connector_bench.number_style import counted
from connector_bench.results.refusals import refusals, refuse

Dtype = Annotated[str, typer.Option(help="auto (the checkpoint's own), float32, bfloat16 or float16.")]
Device = Annotated[
    str, typer.Option(help="cpu, cuda, cuda:1 ...; auto is a graphics card where there is one.")
]
Revision = Annotated[str | None, typer.Option(help="Branch, tag or commit of a hub's checkpoint.")]

app = typer.Typer(
    help="What a model makes of twelve known pictures, to compare runtimes by.", no_args_is_help=True
)


@app.command("make")
def make_fingerprint(
    checkpoint: Annotated[str, typer.Argument(help="Folder or hub name of a checkpoint.")],
    out: Annotated[Path, typer.Option(help="The file that is written.")] = Path("fingerprint.json"),
    dtype: Dtype = "auto",
    device: Device = "auto",
    revision: Revision = None,
) -> None:
    """Write the fingerprint of a checkpoint's tower and connector as they run here."""
    from connector_bench.connectors.alone import load_alone
    from connector_bench.fingerprint.stages import write_fingerprint

    with refusals(f"no fingerprint of {checkpoint}", RuntimeError):
        write_fingerprint(load_alone(checkpoint, device=device, dtype=dtype, revision=revision), out)
    typer.echo(f"{out} written; set another beside it with: connector-bench fingerprint compare {out} OTHER")


@app.command("pictures")
def write_pictures(
    folder: Annotated[Path, typer.Argument(help="Where the twelve PNG files go.")],
) -> None:
    """Write the twelve pictures, to be passed through another runtime."""
    from connector_bench.fingerprint.drawn_pictures import drawn_pictures

    try:
        folder.mkdir(parents=True, exist_ok=True)
        for number, picture in enumerate(drawn_pictures(), 1):
            with appearing(folder / f"{number:02}.png") as temporary:
                picture.save(temporary)
    except OSError as error:
        refuse(f"{folder} cannot be written: {error}")
    typer.echo(f"12 pictures in {folder}")


@app.command("compare")
def compare_fingerprints(
    a: Annotated[Path, typer.Argument(help="A fingerprint, or the folder of a capture.")],
    b: Annotated[Path, typer.Argument(help="Another of the same model.")],
) -> None:
    """Say which stage differs first, how much, and what it is. Exit code 3 where it is more than rounding."""
    from connector_bench.fingerprint.fingerprint_file import read_fingerprint
    from connector_bench.fingerprint.verdict import compare

    try:
        first, second = read_fingerprint(a), read_fingerprint(b)
        verdict = compare(first, second, ("A", "B"))
    except (ValueError, OSError) as error:
        refuse(str(error))
    typer.echo(f"A: {first.model}, {first.dtype or 'unknown precision'} ({a})")
    typer.echo(f"B: {second.model}, {second.dtype or 'unknown precision'} ({b})")
    Console().print(_table(verdict))
    for sentence in verdict.words:
        typer.echo(sentence)
    if not verdict.alike:
        raise typer.Exit(3)


@app.command("precision")
def measure_precision(
    checkpoint: Annotated[str, typer.Argument(help="Folder or hub name of a checkpoint.")],
    images: Annotated[Path, typer.Option(help="Folder of pictures, of which the first 200 are measured.")],
    out: Annotated[Path, typer.Option(help="Folder of a capture, or any other; precision.json goes there.")],
    device: Device = "auto",
    revision: Revision = None,
) -> None:
    """Measure by how much bfloat16 and the size of batches alone change a model's figures."""
    from connector_bench.atomic_files import write_atomically
    from connector_bench.captured.capture_folder import documents_of_folder
    from connector_bench.captured.written import PRECISION
    from connector_bench.connectors.alone import load_alone
    from connector_bench.fingerprint.own_change import PICTURES, own_change

    with refusals(f"cannot measure {checkpoint}", RuntimeError):
        documents, _ = documents_of_folder(images, PICTURES)
        out.mkdir(parents=True, exist_ok=True)
        found = own_change(
            lambda dtype: load_alone(checkpoint, device=device, dtype=dtype, revision=revision), documents
        )
        write_atomically(out / PRECISION, found.model_dump_json(indent=1).encode())
    table = Table(title=f"Change of figures on {counted(found.n_images, 'picture')}")
    for column in ("figure", "float32", "bfloat16", "one picture at a time"):
        table.add_column(column, justify="left" if column == "figure" else "right")
    for name, change in found.figures.items():
        table.add_row(name, f"{change.value:.4f}", f"{change.bfloat16:+.4f}", f"{change.one_at_a_time:+.4f}")
    Console().print(table)
    typer.echo(f"{out / PRECISION} written; what is measured from tokens in {out} carries it in its record")


def _table(verdict: Verdict) -> Table:
    table = Table(title="Difference by stage, as a share of a token's norm")
    for column in ("stage", "difference", "tokens that stand elsewhere"):
        table.add_column(column, justify="left" if column == "stage" else "right")
    for stage in verdict.stages:
        marked = f"{stage.name}  <- first" if stage.name == verdict.first else stage.name
        table.add_row(marked, f"{stage.difference:.2g}", str(stage.moved or ""))
    return table
