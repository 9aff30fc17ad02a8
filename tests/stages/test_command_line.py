"""`connector_stages` through lmms-eval's own command line, with readers of a small budget."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from connector_bench.leaderboard.board import add
from connector_bench.leaderboard.harness_results import read_run
from connector_bench.metrics import metric
from connector_bench.report.assemble import assemble
from connector_bench.report.blocks import Findings
from connector_bench.report.measured_runs import read_model
from connector_bench.zoo.cache import CACHE_VARIABLE, cache_root
from connector_bench.zoo.splits import VERSION
from connector_bench.zoo.train import TrainingConfig, train
from tests import tiny_vlms
from tests.harness import Outcome, run_command, run_here

from .small_stages import write_small_stages

KINDS = ("object", "existence", "count", "category")
EXAMPLES = Path(__file__).parents[2] / "examples"
ZOO = ("--model", "connector_zoo", "--batch_size", "64", "--model_args")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    return write_small_stages(tmp_path_factory.mktemp("tasks"))


@pytest.fixture(scope="module")
def beside(folder: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """25 scenes with all their questions, the readers' task before the model's."""
    tasks = ("--tasks", "small_stages,scenes_vqa", "--limit", "100")
    return run_here(tmp_path_factory.mktemp("beside"), *ZOO, "connector=mlp", *folder, *tasks)


@pytest.fixture(scope="module")
def alone(folder: tuple[str, ...], beside: Outcome, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """In the same process behind the other, so that answers of another run could be taken for this one's."""
    del beside
    tasks = ("--tasks", "small_stages", "--limit", "8")
    return run_here(tmp_path_factory.mktemp("alone"), *ZOO, "connector=rank2", *folder, *tasks)


def test_one_run_says_what_every_stage_loses(beside: Outcome) -> None:
    figures, scores = beside.figures("small_stages"), beside.record("small_stages")["scores"]
    for kind in KINDS:
        for name in (
            "acc_pre",
            "acc_post",
            "acc_model",
            "lost_encoder",
            "lost_connector",
            "lost_language_model",
        ):
            score = scores[f"{name}_{kind}"]
            assert figures[f"{name}_{kind}"] == pytest.approx(score["value"])
            assert score["low"] <= score["value"] <= score["high"]
            assert score["n"] == 25
            assert score["chance"] is not None
        stages = [figures[f"lost_{stage}_{kind}"] for stage in ("encoder", "connector", "language_model")]
        assert sum(stages) == pytest.approx(1 - figures[f"acc_model_{kind}"])
    assert all(metric(name) is not None for name in scores)


def test_our_record_is_there_beside_lmms_evals_file(beside: Outcome) -> None:
    (path,) = (beside.folder / "connector_bench").glob("small_stages-*/record.json")
    left, written = json.loads(path.read_text())["record"]["scores"], beside.record("small_stages")["scores"]
    assert "lost_connector_object" in left
    assert written | left == written, "what the model's answers add comes later"


def test_the_models_answers_are_those_of_the_other_task(beside: Outcome) -> None:
    answers = {row["doc_id"]: row for row in beside.samples("scenes_vqa")}
    read = {row["doc_id"]: json.loads(row["filtered_resps"]) for row in beside.samples("small_stages")}
    assert answers.keys() == read.keys()
    for kind in KINDS:
        asked = [number for number, row in answers.items() if f"accuracy_{kind}" in row]
        differences = [read[number][f"acc_post_{kind}"] - answers[number]["accuracy"] for number in asked]
        lost = beside.record("small_stages")["scores"][f"lost_language_model_{kind}"]
        assert lost["value"] == pytest.approx(np.mean(differences))
    assert beside.record("small_stages")["answered_by"] == "scenes_vqa"
    assert beside.figures("scenes_vqa")["accuracy_object"] == pytest.approx(
        beside.figures("small_stages")["acc_model_object"]
    )


def test_the_record_says_how_readers_learnt(beside: Outcome) -> None:
    record = beside.record("small_stages")
    assert record["scores"]["reader_gap_object"]["low"] > 0  # 36 scenes make no reader
    assert record["measure"] == "connector_stages"
    assert (record["train_images"], record["n_images"]) == (40, 25)
    assert record["questions"] == dict.fromkeys(KINDS, 25)
    assert set(record["probes"]) == {
        f"{one}_{side}" for one in ("attention", "linear") for side in ("pre", "post")
    }
    assert record["probes"]["attention_pre"]["coordinates"] == 112
    assert record["answers_unknown_to_training"] < 100


