"""`connector_stages` over a stream of images: every question read on both sides, merged across processes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from connector_bench.number_style import counted
from connector_bench.pictures import images_fingerprint
from connector_bench.processes import on_first_rank
from connector_bench.progress import doing
from connector_bench.reconstruction.end_to_end import parts
from connector_bench.reconstruction.precision import full_precision, scoring_device
from connector_bench.stages.scene_questions import StageQuestion, plain_text
from connector_bench.stages.stage_figures import ReadQuestion, StageFigures, read_worse_before, stage_scores
from connector_bench.stages.stage_learner import ReaderLearner, StageReaders
from connector_bench.stats.floors import LEAST_VALIDATION_IMAGES
from connector_bench.stats.intervals import plain

if TYPE_CHECKING:
    import torch

    from connector_bench.types import TokenBatch


class MeasuredStages:
    """Reads test images with the learner's readers; `finish` merges all ranks.

    `question_of` gives the question of any document; documents of other kinds than the options' are not read.
    """

    def __init__(self, learner: ReaderLearner, *, question_of: Callable[[int], StageQuestion]) -> None:
        self.learner, self._question_of = learner, question_of
        self._documents: Mapping[str, Sequence[int]] = {}
        self._read: dict[int, ReadQuestion] = {}
        self._placed: tuple[torch.device, StageReaders] | None = None

    def begin(self, documents: Mapping[str, Sequence[int]]) -> None:
        """Say what will come: the test images of all ranks, each with the documents that show it."""
        self._documents = documents

    def wants(self, image: str) -> bool:
        """Every image, where there are readers."""
        return self.learner.readers is not None and image in self._documents

    def wants_untrained(self, image: str) -> bool:
        """Never: untrained copies are not read."""
        del image
        return False

    def update(self, batch: TokenBatch) -> None:
        """Read all questions about some images; on the CPU one image after the other, so that batches change no bit."""
        device = scoring_device("auto", batch.pre.device)
        readers = self._readers_on(device)
        kinds = self.learner.config.kinds
        for part in parts(batch.mapped(lambda tokens: tokens.to(device))):
            numbers = [list(self._documents[image]) for image in part.images]
            asked = [[self._question_of(number) for number in of_image] for of_image in numbers]
            sides = {
                "pre": [part.pre[rows] for rows in part.pre_rows],
                "post": [part.post[rows] for rows in part.post_rows],
            }
            with full_precision(device):
                found = {
                    f"{reader} {side}": read
                    for side, tokens in sides.items()
                    for reader, read in readers.sides[side].read(tokens, asked).items()
                }
            for row, image in enumerate(part.images):
                alone = readers.alone.bits(asked[row])
                for place, (number, question) in enumerate(zip(numbers[row], asked[row], strict=True)):
                    if question.kind not in kinds:
                        continue
                    self._read[number] = ReadQuestion(
                        kind=question.kind,
                        image=image,
                        majority=readers.alone.majority(question.kind) == plain_text(question.answer),
                        right={name: float(read[row][place, 0]) for name, read in found.items()},
                        bits={name: float(read[row][place, 1]) for name, read in found.items()},
                        alone=float(alone[place]),
                    )

    def _readers_on(self, device: torch.device) -> StageReaders:
        """The readers on a device, moved there once."""
        assert self.learner.readers is not None
        if self._placed is None or self._placed[0] != device:
            self._placed = device, self.learner.readers.to(device)
        return self._placed[1]

    def finish(self, labels: Mapping[str, Mapping[str, str]] | None = None) -> StageFigures:
        """Figures over the images of all ranks, the same on every rank; labels are not used.

        Where there is none, the summary's `error` says why.
        """
        del labels
        return on_first_rank(self._combined, (self._read, list(self.learner.troubles)), doing)

    def _combined(self, gathered: Sequence[tuple[dict[int, ReadQuestion], list[str]]]) -> StageFigures:
        learner, readers = self.learner, self.learner.readers
        if readers is None:
            why = learner.failure or "there are no readers"
            return StageFigures({}, {"error": why}, (f"no figures: {why}",))
        read = {number: one for part, _ in gathered for number, one in part.items()}
        if not read:
            why = f"no question is of the kinds {', '.join(learner.config.kinds)}"
            return StageFigures({}, {"error": why}, (f"no figures: {why}",))
        asked = [read[number] for number in sorted(read)]
        images = {one.image for one in asked}
        with doing("intervals of stages"):
            scores = stage_scores(asked, learner.config.kinds)
        worse = read_worse_before(scores, learner.config.kinds)
        summary: dict[str, object] = {
            "options": learner.config.as_json(),
            "n_images": len(images),
            "images_sha256": images_fingerprint(images),
            "train_images": len(readers.training_images),
            "train_sha256": readers.training_images.fingerprint(),
            "train_images_left_out_as_test_images": learner.left_out,
            "train_documents_unreadable": learner.unreadable,
            "questions": {kind: sum(one.kind == kind for one in asked) for kind in learner.config.kinds},
            "answers_unknown_to_training": sum(one.alone != one.alone for one in asked),
            "probes": readers.described(),
            "shrunk_to_kind": {kind: _finite(value) for kind, value in readers.alone.strength.items()},
            "read_worse_before": worse,
            "scores": {name: plain(score) for name, score in scores.items()},
            "artefacts": None,
        }
        per_image = {image: {"n_images": float(len(images))} for image in images}
        rows = {number: read[number].figures() for number in sorted(read)}
        troubles = tuple(dict.fromkeys(text for _, part in gathered for text in part))
        return StageFigures(rows, summary, (*self._warnings(readers, worse), *troubles), per_image)

    def _warnings(self, readers: StageReaders, worse: Sequence[str]) -> tuple[str, ...]:
        found = []
        if worse:
            found.append(
                f"questions of {', '.join(worse)} are read better behind the connector than before it: the reader is "
                "too weak there, so `lost_encoder` is at most what it says and `lost_connector` at least"
            )
        if readers.validation_images < LEAST_VALIDATION_IMAGES:
            found.append(
                f"{readers.validation_images} of {len(readers.training_images)} training scenes chose the readers' "
                f"weights, {LEAST_VALIDATION_IMAGES} are needed: figures depend on which they are"
            )
        if self.learner.left_out:
            found.append(f"{counted(self.learner.left_out, 'training image')} left out: in the test set too")
        return tuple(found)


def _finite(value: float) -> float | None:
    """Infinity, which JSON does not know, as null."""
    return value if value < float("inf") else None
