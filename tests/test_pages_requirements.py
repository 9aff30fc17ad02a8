"""What reads files alone needs requirements-pages.txt alone; what setup.cfg names and nothing imports has a reason."""

from __future__ import annotations

import ast
import configparser
import json
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from connector_bench.leaderboard.board_files import stored_runs
from tests.harness import run_here
from tests.reconstruction.small_task import write_small_task

ROOT = Path(__file__).parent.parent
REQUIREMENTS = ROOT / "requirements-pages.txt"
NEVER = {"torch", "transformers", "lmms-eval", "datasets", "faiss-cpu", "timm", "evaluate"}

BLOCKED = """
import sys
blocked = set(sys.argv[1].split(","))
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in blocked:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
from typer.testing import CliRunner
from connector_bench.cli import app
for command in sys.argv[2:]:
    done = CliRunner().invoke(app, command.split())
    assert done.exit_code == 0, (command, done.output, done.exception)
print("all ran")
"""


def plain(name: str) -> str:
    """A distribution's name as registries compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def named(lines: list[str]) -> set[str]:
    return {
        plain(re.split(r"[ <>=!~;\[(]", line)[0])
        for line in map(str.strip, lines)
        if line and not line.startswith("#")
    }


def closure(names: set[str]) -> set[str]:
    """These distributions with everything that they bring, extras left out."""
    found: set[str] = set()
    while names:
        name = names.pop()
        found.add(name)
        try:
            needed = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue
        names |= named([line for line in needed if "extra ==" not in line]) - found
    return found


@pytest.mark.slow
def test_the_four_commands_run_without_what_models_need(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every package that the file does not bring is absent: blocked from import in a process of its own."""
    allowed = closure(named(REQUIREMENTS.read_text().splitlines())) | {"connector-bench", "click"}
    assert not allowed & NEVER
    blocked = [
        module
        for module, owners in metadata.packages_distributions().items()
        if not {plain(owner) for owner in owners} & allowed and module not in sys.stdlib_module_names
    ]
    assert {"torch", "transformers", "lmms_eval", "sklearn"} <= set(blocked)
    monkeypatch.chdir(tmp_path)
    reconstruction = write_small_task(tmp_path / "tasks", "small", images=40)
    for name in ("rank8", "rank32"):
        zoo = ("--model", "connector_zoo", "--model_args", f"connector={name},seed=0", "--batch_size", "64")
        include, tasks = reconstruction[:2], "knn_preservation,scenes_vqa"
        tasks = f"{tasks},small" if name == "rank8" else tasks
        run_here(tmp_path / name, *zoo, *include, "--tasks", tasks, "--limit", "160")
    as_if_whole(tmp_path / "rank8", tmp_path / "whole")
    commands = [
        f"leaderboard diff --before {ROOT / 'leaderboard'} --board {ROOT / 'leaderboard'}",
        "leaderboard show",
        "report rank8 -o page.html",
        "compare rank8 rank32",
        "analyze rank8",
        "leaderboard add whole --pictures --board board",
    ]
    done = subprocess.run(
        [sys.executable, "-c", BLOCKED, ",".join(blocked), *commands],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "all ran" in done.stdout
    assert Path("page.html").read_text().count("data:image/webp") >= 20, "each picture beside its loss map"
    (run,) = stored_runs(Path("board"))
    assert [(one.rows, one.columns) for one in run.tasks["small"].loss_maps] == [(14, 14)] * 6
    assert len(list(Path("board/pictures").iterdir())) == 6, "the same for every model"


def as_if_whole(run: Path, folder: Path) -> None:
    """The run where it says it was of all scenes, or no board would take it."""
    shutil.copytree(run, folder)
    (path,) = folder.rglob("*_results.json")
    content = json.loads(path.read_text())
    content["config"]["limit"] = None
    path.write_text(json.dumps(content))


def test_what_is_never_imported_is_there_for_someone_who_is_named() -> None:
    config = configparser.ConfigParser(comment_prefixes=(";",), inline_comment_prefixes=None)
    config.read(ROOT / "setup.cfg")
    lines = [line.strip() for line in config["options"]["install_requires"].splitlines() if line.strip()]
    owners = metadata.packages_distributions()
    imported = {
        plain(owner)
        for folder in ("connector_bench", "tasks")
        for path in (ROOT / folder).rglob("*.py")
        for module in imports_of(path)
        for owner in owners.get(module, [])
    }
    for number, line in enumerate(lines):
        if not line.startswith("#") and not named([line]) <= imported:
            assert lines[number - 1].startswith("# never imported"), f"for whom is {line}?"
            assert named([line]) <= {"evaluate"} or not named([line]) <= brought_by_lmms_eval(), (
                f"lmms-eval brings {line}, and nobody asked for it by name"
            )


def imports_of(path: Path) -> set[str]:
    """Modules by their first name, those loaded by `import_module("...")` too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
        elif isinstance(node, ast.Call) and "import_module" in ast.unparse(node.func):
            found |= {given.value for given in node.args if isinstance(given, ast.Constant)}
    return {name.split(".")[0] for name in found}


def brought_by_lmms_eval() -> set[str]:
    return named([line for line in metadata.requires("lmms-eval") or [] if "extra ==" not in line])
