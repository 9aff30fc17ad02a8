"""`patch_reconstruction` over a stream of images: scored by the fitted ladder, gathered and merged across processes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from connector_bench.pictures import images_fingerprint
from connector_bench.processes import leave_behind, on_first_rank, rank_and_size, unbroken
from connector_bench.reconstruction.artefacts import Mask, Selection, select, write_selection
from connector_bench.reconstruction.figures import (
    ReconstructionFigures,
    averaged_controls,
    describe_controls,
    describe_probes,
    image_row,
    mask_figures,
    paper_row,
    paper_scores,
    set_scores,
)
from connector_bench.reconstruction.inherited import Inherited
from connector_bench.reconstruction.learning import ProbeLadder, ProbeLearner
from connector_bench.reconstruction.lossmaps import LossMap, pack
from connector_bench.reconstruction.scores import ImageReconstruction, ScoreBoard
from connector_bench.reconstruction.store import RunStore, StateFolder

if TYPE_CHECKING:
    from PIL.Image import Image

    from connector_bench.types import TokenPair

BOARD, MAPS = "board", "maps-"

Figures = dict[str, float]
Part = tuple[ScoreBoard, dict[str, Figures], dict[int, Figures], list[str]]


class Scored:
    """Scored test images: sums over all of them, and figures and loss map of each, in shards."""

    def __init__(self, store: RunStore | None = None, *, every: int = 512) -> None:
        self.store, self.every = store, every
        self.board = ScoreBoard()
        self.rows: dict[str, Figures] = {}
        """Figures of each image."""
        self.documents: dict[int, Figures] = {}
        """Figures of each document that has an answer mask."""
        self._waiting: list[LossMap] = []
        self._waiting_documents: list[int] = []
        if store is not None and BOARD in store:
            self.board = ScoreBoard.from_state(*store.read(BOARD))
            for name in store.names(MAPS):
                meta = store.read(name)[1]
                self.rows |= {image: row for image, row in meta["rows"].items() if image in self.board}
                self.documents |= {int(number): row for number, row in meta["documents"].items()}

    def refuse_others(self, images: Collection[str]) -> None:
        """StateMismatch where the state holds an image that is not among these."""
        if self.store is not None:
            self.store.refuse_other_images(self.board.images, images)

    def __contains__(self, image_id: str) -> bool:
        return image_id in self.board

    def add(
        self,
        image: ImageReconstruction,
        loss_map: LossMap,
        row: Figures,
        documents: Mapping[int, Figures],
        control_errors: Mapping[str, float],
    ) -> None:
        """Take one image with its figures, those of its documents, and its controls' squared errors."""
        self.board.add(image, control_errors)
        self.rows[image.image_id] = row
        self.documents |= documents
        if self.store is None:
            return
        self._waiting.append(loss_map)
        self._waiting_documents += documents
        if len(self._waiting) >= self.every:
            self.flush()

    def flush(self) -> None:
        """Write what is not written yet: maps first, since the board says which images are done."""
        if not self._waiting or self.store is None:
            return
        tensors, meta = pack(self._waiting)
        meta["rows"] = {one.image_id: self.rows[one.image_id] for one in self._waiting}
        meta["documents"] = {number: self.documents[number] for number in self._waiting_documents}
        self.store.keep(f"{MAPS}{len(self.board) - len(self._waiting):08d}", tensors, meta)
        self.store.keep(BOARD, *self.board.state())
        self._waiting, self._waiting_documents = [], []

    def kept(self) -> bool:
        """Write what is not written yet; whether all is on the disk."""
        self.flush()
        return self.store is not None and self.store.trouble is None

    def absorb(self, other: Scored) -> None:
        """Add other images."""
        self.board.absorb(other.board)
        self.rows |= other.rows
        self.documents |= other.documents