def test_a_decoder_trained_anew_leaves_the_connectors_stage_as_it_was(
    beside: Outcome, folder: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same tokens give the same readers, and what the short training costs is the language model's."""
    scenes, cache = cache_root() / f"scenes-v{VERSION}", tmp_path / "cache"
    cache.mkdir()
    (cache / scenes.name).symlink_to(scenes)
    monkeypatch.setenv(CACHE_VARIABLE, str(cache))
    monkeypatch.syspath_prepend(str(EXAMPLES))
    train("frozen_connector:FrozenMlp", 0, TrainingConfig(epochs=1, scenes=24, batch=8), evaluated=())
    tasks = ("--tasks", "small_stages,scenes_vqa", "--limit", "100")
    anew = run_here(tmp_path / "anew", *ZOO, "connector=frozen_connector:FrozenMlp", *folder, *tasks)
    before, after = (run.figures("small_stages") for run in (beside, anew))
    for name in before:
        if not any(part in name for part in ("model", "stderr")):
            assert after[name] == before[name], name
    for kind in KINDS:
        fallen = before[f"acc_model_{kind}"] - after[f"acc_model_{kind}"]
        moved = after[f"lost_language_model_{kind}"] - before[f"lost_language_model_{kind}"]
        assert moved == pytest.approx(fallen)
    assert after["acc_model_object"] < before["acc_model_object"] - 0.5


def test_two_processes_give_the_figures_of_one(
    beside: Outcome, folder: tuple[str, ...], tmp_path: Path
) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--standalone"]
    arguments = (*ZOO, "connector=mlp", *folder, "--tasks", "small_stages,scenes_vqa", "--limit", "100")
    two, said = run_command(
        tmp_path, [*torchrun, "-m", "lmms_eval"], *arguments, ACCELERATE_USE_CPU="true", OMP_NUM_THREADS="1"
    )
    expected, found = (run.record("small_stages")["scores"] for run in (beside, two))
    assert expected.keys() == found.keys(), said
    for name, score in expected.items():
        for part in ("value", "low", "high"):
            assert found[name][part] == pytest.approx(score[part], abs=1e-6), name


def test_without_the_models_answers_nothing_is_said_of_it(alone: Outcome) -> None:
    figures, record = alone.figures("small_stages"), alone.record("small_stages")
    assert {"acc_pre_object", "lost_connector_object"} <= set(figures)
    assert not [name for name in (*figures, *record["scores"]) if "model" in name]
    assert "answered_by" not in record
    assert record["probes"]["attention_post"]["coordinates"] == 2


def test_report_and_board_show_them(beside: Outcome, tmp_path: Path) -> None:
    report = assemble(read_model([beside.folder]))
    said = [one for block in report.blocks if isinstance(block, Findings) for one in block.listed]
    (found,) = [one.text for one in said if one.about == "Questions of object"]
    assert "from what enters the connector" in found
    assert "the model itself" in found
    (table,) = [block for block in report.blocks if getattr(block, "name", "") == "small_stages-stages"]
    assert [row[0].text for row in table.rows] == list(KINDS)
    content = beside.content
    content["config"]["limit"] = None  # as of a whole run, which alone is filed
    whole = tmp_path / "20260101_000000_results.json"
    whole.write_text(json.dumps(content))
    written = add(tmp_path / "board", [read_run(whole)])
    columns = {column.metric for column in written.columns if column.topic == "Stages"}
    assert {f"lost_language_model_{kind}" for kind in KINDS} <= columns
    assert "lost in the connector" in (tmp_path / "board" / "tables" / "stages.md").read_text()


def test_a_real_model_with_its_own_answers(folder: tuple[str, ...], tmp_path: Path) -> None:
    """LLaVA's classes with fresh weights: what it answers is no answer, and what its tower shows can be read."""
    checkpoint = tiny_vlms.save("llava", tmp_path / "checkpoints")
    outcome = run_here(
        tmp_path / "results",
        *("--model", "llava_hf", "--model_args", f"pretrained={checkpoint}", "--batch_size", "1"),
        *(*folder, "--tasks", "scenes_vqa,small_stages", "--limit", "4"),
    )
    figures, record = outcome.figures("small_stages"), outcome.record("small_stages")
    assert "error" not in record, record
    assert record["answered_by"] == "scenes_vqa"
    for kind in KINDS:
        assert figures[f"acc_model_{kind}"] == outcome.figures("scenes_vqa")[f"accuracy_{kind}"]
        assert figures[f"lost_language_model_{kind}"] == pytest.approx(
            figures[f"acc_post_{kind}"] - figures[f"acc_model_{kind}"]
        )
        assert record["scores"][f"acc_pre_{kind}"]["low"] is None
