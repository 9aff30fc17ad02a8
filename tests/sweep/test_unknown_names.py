"""Names in a sweep's file that nothing answers to are told before anything runs; what lmms-eval knows passes."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from lmms_eval.models import list_available_models
from typer.testing import CliRunner

from connector_bench.cli import app
from connector_bench.plugin.index import task_manager
from connector_bench.sweep import unknown_names
from connector_bench.sweep.execute import LONGEST, execute
from connector_bench.sweep.plan import Sweep, SweepRun

ROOT = Path(__file__).parents[2]
RIGHT = """
connectors:
  base: {model: connector_zoo, model_args: "connector=rank8,seed={seed}"}
  own: {model: connector_zoo, model_args: "connector=mine:Mine"}
  hub: {model: llava_hf, model_args: "pretrained=llava-hf/llava-1.5-7b-hf"}
  trained: {model: llava_hf, model_args: "pretrained=runs/seed{seed}/model", checkpoints: ["runs/seed{seed}/late"]}
data_sets:
  scenes: [knn_preservation_scenes, connector_bench, "mmmu_v*"]
  own: {tasks: [knn_preservation_imagefolder], environment: {CONNECTOR_BENCH_IMAGE_FOLDER: pictures, HF_HOME: here}}
seeds: [1]
arguments: [--limit, "24", --batch_size=8, -b, "8", --log_samples_suffix, x]
"""


def tried(folder: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> tuple[int, str]:
    monkeypatch.chdir(folder)
    for name in ("model", "late"):
        Path("runs", "seed1", name).mkdir(parents=True, exist_ok=True)
    Path("sweep.yaml").write_text(text)
    ended = CliRunner().invoke(app, ["sweep", "sweep.yaml", "--dry-run"])
    return ended.exit_code, ended.output


def test_what_answers_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    status, said = tried(tmp_path, RIGHT, monkeypatch)
    assert status == 0, said
    own = RIGHT.replace("knn_preservation_scenes", "knn_preservation_docvqa").replace(
        "--limit", "--include_path"
    )
    assert tried(tmp_path, own, monkeypatch)[0] == 0, "a task of one's own"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("preservation_scenes", "preservation_scene"), "tion_scene'; the nearest is knn_preservation_scenes"),
        (("mmmu_v*", "mmmu_vall"), "scenes.tasks: lmms-eval has no task 'mmmu_vall'; the nearest is mmmu_val"),
        (("mmmu_v*", "mmmuu_v*"), "lmms-eval has no task 'mmmuu_v*'"),
        (("llava_hf,", "lava_hf,"), "hub.model is 'lava_hf': lmms-eval has no such model; the nearest is llava_hf"),
        (("rank8", "rank99"), "connectors.base.model_args: unknown connector 'rank99'. Did you mean"),
        (("}/late", "}/later"), "runs/seed1/later"),
        (("}/model", "}/modell"), "trained.model_args: there is no runs/seed1/modell"),
        (("llava-hf/llava", "./llava-hf/llava"), "connectors.hub.model_args: there is no ./llava-hf/llava-1.5-7b-hf"),
        (("IMAGE_FOLDER", "IMAGES_FOLDER"), "nothing reads CONNECTOR_BENCH_IMAGES_FOLDER; the nearest is CONN"),
        (("--limit", "--limt"), "arguments: lmms-eval has no option --limt; the nearest is --limit"),
    ],
)  # fmt: skip
def test_what_nothing_answers_to_is_named(
    change: tuple[str, str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    status, output = tried(tmp_path, RIGHT.replace(*change, 1), monkeypatch)
    assert status == 1
    assert said in output
    assert len(output.strip().splitlines()) == 2, "one name is wrong"


def test_all_that_lmms_eval_has_passes() -> None:
    """Its index and its registry themselves, against what its files' text lets know."""
    tasks = [str(name) for name in task_manager(None).all_tasks]
    assert len(tasks) > 1000
    models = list_available_models(include_aliases=True)
    connectors = {f"c{number}": {"model": model} for number, model in enumerate(models)}
    sweep = Sweep.model_validate({"connectors": connectors, "data_sets": {"all": tasks}})
    unknown_names.require_known_names(sweep)


def test_every_variable_of_ours_is_known() -> None:
    texts = [
        path.read_text() for folder in ("connector_bench", "tasks") for path in (ROOT / folder).rglob("*.py")
    ]
    named = {name for text in texts for name in re.findall(r"(?<!_)CONNECTOR_BENCH_[A-Z_]+[A-Z]", text)}
    assert named == set(unknown_names.VARIABLES)


def test_a_telling_line_keeps_its_beginning(tmp_path: Path) -> None:
    """Where the cause stands, and a list of all that is known follows; the end of a long one stays too."""
    known = ", ".join(f"connector{number}" for number in range(100))
    line = f"2026-11-28 08:26:18.317 | ERROR    | a.b:__init__:42 - cannot: unknown 'rank99'. {known}; end"
    run = SweepRun("base", None, "d", 0, (sys.executable, "-c", f"print({line!r})"), {})
    (outcome,) = execute([run], tmp_path, lambda said: None)
    assert outcome.failed is not None
    assert outcome.failed.startswith("cannot: unknown 'rank99'. connector0, ")
    assert outcome.failed.endswith("connector99; end")
    assert len(outcome.failed) == LONGEST
