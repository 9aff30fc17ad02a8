"""CIDEr of each caption: with the PTB tokenizer, and without Java."""

from __future__ import annotations

import shutil
import tempfile

import numpy as np
import pytest

from connector_bench.association import captions
from connector_bench.association.captions import caption_scores, is_caption_metric


def written(n: int = 60) -> dict[int, dict]:
    rng = np.random.default_rng(0)
    parts = (
        ["a man", "two dogs", "the cat's owner", "people"],
        ["rides", "doesn't like", "sits on", "looks at"],
        ["a bike.", "an apple, on a plate", "the skate-board", 'a "hot" stove!'],
    )

    def caption() -> str:
        return " ".join(str(rng.choice(part)) for part in parts)

    return {7 * i: {"pred": caption(), "answer": [caption() for _ in range(5)]} for i in range(n)}


def without_java(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(captions.shutil, "which", lambda name: None)


@pytest.mark.skipif(shutil.which("java") is None, reason="the PTB tokenizer needs Java")
def test_without_java_the_scores_are_close_and_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = written()
    with_java, note = caption_scores(entries)
    assert "PTB tokenizer" in note
    without_java(monkeypatch)
    without, other = caption_scores(entries)
    assert "needs Java" in other
    assert list(without) == list(entries)
    assert list(without.values()) == pytest.approx(list(with_java.values()), abs=0.05)
    assert len({round(score, 6) for score in without.values()}) > 30


@pytest.mark.skipif(shutil.which("java") is None, reason="the PTB tokenizer needs Java")
def test_a_package_folder_that_cannot_be_written_to(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise PermissionError("read-only")

    monkeypatch.setattr(tempfile, "NamedTemporaryFile", refuse)
    assert "needs Java and a package folder" in caption_scores(written(5))[1]


def test_a_reference_scores_most_and_a_wrong_caption_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    without_java(monkeypatch)
    entries = written(20)
    entries[0] = {"pred": "a zebra sleeps", "answer": ["A zebra sleeps."]}
    entries[7]["pred"] = ""
    entries[14] = {"pred": "nothing of\nthe kind", "answer": entries[14]["answer"][0]}
    scores, _ = caption_scores(entries)
    assert scores[0] == max(scores.values()) > 5
    assert scores[7] == scores[14] == 0


def test_what_counts_as_a_caption() -> None:
    entry = {"pred": "a dog", "answer": ["a dog"]}
    assert is_caption_metric("coco_CIDEr", [entry])
    assert not is_caption_metric("coco_METEOR", [entry])
    assert not is_caption_metric("coco_CIDEr", [0.5])
    assert not is_caption_metric("flickr_CIDEr", [{"pred": "a dog", "image_id": 1}])
