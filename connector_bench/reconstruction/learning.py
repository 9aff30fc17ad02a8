"""The probes of a run: gathered from training images on all ranks, fitted on one, kept, handed to all, reused."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from connector_bench.processes import first_rank_takes_in_turn, on_first_rank, rank_and_size
from connector_bench.reconstruction.config import ReconstructionConfig
from connector_bench.reconstruction.folds import Ledger, validation_share
from connector_bench.reconstruction.probes.control_probes import ControlSample
from connector_bench.reconstruction.probes.fitted import DESCRIPTION, FittedProbes
from connector_bench.reconstruction.probes.fitted_controls import ControlProbes
from connector_bench.reconstruction.probes.sample import ProbeSample
from connector_bench.reconstruction.store import (
    REFUSED,
    RunStore,
    StateFolder,
    StateMismatch,
    refusal,
    write_atomically,
)

if TYPE_CHECKING:
    from connector_bench.types import TokenBatch, TokenPair

PROBES, CONTROLS, GATHERED, REFUSED_IMAGES = "probes", "controls", "gathered", "refused.json"
SHARE_OF_WRITING = 0.05
"""Time that may go into writing the training state, which is gigabytes for a large model."""
QUICK = 1.0
"""Seconds up to which a write is as frequent as it was asked for."""


@dataclass(frozen=True, eq=False)
class ProbeLadder:
    """Fitted probes and the controls that were fitted beside them."""

    probes: FittedProbes
    controls: ControlProbes

    def save(self, folder: Path) -> None:
        """Write both; the description of the probes comes last, so that its being there means that all is."""
        store = RunStore(folder, {"probes": self.probes.training_images.fingerprint()})
        store.write(CONTROLS, *self.controls.state())
        self.probes.save(folder)

    @classmethod
    def load(cls, folder: Path) -> ProbeLadder:
        """Read back what `save` wrote. ValueError where the folder does not hold it, or files do not match."""
        if not (folder / DESCRIPTION).is_file():
            raise ValueError(
                f"{folder} holds no {DESCRIPTION}: it is no folder of probes that a run has left"
            )
        probes = FittedProbes.load(folder)
        store = RunStore(folder, {"probes": probes.training_images.fingerprint()})
        return cls(probes, ControlProbes.from_state(*store.read(CONTROLS)))


class ResumableSample:
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
            self.connector = ProbeSample.from_state(tensors, meta)
            self.controls = ControlSample.from_tensors(tensors, config)
            self.controls.failed = meta["failed_controls"]
        else:
            self.connector, self.controls = ProbeSample(config), ControlSample(config)

    def begin(self, images: Collection[str], held_out: Collection[str]) -> None:
        """Say which images will come, of all ranks. StateMismatch where the state holds one that is not among them."""
        if self.store is not None:
            self.store.refuse_other_images(self.connector.seen, images)
        self.connector.held_out = Ledger.of(held_out)
        self.connector.validation_share = validation_share(images, self.connector.config.validation)

    def __contains__(self, image_id: str) -> bool:
        return image_id in self.connector.seen

    def add(self, image_id: str, pair: TokenPair) -> None:
        """Take one training image."""
        if not self.connector.update(image_id, pair):
            return
        self.controls.update(self.connector.fold_of(image_id), pair)
        self._unwritten += 1
        if self._unwritten >= self.every and time.monotonic() >= self._wait_until:
            self.flush()

    def flush(self) -> None:
        """Write what is not written yet."""
        if self._unwritten and self.store is not None:
            begun = time.monotonic()
            tensors, meta = self.connector.state()
            meta["failed_controls"] = self.controls.failed
            self.store.keep(GATHERED, tensors | self.controls.tensors(), meta)
            now = time.monotonic()
            taken = now - begun
            self._wait_until = now + taken / SHARE_OF_WRITING if taken > QUICK else now
        self._unwritten = 0

    def absorb(self, other: ResumableSample) -> None:
        """Add another process's state; it must not have seen an image of this one."""
        self.connector.absorb(other.connector)
        self.controls.absorb(other.controls)

    def forget(self) -> None:
        """Remove the state from the disk: the fitted probes are there instead."""
        if self.store is not None:
            with suppress(OSError):
                self.store.remove(GATHERED)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"store": None}


