"""A sweep of real runs: one that fails costs the others nothing, what is there is not run again, one table of all."""

from __future__ import annotations

import json
import pickle
import re
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from pydantic import ValidationError
from typer.testing import CliRunner

from connector_bench.cli import app
from connector_bench.comparison.compared_runs import side_of
from connector_bench.preservation.drawn_together import Drawn, random_halves
from connector_bench.results.harness_files import UnusableResult
from connector_bench.sweep.execute import LOG, RunOutcome, execute
from connector_bench.sweep.plan import Sweep, SweepRun, SweptConnector, read_sweep, runs_of
from connector_bench.sweep.seeded_differences import SeededRuns, difference, seed_variance
from connector_bench.sweep.summary import write_summary
from connector_bench.zoo.shipped import SHIPPED
from tests.comparison.harness_output import ordinary_task, our_task, write_output

SWEEP = """
connectors:
  base: {model: connector_zoo, model_args: "connector=rank8,seed={seed}"}
  mine:
    model: connector_zoo
    model_args: {connector: rank8}
    checkpoints: {late: late.safetensors}
data_sets:
  scenes: [knn_preservation]
seeds: [1]
arguments: [--limit, "24"]
"""


def sweep(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["sweep", "sweep.yaml", *arguments])


@pytest.mark.slow
def test_a_sweep_from_a_failure_to_its_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    Path("sweep.yaml").write_text(SWEEP)
    Path("late.safetensors").write_bytes(b"cut short")
    listed = sweep("--dry-run")
    assert listed.output.count("sweep/runs/") == 2
    assert not Path("sweep").exists()
    first = sweep()
    assert first.exit_code == 1
    assert "1/2 base, scenes, seed 1: done in " in first.output
    assert "2/2 mine late, scenes, seed 1: FAILED, " in first.output
    assert "late.safetensors cannot be read" in first.output.replace("\n", " ")
    assert "1 of 2 runs failed" in first.output
    assert "## Failed" in Path("sweep/sweep.md").read_text()
    shutil.copy(SHIPPED / "rank8-seed1.safetensors", "late.safetensors")
    again = sweep()
    assert again.exit_code == 0, again.output
    assert again.output.count(": there already") == 1
    assert "2/2 mine late, scenes, seed 1: done in " in again.output
    figures = [
        json.loads(path.read_text())["results"]["knn_preservation"]["knor_10,none"]
        for path in sorted(Path("sweep/runs").rglob("*_results.json"))
    ]
    assert len(figures) == 2
    assert figures[0] == figures[1], "the same weights, once by name and once from a file"
    text = Path("sweep/sweep.md").read_text()
    assert "| mine late" in text
    assert "## Differences to base" in text
    assert "No board: " in text
    assert "limit" in text


BETTER = """
connectors:
  rank8: {model: connector_zoo, model_args: "connector=rank8,seed={seed}"}
  rank32: {model: connector_zoo, model_args: "connector=rank32,seed={seed}"}
  rank8again: {model: connector_zoo, model_args: "connector=rank8,seed=2"}
data_sets:
  scenes: [knn_preservation_scenes]
seeds: [0, 1]
arguments: [--limit, "160", --batch_size, "64"]
"""


