"""The probes of a run: gathered from training images on all ranks, fitted on one, kept, handed to all, reused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from errno import ENOENT
from pathlib import Path
from typing import TYPE_CHECKING, Any

from connector_bench.atomic_files import NotWritten, make_folder, write_atomically
from connector_bench.foreign_files import read_json
from connector_bench.processes import (
    error_text,
    first_rank_takes_in_turn,
    on_every_rank,
    on_first_rank,
    rank_and_size,
    unbroken,
)
from connector_bench.progress import doing
from connector_bench.reconstruction.config import ReconstructionConfig
from connector_bench.reconstruction.folds import Ledger
from connector_bench.reconstruction.gathered_so_far import GATHERED, ResumableSample, images_of
from connector_bench.reconstruction.inherited import Inherited
from connector_bench.reconstruction.precision import scoring_device
from connector_bench.reconstruction.probes.fitted import DESCRIPTION, WEIGHTS, FittedProbes
from connector_bench.reconstruction.probes.fitted_controls import ControlProbes
from connector_bench.reconstruction.probes.size_floor import SizeFloor
from connector_bench.reconstruction.state_folder import StateFolder
from connector_bench.reconstruction.store import (
    FINGERPRINT,
    RunStore,
    StateMismatch,
    readable,
)

if TYPE_CHECKING:
    import torch

    from connector_bench.types import TokenBatch

PROBES, TRAINING = "probes", "training"  # folders; the second is followed by the rank
CONTROLS, FLOOR, REFUSED_IMAGES = "controls", "floor", "refused.json"


@dataclass(frozen=True, eq=False)
class ProbeLadder:
    """Fitted probes and the controls that were fitted beside them."""

    probes: FittedProbes
    controls: ControlProbes
    floor: SizeFloor | None = None
    """What a connector of this size must lose; None where that was not made."""

    def save(self, folder: Path) -> None:
        """Write both; the description of the probes comes last, so that its being there means that all is.

        NotWritten where the disk refuses, or the folder was removed meanwhile; what came after that goes, too.
        """
        store = RunStore(folder, {"probes": self.probes.training_images.fingerprint()})
        store.write(CONTROLS, *self.controls.state())
        if self.floor is not None:
            store.write(FLOOR, *self.floor.state())
        self.probes.save(folder)
        for name in (FINGERPRINT, f"{CONTROLS}.safetensors", WEIGHTS):
            if not (folder / name).is_file():
                shutil.rmtree(folder, ignore_errors=True)
                raise NotWritten(folder / name, 0, FileNotFoundError(ENOENT, "it was removed meanwhile"))

    @classmethod
    def load(cls, folder: Path) -> ProbeLadder:
        """Read back what `save` wrote. ValueError where the folder does not hold it, or files do not match."""
        _require_description(folder)
        probes = FittedProbes.load(folder)
        store = RunStore(folder, {"probes": probes.training_images.fingerprint()})
        floor = SizeFloor.from_state(*store.read(FLOOR)) if FLOOR in store else None
        return cls(probes, ControlProbes.from_state(*store.read(CONTROLS)), floor)


class ProbeLearner:
    """Takes training images and ends in a ladder of probes.

    With a folder its state survives the process: while gathering in `training-<rank>of<ranks>/`, from which a run with
    another number of processes goes on as well, fitted in `probes/`. With `reuse` nothing is learnt, and the probes of
    another run are read from there. `wait` is how many seconds to wait for another run that has the folder.
    """

    def __init__(
        self,
        config: ReconstructionConfig,
        *,
        folder: Path | None = None,
        fingerprint: Mapping[str, Any] | None = None,
        reuse: Path | None = None,
        every: int = 512,
        wait: float = 0.0,
        device: torch.device | None = None,
    ) -> None:
        """`device` is the model's: state that is read back goes there, as does what is gathered anew."""
        self.device = None if device is None else scoring_device(config.device, device)
        self.config, self.folder, self.reuse, self.every, self.wait = config, folder, reuse, every, wait
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
        self.warnings: list[str] = []
        """What else there is to say of this rank's training pass."""
        self.kept: StateFolder | None = None
        """Where state is kept; None before `begin`, and where probes are reused."""
        self._gathered: ResumableSample | None = None
        self._inherited = Inherited()

    def begin(self, images: Collection[str], held_out: Collection[str], unreadable: int = 0) -> None:
        """Say what will come: the training images of all ranks, and the test images, none of which is learnt.

        `unreadable` counts the training documents whose picture could not be read.

        StateMismatch where the folder holds the state of another run or of other images; ValueError where the
        probes to be reused were made with other options.
        """
        self.unreadable = unreadable
        if self.reuse is not None:
            path = self.reuse
            self.ladder = on_first_rank(lambda _: self._reused(path), None, doing)
            return
        allowed = set(images) - set(held_out)
        self.left_out = len(images) - len(allowed)
        if not allowed:
            self.failure = (
                f"no training image is left: there are {len(images)}, and {self.left_out} are test images too"
            )
            return
        store, trouble = None, None
        self.kept = StateFolder.claimed(self.folder, self.wait)
        self.folder = folder = self.kept.path
        if folder is not None:
            self.ladder = on_first_rank(lambda _: _finished(folder / PROBES, allowed), None, doing)
            if self.ladder is not None:
                _remove_training(folder)
            else:
                rank, size = rank_and_size()
                store, trouble = RunStore.opened(folder / f"{TRAINING}-{rank}of{size}", self.fingerprint)
        self.troubles += [text for text in (self.kept.trouble, trouble) if text]
        if self.ladder is None:
            with doing("reading the training state"):
                self._gathered = ResumableSample(self.config, store, every=self.every, device=self.device)
            self._gathered.begin(allowed, held_out)
            if folder is not None:
                own = self._gathered.connector.seen
                with doing("reading which images earlier runs have learnt from"):
                    self._inherited = Inherited.of(
                        folder, TRAINING, GATHERED, self.fingerprint, own, images_of, allowed
                    )

    def _reused(self, folder: Path) -> ProbeLadder:
        with doing("reading the probes"):
            ladder = ProbeLadder.load(folder)
        _require_same_options(folder, ladder.probes.config, self.config)
        return ladder

    def refuse(self, images: Collection[str]) -> None:
        """Say which training images, of those of all ranks, gave nothing to learn from."""
        self.refused = set(images)

    def wants(self, image: str) -> bool:
        """Whether this training image is still to be learnt from."""
        gathered = self._gathered
        if gathered is None or image in gathered or image in gathered.connector.held_out:
            return False
        return image not in self._inherited.known

    def wants_untrained(self, image: str) -> bool:
        """Whether controls learn from this training image."""
        gathered = self._gathered
        return gathered is not None and gathered.controls.learns_from(image)

    def learn(self, batch: TokenBatch) -> None:
        """Take some training images."""
        assert self._gathered is not None
        self._gathered.add(batch)

    def fit(self) -> None:
        """Fit on what all ranks have gathered; every rank has the ladder afterwards, or knows why there is none."""
        gathered = self._gathered
        if gathered is None:
            return
        with unbroken(), doing("writing the training state"):
            gathered.flush_if_due()
        try:
            on_every_rank(lambda: self._absorb_inherited(gathered))
            self.ladder = first_rank_takes_in_turn(gathered, self._fitted, doing)
        except Exception as error:
            self.failure = f"no probe could be fitted: {error}"
            return
        finally:
            self._gathered = None
            if gathered.warning is not None:
                self.warnings.append(gathered.warning)
            if gathered.store is not None and gathered.store.trouble is not None:
                self.troubles.append(gathered.store.trouble)

    def _absorb_inherited(self, gathered: ResumableSample) -> None:
        with doing("reading the training state of earlier runs"):
            for store in self._inherited.stores:
                gathered.absorb(ResumableSample(self.config, store, device=self.device))

    def _fitted(self, parts: Iterator[ResumableSample]) -> ProbeLadder:
        total = next(parts)
        for part in parts:
            with doing("adding up the training state of all ranks"):
                total.absorb(part)
        probes, controls = total.connector.fit(), total.controls.fit(total.connector)
        ladder = ProbeLadder(probes, controls, self._floor(total, probes))
        self.troubles += [*ladder.probes.troubles, *ladder.controls.troubles]
        if self.folder is not None:
            try:
                make_folder(self.folder / PROBES)
                refused = json.dumps(sorted(self.refused)).encode()
                write_atomically(self.folder / PROBES / REFUSED_IMAGES, refused)
                with doing("writing the probes"):
                    ladder.save(self.folder / PROBES)
                _remove_training(self.folder)
            except OSError as error:
                self.troubles.append(f"{error}; the probes are not kept")
        return ladder

    def _floor(self, total: ResumableSample, probes: FittedProbes) -> SizeFloor | None:
        """What the size costs; where that cannot be told it costs no other figure."""
        if total.floor.refused is not None:
            self.warnings.append(f"no lost_floor and excess: {total.floor.refused}")
        try:
            return total.floor.fit(probes.statistics.mean, total.connector.device, self.troubles)
        except Exception as error:
            self.warnings.append(f"no lost_floor and excess: {type(error).__name__}: {error}")
            return None


