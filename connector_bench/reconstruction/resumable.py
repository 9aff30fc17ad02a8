"""Gathering and scoring that can be killed at any moment and go on from the last complete shard."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from connector_bench.reconstruction.folds import Ledger
from connector_bench.reconstruction.lossmaps import LossMap, pack, unpack
from connector_bench.reconstruction.patch_reconstruction import (
    FittedProbes,
    PatchReconstruction,
    ReconstructionConfig,
    ScoreBoard,
)
from connector_bench.reconstruction.store import RunStore
from connector_bench.types import TokenPair

NamedImages = Iterable[tuple[str, Callable[[], TokenPair]]]
"""Names, and what captures the image's tokens: called only where they are still wanted."""

GATHERED, BOARD, MAPS = "gathered", "board", "maps-"


def gather(
    images: NamedImages, config: ReconstructionConfig, store: RunStore, *, held_out: Ledger, every: int = 512
) -> PatchReconstruction:
    """Feed the training images, writing the whole state (of a fixed size) after every `every` new ones."""
    if GATHERED in store:
        gathering = PatchReconstruction.from_state(*store.read(GATHERED), held_out)
    else:
        gathering = PatchReconstruction(config, held_out)
    unwritten = 0
    for image_id, capture in images:
        if image_id in gathering.seen:
            continue
        gathering.update(image_id, capture())
        unwritten += 1
        if unwritten == every:
            store.write(GATHERED, *gathering.state())
            unwritten = 0
    if unwritten:
        store.write(GATHERED, *gathering.state())
    return gathering


def score(images: NamedImages, probes: FittedProbes, store: RunStore, *, every: int = 512) -> ScoreBoard:
    """Score the test images, writing the board and a shard of loss maps after every `every` new ones."""
    board = ScoreBoard.from_state(*store.read(BOARD)) if BOARD in store else ScoreBoard()
    waiting: list[LossMap] = []
    for image_id, capture in images:
        if image_id in board:
            continue
        image = probes.score(image_id, capture())
        board.add(image)
        waiting.append(LossMap.of(image))
        if len(waiting) == every:
            _write(store, board, waiting)
            waiting = []
    if waiting:
        _write(store, board, waiting)
    return board


def _write(store: RunStore, board: ScoreBoard, maps: list[LossMap]) -> None:
    """Maps first: the board says which images are done, and maps of others are written over later."""
    store.write(f"{MAPS}{len(board) - len(maps):08d}", *pack(maps))
    store.write(BOARD, *board.state())


def loss_maps(store: RunStore) -> Iterator[LossMap]:
    """All loss maps of a run, a shard at a time."""
    for name in store.names(MAPS):
        yield from unpack(*store.read(name))
