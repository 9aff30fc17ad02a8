"""Tokens of the probe's pictures: from tower and connector, or from the connector alone while the tower stays."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from connector_bench.connectors.base import ConnectorAdapter, Prepared
from connector_bench.connectors.execution import refuse_shared_out, unwrapped
from connector_bench.connectors.part_calls import failing
from connector_bench.connectors.part_output import tokens_of
from connector_bench.connectors.stated_grid import GivenGrid, StatedGrid
from connector_bench.training.connector_in_training import ConnectorInTraining, PassCalls, Waiting
from connector_bench.types import TokenBatch, TokenLayout

if TYPE_CHECKING:
    import torch
    from jaxtyping import Float
    from PIL.Image import Image
    from torch import Tensor, nn

Group = tuple[int, ...]
"""Places of the pictures that pass together."""


class ProbeTokens(ABC):
    """Tokens of fixed groups of pictures, again and again.

    What the tower gave is kept in the host's memory. Each time the first group passes the whole model: where that gives
    the very tokens that the connector alone makes of what was kept, the tower is as it was, and the connector alone
    runs on the other groups. So it does not matter by what a tower changes: gradients, statistics, averaged weights.
    A tower that has changed twice running is one that is trained, and nothing more is kept.
    """

    def __init__(self, groups: Sequence[Group]) -> None:
        self.groups = groups
        self._kept: list[Any] = []
        self._changes = 0

    @abstractmethod
    def passed(self, group: Group) -> tuple[TokenBatch, Any]:
        """Tokens from the whole model, and what `again` needs; None where the connector cannot run alone."""

    @abstractmethod
    def again(self, group: Group, kept: Any) -> TokenBatch:
        """Tokens from the connector alone, from what `passed` gave."""

    def __iter__(self) -> Iterator[TokenBatch]:
        first, kept = self.passed(self.groups[0])
        if len(self._kept) == len(self.groups):
            if _same(first, self.again(self.groups[0], self._kept[0])):
                self._changes = 0
                yield first
                for group, own in zip(self.groups[1:], self._kept[1:], strict=True):
                    yield self.again(group, own)
                return
            self._changes += 1
        keeps = kept is not None and self._changes < 2
        self._kept = [kept] if keeps else []
        yield first
        for group in self.groups[1:]:
            batch, kept = self.passed(group)
            if keeps:
                self._kept.append(kept)
            yield batch


def _same(one: TokenBatch, other: TokenBatch) -> bool:
    import torch

    return torch.equal(one.pre, other.pre) and torch.equal(one.post, other.post)


class TokensOfModel(ProbeTokens):
    """Of a model whose connector an adapter finds; pictures are prepared once, and wait in the host's memory."""

    def __init__(
        self, adapter: ConnectorAdapter, pictures: Sequence[tuple[str, Image]], groups: Sequence[Group]
    ) -> None:
        super().__init__(groups)
        self.adapter, self._pictures = adapter, pictures
        self._prepared: dict[Group, Prepared] = {}
        if isinstance(adapter, ConnectorInTraining):
            _ = adapter.place_check  # runs the model on pictures of its own, once

    def passed(self, group: Group) -> tuple[TokenBatch, list[PassCalls] | None]:
        """As `ProbeTokens.passed`."""
        prepared = self._ready(group)
        if isinstance(self.adapter, ConnectorInTraining):
            return self.adapter.passed(prepared)
        return self.adapter.run(prepared, untrained=False), None

    def again(self, group: Group, kept: list[PassCalls]) -> TokenBatch:
        """As `ProbeTokens.again`."""
        assert isinstance(self.adapter, ConnectorInTraining)
        return self.adapter.again(self._ready(group), kept)

    def _ready(self, group: Group) -> Prepared:
        if group not in self._prepared:
            self._prepared[group] = self.adapter.prepare([self._pictures[place] for place in group])
        return self._prepared[group]


class TokensOfPair(ProbeTokens):
    """Of a bare encoder, which gives `[batch, n, d]`, and a connector that takes it.

    Raises:
        ValueError: parts of the two are on other processes (FSDP, tensor parallelism).
    """

    def __init__(
        self,
        encoder: Any,
        connector: nn.Module,
        inputs: Sequence[tuple[str, Tensor]],
        groups: Sequence[Group],
        grid: GivenGrid,
    ) -> None:
        super().__init__(groups)
        for module in (module_behind(encoder), connector):
            refuse_shared_out(module)
        self._encoder, self._connector = unwrapped(encoder), unwrapped(connector)
        self._inputs, self._grid = inputs, grid

    def passed(self, group: Group) -> tuple[TokenBatch, Waiting]:
        """As `ProbeTokens.passed`."""
        import torch

        given = torch.stack([self._inputs[place][1] for place in group])
        given = _as_parameters(given, module_behind(self._encoder), self._connector)
        with failing("encoder", given):
            output = self._encoder(given)
        pre = _together(tokens_of(output, "encoder", len(group)), "encoder")
        return self._batch(group, pre), Waiting.of(pre)

    def again(self, group: Group, kept: Waiting) -> TokenBatch:
        """As `ProbeTokens.again`."""
        return self._batch(group, kept.back())

    def _batch(self, group: Group, pre: Float[Tensor, "images n d"]) -> TokenBatch:
        with failing("connector", pre):
            output = self._connector(pre)
        post = _together(tokens_of(output, "connector", len(pre)), "connector")
        layout = self._layout(pre.shape[1], post.shape[1])
        names = tuple(self._inputs[place][0] for place in group)
        return TokenBatch(names, (layout,) * len(names), pre.flatten(0, 1), post.flatten(0, 1))

    def _layout(self, n_pre: int, n_post: int) -> TokenLayout:
        """As its user states it; unless stated, a connector that keeps the number of tokens keeps their order."""
        stated = (1, n_pre) if self._grid is None and n_post == n_pre else self._grid
        return StatedGrid.of(stated).layout(n_pre, n_post)


def _together(tokens: Tensor | list[Tensor], whose: str) -> Tensor:
    """`[batch, n, d]`. ValueError where pictures of one batch have different numbers of tokens."""
    import torch

    if not isinstance(tokens, list):
        return tokens
    if len({one.shape for one in tokens}) > 1:
        raise ValueError(
            f"the {whose} gave {', '.join(str(list(one.shape)) for one in tokens[:4])}; a probe needs as many "
            "tokens of each picture"
        )
    return torch.stack(tokens)


def module_behind(encoder: Any) -> nn.Module:
    """The module that an encoder is, or whose method it is.

    Raises:
        TypeError: it is neither, so nobody could set its mode while it is measured.
    """
    from torch import nn

    found = encoder if isinstance(encoder, nn.Module) else getattr(encoder, "__self__", None)
    if not isinstance(found, nn.Module):
        raise TypeError(
            f"an encoder is an nn.Module or a method of one, got {type(encoder).__name__}: its mode has to be set "
            "while it is measured; write the function as a module's forward"
        )
    return found


def _as_parameters(given: Tensor, *modules: nn.Module) -> Tensor:
    """On the device of the first weight there is, and in its precision; whole numbers as they are."""
    weight: torch.Tensor | None = next((p for module in modules for p in module.parameters()), None)
    if weight is None:
        return given
    return given.to(weight.device, weight.dtype if given.is_floating_point() else None)
