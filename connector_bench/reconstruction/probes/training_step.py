"""One optimiser step of a probe: forward, backward, clipping, AdamW; on CUDA replayed from a graph.

A probe's step is some thirty small kernels, whose launches from Python take several times as long as the
kernels. On CUDA the first steps run as they do on the CPU, then one is captured, and every later full step is
one replay of the same kernels. Nothing in a step waits for the device.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor, nn

WARM_UP = 3
"""Steps before the capture: they allocate the optimiser's state and the libraries' workspaces."""


def has_bf16(device: torch.device) -> bool:
    """Whether probes train in bfloat16 there."""
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


def autocast(device: torch.device) -> AbstractContextManager[object]:
    """The precision that probes train in on a device."""
    return torch.autocast("cuda", dtype=torch.bfloat16) if has_bf16(device) else nullcontext()


def input_dtype(device: torch.device) -> torch.dtype:
    """What prepared training inputs are stored in: autocast rounds them to bfloat16 before the first product."""
    return torch.bfloat16 if has_bf16(device) else torch.float32


@contextmanager
def side_stream(device: torch.device) -> Iterator[None]:
    """A CUDA stream of its own to train on, since the default one cannot be captured."""
    if device.type != "cuda":
        yield
        return
    with torch.cuda.device(device):
        outer, stream = torch.cuda.current_stream(device), torch.cuda.Stream(device)
        stream.wait_stream(outer)
        with torch.cuda.stream(stream):
            yield
        outer.wait_stream(stream)


class OptimizerStep:
    """AdamW on groups of batches, at a rate that depends on the step's number; used within `side_stream`."""

    def __init__(
        self,
        network: nn.Module,
        loss: Callable[[nn.Module, Int[Tensor, " b"]], Tensor],
        groups: Sequence[dict[str, Any]],
        rate: Callable[[int], float],
        batch_size: int,
        accumulate: int,
        device: torch.device,
        graphed: bool,
    ) -> None:
        """`groups` are AdamW's, each with its `lr`, which `rate` multiplies; `graphed` counts on CUDA alone."""
        self.network, self.loss, self.rate = network, loss, rate
        self.batch_size, self.device = batch_size, device
        self.steps = 0
        self.replayed = 0
        """Steps of `steps` that a graph did."""
        self._rates = [float(group["lr"]) for group in groups]
        self._graphed = graphed and device.type == "cuda"
        on_device = [{**group, "lr": torch.tensor(group["lr"], device=device)} for group in groups]
        self.optimizer = (
            torch.optim.AdamW(on_device, fused=True)
            if device.type == "cuda"
            else torch.optim.AdamW([dict(group) for group in groups])
        )
        self._graph: torch.cuda.CUDAGraph | None = None
        self._rows = torch.zeros(batch_size * accumulate, dtype=torch.int64, device=device)

    def __call__(self, rows: Int[Tensor, " b"]) -> None:
        """Step once on these examples, in batches; their mean loss counts, however many the last batch has."""
        self._set_rates()
        if self._graphed and self._graph is None and self.steps >= WARM_UP:
            self._capture()
        if self._graph is not None and len(rows) == len(self._rows):
            self._rows.copy_(rows)
            self._graph.replay()
            self.replayed += 1
        else:
            self._learn(rows)
        self.steps += 1

    def _set_rates(self) -> None:
        for group, base in zip(self.optimizer.param_groups, self._rates, strict=True):
            rate = base * self.rate(self.steps)
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate

    def _learn(self, rows: Tensor) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        for index in rows.split(self.batch_size):
            with autocast(self.device):
                loss = self.loss(self.network, index)
            (loss * (len(index) / len(rows))).backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()

    def _capture(self) -> None:
        """Record a step without running it; where that fails, steps go on as before."""
        graph = torch.cuda.CUDAGraph()
        self.optimizer.zero_grad(set_to_none=True)
        self._set_capturable(True)
        try:
            # other threads, which read pictures ahead, may allocate meanwhile
            with torch.cuda.graph(
                graph, stream=torch.cuda.current_stream(self.device), capture_error_mode="thread_local"
            ):
                self._learn(self._rows)
            self._graph = graph
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            self._graphed = False
            warnings.warn(f"probes train without a CUDA graph, slower: {error}", stacklevel=2)
        finally:
            self._set_capturable(False)

    def _set_capturable(self, value: bool) -> None:
        for group in self.optimizer.param_groups:
            group["capturable"] = value
