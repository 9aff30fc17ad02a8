"""What has been learnt from so far, kept on the disk so that a killed run goes on from there."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from connector_bench.pictures import for_controls
from connector_bench.processes import leave_behind
from connector_bench.protocol import CONTROL_TRAINING_IMAGES
from connector_bench.reconstruction.config import ReconstructionConfig
from connector_bench.reconstruction.folds import Ledger, validation_share
from connector_bench.reconstruction.probes.control_probes import ControlSample
from connector_bench.reconstruction.probes.floor_sample import FloorSample
from connector_bench.reconstruction.probes.sample import ProbeSample
from connector_bench.reconstruction.probes.state_size import state_bytes, state_device, with_room_for
from connector_bench.reconstruction.store import RunStore

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from connector_bench.types import TokenBatch

GATHERED = "gathered"
SHARE_OF_WRITING = 0.05
"""Time that may go into writing the training state, which is gigabytes for a large model."""
WRITING_RATE = 5e8
"""Bytes a second that a disk is taken to write, until the state was written once."""
QUICK = 1.0
"""Seconds up to which a write is as frequent as it was asked for."""


class ResumableSample:
    """Connector's and controls' training state, written whole (it has a fixed size) after every so many images.

    Not so often, though, that writing takes more than a twentieth of the time.
    """

    def __init__(
        self,
        config: ReconstructionConfig,
        store: RunStore | None = None,
        *,
        every: int = 512,
        device: torch.device | None = None,
    ) -> None:
        """`device` is where state that is read back is to lie; fits run there. None for the CPU."""
        self.store, self.every = store, every
        self._unwritten = 0
        self._wait_until = 0.0
        self._device: torch.device | None = None
        self.warning: str | None = None
        """Where the state does not lie on the model's device for want of room: why."""
        self.floor = FloorSample(config)
        if store is not None and GATHERED in store:
            tensors, meta = store.read(GATHERED)
            if device is not None:
                tensors, self.warning = _moved(tensors, device)
            self.connector = ProbeSample.from_state(tensors, meta)
            self.controls = ControlSample.from_tensors(tensors, config)
            self.controls.failed = meta["failed_controls"]
            self.floor.load(tensors, meta.get("no_floor"))
        else:
            self.connector, self.controls = ProbeSample(config), ControlSample(config)

    def begin(self, images: Collection[str], held_out: Collection[str]) -> None:
        """Say which images will come, of all ranks. StateMismatch where the state holds one that is not among them."""
        if self.store is not None:
            self.store.refuse_other_images(self.connector.seen, images)
            leave_behind(self.kept)
        self.connector.held_out = Ledger.of(held_out)
        self.controls.images = self.floor.images = for_controls(images, CONTROL_TRAINING_IMAGES)
        self.connector.validation_share = validation_share(images, self.connector.config.validation)

    def __contains__(self, image_id: str) -> bool:
        return image_id in self.connector.seen

    def add(self, batch: TokenBatch) -> None:
        """Take some training images, on the device that has room for the state."""
        if self._device is None:
            self._device, self.warning = state_device(batch, self.connector.config)
            self._wait_after_writing_for(state_bytes(batch, self.connector.config) / WRITING_RATE)
        device = self._device
        batch = batch.mapped(lambda tokens: tokens.to(device))
        batch = batch.take(self.connector.learn(batch))
        if not len(batch):
            return
        folds = [self.connector.fold_of(image) for image in batch.images]
        self.controls.update(batch, folds)
        self.floor.update(batch, folds)
        self._unwritten += len(batch)
        if self._unwritten >= self.every:
            self.flush_if_due()

    def flush_if_due(self) -> None:
        """Write what is not written yet, unless writing would take more than its share of the time so far."""
        if time.monotonic() >= self._wait_until:
            self.flush()

    def _wait_after_writing_for(self, seconds: float) -> None:
        now = time.monotonic()
        self._wait_until = now + seconds / SHARE_OF_WRITING if seconds > QUICK else now

    def flush(self) -> None:
        """Write what is not written yet."""
        if self._unwritten and self.store is not None:
            begun = time.monotonic()
            tensors, meta = self.connector.state()
            meta |= {"failed_controls": self.controls.failed, "no_floor": self.floor.refused}
            self.store.keep(GATHERED, tensors | self.controls.tensors() | self.floor.tensors(), meta)
            self._wait_after_writing_for(time.monotonic() - begun)
        self._unwritten = 0

    def absorb(self, other: ResumableSample) -> None:
        """Add another process's state; it must not have seen an image of this one."""
        self.connector.absorb(other.connector)
        self.controls.absorb(other.controls)
        self.floor.absorb(other.floor)

    def kept(self) -> bool:
        """Write what is not written yet; whether all is on the disk."""
        self.flush()
        return self.store is not None and self.store.trouble is None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"store": None}


def _moved(tensors: Mapping[str, Tensor], device: torch.device) -> tuple[dict[str, Tensor], str | None]:
    """What was gathered on a device with room for it; keys, counts and boxes stay on the CPU, where they are read."""
    gathered = {
        name
        for name, tensor in tensors.items()
        if tensor.is_floating_point() and not name.endswith(("_boxes", ".counts"))
    }
    size = sum(tensors[name].nbytes for name in gathered)
    device, warning = with_room_for(size, device, "the training pass's probes were fitted on the CPU")
    return {
        name: tensor.to(device) if name in gathered else tensor for name, tensor in tensors.items()
    }, warning


def images_of(store: RunStore) -> Ledger:
    """The images in a stored state."""
    return Ledger.from_array(store.tensor(GATHERED, "seen").numpy())
