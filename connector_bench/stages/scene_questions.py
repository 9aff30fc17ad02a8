"""Questions about pictures as readers take them: words, answers, and what the question alone says.

A reader's vocabulary is that of the training questions: every answer is one token, also one of several words, and
so is every word beside them. What a question says by itself is the reference that bits are counted from.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int

PAD, UNKNOWN = "", "<unknown>"
STRENGTHS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 1024.0, np.inf)
"""How many observations the answers of a kind count beside those of one question; infinite: the kind alone."""
UNSEEN = 0.5
"""Observations that every answer has before the first is seen, so that none has a probability of 0."""


@dataclass(frozen=True)
class StageQuestion:
    """One question about a picture."""

    kind: str
    """What is asked: figures are of one kind, and kinds are never summed."""
    text: str
    answer: str


@dataclass(frozen=True)
class Vocabulary:
    """Words of questions and possible answers, each with its number."""

    tokens: tuple[str, ...]
    """Padding, what is not known, then the answers, then further words."""
    answers: tuple[str, ...]
    """In the order of their tokens."""

    @classmethod
    def of(cls, questions: Iterable[StageQuestion]) -> Vocabulary:
        """Of the training questions. ValueError where there is none."""
        asked = list(questions)
        if not asked:
            raise ValueError("readers learn from questions, and there is none")
        answers = tuple(sorted({plain_text(one.answer) for one in asked}))
        words = {word for one in asked for word in plain_text(one.text).split()}
        return cls((PAD, UNKNOWN, *answers, *sorted(words - set(answers))), answers)

    @cached_property
    def _numbers(self) -> Mapping[str, int]:
        return {token: number for number, token in enumerate(self.tokens)}

    @cached_property
    def _longest(self) -> int:
        return max(len(token.split()) for token in self.tokens)

    def answer_number(self, answer: str) -> int:
        """Place among the answers, -1 for one that training does not know."""
        token = self._numbers.get(plain_text(answer), 0) - 2
        return token if 0 <= token < len(self.answers) else -1

    def words(self, text: str) -> list[int]:
        """Numbers of a question's tokens; of several words that are one token the longest run counts."""
        found, words = [], plain_text(text).split()
        while words:
            for length in range(min(self._longest, len(words)), 0, -1):
                token = " ".join(words[:length])
                if token in self._numbers or length == 1:
                    found.append(self._numbers.get(token, 1))
                    words = words[length:]
                    break
        return found

    def encoded(self, questions: Sequence[StageQuestion]) -> EncodedQuestions:
        """All of them as arrays."""
        known: dict[str, list[int]] = {}
        for one in questions:
            if one.text not in known:
                known[one.text] = self.words(one.text)
        width = max((len(known[one.text]) for one in questions), default=1)
        words = np.zeros((len(questions), max(1, width)), dtype=np.int64)
        for row, one in enumerate(questions):
            words[row, : len(known[one.text])] = known[one.text]
        answers = np.array([self.answer_number(one.answer) for one in questions], dtype=np.int64)
        return EncodedQuestions(words, answers)


@dataclass(frozen=True)
class EncodedQuestions:
    """Questions as numbers."""

    words: Int[np.ndarray, "n l"]
    """Tokens, 0 behind the last."""
    answers: Int[np.ndarray, " n"]
    """-1 where training does not know the answer."""


def plain_text(text: str) -> str:
    """Lower case, words apart by single spaces, without punctuation."""
    return " ".join(re.findall(r"[\w'’-]+", text.lower()))


@dataclass(frozen=True)
class QuestionAlone:
    """How likely each answer is for who hears the question and sees nothing.

    Counts of the training answers to this very question, shrunk to those of its kind; validation questions choose how
    far. It is H_V(answer) of the readers: with tokens that say nothing they can do no better.
    """

    vocabulary: Vocabulary
    of_kind: Mapping[str, Float[np.ndarray, " answers"]]
    """Observations by answer."""
    of_text: Mapping[str, Float[np.ndarray, " answers"]]
    strength: Mapping[str, float] = field(default_factory=dict)
    """By kind, one of `STRENGTHS`."""

    @classmethod
    def fit(
        cls,
        vocabulary: Vocabulary,
        training: Sequence[StageQuestion],
        validation: Sequence[StageQuestion],
    ) -> QuestionAlone:
        """From training questions, its strength from validation questions."""
        counts: dict[str, Counter[int]] = {}
        texts: dict[str, Counter[int]] = {}
        for one in training:
            number = vocabulary.answer_number(one.answer)
            counts.setdefault(one.kind, Counter())[number] += 1
            texts.setdefault(one.text, Counter())[number] += 1
        size = len(vocabulary.answers)
        kinds = {kind: _dense(found, size) for kind, found in counts.items()}
        fitted = cls(vocabulary, kinds, {text: _dense(found, size) for text, found in texts.items()})
        strength = {}
        for kind in kinds:
            asked = [one for one in validation if one.kind == kind]
            losses = [-np.log(fitted._likelihood(asked, dict.fromkeys(kinds, value))) for value in STRENGTHS]
            strength[kind] = STRENGTHS[int(np.argmin([np.nansum(loss) for loss in losses]))]
        return cls(vocabulary, kinds, fitted.of_text, strength)

    def bits(self, questions: Sequence[StageQuestion]) -> Float[np.ndarray, " n"]:
        """Of the right answers, `-log2 p`; NaN for an answer that training does not know."""
        return -np.log2(self._likelihood(questions, self.strength))

    def majority(self, kind: str) -> str | None:
        """The answer that training questions of a kind have most often; None for another kind."""
        found = self.of_kind.get(kind)
        return None if found is None else self.vocabulary.answers[int(found.argmax())]

    def _likelihood(
        self, questions: Sequence[StageQuestion], strength: Mapping[str, float]
    ) -> Float[np.ndarray, " n"]:
        found = np.full(len(questions), np.nan)
        for row, one in enumerate(questions):
            number = self.vocabulary.answer_number(one.answer)
            if number < 0 or one.kind not in self.of_kind:
                continue
            kind = self.of_kind[one.kind]
            prior = (kind[number] + UNSEEN) / (kind.sum() + UNSEEN * len(kind))
            own, weight = self.of_text.get(one.text), strength[one.kind]
            if own is None or np.isinf(weight):
                found[row] = prior
            else:
                found[row] = (own[number] + weight * prior) / (own.sum() + weight)
        return found


def _dense(counts: Counter[int], size: int) -> Float[np.ndarray, " answers"]:
    found = np.zeros(size)
    for number, count in counts.items():
        found[number] = count
    return found
