"""Which images a report shows, and what it says the model answered about them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from connector_bench.association.values import JoinedTable
from connector_bench.report.answered_questions import questions_by_image
from connector_bench.report.gallery_values import AskedQuestion
from connector_bench.report.measured_runs import read_model
from connector_bench.report.picture_gallery import EACH, QUESTIONS, chosen, gallery
from connector_bench.results.tasks import TaskRun
from tests.association.joined import joined
from tests.report.written import write_result

PROMPT = "\nAnswer in one word.\nBe brief."


def task_with(folder: Path, rows: list[dict[str, Any]]) -> TaskRun:
    path = write_result(folder, {}, {"vqa": {"accuracy,none": 0.5}})
    samples = path.with_name(path.name.replace("_results.json", "_samples_vqa.jsonl"))
    samples.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (task,) = read_model([folder]).tasks
    return task


def table(scores: list[float], **losses: list[float]) -> JoinedTable:
    images = [f"image{i // 2}" for i in range(len(scores))]
    return joined({name: np.array(values) for name, values in losses.items()}, np.array(scores), images)


def rows(n: int) -> list[dict[str, Any]]:
    return [
        {
            "doc_id": i,
            "input": f"question {i}?{PROMPT}",
            "target": ["yes", "yes", "no"],
            "filtered_resps": f"answer {i}",
        }
        for i in range(n)
    ]


def test_questions_stand_under_their_image_without_the_prompt_they_share(tmp_path: Path) -> None:
    losses = {"loss_inside": [0.5, np.nan, 0.1, 0.2], "loss_outside": [0.4, np.nan, 0.3, 0.3]}
    found = questions_by_image(table([1.0, 0.0, 0.3, np.nan], **losses), task_with(tmp_path, rows(4)))
    assert list(found) == ["image0", "image1"]
    first, second, third, fourth = (*found["image0"], *found["image1"])
    assert [q.text for q in (first, fourth)] == ["question 0?", "question 3?"]
    assert (first.answer, first.expected) == ("answer 0", "yes | no")
    assert [q.outcome for q in (first, second, third, fourth)] == [
        "right",
        "wrong",
        "partly right",
        "not scored",
    ]
    assert (first.score, third.score) == ("", "accuracy 0.300")
    assert list(first.figures.values()) == [0.5, 0.4]
    assert second.figures == {}


def test_one_question_asked_of_every_image_is_still_shown(tmp_path: Path) -> None:
    same = [row | {"input": "Describe the image.\nBriefly."} for row in rows(4)]
    found = questions_by_image(table([1.0, 0.0, 1.0, 0.0]), task_with(tmp_path, same))
    assert found["image0"][0].text == "Describe the image."


def test_scores_beyond_one_are_graded_and_shown(tmp_path: Path) -> None:
    found = questions_by_image(table([1.4, 0.0, 0.2, 0.6]), task_with(tmp_path, rows(4)))
    assert {q.outcome for questions in found.values() for q in questions} == {"graded"}
    assert found["image0"][0].score == "accuracy 1.400"


def test_references_are_read_from_a_list_and_from_its_text(tmp_path: Path) -> None:
    listed = [
        row | {"target": target}
        for row, target in zip(rows(4), ["['a', 'b']", "[broken", "[1] note", "x"], strict=True)
    ]
    found = questions_by_image(table([1.0, 0.0, 1.0, 0.0]), task_with(tmp_path, listed))
    assert [q.expected for questions in found.values() for q in questions] == [
        "a | b",
        "[broken",
        "[1] note",
        "x",
    ]


def test_a_long_answer_is_cut(tmp_path: Path) -> None:
    long = [row | {"filtered_resps": "word " * 1000} for row in rows(2)]
    answer = questions_by_image(table([1.0, 0.0]), task_with(tmp_path, long))["image0"][0].answer
    assert len(answer) <= 400
    assert answer.endswith("…")


def test_most_least_and_evenly_spread_images_are_chosen() -> None:
    figures = {f"image{i:03}": {"lost": i / 100} for i in range(100)}
    why = chosen(figures)
    by_reason = {
        reason: [image for image, reasons in why.items() if reason in reasons]
        for reason in ("most lossy", "evenly spread", "least lossy")
    }
    assert by_reason["most lossy"] == [f"image{i:03}" for i in range(99, 99 - EACH, -1)]
    assert by_reason["least lossy"] == [f"image{i:03}" for i in range(EACH - 1, -1, -1)]
    spread = [int(image[5:]) for image in by_reason["evenly spread"]]
    assert (spread[0], spread[-1], len(spread)) == (99, 0, EACH)
    assert np.ptp(np.diff(spread)) <= 1
    assert list(why) == sorted(why, reverse=True)


@pytest.mark.parametrize("count", [0, 1, 5])
def test_few_images_are_all_shown(count: int) -> None:
    assert len(chosen({f"image{i}": {"knor_10": i / 10} for i in range(count)})) == count


def test_images_without_a_loss_are_not_chosen() -> None:
    assert list(chosen({"a": {"entropy": 3.0}, "b": {"knor_10": 0.5}})) == ["b"]


def test_without_k_10_the_largest_k_counts() -> None:
    assert list(chosen({"a": {"knor_2": 0.1, "knor_5": 0.9}, "b": {"knor_2": 0.2, "knor_5": 0.3}})) == [
        "b",
        "a",
    ]


def question(outcome: str, inside: float | None = None) -> AskedQuestion:
    figures = {} if inside is None else {"error inside the answer's region": inside, "outside": 0.5}
    return AskedQuestion(0, "what?", "this", "that", outcome, figures=figures)  # type: ignore[arg-type]


def test_a_card_sums_up_its_questions() -> None:
    asked = [question("right", 0.6), question("wrong", 0.2), question("not scored")] + [question("right")] * 5
    found = gallery({"ab" * 32: ("most lossy",)}, {"ab" * 32: {"lost": 0.3}}, {"ab" * 32: asked}, {}, "")
    (card,) = found.cards
    assert card.name == "image abababababab"
    assert card.figures == {
        "loss": 0.3,
        "inside": 0.4,
        "outside": 0.5,
        "ratio": 0.8,
        "right": pytest.approx(6 / 7),
    }
    assert (len(card.questions), card.more_questions) == (QUESTIONS, 2)
    assert [measure.key for measure in found.measures] == ["loss", "inside", "outside", "ratio", "right"]
    assert found.outcomes == ("right", "wrong", "not scored")
