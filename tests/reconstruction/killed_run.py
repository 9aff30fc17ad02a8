"""A small run that is told to die: `python -m tests.reconstruction.killed_run FOLDER DIE_AT`."""

import json
import os
import signal
import sys
from pathlib import Path

from connector_bench.reconstruction.folds import Ledger
from connector_bench.reconstruction.resumable import gather, score
from connector_bench.reconstruction.store import RunStore

from .planted import images, small_config


def main(folder: Path, die_at: int) -> dict:
    """The figures, and how many images had to be captured; dies at the capture of number `die_at`."""
    config = small_config(curve=True)
    store = RunStore(folder, {"model": "identity", "options": config.as_json()})
    captured = 0

    def capture(pair):
        nonlocal captured
        captured += 1
        if captured == die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return pair

    def named(count: int, start: int = 0):
        return ((name, lambda pair=pair: capture(pair)) for name, pair in images(count, start))

    held_out = Ledger.of(name for name, _ in images(30, start=10_000))
    probes = gather(named(80), config, store, held_out=held_out, every=16).fit()
    board = score(named(30, start=10_000), probes, store, every=8)
    figures = {name: [s.value, s.low, s.high] for name, s in board.scores().items()}
    return {"figures": figures, "captured": captured}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]))))