@pytest.mark.slow
def test_rank_32_wins_over_rank_8_and_another_seed_ties(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Real runs of the zoo's weights, of which one connector is better by construction."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    Path("sweep.yaml").write_text(BETTER)
    ended = sweep()
    assert ended.exit_code == 0, ended.output
    said = re.findall(
        r"^- (\w+) (.*) rank8: knn_preservation_scenes, kept, k = 10 ([+−]\S+) ±(\S+)$", ended.output, re.M
    )
    (better, verdict, gap, half), (again, tie, between, wide) = said
    assert (better, verdict) == ("rank32", "is higher than")
    assert 0 < float(half) < float(gap)
    assert (again, tie) == ("rank8again", "is not told apart from")
    assert abs(float(between.replace("−", "-"))) < float(wide)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            ("connectors:", "conectors:"),
            "there is no key conectors; the nearest is connectors; allowed are connectors,",
        ),
        (
            ("model: connector_zoo, ", "modell: connector_zoo, "),
            "connectors.base: there is no key modell; the nearest is model; allowed are model, model_args, module,",
        ),
        (("model: connector_zoo, ", ""), "connectors.base.model: Field required"),
        (("{seed}", "{sed}"), "may hold {seed} and no other braces"),
        (("seeds: [1]", "seeds: [-1]"), "seeds.0 is -1"),
        (("--limit", "--tasks"), "--tasks is given by the sweep itself"),
        (("scenes: [knn_preservation]", "scenes: []"), "data_sets.scenes.tasks"),
        (("seeds: [1]", "seeds: [1, 1]"), "a seed stands there twice"),
        (("connectors:", "connectors: ["), "is no YAML"),
        (("connectors:", "more: " + "[" * 5000 + "]" * 5000 + "\nconnectors:"), "nested far deeper"),
        (
            ("connectors:", "colour: red\nconnectors:"),
            "there is no key colour; allowed are connectors, data_sets, seeds,",
        ),
        (
            ("scenes: [knn_preservation]", f"scenes: [{{tasks: [{'a' * 90}]}}]"),
            "aaa']}: Input should be a valid string",
        ),
        (("  mine:", "  base:"), "base stands twice, on lines 3 and 4; each needs a name of its own"),
        (("seeds: [1]", "seeds: [1]\nseeds: [2]"), "seeds stands twice, on lines 10 and 11"),
        (
            (
                "[knn_preservation]",
                "{tasks: [knn_preservation], environment: {CONNECTOR_BENCH_CONNECTOR_WEIGHTS: late.safetensors}}",
            ),
            "CONNECTOR_BENCH_CONNECTOR_WEIGHTS is a connector's; name it there, as checkpoints or module",
        ),
    ],
)
def test_a_wrong_file_is_named(change: tuple[str, str], said: str, tmp_path: Path) -> None:
    (tmp_path / "sweep.yaml").write_text(SWEEP.replace(*change, 1))
    ended = CliRunner().invoke(app, ["sweep", str(tmp_path / "sweep.yaml")])
    assert ended.exit_code == 1
    assert said in ended.output.replace("\n", " ")


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "sweep.yaml").write_bytes(b"\xff\xfe\x00")
    ended = CliRunner().invoke(app, ["sweep", str(tmp_path / "sweep.yaml")])
    assert ended.exit_code == 1
    assert "sweep.yaml is no YAML" in ended.output.replace("\n", "")


def test_checkpoints_that_share_a_name_are_not_one() -> None:
    listed = {"model": "llava_hf", "checkpoints": ["a/mm_projector.bin", "b/mm_projector.bin", "c/other.bin"]}
    with pytest.raises(ValidationError, match=r"2 are called mm_projector.bin; tell them apart"):
        SweptConnector.model_validate(listed)
    listed["checkpoints"] = ["a/step1", "a/step2"]
    assert list(SweptConnector.model_validate(listed).checkpoints) == ["step1", "step2"]


def test_a_shells_own_connector_reaches_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What WEIGHTS.md has its reader export would be measured under the name of every connector."""
    said = (
        "import os; print({k: v for k, v in os.environ.items() if k.startswith('CONNECTOR_BENCH_CONNECTOR')})"
    )
    monkeypatch.setenv("CONNECTOR_BENCH_CONNECTOR_WEIGHTS", "elsewhere.bin")
    monkeypatch.setenv("CONNECTOR_BENCH_CONNECTOR_MODULE", "elsewhere:Other")
    monkeypatch.chdir(tmp_path)
    Path("mine.bin").touch()
    runs = [
        SweepRun(name, None, "d", 0, (sys.executable, "-c", said, name), environment)
        for name, environment in (("base", {}), ("mine", {"CONNECTOR_BENCH_CONNECTOR_WEIGHTS": "mine.bin"}))
    ]
    logs = [(one.folder / LOG).read_text() for one in execute(runs, tmp_path, lambda line: None)]
    assert [log.strip() for log in logs] == ["{}", "{'CONNECTOR_BENCH_CONNECTOR_WEIGHTS': 'mine.bin'}"]


def as_run(folder: Path, *code: str) -> list[SweepRun]:
    """A run whose process is a few lines, which get a whole result's folder and their own."""
    write_output(folder / "whole" / "m", {"t": ordinary_task([1.0, 0.0])})
    text = "import shutil, sys, time; whole, _, out = sys.argv[1:]; " + "; ".join(code)
    command = (sys.executable, "-c", text, str(folder / "whole"))
    return [SweepRun("base", None, "d", 0, command, {})]


