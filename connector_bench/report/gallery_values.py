"""Pictures of a report with what the model answered about them: values only, no HTML."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

Outcome = Literal["right", "wrong", "partly right", "graded", "not scored"]
"""`graded`: the metric's scale does not end at 1, as with CIDEr."""
OUTCOMES: tuple[Outcome, ...] = ("right", "wrong", "partly right", "graded", "not scored")


@dataclass(frozen=True)
class AskedQuestion:
    """One question about a picture, with the model's answer and how the task's own metric scored it."""

    doc_id: int
    """Document of the task that asked."""
    text: str
    expected: str
    answer: str
    outcome: Outcome
    score: str = ""
    """Metric and value, such as `accuracy 1`."""
    figures: Mapping[str, float] = field(default_factory=dict)
    """Loss inside and outside the answer's region, where there is a mask."""


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture as it is put into the page."""

    webp: bytes
    width: int
    height: int
    panels: tuple[str, ...] = ()
    """What it shows from left to right."""
    outlines: tuple[str, ...] = ()
    """Names of what is outlined in it, such as `Q1`."""


@dataclass(frozen=True)
class PictureCard:
    """One picture of a gallery."""

    image: str
    """SHA-256 of the picture's pixels."""
    groups: tuple[str, ...]
    """Why it is shown, such as `most lossy`."""
    figures: Mapping[str, float]
    """By the keys of the gallery's `measures`; what is not known is absent."""
    questions: tuple[AskedQuestion, ...] = ()
    more_questions: int = 0
    """Questions about it that are not shown."""
    picture: Picture | None = None
    """None where the run left none."""

    @property
    def name(self) -> str:
        """What a reader calls it."""
        return f"image {self.image[:12]}"

    @property
    def answered(self) -> str:
        """`3 questions: 2 right, 1 wrong`, of those that are shown."""
        count = len(self.questions)
        each = Counter(question.outcome for question in self.questions)
        said = ", ".join(f"{each[outcome]} {outcome}" for outcome in OUTCOMES if each[outcome])
        return f"{count} {'question' if count == 1 else 'questions'}: {said}"

    @property
    def outcomes(self) -> frozenset[Outcome]:
        """Which outcomes its questions had."""
        return frozenset(question.outcome for question in self.questions)


@dataclass(frozen=True)
class SortKey:
    """A figure of every picture that a gallery can be sorted by."""

    key: str
    label: str
    short: str
    """The label where there is little room."""
    lossy_is_low: bool = False
    """Whether a low value is the lossy end, which a reader looks at first."""

    @property
    def ways(self) -> tuple[str, str]:
        """Both directions of sorting, the lossy end first."""
        return ("lowest", "highest") if self.lossy_is_low else ("highest", "lowest")


@dataclass(frozen=True)
class Gallery:
    """Pictures in the order in which they are shown first."""

    kind: ClassVar[str] = "gallery"
    name: str
    shows: str
    measures: tuple[SortKey, ...]
    """The first is the one that the cards are in order of."""
    cards: tuple[PictureCard, ...]

    @property
    def groups(self) -> tuple[str, ...]:
        """The reasons for which pictures are shown, in order of appearance."""
        return tuple(dict.fromkeys(group for card in self.cards for group in card.groups))

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        """Outcomes that occur."""
        return tuple(one for one in OUTCOMES if any(one in card.outcomes for card in self.cards))
