"""Where scalars go beside the file: TensorBoard where it is installed, and the wandb run that is active."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

TAG = "connector_probe"
"""Begins the name of every scalar."""


class Trackers:
    """Hands scalars on; `step` is where the curve goes on, so that TensorBoard drops what a killed run left behind."""

    def __init__(self, folder: Path, step: int) -> None:
        self._writer = _tensorboard(folder, step)
        self._defined: Any = None

    def log(self, step: int, scalars: Mapping[str, float]) -> None:
        """Scalars of one step."""
        if self._writer is not None:
            for name, value in scalars.items():
                self._writer.add_scalar(f"{TAG}/{name}", value, step)
            self._writer.flush()
        run = getattr(sys.modules.get("wandb"), "run", None)
        if run is None:
            return
        if self._defined is not run:
            run.define_metric(f"{TAG}/*", step_metric=f"{TAG}/step")
            self._defined = run
        # with what training logs next: a row of our own would raise wandb's step, and training's would be refused
        run.log({f"{TAG}/step": step, **{f"{TAG}/{n}": v for n, v in scalars.items()}}, commit=False)

    def close(self) -> None:
        """Nothing is logged afterwards."""
        if self._writer is not None:
            self._writer.close()


def _tensorboard(folder: Path, step: int) -> Any:
    if find_spec("tensorboard") is None:
        return None
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder), purge_step=step + 1)
