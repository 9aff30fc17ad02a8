"""What has been scored so far, kept in shards on the disk so that a killed run goes on from there."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from connector_bench.reconstruction.image_errors import BatchReconstruction
from connector_bench.reconstruction.kept_rows import KeptRows
from connector_bench.reconstruction.lossmaps import LossMap, pack
from connector_bench.reconstruction.scored_images import ScoredImage
from connector_bench.reconstruction.scores import ScoreBoard
from connector_bench.reconstruction.store import RunStore

BOARD, MAPS = "board", "maps-"

Figures = dict[str, float]


class Scored:
    """Scored test images: sums over all of them, and figures and loss map of each, in shards."""

    def __init__(self, store: RunStore | None = None, *, every: int = 512) -> None:
        self.store, self.every = store, every
        self.board = ScoreBoard()
        self.rows = KeptRows()
        """Figures of each image."""
        self.documents: dict[int, Figures] = {}
        """Figures of each document that has an answer mask."""
        self._waiting: list[LossMap] = []
        self._waiting_documents: list[int] = []
        if store is not None and BOARD in store:
            self.board = ScoreBoard.from_state(*store.read(BOARD))
            for name in store.names(MAPS):
                meta = store.read(name)[1]
                self.rows.update({image: row for image, row in meta["rows"].items() if image in self.board})
                self.documents |= {int(number): row for number, row in meta["documents"].items()}

    def refuse_others(self, images: Collection[str]) -> None:
        """StateMismatch where the state holds an image that is not among these."""
        if self.store is not None:
            self.store.refuse_other_images(self.board.images, images)

    def __contains__(self, image_id: str) -> bool:
        return image_id in self.board

    def add(
        self,
        batch: BatchReconstruction,
        images: Sequence[ScoredImage],
        rows: Mapping[str, Figures],
        documents: Mapping[int, Figures],
    ) -> None:
        """Take the images of a batch with their figures and those of their documents."""
        self.board.add(batch, images)
        self.rows.update(rows)
        self.documents |= documents
        if self.store is None:
            return
        self._waiting += [image.loss_map for image in images]
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
        self.rows.update(other.rows)
        self.documents |= other.documents
