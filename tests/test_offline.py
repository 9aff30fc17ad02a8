"""No command that reads local files asks a server for anything, though nobody has set HF_HUB_OFFLINE."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OFFLINE = {"HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "HF_EVALUATE_OFFLINE", "TRANSFORMERS_OFFLINE"}
DEMO = """
from pathlib import Path
import sys
from connector_bench.demo import run_demo
run_demo(Path(sys.argv[1]), [("rank2", 0)], "scenes_vqa")
"""


def watched(folder: Path, *command: str) -> tuple[subprocess.CompletedProcess[str], str]:
    """Run Python with no network and empty caches; how it ended, and what it asked other machines for."""
    asked = folder / "asked.txt"
    found = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env={name: value for name, value in os.environ.items() if name not in OFFLINE}
        | {"PYTHONPATH": f"{ROOT / 'tests' / 'no_network'}{os.pathsep}{ROOT}", "ASKED": str(asked)}
        | {"HF_HOME": str(folder / "hf"), "HOME": str(folder / "home"), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    return found, asked.read_text() if asked.exists() else ""


@pytest.mark.parametrize(
    "asking",
    [
        "import urllib.request; urllib.request.urlopen('http://hub.invalid/x', timeout=2)",
        "import socket; socket.create_connection(('192.0.2.1', 80), timeout=1)",
        "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import socket; "
        'socket.gethostbyname("hub.invalid")\'], check=True)',
    ],
)
def test_what_asks_is_noticed(asking: str, tmp_path: Path) -> None:
    found, asked = watched(tmp_path, "-c", asking)
    assert found.returncode != 0
    assert "hub.invalid" in asked or "192.0.2.1" in asked


def test_no_command_on_local_files_asks_a_server(tmp_path: Path) -> None:
    """`datasets` told a server whenever it read JSON."""
    found, asked = watched(tmp_path, "-m", "tests.offline_commands", str(tmp_path))
    ended = [line for line in found.stdout.splitlines() if line.startswith("ended ")]
    assert len(ended) == 18, found.stdout[-3000:] + found.stderr[-3000:]
    assert all(line.endswith(": 0") for line in ended), found.stdout[-3000:]
    assert asked == ""


@pytest.mark.slow
def test_the_demo_asks_no_server(tmp_path: Path) -> None:
    found, asked = watched(tmp_path, "-c", DEMO, str(tmp_path / "demo"))
    assert (tmp_path / "demo" / "leaderboard" / "LEADERBOARD.md").is_file(), found.stdout + found.stderr
    assert asked == ""