COPY = "shutil.copytree(whole, out, dirs_exist_ok=True)"


@pytest.mark.parametrize("left", ["nothing", "half a result", "no documents"])
def test_what_a_killed_run_has_left_is_run_again(left: str, tmp_path: Path) -> None:
    runs = as_run(tmp_path, COPY)
    folder = tmp_path / "sweep" / "runs" / runs[0].folder
    if left != "nothing":
        shutil.copytree(tmp_path / "whole", folder)
    if left == "half a result":
        (path,) = folder.rglob("*_results.json")
        path.rename(half := path.with_name(path.name.replace("20260101", "20250101")))
        half.write_bytes(half.read_bytes()[:100])
    if left == "no documents":
        next(folder.rglob("*_samples_*.jsonl")).unlink()
    said: list[str] = []
    for _ in range(2):
        (outcome,) = execute(runs, tmp_path / "sweep", said.append)
        assert outcome.failed is None, outcome.failed
    assert [line.split(": ")[1][:5] for line in said] == ["done ", "there"]


def test_a_run_whose_sweep_was_killed_is_waited_for(tmp_path: Path) -> None:
    """By a signal that nobody hears; the run goes on, and no second one is started beside it."""
    runs = as_run(tmp_path, "open(f'{out}/begun', 'a').write('x')", "time.sleep(3)", COPY)
    (tmp_path / "runs.pickle").write_bytes(pickle.dumps(runs))
    text = "import pathlib, pickle, sys; from connector_bench.sweep.execute import execute; "
    text += "path = pathlib.Path(sys.argv[1]); runs = pickle.loads((path / 'runs.pickle').read_bytes()); "
    text += "execute(runs, path / 'sweep', print)"
    sweep_process = subprocess.Popen([sys.executable, "-c", text, str(tmp_path)])
    begun = tmp_path / "sweep" / "runs" / runs[0].folder / "begun"
    while not begun.exists():
        assert sweep_process.poll() is None
        time.sleep(0.05)
    sweep_process.kill()
    sweep_process.wait()
    said: list[str] = []
    (outcome,) = execute(runs, tmp_path / "sweep", said.append)
    assert said == [
        "1/1 base, d, seed 0: waiting for a process that runs it already",
        "1/1 base, d, seed 0: there already",
    ]
    assert outcome.skipped
    assert begun.read_text() == "x"


def test_weights_that_are_not_there_start_nothing(tmp_path: Path) -> None:
    (run,) = as_run(tmp_path, COPY)
    missing = replace(run, environment={"CONNECTOR_BENCH_CONNECTOR_WEIGHTS": "late.safetensors"})
    first, second = execute([missing, run], tmp_path / "sweep", lambda line: None)
    assert first.failed == f"there is no {Path.cwd() / 'late.safetensors'}"
    assert not (first.folder / LOG).exists()
    assert second.failed is None


def test_runs_are_told_apart_by_all_that_changes_their_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("late.safetensors").write_bytes(b"1")

    def folders(text: str) -> set[str]:
        Path("sweep.yaml").write_text(text)
        return {run.folder for run in runs_of(read_sweep(Path("sweep.yaml")))}

    before = folders(SWEEP)
    assert len(before) == 2
    assert len(before & folders(SWEEP.replace("24", "25"))) == 0
    Path("late.safetensors").write_bytes(b"22")
    assert len(before & folders(SWEEP)) == 1


