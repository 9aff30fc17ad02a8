"""The decoder's words: every answer, place and object name is one token, the rest are single words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

from connector_bench.zoo.composition import PLACES, Ranges
from connector_bench.zoo.sprites import PLURALS, read_catalogue

PAD, UNKNOWN, ANSWER = "<pad>", "<unk>", "<answer>"
QUESTION_LENGTH = 12
"""Tokens of a question with its final ``<answer>``; a longer question is cut."""
_WORDS = "what is at the kind of thing how many are there can you see".split()  # noqa: SIM905


@cache
def vocabulary() -> tuple[str, ...]:
    """All tokens, in the order of their ids. The order is part of the saved weights."""
    counts = [str(n) for n in range(Ranges().of_a_category[1] + 1)]
    objects = [name for names in read_catalogue().values() for name in names]
    phrases = [
        PAD,
        UNKNOWN,
        ANSWER,
        *_WORDS,
        "yes",
        "no",
        *counts,
        *PLACES,
        *PLURALS,
        *PLURALS.values(),
        *objects,
    ]
    return tuple(dict.fromkeys(phrases))


@cache
def token_ids() -> dict[str, int]:
    """Token -> id."""
    return {token: i for i, token in enumerate(vocabulary())}


@cache
def _longest_phrase() -> int:
    return max(len(token.split()) for token in vocabulary())


def encode_question(question: str) -> list[int]:
    """Ids of a question, ``QUESTION_LENGTH`` long: padding, then words, then ``<answer>``.

    Case and punctuation do not matter. Names of several words are matched longest first; a word that is not
    in the vocabulary becomes ``<unk>``.
    """
    ids, words = token_ids(), re.findall(r"[\w'’-]+", question.lower())
    found: list[int] = []
    while words:
        for length in range(min(_longest_phrase(), len(words)), 0, -1):
            phrase = " ".join(words[:length])
            if phrase in ids or length == 1:
                found.append(ids.get(phrase, ids[UNKNOWN]))
                words = words[length:]
                break
    found = [*found[: QUESTION_LENGTH - 1], ids[ANSWER]]
    return [ids[PAD]] * (QUESTION_LENGTH - len(found)) + found


def encode_questions(questions: Sequence[str]) -> list[list[int]]:
    """``encode_question`` of each."""
    return [encode_question(question) for question in questions]
