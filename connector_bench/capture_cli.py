"""`connector-bench capture` and `measure`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from connector_bench.fingerprint.cli import Device, Dtype, Revision
from connector_bench.number_style import counted
from connector_bench.results.refusals import refusals, refuse

TASKS = ("knn_preservation", "patch_reconstruction")


def capture_command(
    checkpoint: Annotated[str, typer.Argument(help="Folder or hub name of a checkpoint.")],
    images: Annotated[Path, typer.Option(help="Folder of pictures.")],
    out: Annotated[Path, typer.Option(help="Where tokens go; a capture that was broken off goes on there.")],
    dtype: Dtype = "auto",
    device: Device = "auto",
    batch_size: Annotated[int, typer.Option(min=1, help="Pictures that pass together.")] = 8,
    limit: Annotated[int | None, typer.Option(min=1, help="Only so many files, the first ones.")] = None,
    revision: Revision = None,
    untrained: Annotated[
        bool,
        typer.Option("--untrained", help="Also keep what three untrained copies make, for that control."),
    ] = False,
) -> None:
    """Load a checkpoint's vision tower and connector alone, and write the tokens of a folder of pictures."""
    from connector_bench.captured.capture_folder import capture_folder
    from connector_bench.connectors.alone import load_alone
    from connector_bench.fingerprint.fingerprint_file import FINGERPRINT
    from connector_bench.fingerprint.stages import write_fingerprint

    with refusals(f"cannot capture {checkpoint}", RuntimeError):
        adapter = load_alone(checkpoint, device=device, dtype=dtype, revision=revision)
        outcome = capture_folder(
            adapter, images, out, batch_size=batch_size, limit=limit, untrained=untrained
        )
        if not (out / FINGERPRINT).exists():
            write_fingerprint(adapter, out / FINGERPRINT)
    for path, why in list(outcome.left_out.items())[:3]:
        typer.secho(f"left out {path}: {why}", fg="yellow", err=True)
    more = f", {counted(len(outcome.left_out), 'file')} left out" if outcome.left_out else ""
    before = f", {outcome.found_there} of them by an earlier run" if outcome.found_there else ""
    typer.echo(
        f"{counted(outcome.captured, 'picture')} of {counted(outcome.documents, 'file')} in {out}{before}{more}"
    )
    typer.echo(f"measure them with: connector-bench measure {out}")


def measure_command(
    folder: Annotated[
        Path, typer.Argument(help="A capture; the one that probes learn from where two are given.")
    ],
    test: Annotated[Path | None, typer.Argument(help="A capture of other pictures, to be measured.")] = None,
    output_path: Annotated[Path, typer.Option(help="Where lmms-eval's files go.")] = Path("results"),
    tasks: Annotated[str, typer.Option(help="Measures, separated by commas.")] = ",".join(TASKS),
    device: Annotated[str, typer.Option(help="Device that is measured on, or auto.")] = "auto",
) -> None:
    """Measure captured tokens through lmms-eval: the tasks' figures without model and pictures."""
    from connector_bench.captured.replayed import FOLDER, TRAINING_FOLDER, CapturedTokens
    from connector_bench.connectors.execution import chosen_device
    from connector_bench.results.harness_files import result_files

    wanted = tasks.split(",")
    if unknown := [name for name in wanted if name not in TASKS]:
        refuse(f"--tasks names {', '.join(unknown)}; allowed are {', '.join(TASKS)}")
    measured = folder if test is None else test
    variables = {FOLDER: str(measured.resolve())}
    if test is not None:
        variables[TRAINING_FOLDER] = str(folder.resolve())
    try:
        CapturedTokens(measured, *([] if test is None else [folder])).pictures()
    except (ValueError, OSError) as error:
        refuse(str(error))
    before = set(output_path.rglob("*_results.json"))
    command = [sys.executable, "-m", "lmms_eval", "--model", "connector_capture"]
    command += ["--model_args", f"device={chosen_device(device)}"]
    command += ["--tasks", ",".join(f"{name}_captured" for name in wanted)]
    command += ["--output_path", str(output_path), "--log_samples"]
    subprocess.run(command, check=False, env=os.environ | variables)
    if not [
        path for path in (result_files([output_path]) if output_path.is_dir() else []) if path not in before
    ]:
        refuse("lmms-eval wrote no result; its messages above say why")
    typer.echo(f"lmms-eval's files lie in {output_path}: connector-bench report {output_path}")
