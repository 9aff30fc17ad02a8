"""The workflows are valid and safe, and what they run is run here."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from connector_bench.leaderboard import board as boards
from tests.harness import script
from tests.leaderboard.runs import a_run, preservation

ROOT = Path(__file__).parent.parent
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
WRITES = {("leaderboard-comment.yml", "pull-requests"), ("publish.yml", "pages"), ("publish.yml", "id-token")}


def load(path: Path) -> dict[Any, Any]:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def triggers(path: Path) -> dict[str, Any]:
    return load(path)[True]  # YAML 1.1 reads the key `on` as a truth value


def said(*command: str, **options: Any) -> tuple[int, str]:
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_holds_to_the_schema(path: Path) -> None:
    code, output = said(
        sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows", str(path)
    )
    assert code == 0, output


def test_zizmor_finds_nothing() -> None:
    code, output = said(
        script("zizmor"), "--offline", "--no-progress", "--persona=auditor", *map(str, WORKFLOWS)
    )
    assert code == 0, output


def test_zizmor_would_find_something(tmp_path: Path) -> None:
    unsafe = (
        (ROOT / ".github/workflows/leaderboard.yml").read_text().replace('"$BASE"', "${{ github.head_ref }}")
    )
    (tmp_path / "unsafe.yml").write_text(unsafe.replace("pull_request:", "pull_request_target:"))
    code, output = said(script("zizmor"), "--offline", "--no-progress", str(tmp_path / "unsafe.yml"))
    assert code != 0
    assert "template-injection" in output
    assert "dangerous-triggers" in output


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_every_action_is_pinned_and_every_job_says_what_it_may(path: Path) -> None:
    for action in re.findall(r"uses: (.*)", path.read_text(encoding="utf-8")):
        assert re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action), action
    assert load(path)["permissions"] == {}
    for job in load(path)["jobs"].values():
        writing = {(path.name, scope) for scope, level in job["permissions"].items() if level == "write"}
        assert writing <= WRITES
        assert "timeout-minutes" in job


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_what_may_write_runs_nothing_of_a_pull_request(path: Path) -> None:
    assert "pull_request_target" not in triggers(path)
    if any(name == path.name for name, _ in WRITES):
        assert "pull_request" not in triggers(path)
    if "workflow_run" in triggers(path):
        assert "actions/checkout" not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_what_a_workflow_names_exists(path: Path) -> None:
    for event in triggers(path).values():
        for pattern in (event or {}).get("paths", []):
            assert list(ROOT.glob(pattern)), pattern
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for job in load(path)["jobs"].values():
        for command in (step["run"] for step in job["steps"] if "run" in step):
            if command.startswith("make "):
                assert command.split()[1] in targets
            if command.startswith(".ci/"):
                assert os.access(ROOT / command.split()[0], os.X_OK)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository with a board of one model on its branch `main`, and the scripts of `.ci`."""
    folder = tmp_path / "checkout"
    boards.add(folder / "leaderboard", [a_run("first", t=preservation(0.5))])
    shutil.copytree(ROOT / ".ci", folder / ".ci")
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", "-A")
    git(folder, "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-q", "-m", "first")
    return folder


def git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True)


def leaderboard_steps(folder: Path) -> tuple[int, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    code, output = said(
        "bash", ".ci/leaderboard", "main", "report.md", cwd=folder, env=os.environ | {"PATH": path}
    )
    assert (folder / "report.md").read_text() in output
    return code, output


def test_new_results_with_fresh_files_pass_and_are_told(checkout: Path) -> None:
    boards.add(checkout / "leaderboard", [a_run("second", weights="b", t=preservation(0.7))])
    code, output = leaderboard_steps(checkout)
    assert code == 0, output
    assert "second" in output
    assert "cannot be merged" not in output


def test_stale_files_fail(checkout: Path) -> None:
    path = checkout / "leaderboard" / "index.html"
    path.write_text(path.read_text().replace("first", "fist", 1))
    code, output = leaderboard_steps(checkout)
    assert code == 1
    assert "stale: leaderboard/index.html; run: connector-bench leaderboard build" in output


def test_an_invalid_result_fails(checkout: Path) -> None:
    (checkout / "leaderboard" / "results" / "broken.json").write_text('{"schema_version": 2')
    code, output = leaderboard_steps(checkout)
    assert code == 1
    assert "broken.json" in output


def test_a_board_that_was_not_there_before_is_compared_with_nothing(checkout: Path) -> None:
    git(checkout, "rm", "-rq", "--cached", "leaderboard")
    git(checkout, "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-q", "-m", "no board")
    code, output = leaderboard_steps(checkout)
    assert code == 0, output
    assert "first" in output


def test_the_site_is_the_boards_public_files(checkout: Path) -> None:
    (checkout / "leaderboard" / "pictures").mkdir()
    (checkout / "leaderboard" / "pictures" / "a.webp").write_bytes(b"p")
    code, output = said("bash", ".ci/site", "build/site", cwd=checkout)
    assert code == 0, output
    site = {
        path.relative_to(checkout / "build/site").as_posix()
        for path in (checkout / "build/site").rglob("*.*")
    }
    tables = {f"tables/{name}.md" for name in ("neighbours", "patches", "stages", "tasks", "published")}
    files = {"index.html", "leaderboard.csv", "leaderboard.json", "LEADERBOARD.md", "pictures/a.webp"}
    assert site == files | tables
