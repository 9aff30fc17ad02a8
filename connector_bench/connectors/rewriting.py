"""Hooks that change what a connector takes or gives while a model answers, and that never outlive their block."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np

from connector_bench.connectors.base import UnsupportedModel
from connector_bench.connectors.execution import uncompiled
from connector_bench.connectors.hooks import Tapped, all_tensors, argument, first_tensor

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor, nn

    from connector_bench.types import TokenBatch


@dataclass(frozen=True, eq=False)
class Located:
    """One picture's tokens, and where they stand in what the connector's modules take and give for it."""

    tokens: TokenBatch
    """Of the one picture."""
    pre_rows: Int[np.ndarray, " n_pre"]
    """Of the modules' input, flattened to rows, in the layout's order."""
    post_rows: Int[np.ndarray, " n_post"]
    rows: tuple[int, int]
    """How many there are in all, before and behind."""
    widths: tuple[tuple[int, ...], tuple[int, ...]]
    """Widths of the parallel connectors' tokens, before and behind, as they lie side by side in `tokens`."""


@dataclass(frozen=True, eq=False)
class Rewritten:
    """A picture, and what is changed of its tokens: functions of tokens and their positions in the picture."""

    located: Located
    before: Callable[[Tensor, Tensor], Tensor] | None = None
    behind: Callable[[Tensor, Tensor], Tensor] | None = None


@dataclass
class Changed:
    """How many tokens behind the connector there were, and how many of them another value was given."""

    tokens: int = 0
    changed: int = 0


@contextmanager
def rewriting(
    tapped: Sequence[Tapped],
    pictures: Sequence[Rewritten],
    *,
    channels_first: bool = False,
    folded: int = 1,
) -> Iterator[Changed]:
    """Change the tokens of these pictures, which pass the connector in this order while the block runs.

    The hooks go when the block ends, also by an exception or an interrupt. `channels_first` and `folded` are those of
    `Family`. Where nothing is changed, modules give what they gave.

    Raises:
        ValueError: other tokens passed the connector than those of the pictures, or none; raised as the block ends,
            since wrappers of lmms-eval answer what is raised within with an empty text.
        UnsupportedModel: what the connector takes cannot be changed.
    """
    if any(one.before is not None for one in pictures) and any(connector.joined for connector in tapped):
        raise UnsupportedModel(
            "the connector takes several tensors that are joined, which cannot be taken apart again"
        )
    found, watch = Changed(), _Watch()
    handles: list[Any] = []
    try:
        for branch, connector in enumerate(tapped):
            before = _Side.of(pictures, branch, 0, None)
            behind = _Side.of(pictures, branch, 1, found if branch == 0 else None)
            watch.sides.append(behind)
            handles += _attach(connector, before, behind, watch, channels_first, folded)
        with uncompiled():
            yield found
    finally:
        for handle in handles:
            handle.remove()
    watch.conclude()


@dataclass
class _Watch:
    """What went wrong in a hook, which whoever called the module may have swallowed."""

    sides: list[_Side] = field(default_factory=list)
    failure: Exception | None = None

    def guarded(self, hook: Callable[..., Any]) -> Callable[..., Any]:
        def called(*args: Any) -> Any:
            try:
                return hook(*args)
            except Exception as error:
                self.failure = self.failure or error
                raise

        return called

    def conclude(self) -> None:
        if self.failure is not None:
            raise self.failure
        for side in self.sides:
            if side.passed == 0 or side.passed % side.total:
                raise ValueError(
                    f"{side.passed} tokens passed the connector while the model answered, and its pictures have "
                    f"{side.total}: its wrapper shows them in another way than is known, or not at all"
                )


@dataclass(frozen=True, eq=False)
class _ChangedRows:
    """What is changed of one picture on one side."""

    rows: Int[np.ndarray, " n"]
    tokens: Float[Tensor, "n d"]
    """All parallel connectors' side by side."""
    change: Callable[[Tensor, Tensor], Tensor]