class MeasuredReconstruction:
    """Scores test images one by one with the learner's ladder; `finish` merges all ranks.

    `picture_of` and `mask_of` give any document's picture and answer mask. With a folder, images that an earlier
    process has scored are not scored again, and loss maps and some pictures are left there to be looked at.
    """

    def __init__(
        self,
        learner: ProbeLearner,
        *,
        picture_of: Callable[[int], Image],
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
        store, trouble = None, None
        self._kept = StateFolder.claimed(self._folder)
        self._folder = self._kept.path
        if self._folder is not None:
            rank, size = rank_and_size()
            found = self._fingerprint | {"documents": self._shown}
            store, trouble = RunStore.opened(self._folder / f"{self._prefix}-{rank}of{size}", found)
        self._troubles = [text for text in (self._kept.trouble, trouble) if text]
        self._scored = Scored(store, every=self._every)
        self._scored.refuse_others(documents)
        if store is not None:
            leave_behind(self._scored.kept)
        if self._folder is not None:
            own, images_of = self._scored.board.images, lambda one: Scored(one).board.images
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

    def update(self, image: str, pair: TokenPair) -> None:
        """Score one image, and lay the answer masks of its documents over its loss map."""
        scored = self.ladder.probes.score(image, pair)
        loss_map = LossMap.of(scored)
        if self._paper:
            self._scored.add(scored, loss_map, paper_row(scored, pair.encoder_norm), {}, {})
            return
        errors = averaged_controls(self.ladder.controls.squared_errors(pair))
        numbers = self._documents[image] if self._mask_of else ()
        masks = {number: self._mask_of(number) for number in numbers}  # type: ignore[misc]
        figures = {
            number: mask_figures(loss_map, mask)
            for number, mask in masks.items()
            if mask is not None and mask.any()
        }
        self._scored.add(scored, loss_map, image_row(scored, errors, pair.encoder_norm), figures, errors)

    def finish(self, labels: Mapping[str, str] | None = None) -> ReconstructionFigures:
        """Figures over the images of all ranks, the same on every rank; labels are not used.

        Where there is none, the summary's `error` says why.
        """
        scored = self._scored
        with unbroken():
            scored.flush()
        for store in self._inherited.stores:
            scored.absorb(Scored(store))
        troubles = [*self.learner.troubles, *self._troubles]
        if scored.store is not None and scored.store.trouble is not None:
            troubles.append(scored.store.trouble)
        part = (scored.board, scored.rows, scored.documents, troubles)
        return on_first_rank(self._combined, part)

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
            "images_sha256": images_fingerprint(rows),
            "train_images": len(probes.training_images),
            "train_sha256": probes.training_images.fingerprint(),
            "pre_width": len(probes.statistics.mean),
            "probes": describe_probes(probes),
            "best_probe": probes.learning_curve.best,
            "learning_curve": described["learning_curve"],
            "more_data_helps": probes.learning_curve.more_data_helps,
            "controls": describe_controls(self.ladder.controls),
            "train_documents_unreadable": self.learner.unreadable,
            "train_images_left_out_as_test_images": self.learner.left_out,
            "test_images_left_out_as_training_images": len(self._trained_on),
            "unfitted_patches": board.unfitted_patches,
            "artefacts": f"{self._folder.parent.name}/{self._folder.name}" if self._folder else None,
            "scores": paper_scores(board) if self._paper else set_scores(board, documents, image_of),
        }
        lost = "paper_mse" if self._paper else "lost"
        losses = {image: row[lost] for image, row in rows.items() if lost in row}
        troubles = list(dict.fromkeys(troubles)) or self._left_to_look_at(losses)
        warnings = (*self._warnings(board), *troubles)
        return ReconstructionFigures(rows, documents, summary, warnings)

    def _left_to_look_at(self, losses: Mapping[str, float]) -> list[str]:
        """Write pictures and masks of some images; figures are not lost where the disk is full."""
        if self._folder is None:
            return []
        try:
            folders = [path.name for path in sorted(self._folder.glob(f"{self._prefix}-*"))]
            selection = Selection(folders, select(losses, self._documents))
            write_selection(self._folder, selection, self._picture_of, self._mask_of)
        except OSError as error:
            return [f"pictures could not be written to {self._folder}: {error}"]
        return []

    def _warnings(self, board: ScoreBoard) -> tuple[str, ...]:
        found = []
        if self.ladder.probes.learning_curve.more_data_helps:
            found.append("more training images still help the best probe: read `lost` as an upper bound")
        if self._trained_on:
            found.append(f"{len(self._trained_on)} test images left out: the probes were trained on them")
        if self.learner.left_out:
            found.append(f"{self.learner.left_out} training images left out: they are test images too")
        if failed := self.ladder.controls.failed:
            reasons = "; ".join(f"{name} ({why})" for name, why in sorted(failed.items()))
            found.append(f"{len(failed)} controls left out: {reasons}")
        if board.unfitted_patches:
            found.append(
                f"{board.unfitted_patches} patches lie in cells that no training image had; they got the mean"
            )
        return tuple(found)
