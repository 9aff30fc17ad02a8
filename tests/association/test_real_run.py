"""A real run of the zoo: loss inside and outside the answer masks beside the answers, from lmms-eval's own files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from connector_bench.association.analysis import analyze
from connector_bench.association.values import Analysis, JoinedTable, Settings
from tests.harness import Outcome, run_here
from tests.reconstruction.small_task import write_small_task

QUESTIONS = 80
ZOO = ("--model", "connector_zoo", "--model_args", "connector=rank8", "--batch_size", "64")


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    folder = tmp_path_factory.mktemp("rank8")
    small = write_small_task(folder / "tasks", images=40)
    tasks = (*small[:-1], f"{small[-1]},scenes_vqa")
    return run_here(folder / "out", *ZOO, *tasks, "--limit", str(QUESTIONS))


@pytest.fixture(scope="module")
def analysis(outcome: Outcome) -> Analysis:
    return analyze([outcome.folder], Settings())


@pytest.fixture(scope="module")
def table(analysis: Analysis) -> JoinedTable:
    (table,) = analysis.tables
    return table


def test_every_question_has_its_own_loss_and_answer(outcome: Outcome, table: JoinedTable) -> None:
    assert table.identity == "document number and target and input"
    assert table.documents == tuple(range(QUESTIONS))
    assert len(set(table.images)) == QUESTIONS // 4
    answers = {row["doc_id"]: json.loads(row["filtered_resps"]) for row in outcome.samples("small")}
    right = {row["doc_id"]: row["accuracy"] for row in outcome.samples("scenes_vqa")}
    for doc_id in table.documents:
        inside = answers[doc_id].get("loss_inside", np.nan)
        np.testing.assert_equal(table.losses["loss_inside"][doc_id], inside)
        assert table.losses["lost"][doc_id] == answers[doc_id - doc_id % 4]["lost"]
        assert table.scores["accuracy"][doc_id] == right[doc_id]
    assert set(table.baselines) == {"mask_area", "entropy", "encoder_norm"}
    assert table.scores["accuracy"].mean() == pytest.approx(outcome.figures("scenes_vqa")["accuracy"])


def test_the_figures_are_those_of_the_libraries(analysis: Analysis, table: JoinedTable) -> None:
    (pair,) = [p for p in analysis.pairs if (p.loss, p.score) == ("loss_inside", "accuracy")]
    masked = np.isfinite(table.losses["loss_inside"])
    loss, score = table.losses["loss_inside"][masked], table.scores["accuracy"][masked]
    assert 0 < np.isnan(table.losses["loss_inside"]).sum() < QUESTIONS, "some questions have no mask"
    assert pair.documents == masked.sum()
    assert pair.spearman.score.value == pytest.approx(stats.spearmanr(loss, score).statistic)
    assert pair.prediction.auroc.score.value == pytest.approx(roc_auc_score(score < 0.5, loss))
    assert pair.partial.controls == ("mask_area", "entropy", "encoder_norm")
    assert {baseline.name for baseline in pair.prediction.baselines} == set(pair.partial.controls)
    measures = {entry.measure for entry in analysis.grounded if entry.score == "accuracy"}
    assert measures == {"mse", "norm", "cosine"}
    assert not any(skipped.refused for skipped in analysis.skipped)


def test_a_sample_file_that_lost_its_end_is_not_joined(outcome: Outcome, tmp_path: Path) -> None:
    for path in outcome.folder.glob("*.json*"):
        lines = path.read_text().splitlines(keepends=True)
        (tmp_path / path.name).write_text("".join(lines[:-4] if "scenes_vqa" in path.name else lines))
    found = analyze([tmp_path], Settings())
    (refused,) = [skipped for skipped in found.skipped if skipped.refused]
    assert f"the first without a partner is document {QUESTIONS - 4} of small" in refused.why
    assert not found.tables
