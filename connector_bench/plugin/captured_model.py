"""`--model connector_capture`: tokens that `connector-bench capture` has left, in the place of the model."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NoReturn

from lmms_eval.api.instance import Instance
from lmms_eval.api.model import lmms

from connector_bench.captured.replayed import FOLDER, TRAINING_FOLDER, CapturedAdapter, CapturedTokens
from connector_bench.connectors import register


def _is_capture(model: Any) -> bool:
    return isinstance(model, CapturedTokens)


register("connector_capture", _is_capture, lambda model, name: CapturedAdapter(model))


class ConnectorCapture(lmms):
    """`--model connector_capture [--model_args folder=DIR[,train=DIR]]`: captured pictures in any task of ours.

    Without arguments the folders are those that the environment variables of the tasks `..._captured` name.
    """

    def __init__(
        self,
        folder: str = "",
        train: str = "",
        device: str = "cpu",
        batch_size: int | str = 8,
        **unused: Any,
    ) -> None:
        super().__init__()
        from accelerate import Accelerator

        if unknown := set(unused) - {"max_batch_size"}:
            raise ValueError(
                f"connector_capture takes folder, train and device, got {', '.join(sorted(unknown))}"
            )
        named = [folder or os.environ.get(FOLDER, ""), train or os.environ.get(TRAINING_FOLDER, "")]
        if not named[0]:
            raise ValueError(f"connector_capture needs folder=DIR in --model_args, or {FOLDER}")
        self.accelerator = Accelerator(cpu=True)
        self._rank, self._world_size = self.accelerator.process_index, self.accelerator.num_processes
        self.batch_size_per_gpu = int(batch_size)
        self._model = CapturedTokens(*(Path(name) for name in dict.fromkeys(named) if name), device=device)

    def generate_until(self, requests: list[Instance]) -> list[str]:
        """Not offered."""
        self._refuse()

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        """Not offered."""
        self._refuse()

    def generate_until_multi_round(self, requests: list[Instance]) -> list[str]:
        """Not offered."""
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise NotImplementedError(
            "connector_capture holds a connector's tokens and no language model: it answers nothing"
        )
