"""The adapter of a transformers model that is being trained: its connector runs alone on what it was given before."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from connector_bench.connectors.base import Prepared
from connector_bench.connectors.hooks import Tapped, recording
from connector_bench.connectors.transformers_adapter import TransformersAdapter
from connector_bench.types import TokenBatch

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch
    from torch import Tensor

    from connector_bench.connectors.feeding import Fed


@dataclass(frozen=True, eq=False)
class Waiting:
    """A tensor that waits in the host's memory for the device that it came from."""

    tensor: Tensor
    device: torch.device

    @classmethod
    def of(cls, tensor: Tensor) -> Waiting:
        """Out of the device's memory, which training needs."""
        return cls(tensor.detach().cpu(), tensor.device)

    def back(self) -> Tensor:
        """On its device."""
        return self.tensor.to(self.device)


Call = tuple[tuple[Any, ...], dict[str, Any]]
"""Arguments of one call of a module, every tensor a `Waiting`."""
PassCalls = list[list[Call]]
"""For each of the connector's branches its calls in one vision pass."""


class ConnectorInTraining(TransformersAdapter):
    """Tells what a vision pass gave the connector, and runs the connector alone on it.

    Weights that no checkpoint gave are what training begins with, so none is refused.
    """

    def _fresh_weights(self) -> tuple[str, ...]:
        return ()

    _seen: list[PassCalls] | None = None
    """Takes the calls of each vision pass, while they are wanted."""
    _given: Iterator[PassCalls] | None = None
    """The calls that take the place of vision passes."""

    @property
    def runs_alone(self) -> bool:
        """Whether the connector is one module a branch that is told everything by its arguments."""
        return self._gathering is None and all(
            len(tap.modules) == 1 and tap.pre_output_of is None for tap in self._tapped
        )

    def passed(self, prepared: Prepared) -> tuple[TokenBatch, list[PassCalls] | None]:
        """Tokens of a whole vision pass, and what the connector was given in it; None where it cannot run alone."""
        if not self.runs_alone:
            return self.run(prepared), None
        self._seen = []
        try:
            return self.run(prepared), self._seen
        finally:
            self._seen = None

    def again(self, prepared: Prepared, given: Sequence[PassCalls]) -> TokenBatch:
        """Tokens of the connector alone on what it was given in an earlier pass of these pictures."""
        self._given = iter(given)
        try:
            return self.run(prepared)
        finally:
            self._given = None

    def _tokens(self, fed: Any, tapped: Sequence[Tapped]) -> TokenBatch:
        """Without inference mode: what a module keeps from this pass, training may read."""
        import torch

        with torch.no_grad(), recording(tapped) as calls:
            if self._given is None:
                self._vision_pass(fed)
            else:
                self._replay(next(self._given))
        return self._laid_out(fed, calls)

    def _vision_pass(self, fed: Fed) -> None:
        if self._seen is None:
            super()._vision_pass(fed)
            return
        with self._listening() as calls:
            super()._vision_pass(fed)
        self._seen.append(calls)

    @contextmanager
    def _listening(self) -> Iterator[PassCalls]:
        import torch
        from torch.utils._pytree import tree_map_only

        calls: PassCalls = [[] for _ in self._tapped]

        def listener(own: list[Call]) -> Any:
            def before(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
                own.append(tree_map_only(torch.Tensor, Waiting.of, (args, kwargs)))

            return before

        handles = [
            tap.modules[0].register_forward_pre_hook(listener(own), with_kwargs=True)
            for tap, own in zip(self._tapped, calls, strict=True)
        ]
        try:
            yield calls
        finally:
            for handle in handles:
                handle.remove()

    def _replay(self, calls: PassCalls) -> None:
        from torch.utils._pytree import tree_map_only

        for tap, own in zip(self._tapped, calls, strict=True):
            for call in own:
                args, kwargs = tree_map_only(Waiting, Waiting.back, call)
                tap.modules[0](*args, **kwargs)