class ProbeLearner:
    """Takes training images and ends in a ladder of probes.

    With a folder its state survives the process: while gathering in `training-<rank>of<ranks>/`, fitted in
    `probes/`. With `reuse` nothing is learnt, and the probes of another run are read from there.
    """

    def __init__(
        self,
        config: ReconstructionConfig,
        *,
        folder: Path | None = None,
        fingerprint: Mapping[str, Any] | None = None,
        reuse: Path | None = None,
        every: int = 512,
    ) -> None:
        self.config, self.folder, self.reuse, self.every = config, folder, reuse, every
        self.fingerprint = dict(fingerprint or {})
        self.ladder: ProbeLadder | None = None
        self.left_out = 0
        """Training images that were not learnt because they are test images too."""
        self.unreadable = 0
        """Training documents whose picture could not be read."""
        self.refused: set[str] = set()
        """Training images that gave nothing to learn from."""
        self.failure: str | None = None
        """Why there is no ladder after `fit`; the tasks that wanted it have no figures, others have theirs."""
        self.troubles: list[str] = []
        """What the disk refused on this rank."""
        self._gathered: ResumableSample | None = None

    def begin(self, images: Collection[str], held_out: Collection[str], unreadable: int = 0) -> None:
        """Say what will come: the training images of all ranks, and the test images, none of which is learnt.

        `unreadable` counts the training documents whose picture could not be read.

        StateMismatch where the folder holds the state of another run or of other images; ValueError where the
        probes to be reused were made with other options.
        """
        self.unreadable = unreadable
        if self.reuse is not None:
            path = self.reuse
            self.ladder = on_first_rank(lambda _: self._reused(path), None)
            return
        allowed = set(images) - set(held_out)
        self.left_out = len(images) - len(allowed)
        if not allowed:
            self.failure = (
                f"no training image is left: there are {len(images)}, and {self.left_out} are test images too"
            )
            return
        store, trouble = None, None
        self._kept = StateFolder.claimed(self.folder)
        self.folder = folder = self._kept.path
        if folder is not None:
            rank, size = rank_and_size()
            store, trouble = RunStore.opened(folder / f"training-{rank}of{size}", self.fingerprint)
            self.ladder = on_first_rank(lambda _: _finished(folder / PROBES, allowed), None)
        self.troubles += [text for text in (self._kept.trouble, trouble) if text]
        if self.ladder is None:
            self._gathered = ResumableSample(self.config, store, every=self.every)
            self._gathered.begin(allowed, held_out)

    def _reused(self, folder: Path) -> ProbeLadder:
        ladder = ProbeLadder.load(folder)
        made, wanted = ladder.probes.config.as_json(), self.config.as_json()
        made["device"] = wanted["device"]
        if made != wanted:
            differ = [
                f"{key} ({made.get(key)!r}, here {wanted[key]!r})"
                for key in wanted
                if made.get(key) != wanted[key]
            ]
            raise ValueError(f"the probes in {folder} were made with other options: {'; '.join(differ)}")
        return ladder

    def refuse(self, images: Collection[str]) -> None:
        """Say which training images, of those of all ranks, gave nothing to learn from."""
        self.refused = set(images)

    def wants(self, image: str) -> bool:
        """Whether this training image is still to be learnt from."""
        gathered = self._gathered
        return gathered is not None and image not in gathered and image not in gathered.connector.held_out

    def wants_untrained(self, image: str) -> bool:
        """Every image."""
        return True

    def learn(self, batch: TokenBatch) -> None:
        """Take some training images."""
        assert self._gathered is not None
        for image, pair in zip(batch.images, batch.pairs(), strict=True):
            self._gathered.add(image, pair)

    def fit(self) -> None:
        """Fit on what all ranks have gathered; every rank has the ladder afterwards, or knows why there is none."""
        gathered = self._gathered
        if gathered is None:
            return
        gathered.flush()
        try:
            self.ladder = first_rank_takes_in_turn(gathered, self._fitted)
        except Exception as error:
            self.failure = f"no probe could be fitted: {error}"
            return
        finally:
            self._gathered = None
            if gathered.store is not None and gathered.store.trouble is not None:
                self.troubles.append(gathered.store.trouble)
        gathered.forget()

    def _fitted(self, parts: Iterator[ResumableSample]) -> ProbeLadder:
        total = next(parts)
        for part in parts:
            total.absorb(part)
        ladder = ProbeLadder(total.connector.fit(), total.controls.fit(total.connector))
        if self.folder is not None:
            try:
                ladder.save(self.folder / PROBES)
                write_atomically(
                    self.folder / PROBES / REFUSED_IMAGES, json.dumps(sorted(self.refused)).encode()
                )
            except REFUSED as error:
                size = sum(tensor.nbytes for tensor in ladder.probes.weights().values())
                self.troubles.append(f"{refusal(self.folder / PROBES, size, error)}; the probes are not kept")
        return ladder


def _finished(folder: Path, images: Collection[str]) -> ProbeLadder | None:
    """The ladder that an earlier run of the same fingerprint has left."""
    if not (folder / DESCRIPTION).is_file():
        return None
    ladder = ProbeLadder.load(folder)
    refused = json.loads((folder / REFUSED_IMAGES).read_text()) if (folder / REFUSED_IMAGES).is_file() else []
    if ladder.probes.training_images.fingerprint() != Ledger.of(set(images) - set(refused)).fingerprint():
        raise StateMismatch(
            f"{folder} holds probes of {len(ladder.probes.training_images)} training images that are not the "
            f"{len(images)} of this run: the data set has changed. Give this run another folder, or remove it."
        )
    return ladder
