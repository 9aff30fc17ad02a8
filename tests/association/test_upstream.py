"""Real upstream tasks on local copies in their schema, through an unmodified wrapper, into an analysis."""

from __future__ import annotations

import re
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from PIL import Image
from tokenizers import AddedToken

from connector_bench.association.analysis import analyze
from connector_bench.association.values import Analysis, JoinedTable, Settings
from connector_bench.report.cli import report
from tests import tiny_vlms
from tests.browser import Browser
from tests.harness import Outcome, run_here

DOCUMENTS = 20
TASKS = "knn_preservation_coco,coco2017_cap_val,knn_preservation_vizwiz,vizwiz_vqa_val"


def pictures(seed: int) -> list[Image.Image]:
    rng = np.random.default_rng(seed)
    return [Image.fromarray(rng.integers(0, 255, (60, 80, 3), dtype=np.uint8)) for _ in range(DOCUMENTS)]


def captions() -> datasets.Dataset:
    words = ["dog", "cat", "tree"]
    return datasets.Dataset.from_dict(
        {
            "image": pictures(0),
            "answer": [[f"a {words[i % 3]}", f"{words[i % 2]} number {i}"] for i in range(DOCUMENTS)],
            "question_id": [f"COCO_val2017_{i:012}.jpg" for i in range(DOCUMENTS)],
            "id": list(range(DOCUMENTS)),
        }
    ).cast_column("image", datasets.Image())


def questions() -> datasets.Dataset:
    return datasets.Dataset.from_dict(
        {
            "image": pictures(1),
            "answers": [["dog"] * (3 * i % 11) + ["cat"] * (10 - 3 * i % 11) for i in range(DOCUMENTS)],
            "category": ["other"] * DOCUMENTS,
            "question": [f"what is {i}?" for i in range(DOCUMENTS)],
            "question_id": [f"VizWiz_val_{i:08}" for i in range(DOCUMENTS)],
        }
    ).cast_column("image", datasets.Image())


def speaking_checkpoint(folder: Path) -> Path:
    """The tiny LLaVA, whose only words are dog and cat: what the language model says depends on the sign of one sum."""
    model, processor = tiny_vlms.make("llava")
    words = [AddedToken(word, normalized=False) for word in (" dog", " cat")]
    processor.tokenizer.add_tokens(words)
    dog, cat = processor.tokenizer.convert_tokens_to_ids([word.content for word in words])
    head = model.lm_head.weight
    with torch.no_grad():
        direction = head[dog].clone()
        head.zero_()
        head[dog], head[cat] = direction, -direction
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    folder = tmp_path_factory.mktemp("upstream")
    checkpoint = speaking_checkpoint(folder / "tiny-llava")
    copies = {"lmms-lab-encoder/COCO-Caption2017": captions, "lmms-lab-encoder/VizWiz-VQA": questions}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            datasets, "load_dataset", lambda path, **options: datasets.DatasetDict({"val": copies[path]()})
        )
        return run_here(
            folder / "out",
            *("--model", "llava_hf", "--model_args", f"pretrained={checkpoint}"),
            *("--tasks", TASKS, "--batch_size", "1", "--gen_kwargs", "max_new_tokens=1"),
        )


@pytest.fixture(scope="module")
def analysis(outcome: Outcome) -> Analysis:
    return analyze([outcome.folder], Settings())


def table_of(analysis: Analysis, task: str) -> JoinedTable:
    (table,) = [table for table in analysis.tables if table.score_task == task]
    return table


@pytest.mark.slow
def test_a_captioning_task_has_cider_of_each_image(outcome: Outcome, analysis: Analysis) -> None:
    table = table_of(analysis, "coco2017_cap_val")
    assert table.identity.startswith("document number")
    cider = table.scores["coco_CIDEr"]
    assert len(set(cider)) > 3
    assert cider.mean() == pytest.approx(outcome.figures("coco2017_cap_val")["coco_CIDEr"], abs=1e-9)
    assert "pycocoevalcap" in table.notes[0]
    pairs = [pair for pair in analysis.pairs if pair.score == "coco_CIDEr"]
    assert "1 - knor_10" in {pair.loss for pair in pairs}
    assert all("its median" in pair.prediction.failure for pair in pairs if pair.prediction)


@pytest.mark.slow
def test_a_vqa_task_has_the_harness_own_accuracy(outcome: Outcome, analysis: Analysis) -> None:
    table = table_of(analysis, "vizwiz_vqa_val")
    accuracy = table.scores["exact_match"]
    assert 0 < accuracy.mean() < 1
    assert accuracy.mean() == pytest.approx(outcome.figures("vizwiz_vqa_val")["exact_match"])
    figures = {row["doc_id"]: row["knor_10"] for row in outcome.samples("knn_preservation_vizwiz")}
    assert table.losses["1 - knor_10"] == pytest.approx([1 - figures[i] for i in table.documents])
    assert not any(skipped.refused for skipped in analysis.skipped)


@pytest.mark.slow
def test_both_tasks_come_into_a_report(outcome: Outcome, tmp_path: Path, browser: Browser) -> None:
    report([outcome.folder], tmp_path / "report.html")
    opened = browser.open(tmp_path / "report.html")
    assert (opened.errors, opened.requests) == ([], [])
    table = opened.page.locator("#section-task-scores tbody tr").all_text_contents()
    assert any("coco_CIDEr" in row for row in table)
    assert any("exact_match" in row for row in table)
    said = " ".join(opened.page.locator(".findings div").all_text_contents())
    assert {"coco2017_cap_val", "vizwiz_vqa_val"} <= set(re.findall(r"\w+_val", said)), said
    assert opened.page.locator("figure[id*=coco][id$=scatter]").count() == 1
    answers = opened.page.locator(".questions li")
    assert set(answers.locator(".outcome").all_text_contents()) > {"graded", "partly right"}
    captioned = answers.filter(has_text="coco_CIDEr").all()
    assert captioned
    for one in captioned:
        answer, expected = one.locator("q").all_text_contents()
        assert answer in ("dog", "cat")
        assert " | " in expected
