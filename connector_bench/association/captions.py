"""CIDEr of each caption, by pycocoevalcap, from the predictions and references in lmms-eval's sample rows.

lmms-eval's captioning tasks keep both under every metric and score the whole set at the end. CIDEr weighs n-grams by
how many images' references hold them, so the score of one caption depends on the set, and its mean over a set is the
set's CIDEr: nothing is lost by keeping one value an image.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterable, Mapping
from typing import Any

Captions = Mapping[int, list[str]]

WITH_JAVA = "CIDEr (pycocoevalcap, PTB tokenizer) of each caption"
WITHOUT_JAVA = (
    "CIDEr (pycocoevalcap) of each caption, split into words by NLTK's Treebank tokenizer since the PTB tokenizer "
    "needs Java and a package folder that can be written to: it may differ a little from lmms-eval's figure"
)


def is_caption_metric(metric: str, entries: Iterable[Any]) -> bool:
    """Whether a metric is CIDEr and its entries hold a prediction and references."""
    return metric.endswith("CIDEr") and all(
        isinstance(entry, Mapping) and isinstance(entry.get("pred"), str) and entry.get("answer")
        for entry in entries
    )


def caption_scores(entries: Mapping[int, Mapping[str, Any]]) -> tuple[dict[int, float], str]:
    """CIDEr of every document's caption, and a sentence on how it was made; `entries` hold `pred` and `answer`."""
    from pycocoevalcap.cider.cider import Cider

    predicted = {doc_id: [_one_line(entry["pred"])] for doc_id, entry in entries.items()}
    written = {doc_id: _references(entry["answer"]) for doc_id, entry in entries.items()}
    (written, predicted), note = _in_words(written, predicted)
    _, scores = Cider().compute_score(written, predicted)
    return {doc_id: float(score) for doc_id, score in zip(entries, scores, strict=True)}, note


def _references(answer: Any) -> list[str]:
    captions = answer if isinstance(answer, list) else [answer]
    return [_one_line(caption) for caption in captions]


def _one_line(caption: Any) -> str:
    """The PTB tokenizer reads a caption a line."""
    return " ".join(str(caption).split())


def _in_words(*sides: Captions) -> tuple[list[dict[int, list[str]]], str]:
    if shutil.which("java"):
        # the tokenizer keeps its input in its own folder, which may not be ours to write to
        with contextlib.suppress(OSError):
            return [_ptb_words(side) for side in sides], WITH_JAVA
    return [_treebank_words(side) for side in sides], WITHOUT_JAVA


def _ptb_words(captions: Captions) -> dict[int, list[str]]:
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    return PTBTokenizer().tokenize(
        {doc_id: [{"caption": text} for text in texts] for doc_id, texts in captions.items()}
    )


def _treebank_words(captions: Captions) -> dict[int, list[str]]:
    from nltk.tokenize import TreebankWordTokenizer
    from pycocoevalcap.tokenizer.ptbtokenizer import PUNCTUATIONS

    split = TreebankWordTokenizer().tokenize
    return {
        doc_id: [" ".join(word for word in split(text.lower()) if word not in PUNCTUATIONS) for text in texts]
        for doc_id, texts in captions.items()
    }