def lines(tmp_path: Path, levels: dict[str, list[float]], documents: int = 200) -> list[SeededRuns]:
    """Two tasks by connector and seed: a level, and noise of documents that all share."""
    rng = np.random.default_rng(0)
    noise = rng.normal(size=documents) * 0.1
    record = {
        "connector": {"model": "m", "family": "f", "connector": "c", "parameters": 1, "weights_sha256": None}
    }
    found = []
    for name, seeds in levels.items():
        sides = {}
        for seed, level in enumerate(seeds):
            own = level + noise + rng.normal(size=documents) * 0.02
            tasks = {"k": our_task([{"knor_10": float(v)} for v in own]), "vqa": ordinary_task(own)}
            halves = random_halves(Drawn.alone(documents), 60, 0)
            gaps = [float(own[half].mean() - own[~half].mean()) for half in halves]
            scores = {"knor_10": {"value": float(own.mean()), "n": documents, "halving_gaps": gaps}}
            folder = write_output(
                tmp_path / f"{name}{seed}", tasks, records={"k": {**record, "scores": scores}}
            )
            sides[seed] = side_of(folder)
        found.append(SeededRuns(name, {"d": sides}))
    return found


@pytest.mark.parametrize("key", [("d", "k", "knor_10"), ("d", "vqa", "accuracy")])
def test_what_is_better_stands_out_and_two_seeds_of_one_tie(
    key: tuple[str, str, str], tmp_path: Path
) -> None:
    """Seeds differ by far more than their documents let on; connectors by more than their seeds do."""
    wide, narrow = lines(tmp_path, {"rank32": [0.70, 0.72, 0.71], "rank8": [0.50, 0.52, 0.51]})
    between = seed_variance([wide, narrow], key)
    assert between[1] == 4
    assert between[0] ** 0.5 == pytest.approx(0.01, rel=0.3)
    found = difference(wide, narrow, key, between)
    assert found is not None
    assert found.seeds
    assert 0.15 < found.low < found.value < found.high < 0.25
    tie = difference(narrow.only(1), narrow.only(0), key, between)
    assert tie is not None
    assert not tie.differs
    documents_alone = difference(narrow.only(1), narrow.only(0), key, (0.0, 0))
    assert documents_alone is not None
    assert documents_alone.differs, "without the seeds' spread it would have been a find"
    assert not documents_alone.seeds


def test_of_too_few_documents_nothing_is_told_apart(tmp_path: Path) -> None:
    wide, narrow = lines(tmp_path, {"rank32": [0.7, 0.72], "rank8": [0.5, 0.52]}, documents=19)
    key = ("d", "vqa", "accuracy")
    with pytest.raises(UnusableResult, match="no interval: 19 images, 20 are needed"):
        difference(wide, narrow, key, seed_variance([wide, narrow], key))


def test_the_page_s_own_file_is_a_sweep() -> None:
    page = (Path(__file__).parents[2] / "docs" / "SWEEP.md").read_text(encoding="utf-8")
    _, block, *_ = page.split("```")
    assert len(runs_of(Sweep.model_validate(yaml.safe_load(block)))) == 18


def test_a_bound_reads_at_most_and_data_sets_that_share_a_task_are_told_apart(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    outcomes = []
    for name, level in (("base", 0.3), ("mine", 0.6)):
        for data_set in ("ours", "theirs"):
            losses = level + rng.normal(size=60) * 0.01
            rows = our_task([{"lost": float(lost), "sse": float(lost), "sst": 1.0} for lost in losses])
            connector = {
                "model": "m",
                "family": "f",
                "connector": "c",
                "parameters": 1,
                "weights_sha256": None,
            }
            record = {
                "measure": "patch_reconstruction",
                "connector": connector,
                "more_data_helps": (name, data_set) == ("mine", "theirs"),
            }
            folder = tmp_path / name / data_set
            write_output(folder, {"p": rows}, records={"p": record})
            outcomes.append(RunOutcome(SweepRun(name, None, data_set, 0, (), {}), folder))
    text, _ = write_summary(outcomes, tmp_path)
    assert text.count("≤") == 1
    assert re.search(r"≤ 0\.(6|59)", text)
    assert "ours: p, lost ↓" in text
    said = re.findall(r"^- mine is worse than base: (\w+): p, lost (\S+) ±(\S+); documents", text, re.M)
    assert [data_set for data_set, *_ in said] == ["ours", "theirs"]
    assert all(0.29 < float(change) < 0.31 for _, change, _ in said)
