"""Questions about each image with the model's answers, from a joined table and the task's documents."""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from connector_bench.association.grounded import MEASURES
from connector_bench.association.values import JoinedTable
from connector_bench.number_style import number
from connector_bench.report.gallery_values import AskedQuestion, Outcome
from connector_bench.results.tasks import TaskRun

LONGEST = 400
"""Characters of a question or an answer that are shown."""
PLAIN = ("right", "wrong", "not scored")
"""Outcomes that say it all."""
INSIDE, OUTSIDE = "error inside the answer's region", "outside"
OF_THE_ANSWER = dict(zip(MEASURES["mse"], (INSIDE, OUTSIDE), strict=True))


def questions_by_image(table: JoinedTable, task: TaskRun) -> dict[str, list[AskedQuestion]]:
    """The questions of a scored task under the hash of their image, in the task's order."""
    documents = task.documents if task.has_samples else {}
    endings = _shared_lines([row.input for row in documents.values()])
    metric = next(iter(table.scores))
    scores = table.scores[metric]
    graded = bool(np.nanmax(scores, initial=0.0) > 1)
    found: dict[str, list[AskedQuestion]] = {}
    for row, (doc_id, image) in enumerate(zip(table.documents, table.images, strict=True)):
        document = documents.get(doc_id)
        if document is None:
            continue
        score = float(scores[row])
        outcome = _outcome(score, graded)
        question = AskedQuestion(
            doc_id=doc_id,
            text=_short(_without_last_lines(document.input, endings)),
            expected=_short(_plain(document.target)),
            answer=_short(_plain(document.response)),
            outcome=outcome,
            score="" if outcome in PLAIN else f"{metric} {number(score)}",
            figures=_regions(table, row),
        )
        found.setdefault(image, []).append(question)
    return found


def _regions(table: JoinedTable, row: int) -> Mapping[str, float]:
    known = {name: float(table.losses[name][row]) for name in OF_THE_ANSWER if name in table.losses}
    return {OF_THE_ANSWER[name]: value for name, value in known.items() if math.isfinite(value)}


def _outcome(score: float, graded: bool) -> Outcome:
    if not math.isfinite(score):
        return "not scored"
    if graded:
        return "graded"
    return "right" if score >= 1 else "wrong" if score <= 0 else "partly right"


def _shared_lines(texts: Sequence[str]) -> int:
    """How many last lines all texts share, such as a prompt's instruction; the first line always stays."""
    split = [text.splitlines() for text in texts]
    shared = 0
    while len(texts) > 1 and all(len(lines) > shared + 1 for lines in split):
        if len({lines[-1 - shared] for lines in split}) > 1:
            break
        shared += 1
    return shared


def _without_last_lines(text: str, count: int) -> str:
    lines = text.splitlines()
    return "\n".join(lines[: len(lines) - count])


def _plain(value: Any) -> str:
    """Several references apart; lmms-eval writes a list of them as the text of a Python list."""
    if isinstance(value, str) and value.startswith("["):
        with suppress(ValueError, SyntaxError, MemoryError, RecursionError):
            value = ast.literal_eval(value)
    if isinstance(value, list | tuple):
        return " | ".join(dict.fromkeys(map(str, value)))
    return str(value)


def _short(text: str) -> str:
    text = text.strip()
    return text if len(text) <= LONGEST else text[: LONGEST - 1].rstrip() + "…"
