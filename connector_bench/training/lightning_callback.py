"""`ConnectorProbe` as a callback of Lightning, under either of the names that Lightning is installed by."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from connector_bench.training.no_callback import NoCallback

if TYPE_CHECKING:
    from connector_bench.training.probe import ConnectorProbe

NAMES = ("lightning.pytorch", "pytorch_lightning")
"""The two are different packages, whose trainers refuse each other's callbacks."""


def _lightning() -> Any:
    """The one that is in use, else the first that is installed. ImportError where neither is."""
    for name in NAMES:
        if name in sys.modules:
            return sys.modules[name]
    for name in NAMES:
        if find_spec(name.split(".")[0]) is not None:
            return import_module(name)
    raise ImportError("no Lightning is installed: pip install lightning")


def probe_of_lightning(probe: ConnectorProbe) -> Any:
    """A callback that measures as training begins, every so many optimiser steps, and at its end.

    Raises:
        ImportError: neither `lightning` nor `pytorch_lightning` is installed.
    """

    class ProbeOfLightning(_lightning().Callback, NoCallback):  # type: ignore[misc]
        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            with trainer.precision_plugin.forward_context():
                probe.begin(trainer.global_step)

        def on_train_batch_end(self, trainer: Any, *rest: Any) -> None:
            with trainer.precision_plugin.forward_context():
                probe.step(trainer.global_step)

        def on_train_end(self, trainer: Any, pl_module: Any) -> None:
            with trainer.precision_plugin.forward_context():
                probe.finish()

    return ProbeOfLightning()
