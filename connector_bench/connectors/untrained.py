"""The same connector before any training: copies of its modules at a fresh random initialisation, run beside it."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from connector_bench.connectors.execution import without_waiting
from connector_bench.connectors.weights import (
    is_sharded,
    quantised_parts,
    quantiser,
    stored,
    without_adapters,
)

if TYPE_CHECKING:
    from torch import Tensor, nn

BetweenModules = Callable[["Tensor", "Tensor"], "Tensor"]
"""What the model makes of one module's output for the next; the second tensor is what the next one was given."""


class CannotCopy(ValueError):
    """A connector of which no untrained copy can be made; the message says why."""


class CannotRepeat(CannotCopy):
    """What a model does between two modules of its connector is not known, so a copy cannot do it."""


@dataclass(frozen=True)
class UntrainedCopy:
    """Fresh copies of a connector's modules, in the order they run, for one seed."""

    modules: tuple[nn.Module, ...]
    seed: int
    learnt_arguments: tuple[str, ...] = ()
    """Keyword arguments of the first module that the model has learnt, such as queries; a copy draws its own."""

    @classmethod
    def of(
        cls, modules: Sequence[nn.Module], seed: int, learnt_arguments: tuple[str, ...] = ()
    ) -> UntrainedCopy:
        """Copies of all modules; see `untrained_copy`, also for what it raises.

        A module that learns nothing, such as a pooling, is copied as it is beside others that do.
        """
        learning = [any(True for _ in module.parameters()) for module in modules]
        copies = (
            untrained_copy(module, seed) if learns or not any(learning) else copy.deepcopy(module)
            for module, learns in zip(modules, learning, strict=True)
        )
        return cls(tuple(copies), seed, learnt_arguments)

    def begin(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """The first module's output on what the model gives its own."""
        drawn = {name: self._drawn(kwargs[name]) for name in self.learnt_arguments if name in kwargs}
        return self.modules[0](*args, **{**kwargs, **drawn})

    def _drawn(self, learnt: Tensor) -> Tensor:
        """Standard normal values of the same shape, the same for every image of a batch."""
        import torch

        random = torch.Generator().manual_seed(self.seed)
        one = torch.randn(learnt.shape[1:], generator=random)
        return without_waiting(one.to(learnt.dtype), learnt.device).expand_as(learnt)


@dataclass
class UntrainedRun:
    """The copies' way through one connector while the model takes its own."""

    copies: Sequence[UntrainedCopy]
    between_modules: BetweenModules | None
    first_tensor: Callable[[Any], Tensor]
    _trained: Tensor | None = None
    _latest: list[Tensor] = field(default_factory=list)

    def step(self, stage: int, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Any) -> list[Tensor]:
        """The copies' outputs of a module that the model has just called; none for a call that nothing led to.

        Raises:
            CannotRepeat: what the model does before this module is unknown.
        """
        if stage == 0:
            self._latest = [self.first_tensor(copy.begin(args, kwargs)) for copy in self.copies]
        elif self._trained is None:
            return []
        else:
            named = None if args else next(iter(kwargs))
            repeat = _repetition(
                self._trained, args[0] if named is None else kwargs[named], self.between_modules
            )
            given = [repeat(latest) for latest in self._latest]
            self._latest = [
                self.first_tensor(
                    copy.modules[stage](tokens, *args[1:], **kwargs)
                    if named is None
                    else copy.modules[stage](**{**kwargs, named: tokens})
                )
                for copy, tokens in zip(self.copies, given, strict=True)
            ]
        last = stage == len(self.copies[0].modules) - 1
        # its own storage: what lies between two modules may change the output in place (Gemma 3n scales it)
        self._trained = None if last else self.first_tensor(output).clone()
        return self._latest


def _repetition(
    output: Tensor, given: Tensor, between_modules: BetweenModules | None
) -> Callable[[Tensor], Tensor]:
    """What turns one module's output into the next one's input, proven on the trained modules' own."""
    import torch

    ways: list[Callable[[Tensor], Tensor]] = [
        lambda tokens: tokens.reshape(given.shape),
        lambda tokens: tokens[:, : given.shape[1]],
        lambda tokens: tokens[_order(output, given)],
    ]
    if between_modules is not None:
        ways.insert(0, lambda tokens: between_modules(tokens, given))
    for way in ways:
        try:
            same = torch.equal(way(output).to(given.dtype), given)
        except (RuntimeError, TypeError):  # of another size, or a device without float64
            continue
        if same:
            return lambda tokens, way=way: way(tokens).to(given.dtype)  # type: ignore[misc]
    raise CannotRepeat(
        f"tokens of shape {tuple(output.shape)} become {tuple(given.shape)} in a way not known"
    )


def _order(output: Tensor, given: Tensor) -> Tensor:
    """Rows of `output` in the order in which `given` holds them, told apart by one random direction."""
    import torch

    if output.shape != given.shape or output.ndim != 2:
        raise RuntimeError("rows are not the same")
    random = torch.Generator().manual_seed(0)
    direction = torch.randn(given.shape[1], generator=random, dtype=torch.float64).to(given.device)
    ours, theirs = ((tokens.double() * direction).sum(dim=1).argsort() for tokens in (output, given))
    order = torch.empty_like(ours)
    order[theirs] = ours
    return order


def untrained_copy(module: nn.Module, seed: int) -> nn.Module:
    """A copy of `module` in its own precision and place, with every parameter drawn anew.

    Modules that know torch's default initialisation (`reset_parameters`) use it. Of the others, a matrix is drawn
    with standard deviation 1 / sqrt(fan-in), also where its authors start it at zero, since a map to zero tells
    nothing; a vector is 1 if it is a weight (a norm's scale) and 0 if it is a bias. Torch's random state is left
    as it was. Adapters are no part of the architecture: the copy has none.

    Raises:
        CannotCopy: the weights are quantised, sharded or have no values here, or the module allows no copy.
    """
    import torch

    if (why := _obstacle(module)) is not None:
        raise CannotCopy(why)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            fresh = without_adapters(copy.deepcopy(module)).cpu().float()
        except (RuntimeError, TypeError, NotImplementedError, AttributeError) as error:
            raise CannotCopy(f"its {type(module).__name__} cannot be copied: {error}") from error
        for part in fresh.modules():
            reset = getattr(part, "reset_parameters", None)
            if callable(reset):
                reset()
            else:
                for name, parameter in part.named_parameters(recurse=False):
                    _draw(name, parameter)
    like = next((p for p in module.parameters() if p.is_floating_point()), None)
    if like is None:
        raise CannotCopy(f"its {type(module).__name__} has no parameters to draw")
    return fresh.to(like.device, like.dtype).requires_grad_(False).eval()


def _obstacle(module: nn.Module) -> str | None:
    """Why a module's weights are not such that they could be drawn anew, or None."""
    if quantised := quantised_parts(module):
        return f"its weights are quantised ({quantiser(quantised[0][1])})"
    for item in stored([module]):
        if item.tensor.is_meta:
            return "its weights are offloaded"
        if is_sharded(item.tensor):
            return "its weights are sharded over processes (FSDP or tensor parallelism)"
    return None


def _draw(name: str, parameter: nn.Parameter) -> None:
    import torch

    with torch.no_grad():
        if parameter.ndim >= 2:
            parameter.normal_(
                std=1 / math.sqrt(parameter[0].numel() if parameter.ndim > 2 else parameter.shape[-1])
            )
        else:
            parameter.fill_(0.0 if "bias" in name else 1.0)
