"""`connector-bench`: everything around the harness; the measuring itself is `lmms-eval --tasks ...`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from connector_bench._version import __version__
from connector_bench.association.cli import analyze
from connector_bench.capture_cli import capture_command, measure_command
from connector_bench.comparison.cli import compare_command
from connector_bench.connectors.cli import app as connectors
from connector_bench.fingerprint.cli import app as fingerprint
from connector_bench.intervention_curves.cli import intervene_command
from connector_bench.leaderboard.cli import app as leaderboard
from connector_bench.plates.cli import plates
from connector_bench.references.cli import references_command
from connector_bench.report.cli import report
from connector_bench.sweep.cli import sweep_command
from connector_bench.zoo.cli import app as zoo

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(leaderboard, name="leaderboard")
app.add_typer(zoo, name="zoo", help="The embedded models: list, train, preview their scenes.")
app.add_typer(connectors, name="connectors", help="The families whose connector is known.")
app.add_typer(fingerprint, name="fingerprint")
app.command()(analyze)
app.command(name="capture")(capture_command)
app.command(name="measure")(measure_command)
app.command(name="compare")(compare_command)
app.command(name="references")(references_command)
app.command(name="sweep")(sweep_command)
app.command(name="intervene")(intervene_command)
app.command()(report)
app.command()(plates)


def _versions() -> str:
    from connector_bench.protocol import PROTOCOL_VERSION

    return f"connector-bench {__version__}, measurement protocol {PROTOCOL_VERSION}"


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(_versions())
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the versions and stop."
        ),
    ] = False,
) -> None:
    """Measures what a vision-language model's connector loses, beside its task metrics."""


@app.command()
def demo(
    output: Annotated[Path, typer.Option(help="Folder for result files, log, table and page.")] = Path(
        "demo_output"
    ),
    everything: Annotated[
        bool,
        typer.Option(
            "--all", help="Every connector, seed and task that is shipped; takes about six hours of one core."
        ),
    ] = False,
    seeds: Annotated[
        int | None, typer.Option(min=1, help="With --all: so many seeds of each connector.")
    ] = None,
) -> None:
    """Measure the embedded models through lmms-eval, and say what came out and what to type next."""
    from connector_bench.demo import ALL_TASKS, EMBEDDED, TASKS, DemoFailed, run_demo, whole_zoo

    if seeds and not everything:
        raise typer.BadParameter("--seeds goes with --all; the demo has one seed of each connector")
    models, tasks = (whole_zoo(seeds), ALL_TASKS) if everything else (EMBEDDED, TASKS)
    try:
        run_demo(output, models, tasks)
    except DemoFailed as error:
        typer.secho(str(error), fg="red", err=True)
        raise typer.Exit(1) from error


@app.command(name="new-task")
def new_task(
    task: Annotated[str, typer.Argument(help="Any lmms-eval task whose documents have a picture.")],
    folder: Annotated[Path, typer.Option(help="Where the YAML is written.")] = Path("tasks"),
    measure: Annotated[
        str, typer.Option(help="knn_preservation or patch_reconstruction.")
    ] = "knn_preservation",
    train_split: Annotated[
        str, typer.Option(help="Split of the data set that patch_reconstruction's probes learn from.")
    ] = "train",
    include_path: Annotated[
        Path | None, typer.Option(help="Folder of the task's YAML, where it is not lmms-eval's own.")
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Write the file again where it is there.")
    ] = False,
) -> None:
    """Write the lines of YAML that measure the connector on another task's images."""
    from connector_bench.new_task import write_task
    from connector_bench.results.refusals import refusals

    with refusals("no task written", RuntimeError):
        path = write_task(task, folder, measure, train_split, include_path, replace)
    typer.echo(
        f"{path} written; run: lmms-eval --include_path {folder} --tasks {path.stem},{task} --model ..."
    )


@app.command()
def metrics() -> None:
    """Print every metric and control: what it is, which way is better, what chance gives."""
    from connector_bench.glossary import glossary

    typer.echo(glossary())


@app.command()
def version() -> None:
    """Print the versions of the package and of the measurement protocol."""
    typer.echo(_versions())


def main() -> None:
    """Entry point of the console script."""
    app()
