"""Where fits run, how long they took, and what stood in their way."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import torch

from connector_bench.progress import doing
from connector_bench.reconstruction.precision import full_float32

Fit = TypeVar("Fit")


@dataclass(frozen=True)
class FitLog:
    """Seconds and troubles of the fits; no part of the figures, so that two equal runs stay equal."""

    seconds: dict[str, float] = field(default_factory=dict)
    """Wall time by stage, such as `ridge` and `mlp`."""
    troubles: list[str] = field(default_factory=list)
    """One sentence each, for the task's warnings."""

    @contextmanager
    def stage(self, name: str, device: torch.device) -> Iterator[None]:
        """Add the time spent inside to a stage; waits for the device once, at the end."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - begun

    def with_room(self, what: str, fit: Callable[[torch.device], Fit], device: torch.device) -> Fit:
        """`fit(device)`; where the device's memory does not suffice, on the CPU, and a sentence says so."""
        try:
            with full_float32(), doing(f"fitting {what}"):
                return fit(device)
        except torch.OutOfMemoryError:
            if device.type == "cpu":
                raise
        # behind the `except`, whose traceback holds what the fit had put on the device
        torch.cuda.empty_cache()
        self.troubles.append(
            f"{device} has too little free memory to fit {what}: fitted on the CPU, which takes longer"
        )
        with doing(f"fitting {what} on the CPU"):
            return fit(torch.device("cpu"))


def fit_device(option: str, sample: torch.device) -> torch.device:
    """The device that fits run on; `auto` is the one that the sample lies on."""
    return sample if option == "auto" else torch.device(option)
