"""Every command that reads local files, one after the other: `python -m tests.offline_commands FOLDER`."""

import os
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from typer.testing import CliRunner

from connector_bench.cli import app
from tests import tiny_vlms
from tests.harness import run_here
from tests.reconstruction.small_task import OPTIONS

PICTURES = 40
TASKS = Path(__file__).parents[1] / "tasks"


def write_data(folder: Path) -> tuple[str, ...]:
    """Pictures of two classes and a small task on them; the arguments of lmms-eval that name both tasks."""
    rng = np.random.default_rng(0)
    for number in range(PICTURES):
        path = folder / "pictures" / ("cat", "dog")[number % 2] / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        small = rng.integers(0, 255, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(small).resize((64, 48), Image.Resampling.BICUBIC).save(path)
    os.environ["CONNECTOR_BENCH_IMAGE_FOLDER"] = str(folder / "pictures")
    text = f"task: patches\ninclude: {TASKS / 'patch_reconstruction_imagefolder.yaml'}\nconnector_bench:\n  train:\n"
    text += "    documents: !function connector_bench.tasks.picture_folder.image_folder_train\n"
    text += "    doc_to_visual: !function connector_bench.tasks.functions.picture\n"
    text += "".join(f"  {name}: {value}\n" for name, value in OPTIONS.items())
    (folder / "tasks").mkdir()
    (folder / "tasks" / "patches.yaml").write_text(text)
    return ("--include_path", str(folder / "tasks"), "--tasks", "knn_preservation_imagefolder,patches")


def run_commands(folder: Path) -> None:
    """Measure two models on local data, then read what they left in every way there is."""
    arguments = write_data(folder)
    llava = tiny_vlms.save("llava", folder)
    runs, board, out = folder / "runs", folder / "board", folder / "out"
    local = f"pretrained={llava},device=cpu,device_map=cpu"
    run_here(runs / "llava", "--model", "llava_hf", "--model_args", local, "--batch_size", "1", *arguments)
    run_here(runs / "zoo", "--model", "connector_zoo", "--model_args", "connector=rank2", *arguments)
    commands = [
        ["report", str(runs / "llava"), "-o", str(out / "report.html")],
        ["compare", str(runs / "llava"), str(runs / "zoo"), "--output", str(out / "compared")],
        ["analyze", str(runs), "--json", str(out / "analysis.json")],
        ["plates", str(runs), "-o", str(out / "plates")],
        ["leaderboard", "add", str(runs), "--pictures", "--board", str(board)],
        ["leaderboard", "build", "--board", str(board)],
        ["leaderboard", "check", "--board", str(board)],
        ["leaderboard", "diff", str(runs), "--board", str(board)],
        ["leaderboard", "verify", str(runs), "--board", str(board)],
        ["metrics"],
        ["version"],
        ["zoo", "list"],
        ["connectors"],
        ["connectors", "inspect", str(llava), "--cells", "2"],
        ["capture", str(llava), "--images", str(folder / "pictures"), "--out", str(out / "tokens")],
        ["fingerprint", "make", str(llava), "--out", str(out / "fingerprint")],
        ["fingerprint", "pictures", str(out / "twelve")],
        ["new-task", "scenes_vqa", "--folder", str(out / "new")],
    ]
    out.mkdir()
    for command in commands:
        ended = CliRunner().invoke(app, command)
        sys.stdout.write(f"ended {' '.join(command[:2])}: {ended.exit_code}\n")
        if ended.exit_code:
            sys.stdout.write(f"{ended.output[-600:]} {ended.exception!r}\n")


if __name__ == "__main__":
    run_commands(Path(sys.argv[1]))
