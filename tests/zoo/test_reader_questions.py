"""What readers are asked about the scenes they learn from: committed, complete, and right."""

from __future__ import annotations

import hashlib
from collections import Counter

import pytest

from connector_bench.zoo import scenes
from connector_bench.zoo.reader_questions import Asked, reader_questions

FEW = 200
COMMITTED = "2a388e8ea9e2c810e15151b5b291e61e7cecdae99bce6d86b55be0a562963e9d"


@pytest.fixture(scope="module")
def asked() -> list[list[Asked]]:
    return reader_questions(scenes.load("probe").select(range(FEW)))


def test_the_questions_are_committed(asked: list[list[Asked]]) -> None:
    digest = hashlib.sha256(repr(asked).encode()).hexdigest()
    assert digest == COMMITTED


def test_every_answer_is_right(asked: list[list[Asked]]) -> None:
    rows = scenes.load("probe").select(range(FEW)).select_columns(["objects"])
    for row, questions in zip(rows, asked, strict=True):
        at = {one["place"]: one for one in row["objects"]}
        names = {one["name"] for one in row["objects"]}
        kinds = Counter(kind for kind, _, _ in questions)
        assert kinds["object"] == kinds["category"] == len(at)
        assert len(set(questions)) == len(questions)
        for kind, text, answer in questions:
            if kind in ("object", "category"):
                held = at[text.rpartition(" at the ")[2].rstrip("?")]
                assert answer == held["name" if kind == "object" else "category"]
            elif kind == "existence":
                said = text.removeprefix("can you see the ").rstrip("?")
                assert answer == ("yes" if said in names else "no")
            else:
                assert 1 <= int(answer) <= 4


def test_neither_yes_nor_no_is_usual(asked: list[list[Asked]]) -> None:
    answers = Counter(answer for scene in asked for kind, _, answer in scene if kind == "existence")
    assert answers["yes"] / answers.total() == pytest.approx(0.5, abs=0.02)
