"""State that earlier runs with another number of processes have left: it stays where it is, is read, and adds up."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from connector_bench.processes import gather_all, rank_and_size
from connector_bench.reconstruction.folds import Ledger
from connector_bench.reconstruction.store import RunStore


@dataclass(frozen=True)
class Inherited:
    """What this rank reads of it, and the images that are done."""

    stores: Sequence[RunStore] = ()
    """Every store is read by one rank alone."""
    known: Ledger = field(default_factory=Ledger)
    """Images in the states of all ranks, this run's own among them."""

    @classmethod
    def of(
        cls,
        folder: Path,
        prefix: str,
        shard: str,
        fingerprint: Mapping[str, Any],
        own: Ledger,
        ledger_of: Callable[[RunStore], Ledger],
        images: Collection[str],
    ) -> Inherited:
        """Share out the folders `<prefix>-<rank>of<ranks>` of other numbers of ranks; called on all ranks together.

        `own` are the images in this rank's own state. A folder whose images are not all new is left out.
        StateMismatch where a folder holds the state of another run, or an image that is not among `images`.
        """
        rank, size = rank_and_size()
        current = {f"{prefix}-{number}of{size}" for number in range(size)}
        found = {path.parent.name for path in folder.glob(f"{prefix}-*of*/{shard}.safetensors")} - current
        seen_by: dict[str, list[int]] = {}
        for number, names in enumerate(gather_all(sorted(found))):
            for name in names:
                seen_by.setdefault(name, []).append(number)
        readers = {name: seen_by[name][i % len(seen_by[name])] for i, name in enumerate(sorted(seen_by))}
        stores: dict[str, RunStore] = {}
        ledgers: dict[str, Ledger] = {}
        for name in (name for name, reader in readers.items() if reader == rank):
            store, _ = RunStore.opened(folder / name, fingerprint)
            if store is not None:
                ledgers[name], stores[name] = ledger_of(store), store
                store.refuse_other_images(ledgers[name], images)
        taken = set(own)
        parts = gather_all((own, ledgers))
        for theirs, _ in parts:
            taken |= set(theirs)
        overlapping = set()
        for name, ledger in sorted(pair for _, held in parts for pair in held.items()):
            if taken.isdisjoint(ledger):
                taken |= set(ledger)
            else:
                overlapping.add(name)
        mine = [store for name, store in stores.items() if name not in overlapping]
        return cls(mine, Ledger(taken))
