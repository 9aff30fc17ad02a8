"""A wheel built from a clean checkout works in another environment."""

import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from tests.harness import run_command

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    checkout = tmp_path_factory.mktemp("checkout")
    files = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in files.stdout.decode().split("\0"):
        if name and (ROOT / name).is_file():
            (checkout / name).parent.mkdir(parents=True, exist_ok=True)
            (checkout / name).write_bytes((ROOT / name).read_bytes())
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", "dist"]
    subprocess.run(command, cwd=checkout, check=True, capture_output=True)
    (built,) = (checkout / "dist").glob("*.whl")
    return built


@pytest.fixture(scope="module")
def other_python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment that holds the wheel, and finds everything else where the tests' own environment has it.

    A folder named in a .pth file is searched, but its own .pth files are not read: the editable installation of the
    checkout is out of reach.
    """
    folder = tmp_path_factory.mktemp("other") / "env"
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = folder / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "-q", "--no-deps", "--no-index", str(wheel)], check=True)
    (site,) = (folder / "lib").glob("python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return python


def test_it_holds_tasks_scenes_and_weights(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert "connector_bench/tasks/knn_preservation.yaml" in names
    assert "connector_bench/examples/c_abstractor.py" in names
    assert "connector_bench/report/templates/report.html.jinja" in names
    assert any(name.startswith("connector_bench/zoo/assets/sprites/") for name in names)
    assert any(name.endswith("mlp-seed0.safetensors") for name in names)
    assert any(name.endswith("LICENSE-fluent-emoji.txt") for name in names)
    assert "connector_bench/leaderboard/assets/page.html.j2" in names
    assert any(
        name.endswith("licenses/connector_bench/leaderboard/assets/vendor/LICENSE-d3.txt") for name in names
    )
    committed = {path.name for path in (ROOT / "leaderboard" / "results").glob("*.json")}
    assert {
        Path(name).name for name in names if name.startswith("connector_bench/board/results/")
    } == committed
    assert not [name for name in names if name.startswith(("tests", "leaderboard", "benchmarks"))]
    assert wheel.stat().st_size < 100e6


def test_the_main_job_runs_from_it(other_python: Path, tmp_path: Path) -> None:
    where = [str(other_python), "-c", "import connector_bench as c; print(c.__file__)"]
    found = subprocess.run(where, capture_output=True, text=True, check=True, cwd=tmp_path).stdout
    assert str(other_python.parent.parent) in found
    command = [str(other_python), "-m", "lmms_eval"]
    arguments = (
        "--model",
        "connector_zoo",
        "--model_args",
        "connector=mlp",
        "--tasks",
        "knn_preservation,scenes_vqa",
    )
    outcome, said = run_command(tmp_path / "out", command, *arguments, "--limit", "20")
    assert outcome.figures("knn_preservation")["n_images"] == 20, said
    assert "accuracy" in outcome.figures("scenes_vqa")
    shown = [str(other_python.parent / "connector-bench"), "leaderboard", "show"]
    board = subprocess.run(shown, capture_output=True, text=True, check=True, cwd=tmp_path).stdout
    assert "connector_zoo/rank32-seed0" in board, "the board is in the wheel"