@dataclass
class _Side:
    """One side of one of the parallel connectors: how many rows have passed, and what is changed of them."""

    total: int
    parts: tuple[_ChangedRows, ...]
    columns: slice
    whole: bool
    """Whether this connector's tokens are all there is of a token."""
    found: Changed | None
    passed: int = 0

    @classmethod
    def of(cls, pictures: Sequence[Rewritten], branch: int, side: int, found: Changed | None) -> _Side:
        first, parts = 0, []
        for one in pictures:
            change = one.behind if side else one.before
            where = one.located
            if change is not None:
                rows, tokens = (
                    (where.post_rows, where.tokens.post) if side else (where.pre_rows, where.tokens.pre)
                )
                parts.append(_ChangedRows(rows + first, tokens, change))
            first += where.rows[side]
        widths = pictures[0].located.widths[side]
        ends = list(accumulate(widths, initial=0))
        if found is not None:
            found.tokens = sum(len(one.located.post_rows) for one in pictures)
        return cls(first, tuple(parts), slice(ends[branch], ends[branch + 1]), len(widths) == 1, found)

    def rewritten(self, flat: Float[Tensor, "rows width"]) -> Float[Tensor, "rows width"] | None:
        """The rows of one call with some of them changed; None where none is."""
        import torch

        begin, again = self.passed % self.total, self.passed >= self.total
        self.passed += len(flat)
        if begin + len(flat) > self.total:
            raise ValueError(
                f"{begin + len(flat)} tokens passed the connector at once, and the pictures have {self.total}"
            )
        new = None
        for part in self.parts:
            inside = np.flatnonzero((part.rows >= begin) & (part.rows < begin + len(flat)))
            if not len(inside):
                continue
            local = torch.from_numpy(part.rows[inside] - begin).to(flat.device)
            positions = torch.from_numpy(inside)
            source = flat[local] if self.whole else part.tokens[positions.to(part.tokens.device)]
            changed = part.change(source, positions)
            different = (changed != source).any(1)
            if self.found is not None and not again:
                self.found.changed += int(different.sum())
            if different.any():
                new = flat.clone() if new is None else new
                new[local[different.to(local.device)]] = changed[different][:, self.columns].to(new)
        return new


def _attach(
    connector: Tapped, before: _Side, behind: _Side, watch: _Watch, channels_first: bool, folded: int
) -> list[Any]:
    under_way = 0
    """Calls of the first module that the last one has not answered yet; some models call that for more (Ovis 2)."""

    def given(tensor: Tensor) -> Tensor | None:
        nonlocal under_way
        under_way += 1
        if not before.parts:
            return None
        last = tensor.movedim(1, -1) if channels_first else tensor
        new = before.rewritten(last.reshape(-1, last.shape[-1] // folded))
        if new is None:
            return None
        return new.reshape(last.shape).movedim(-1, 1) if channels_first else new.reshape(last.shape)

    def taken(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        old = all_tensors(args) if connector.joined else argument(connector.pre_argument, args, kwargs)
        new = given(old)
        return None if new is None else _with_argument(old, new, args, kwargs)

    def of_tower(module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        new = given(first_tensor(output))
        return None if new is None else _with_first(output, new)

    def after(module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        nonlocal under_way
        if not under_way:
            return None
        under_way -= 1
        old = all_tensors(output) if connector.joined else first_tensor(output)
        new = behind.rewritten(old.reshape(-1, old.shape[-1]))
        if new is None:
            return None
        new = new.reshape(old.shape)
        return _taken_apart(output, new) if connector.joined else _with_first(output, new)

    first, last = connector.modules[0], connector.modules[-1]
    handles = [
        first.register_forward_pre_hook(watch.guarded(taken), with_kwargs=True)
        if connector.pre_output_of is None
        else connector.pre_output_of.register_forward_hook(watch.guarded(of_tower))
    ]
    return [*handles, last.register_forward_hook(watch.guarded(after))]


def _with_argument(old: Tensor, new: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Arguments of a call with one tensor in the place of another."""

    def exchanged(value: Any) -> Any:
        if value is old:
            return new
        holds = isinstance(value, (tuple, list)) or hasattr(value, "last_hidden_state")
        return _with_first(value, new) if holds and len(value) and first_tensor(value) is old else value

    return tuple(map(exchanged, args)), {name: exchanged(value) for name, value in kwargs.items()}


def _with_first(value: Any, new: Tensor) -> Any:
    """What a module returns with another tensor where `first_tensor` finds one."""
    if hasattr(value, "shape"):
        return new
    if hasattr(value, "last_hidden_state"):
        other = copy.copy(value)
        other.last_hidden_state = new
        return other
    return type(value)([_with_first(value[0], new), *value[1:]])


def _taken_apart(value: Any, new: Tensor) -> Any:
    """The inverse of `all_tensors`: a joined tensor in the shape of what it was joined from."""
    if hasattr(value, "shape"):
        return new
    widths = [all_tensors(part).shape[-1] for part in value]
    parts = new.split(widths, dim=-1)
    return type(value)(_taken_apart(part, tensor) for part, tensor in zip(value, parts, strict=True))
