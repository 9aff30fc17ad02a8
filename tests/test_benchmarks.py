"""The benchmarks run, and a missed target is called one."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import knn, reconstruction
from benchmarks.findings import Finding, machine, table


@pytest.mark.parametrize(
    ("finding", "verdict"),
    [
        (Finding("a", 1.15, most=1.15), "met"),
        (Finding("a", 1.16, most=1.15), "MISSED"),
        (Finding("a", 50.0, least=50.0), "met"),
        (Finding("a", 49.0, least=50.0), "MISSED"),
        (Finding("a", float("nan"), least=50.0), "MISSED"),
        (Finding("a", 3.0), ""),
    ],
)
def test_a_missed_target_is_called_one(finding: Finding, verdict: str) -> None:
    assert finding.verdict == verdict
    assert verdict in table([finding])


def test_the_machine_is_named() -> None:
    assert "processors" in machine()
    assert "time" in machine()


def test_the_worst_case_is_reported() -> None:
    few, many = (knn.Case(n, 8, 5, "gaussian") for n in (300, 400))
    costs = {(case, name): knn.Cost(2.0, 1.0) for case in (few, many) for name in knn.SEARCHES}
    costs[many, knn.OURS] = knn.Cost(3.0, 1.2)
    time, memory, *_ = knn.findings([few, many], costs)
    assert (time.value, time.verdict) == (1.5, "MISSED")
    assert (memory.value, memory.verdict) == (1.2, "met")
    assert "400 x 8" in time.note


@pytest.mark.parametrize("name", list(knn.SEARCHES))
def test_every_search_searches(name: str) -> None:
    case = knn.Case(300, 8, 5, "embedding")
    cost = knn.cost(name, case, repeats=1)
    assert cost.seconds > 0
    x = np.ascontiguousarray(knn.vectors(case.n, case.d, case.kind))
    assert knn.SEARCHES[name](x, case.k)(x) is not None


def test_ridge_beats_an_mlp_on_linear_data() -> None:
    sizes = reconstruction.Sizes(1024, 24, 8, 16, mlp_steps=None)
    finding = reconstruction.quality(sizes)
    assert finding.verdict == "met"
    assert "30 of 30 steps" in finding.note


def test_all_benchmarks_run_together_and_end_in_one_table() -> None:
    command = [sys.executable, "-m", "benchmarks", "--quick"]
    ran = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=Path(__file__).parent.parent
    )
    assert ran.returncode == 0, ran.stderr
    for line in (
        "k-NN: time over one faiss call",
        "k-NN: all after the search over the search",
        "capture, tiny llava",
        "held-out R2",
        "on disk for each image",
    ):
        assert line in ran.stdout


@pytest.mark.slow
def test_whole_runs_beside_the_bare_model(tmp_path: Path) -> None:
    """Every section but one in tiny sizes; none fails, and the findings are written."""
    found = tmp_path / "found.json"
    command = [sys.executable, "-m", "benchmarks", "gpu", "--tiny", "--geometry", "llava"]
    command += ["--only", "bare,fit,search,whole", "--json", str(found)]
    ran = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=Path(__file__).parent.parent
    )
    assert ran.returncode == 0, ran.stderr
    assert "FAILED" not in ran.stdout
    values = {row["what"]: row["value"] for row in json.loads(found.read_text())["findings"]}
    for part in ("tower and connector", "fit of", "exact search", "both tasks in one run"):
        assert any(part in what and 0 < value < float("inf") for what, value in values.items()), values
