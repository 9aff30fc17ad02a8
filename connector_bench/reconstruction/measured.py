"""`patch_reconstruction` over a stream of images: scored by the fitted ladder, gathered and merged across processes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from connector_bench.atomic_files import NotWritten
from connector_bench.number_style import counted
from connector_bench.pictures import for_controls, images_fingerprint
from connector_bench.processes import leave_behind, on_first_rank, rank_and_size, unbroken
from connector_bench.progress import doing
from connector_bench.protocol import CONTROL_TEST_IMAGES
from connector_bench.reconstruction.artefacts import (
    Mask,
    Selection,
    same_for_all,
    select,
    write_selection,
)
from connector_bench.reconstruction.end_to_end import parts
from connector_bench.reconstruction.figures import (
    ReconstructionFigures,
    describe_controls,
    describe_floor,
    describe_probes,
    image_row,
    mask_figures,
    paper_row,
    paper_scores,
    set_scores,
)
from connector_bench.reconstruction.inherited import Inherited
from connector_bench.reconstruction.kept_rows import KeptRows
from connector_bench.reconstruction.learning import ProbeLadder, ProbeLearner
from connector_bench.reconstruction.precision import full_precision, scoring_device
from connector_bench.reconstruction.scored_images import ScoredBatch
from connector_bench.reconstruction.scored_so_far import BOARD, Figures, Scored
from connector_bench.reconstruction.scores import ScoreBoard
from connector_bench.reconstruction.state_folder import IN_USE, StateFolder
from connector_bench.reconstruction.store import RunStore
from connector_bench.stats.floors import LEAST_VALIDATION_IMAGES
from connector_bench.stats.oracles import not_as_they_must_be

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

    from connector_bench.types import TokenBatch

NOTHING_CHOSEN = "the penalty is a fixed one, no network was trained, `lost` is what the linear probe loses"
Part = tuple[ScoreBoard, KeptRows, dict[int, Figures], list[str]]


class MeasuredReconstruction:
    """Scores test images with the learner's ladder; `finish` merges all ranks.

    `picture_of` and `mask_of` give any document's picture and answer mask; without the first no picture is left behind.
    With a folder, images that an earlier process has scored are not scored again, and loss maps and some pictures are
    left there to be looked at.
    """

    def __init__(
        self,
        learner: ProbeLearner,
        *,
        picture_of: Callable[[int], Image] | None,
        mask_of: Callable[[int], Mask | None] | None = None,
        folder: Path | None = None,
        fingerprint: Mapping[str, Any] | None = None,
        every: int = 512,
    ) -> None:
        self.learner = learner
        self._picture_of, self._mask_of = picture_of, mask_of
        self._folder, self._fingerprint, self._every = folder, dict(fingerprint or {}), every
        self._scored = Scored()
        self._inherited = Inherited()
        self._documents: Mapping[str, Sequence[int]] = {}
        self._trained_on: set[str] = set()
        self._control_images: set[str] = set()
        self._placed: tuple[torch.device, ProbeLadder] | None = None
        self._crossing: ScoredBatch | None = None
        self._troubles: list[str] = []

    @property
    def ladder(self) -> ProbeLadder:
        """The fitted probes; there once the learner has fitted."""
        ladder = self.learner.ladder
        assert ladder is not None
        return ladder

    def begin(self, documents: Mapping[str, Sequence[int]]) -> None:
        """Say what will come: the test images of all ranks, each with the documents that show it.

        Images that the probes were trained on (reused probes may have been) are left out. StateMismatch where the
        folder holds the state of another run.
        """
        self._documents = documents
        if self.learner.ladder is None:
            return
        trained = self.ladder.probes.training_images
        self._trained_on = {image for image in documents if image in trained}
        if not self._paper:
            left = documents.keys() - self._trained_on
            self._control_images = for_controls(left, CONTROL_TEST_IMAGES)
        store, trouble = None, None
        self._kept = StateFolder.claimed(self._folder, self.learner.wait, self.learner.kept)
        self._folder = self._kept.path
        if self._folder is not None:
            rank, size = rank_and_size()
            found = self._fingerprint | {"documents": self._shown}
            store, trouble = RunStore.opened(self._folder / f"{self._prefix}-{rank}of{size}", found)
        self._troubles = [text for text in (self._kept.trouble, trouble) if text]
        with doing("reading what was scored before"):
            self._scored = Scored(store, every=self._every)
        self._scored.refuse_others(documents)
        if store is not None:
            leave_behind(self._scored.kept)
        if self._folder is not None:
            own, images_of = self._scored.board.images, lambda one: Scored(one).board.images
            with doing("reading which images earlier runs have scored"):
                self._inherited = Inherited.of(
                    self._folder, self._prefix, BOARD, found, own, images_of, documents
                )

    @property
    def _paper(self) -> bool:
        return self.learner.config.protocol == "paper"

    @property
    def _shown(self) -> int:
        """Documents of the task: a run with `--limit` has state of its own, and the same probes."""
        return sum(len(numbers) for numbers in self._documents.values())

    @property
    def _prefix(self) -> str:
        return f"scored-{self._shown}"

    def wants(self, image: str) -> bool:
        """Whether this image is still to be scored."""
        if self.learner.ladder is None or image in self._scored or image in self._trained_on:
            return False
        return image not in self._inherited.known

    def wants_untrained(self, image: str) -> bool:
        """Whether controls are measured on this image; they are on `CONTROL_TEST_IMAGES` at most."""
        return image in self._control_images

    def update(self, batch: TokenBatch) -> None:
        """Score some images, and lay the answer masks of their documents over their loss maps.

        Where the tokens are on a device, the figures of the last images are taken in with the next ones.
        """
        device = scoring_device(self.learner.config.device, batch.pre.device)
        ladder = self._ladder_on(device)
        for part in parts(batch.mapped(lambda tokens: tokens.to(device))):
            with full_precision(device):
                scored = self._scored_by(ladder, part)
            self._take_in()
            self._crossing = scored
            if device.type == "cpu":
                self._take_in()

    def _ladder_on(self, device: torch.device) -> ProbeLadder:
        """The ladder on a device, moved there once."""
        if self._placed is None or self._placed[0] != device:
            probes, controls = self.ladder.probes.on(device), self.ladder.controls.on(device)
            floor = None if self.ladder.floor is None else self.ladder.floor.on(device)
            self._placed = device, ProbeLadder(probes, controls, floor)
        return self._placed[1]

    def _scored_by(self, ladder: ProbeLadder, batch: TokenBatch) -> ScoredBatch:
        found = ladder.probes.score(batch)
        of_size = {} if ladder.floor is None else ladder.floor.squared_errors(batch)
        positions = [number for number, image in enumerate(batch.images) if image in self._control_images]
        if not positions:
            return ScoredBatch(found, batch.encoder_norms, size_errors=of_size)
        controlled = batch.take(positions)
        errors = ladder.controls.squared_errors(controlled)
        return ScoredBatch(found, batch.encoder_norms, controlled.images, errors, of_size)

    def _take_in(self) -> None:
        """Take in what is on its way from the device."""
        if self._crossing is None:
            return
        crossing, self._crossing = self._crossing, None
        images = crossing.images()
        if self._paper:
            self._scored.add(crossing.batch, images, {one.image_id: paper_row(one) for one in images}, {})
            return
        masked: dict[int, Figures] = {}
        for one in images:
            for number in self._documents[one.image_id] if self._mask_of and not one.layout.unplaced else ():
                mask = self._mask_of(number)  # type: ignore[misc]
                if mask is not None and mask.any():
                    masked[number] = mask_figures(one.loss_map, mask)
        self._scored.add(crossing.batch, images, {one.image_id: image_row(one) for one in images}, masked)

    def finish(self, labels: Mapping[str, Mapping[str, str]] | None = None) -> ReconstructionFigures:
        """Figures over the images of all ranks, the same on every rank; labels are not used.

        Where there is none, the summary's `error` says why.
        """
        self._take_in()
        scored = self._scored
        with unbroken(), doing("writing what was scored"):
            scored.flush()
        with doing("reading what earlier runs have scored"):
            for store in self._inherited.stores:
                scored.absorb(Scored(store))
        troubles = [*self.learner.troubles, *self._troubles]
        if scored.store is not None and scored.store.trouble is not None:
            troubles.append(scored.store.trouble)
        part = (scored.board, scored.rows, scored.documents, troubles)
        return on_first_rank(self._combined, part, doing)

    def _without_figures(self, why: str) -> ReconstructionFigures:
        return ReconstructionFigures({}, {}, {"error": why}, (f"no figures: {why}",))

    def _combined(self, parts: Sequence[Part]) -> ReconstructionFigures:
        board = ScoreBoard()
        rows: dict[str, dict[str, float]] = {}
        documents: dict[int, dict[str, float]] = {}
        troubles: list[str] = []
        if self.learner.ladder is None:
            return self._without_figures(self.learner.failure or "there are no probes")
        for own_board, own_rows, own_documents, own_troubles in parts:
            board.absorb(own_board)
            rows |= own_rows
            documents |= own_documents
            troubles += own_troubles
        if not rows:
            trained = f"no test image is left: the probes were trained on all {len(self._documents)} of them"
            return self._without_figures(trained if self._trained_on else "no picture could be read")
        for row in rows.values():
            row["n_images"] = len(rows)
        image_of = {number: image for image, numbers in self._documents.items() for number in numbers}
        probes = self.ladder.probes
        described = probes.description()
        summary: dict[str, object] = {
            "options": probes.config.as_json(),
            "n_images": len(rows),
            "control_images": board.control_images,
            "images_sha256": images_fingerprint(rows),
            "train_images": len(probes.training_images),
            "train_sha256": probes.training_images.fingerprint(),
            "pre_width": len(probes.statistics.mean),
            "probes": describe_probes(probes),
            "best_probe": probes.learning_curve.best if probes.trained else None,
            "learning_curve": described["learning_curve"],
            "more_data_helps": probes.learning_curve.more_data_helps,
            "controls": describe_controls(self.ladder.controls),
            "floor": describe_floor(self.ladder.floor, probes),
            "train_documents_unreadable": self.learner.unreadable,
            "train_images_left_out_as_test_images": self.learner.left_out,
            "test_images_left_out_as_training_images": len(self._trained_on),
            "unfitted_patches": board.unfitted_patches,
            "tokens_per_image": board.tokens_per_image,
            "artefacts": f"{self._folder.parent.name}/{self._folder.name}" if self._folder else None,
        }
        if self._kept.refused is not None:
            summary[IN_USE] = True
        with doing("intervals of patch reconstruction"):
            helps = probes.learning_curve.more_data_helps
            scores = (
                paper_scores(board)
                if self._paper
                else set_scores(board, documents, image_of, probes.config, helps)
            )
        summary["scores"] = scores
        lost = "paper_mse" if self._paper else "lost"
        losses = {image: row[lost] for image, row in rows.items() if lost in row}
        refused = list(dict.fromkeys(troubles)) or self._left_to_look_at(losses)
        troubles = [". Also: ".join(refused)] if refused else []
        warnings = (*self._warnings(board), *not_as_they_must_be(scores), *troubles)
        return ReconstructionFigures(rows, documents, summary, warnings)

    def _left_to_look_at(self, losses: Mapping[str, float]) -> list[str]:
        """Write pictures and masks of some images; no figure is lost where one cannot be written, or read again."""
        if self._folder is None or self._picture_of is None:
            return []
        try:
            folders = [path.name for path in sorted(self._folder.glob(f"{self._prefix}-*"))]
            beside = {image: self._documents[image][0] for image in same_for_all(losses)}
            selection = Selection(folders, select(losses, self._documents), beside)
            with doing("pictures to look at"):
                write_selection(self._folder, selection, self._picture_of, self._mask_of)
        except NotWritten as error:
            return [f"{error}; not all pictures that a report shows are there"]
        except Exception as error:  # what a vanished picture, or a user's function of masks, may raise
            return [f"no pictures for a report, one could not be read again: {type(error).__name__}: {error}"]
        return []

    def _warnings(self, board: ScoreBoard) -> tuple[str, ...]:
        found, probes = list(self.learner.warnings), self.ladder.probes
        if probes.learning_curve.more_data_helps:
            found.append("more training images still help the best probe: `lost` is at most what it says")
        if not probes.learning_curve.chosen:
            found.append(
                f"{probes.learning_curve.validation_images} of {len(probes.training_images)} training images could "
                "choose penalty and best probe and stop training, "
                f"{LEAST_VALIDATION_IMAGES} are needed: "
                + ("figures depend on which they are" if self._paper else NOTHING_CHOSEN)
                + ", and whether more data would help is not known"
            )
        if self._trained_on:
            found.append(
                f"{counted(len(self._trained_on), 'test image')} left out: the probes were trained on them"
            )
        if self.learner.left_out:
            found.append(f"{counted(self.learner.left_out, 'training image')} left out: in the test set too")
        if failed := self.ladder.controls.failed:
            reasons = "; ".join(f"{name} ({why})" for name, why in sorted(failed.items()))
            found.append(f"{counted(len(failed), 'control')} left out: {reasons}")
        if board.unfitted_patches:
            found.append(
                f"{counted(board.unfitted_patches, 'patch', 'patches')} got the mean, in cells of no training image"
            )
        return tuple(found)
