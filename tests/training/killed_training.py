"""Saves at steps 4 and 8, and is killed behind step 7: `python -m tests.training.killed_training FOLDER`."""

import os
import signal
import sys
from pathlib import Path
from typing import Any

import transformers as hf

import connector_bench as cb
from tests.training import loops

STEPS, SAVED, DIES, EVERY = 10, 4, 7, 2


class Kill(hf.TrainerCallback):
    def on_step_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        if state.global_step == DIES:
            os.kill(os.getpid(), signal.SIGKILL)


def probed(folder: Path, *more: Any) -> Any:
    probe = cb.ConnectorProbe(loops.pictures(40), every=EVERY, folder=folder / "probe")
    saving = {"save_strategy": "steps", "save_steps": SAVED}
    return loops.trainer(folder / "output", [probe.for_trainer(), *more], STEPS, **saving)


if __name__ == "__main__":
    probed(Path(sys.argv[1]), Kill()).train()