def _remove_training(folder: Path) -> None:
    """Remove the state of gathering, of whatever number of ranks: the fitted probes are there instead."""
    for path in folder.glob(f"{TRAINING}-*of*"):
        shutil.rmtree(path, ignore_errors=True)


def _finished(folder: Path, images: Collection[str]) -> ProbeLadder | None:
    """The ladder that an earlier run of the same fingerprint has left."""
    if not (folder / DESCRIPTION).is_file():
        return None
    with doing("reading the probes"):
        ladder = ProbeLadder.load(folder)
    with readable(folder / REFUSED_IMAGES):
        refused = set(read_json(folder / REFUSED_IMAGES) if (folder / REFUSED_IMAGES).is_file() else [])
    if ladder.probes.training_images.fingerprint() != Ledger.of(set(images) - refused).fingerprint():
        raise StateMismatch(
            f"{folder} holds probes of {len(ladder.probes.training_images)} training images that are not the "
            f"{len(images)} of this run: the data set has changed. Give this run another folder, or remove it."
        )
    return ladder


def require_reusable(folder: Path, config: ReconstructionConfig) -> None:
    """Raise ValueError where a folder holds no probes that were made with these options; weights are not read."""
    _require_description(folder)
    try:
        made = ReconstructionConfig.from_json(read_json(folder / DESCRIPTION)["config"])
    except (OSError, LookupError, TypeError, ValueError) as error:
        raise ValueError(f"{folder / DESCRIPTION} cannot be read: {error_text(error)}") from error
    _require_same_options(folder, made, config)


def _require_description(folder: Path) -> None:
    if not (folder / DESCRIPTION).is_file():
        raise ValueError(f"{folder} holds no {DESCRIPTION}: it is no folder of probes that a run has left")


def _require_same_options(folder: Path, made: ReconstructionConfig, wanted: ReconstructionConfig) -> None:
    found, here = made.as_json(), wanted.as_json()
    found |= {name: here[name] for name in ("device", "chunk_rows", "sums")}
    differ = [
        f"{key} ({found.get(key)!r}, here {here[key]!r})" for key in here if found.get(key) != here[key]
    ]
    if differ:
        raise ValueError(f"the probes in {folder} were made with other options: {'; '.join(differ)}")
