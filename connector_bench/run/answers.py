"""From a measure's figures to an answer for every document and the record of a task."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from connector_bench.number_style import counted
from connector_bench.run.all_ranks import AllRanksImages
from connector_bench.run.documents import Document
from connector_bench.run.passing import Passed, PassOutcome
from connector_bench.run.reading import LocalImages

NAMED = 3
"""Documents that a warning names."""


class Figures(Protocol):
    """What a measure hands back when it has seen all images."""

    @property
    def per_image(self) -> Mapping[str, Mapping[str, float | str]]:
        """Figures of every image, or a note why it has none."""
        ...

    @property
    def per_document(self) -> Mapping[int, Mapping[str, float]]:
        """Figures of single documents, which may share an image."""
        ...

    @property
    def summary(self) -> dict[str, object]:
        """Intervals and provenance of the whole set."""
        ...

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a user should know, in sentences."""
        ...


@dataclass(frozen=True)
class TaskFigures:
    """One task's outcome: an answer for every document of this rank, and a record of the whole."""

    answers: dict[int, dict[str, float | str | int]]
    summary: dict[str, object]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class TrainingRemarks:
    """What is to be said of the documents that a task's probes learn from."""

    summary: Mapping[str, object] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @classmethod
    def of(cls, name: str, shown: AllRanksImages, outcome: PassOutcome) -> TrainingRemarks:
        """Of one training, once its images have passed."""
        without, files = left_without(name, shown, outcome)
        if not without:
            return cls()
        summary = {
            "train_documents_unreadable": len(without),
            "train_unreadable": {str(doc_id): why for doc_id, why in without.items()},
        }
        return cls(summary, (left_out_line("training document", without, files),))


def left_without(
    task: str, shown: AllRanksImages, outcome: PassOutcome
) -> tuple[dict[int, str], dict[int, str]]:
    """Why documents could not be read or measured, and the files of such documents, in rising order."""
    reasons, files = dict(shown.unreadable.get(task, {})), dict(shown.files.get(task, {}))
    for doc_id, image in shown.image_of.get(task, {}).items():
        if image in outcome.refused:
            reasons[doc_id] = outcome.refused[image]
            if image in outcome.files:
                files[doc_id] = outcome.files[image]
    return dict(sorted(reasons.items())), files


def left_out_line(what: str, reasons: Mapping[int, str], files: Mapping[int, str]) -> str:
    """One sentence on documents that are left out, naming the first with their reasons."""
    named = [f"{called(doc_id, files)}: {why}" for doc_id, why in list(reasons.items())[:NAMED]]
    more = [f"and {len(reasons) - NAMED} more"] if len(reasons) > NAMED else []
    plural = "s" if len(reasons) > 1 else ""
    return f"{len(reasons)} {what}{plural} left out, could not be measured: {'; '.join(named + more)}"


def called(doc_id: int, files: Mapping[int, str]) -> str:
    """What messages call a document: its number, and its picture's file where there is one."""
    return f"{doc_id} ({files[doc_id]})" if doc_id in files else str(doc_id)


def several_line(documents: Sequence[int], files: Mapping[int, str]) -> str:
    """One sentence on documents with more pictures than the one that is measured."""
    named = [called(doc_id, files) for doc_id in documents[:NAMED]]
    more = [f"and {len(documents) - NAMED} more"] if len(documents) > NAMED else []
    which = counted(len(documents), "document has", "documents have")
    return f"{which} several pictures, of which the first is measured: {', '.join(named + more)}"


def task_figures(
    task: str,
    figures: Figures,
    own: Sequence[Document],
    seen: LocalImages,
    tested: AllRanksImages,
    outcome: PassOutcome,
    training: TrainingRemarks,
) -> TaskFigures:
    """Answers for this rank's own documents of a task, and its record over those of all ranks."""
    without, files = left_without(task, tested, outcome)
    left_out = tested.left_out.get(task, {})
    shown = {
        image: numbers for image, numbers in tested.documents_of(task).items() if image not in outcome.refused
    }
    answers: dict[int, dict[str, Any]] = {}
    for document in own:
        doc_id = document.doc_id
        if doc_id in without or doc_id in left_out:
            word, why = ("unreadable", without) if doc_id in without else ("left_out", left_out)
            answers[doc_id] = {word: why[doc_id]}
            continue
        image = tested.image_of[task][doc_id]
        answers[doc_id] = {"image": image, **figures.per_document.get(doc_id, {})}
        if shown[image][0] == doc_id:
            row = figures.per_image.get(image, {})
            of_picture = picture_figures(seen.entropy[image], outcome.passed.get(image), row)
            answers[doc_id] |= {**of_picture, **row}
        else:
            answers[doc_id]["same_image_as"] = shown[image][0]
    several = sorted(tested.several.get(task, ()))
    of_run = run_summary(
        [outcome.passed[image] for image in shown if image in outcome.passed],
        figures.summary.get("tokens_per_image"),
        without,
        sum(map(len, shown.values())) + len(without) + len(left_out),
        not_finite=sum(image in outcome.not_finite for image in tested.documents_of(task)),
        several=len(several),
        left_out=left_out,
    )
    summary = {**figures.summary, **of_run, **training.summary}
    warnings = [*figures.warnings]
    if without:
        warnings.append(left_out_line("document", without, files))
    if several:
        warnings.append(several_line(several, files))
    if twice := tested.contradictions(task):
        warnings.append(f"{twice} pictures stand under different labels and count as having none")
    return TaskFigures(answers, summary, (*warnings, *training.warnings))


def figure_of_the_set(record: Mapping[str, Any], name: str, values: Sequence[float]) -> float:
    """A figure that is no mean over documents: the record's score, or what every document was given of it."""
    value = (record.get("scores", {}).get(name) or {}).get("value")
    return values[0] if value is None else float(value)


def picture_figures(
    entropy: float, passed: Passed | None, row: Mapping[str, float | str]
) -> dict[str, float | str]:
    """What stands beside every measure's figures of an image; the measure's `row` has it of an earlier process."""
    norm = row.get("encoder_norm") if passed is None else passed.encoder_norm
    return {"entropy": entropy} | ({"encoder_norm": norm} if norm is not None else {})


def run_summary(
    passed: Sequence[Passed],
    measured: Any,
    without: Mapping[int, str],
    documents: int,
    *,
    not_finite: int,
    several: int = 0,
    left_out: Mapping[int, str] | None = None,
) -> dict[str, object]:
    """What stands beside every measure's summary.

    Fewest and most tokens of an image on either side, those included that the measure has `measured` in an earlier
    process; of so many documents, those `without` a picture that could be measured, with the reasons; images whose
    tokens were not finite; documents with `several` pictures; and how many the task leaves out, by reason.
    """
    earlier = measured or {"pre": [], "post": []}
    sides = {
        "pre": [*earlier["pre"], *(one.n_pre for one in passed)],
        "post": [*earlier["post"], *(one.n_post for one in passed)],
    }
    return {
        "tokens_per_image": {side: [min(counts), max(counts)] for side, counts in sides.items()}
        if all(sides.values())
        else None,
        "n_documents": documents,
        "unreadable": {str(doc_id): why for doc_id, why in without.items()},
        "not_finite": not_finite,
        "several_pictures": several,
        "left_out": dict(Counter((left_out or {}).values())),
    }
