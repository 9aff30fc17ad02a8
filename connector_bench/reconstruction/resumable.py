"""Gathering and scoring that can be killed at any moment and go on from the last complete shard."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from typing import Any

from connector_bench.reconstruction.folds import Ledger
from connector_bench.reconstruction.lossmaps import LossMap, pack
from connector_bench.reconstruction.probes.control_probes import ControlGathering
from connector_bench.reconstruction.probes.sample import PatchReconstruction, ReconstructionConfig
from connector_bench.reconstruction.scores import ImageReconstruction, ScoreBoard
from connector_bench.reconstruction.store import RunStore, StateMismatch
from connector_bench.types import TokenPair

GATHERED, BOARD, MAPS = "gathered", "board", "maps-"

Figures = dict[str, float]


SHARE_OF_WRITING = 0.05
"""Time that may go into writing the training state, which is gigabytes for a large model."""
QUICK = 1.0
"""Seconds up to which a write is as frequent as it was asked for."""


class Gathered:
    """Connector's and controls' training state, written whole (it has a fixed size) after every so many images.

    Not so often, though, that writing takes more than a twentieth of the time.
    """

    def __init__(
        self, config: ReconstructionConfig, store: RunStore | None = None, *, every: int = 512
    ) -> None:
        self.store, self.every = store, every
        self._unwritten = 0
        self._wait_until = 0.0
        if store is not None and GATHERED in store:
            tensors, meta = store.read(GATHERED)
            self.connector = PatchReconstruction.from_state(tensors, meta)
            self.controls = ControlGathering.from_tensors(tensors, config)
        else:
            self.connector, self.controls = PatchReconstruction(config), ControlGathering(config)

    def refuse_others(self, images: Collection[str]) -> None:
        """StateMismatch where the state holds an image that is not among these."""
        _refuse_others(self.connector.seen, images, self.store)

    def __contains__(self, image_id: str) -> bool:
        return image_id in self.connector.seen

    def add(self, image_id: str, pair: TokenPair) -> None:
        """Take one training image."""
        if not self.connector.update(image_id, pair):
            return
        self.controls.update(image_id, pair)
        self._unwritten += 1
        if self._unwritten >= self.every and time.monotonic() >= self._wait_until:
            self.flush()

    def flush(self) -> None:
        """Write what is not written yet."""
        if self._unwritten and self.store is not None:
            begun = time.monotonic()
            tensors, meta = self.connector.state()
            self.store.write(GATHERED, tensors | self.controls.tensors(), meta)
            now = time.monotonic()
            taken = now - begun
            self._wait_until = now + taken / SHARE_OF_WRITING if taken > QUICK else now
        self._unwritten = 0

    def absorb(self, other: Gathered) -> None:
        """Add another process's state; it must not have seen an image of this one."""
        self.connector.absorb(other.connector)
        self.controls.absorb(other.controls)

    def forget(self) -> None:
        """Remove the state from the disk: the fitted probes are there instead."""
        if self.store is not None:
            self.store.remove(GATHERED)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"store": None}


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
        _refuse_others(self.board.images, images, self.store)

    def __contains__(self, image_id: str) -> bool:
        return image_id in self.board

    def add(
        self,
        image: ImageReconstruction,
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
        self._waiting.append(LossMap.of(image))
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
        self.store.write(f"{MAPS}{len(self.board) - len(self._waiting):08d}", tensors, meta)
        self.store.write(BOARD, *self.board.state())
        self._waiting, self._waiting_documents = [], []


def _refuse_others(seen: Ledger, images: Collection[str], store: RunStore | None) -> None:
    strange = len(set(seen) - set(Ledger.of(images)))
    if strange:
        raise StateMismatch(
            f"{store.folder if store else 'the state'} holds {strange} of {len(seen)} images that this data set "
            "does not have: the data set has changed. Give this run another folder, or remove the old state."
        )
