"""Bare modules: an encoder and a connector that no model holds, with the grid that their user states."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from connector_bench.connectors.base import ConnectorAdapter, Prepared
from connector_bench.connectors.boxes import fitted
from connector_bench.connectors.execution import in_precision, unwrapped
from connector_bench.connectors.family import Batch
from connector_bench.connectors.part_calls import (
    called,
    failing,
    is_module,
    is_torchvision,
    is_transformers,
    moved,
    processed,
)
from connector_bench.connectors.part_output import tokens_of
from connector_bench.connectors.stated_grid import GivenGrid, StatedGrid
from connector_bench.connectors.tried_grid import TriedGrid, tried
from connector_bench.connectors.untrained import CannotCopy, UntrainedCopy
from connector_bench.connectors.weights import count_parameters, precision, weights_sha256
from connector_bench.types import WHOLE_PICTURE, Box, ConnectorInfo, TokenBatch

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image
    from torch import Tensor

FAMILY = "bare modules"
TRIAL_SIZE = (336, 336)


@dataclass(frozen=True)
class BareInputs:
    """What the processor made of one batch."""

    inputs: Any
    boxes: tuple[Box, ...]
    """The part of each picture that the encoder sees, where the processor says so."""


class BareAdapter(ConnectorAdapter):
    """Runs an encoder on what a processor makes of pictures, and the connector on the encoder's tokens.

    Args:
        encoder: gives `[batch, tokens, width]`, or what holds it as `tokens_of` finds it, such as an output of
            transformers; or a list of one `[tokens, width]` a picture.
        connector: takes `[batch, tokens, width]`, and gives `[batch, tokens, width]` of its own numbers, alike.
        processor: from a list of RGB pictures to the encoder's input, called as `processor(pictures)`; an image
            processor of transformers and transforms of torchvision are called their own way. None: the encoder takes
            the list itself.
        grid: see `StatedGrid.of`.
        name: name under which results are filed, the connector's class unless told.
        picture_size: width and height of one of the pictures that will come, on which places are tried.

    Raises:
        ValueError: a part that cannot be called, or a grid that is none.
    """

    def __init__(
        self,
        encoder: Any,
        connector: Any,
        processor: Any = None,
        grid: GivenGrid = None,
        name: str | None = None,
        picture_size: tuple[int, int] = TRIAL_SIZE,
    ) -> None:
        for what, part in (("encoder", encoder), ("connector", connector)):
            if not callable(part):
                raise ValueError(
                    f"the {what} is {type(part).__name__}; a module or another callable is needed, and for a model "
                    "without a connector torch.nn.Identity()"
                )
        if processor is not None and not callable(processor):
            raise ValueError(
                f"the processor is {type(processor).__name__}, which cannot be called with pictures"
            )
        if processor is None and is_module(encoder):
            raise ValueError(
                f"the encoder is a module ({type(encoder).__name__}) and there is no processor: name what makes its "
                "input of a list of pictures, processor=..."
            )
        self._encoder, self._connector, self._processor = encoder, connector, processor
        self._grid, self._size = StatedGrid.of(grid), picture_size
        inner = unwrapped(connector)
        self._name = name or str(getattr(inner, "__name__", type(inner).__name__))
        self._copies: tuple[UntrainedCopy, ...] = ()
        self._tries_places = True
        self.token_counts: dict[int, int] = {}
        self._exchanged = ""

    @property
    def prepares_ahead(self) -> bool:  # type: ignore[override]
        """Whether the processor is one that several threads may call."""
        return is_transformers(self._processor) or is_torchvision(self._processor)

    @property
    def in_training_mode(self) -> list[str]:
        """Which of encoder and connector are in training mode."""
        parts = {"encoder": self._encoder, "connector": self._connector}
        return [name for name, part in parts.items() if is_module(part) and part.training]

    @property
    def device(self) -> torch.device:
        """Where the encoder takes its inputs: its own parameters' device, else the connector's."""
        import torch

        return next((one.device for one in self._parameters()), torch.device("cpu"))

    def _parameters(self) -> Sequence[Tensor]:
        parts = [part for part in (self._encoder, self._connector) if is_module(part)]
        return [parameter for part in parts for parameter in part.parameters()]

    @property
    def _dtype(self) -> torch.dtype:
        import torch

        return next((one.dtype for one in self._parameters() if one.is_floating_point()), torch.float32)

    @property
    def claiming(self) -> BareAdapter:
        """The same without untrained copies; its layouts are what the grid says, also where that is refuted."""
        other = copy.copy(self)
        other._copies, other._tries_places, other.token_counts = (), False, {}
        return other

    @cached_property
    def _places(self) -> TriedGrid:
        return tried(lambda: self.claiming, self._grid, self._size)

    @property
    def place_remarks(self) -> list[str]:
        """What is to be said of the stated grid, and of an output that looks transposed, of the pictures so far."""
        remarks = self._places.remarks(self.token_counts)
        if not self._exchanged or (self._grid.pre is not None and not remarks):
            return remarks
        return ["; ".join([*remarks, self._exchanged])]

    @cached_property
    def info(self) -> ConnectorInfo:
        """The connector that is measured; trying its places takes a moment on first use."""
        modules = [self._connector] if is_module(self._connector) else []
        places = self._places
        return ConnectorInfo(
            model=self._name,
            family=FAMILY,
            connector=type(unwrapped(self._connector)).__name__,
            modules=("connector",),
            parameters=count_parameters(modules),
            dtype=precision(modules, self._dtype),
            weights_sha256=weights_sha256(modules) if modules else None,
            assumptions=places.assumptions,
            places=places.phrase,
            planted_found=places.found,
            remarks=f"encoder: {type(self._encoder).__name__}",
        )

    def add_untrained(self, seeds: Sequence[int]) -> str | None:
        """From now on batches also carry what untrained copies of the connector give; why not, where they cannot."""
        if not is_module(self._connector):
            return "the connector is no torch.nn.Module"
        try:
            self._copies = tuple(UntrainedCopy.of((self._connector,), seed) for seed in seeds)
        except CannotCopy as why:
            return str(why)
        return None

    def prepare(self, images: Sequence[tuple[str, Image]]) -> Prepared:
        """Named pictures as the encoder takes them, floating numbers in its precision."""
        pictures = [image for _, image in images]
        inputs = processed(self._processor, pictures)
        if isinstance(inputs, Mapping):
            inputs = in_precision(inputs, self._dtype)
        boxes = tuple(self._box(picture) for picture in pictures)
        return Prepared(tuple(name for name, _ in images), BareInputs(inputs, boxes))

    def _box(self, picture: Image) -> Box:
        if not is_transformers(self._processor):
            return WHOLE_PICTURE
        half = getattr(self._processor, "image_processor", self._processor)
        return fitted(Batch(None, half, {}, {}, (), (), ()), (picture.height, picture.width))

    def run(self, prepared: Prepared, *, untrained: bool = True) -> TokenBatch:
        """One batch through encoder and connector, and through the untrained copies where they are wanted.

        Raises:
            ValueError: naming the part that failed and what it was given; the shape that came and the one that is
                needed; a connector that does not keep pictures apart; a grid of another number of tokens.
        """
        import torch

        given: BareInputs = prepared.inputs
        with torch.no_grad():
            pre = self._encoded(given.inputs, len(prepared.images))
            post = self._connected(self._connector, pre)
            others = [
                self._connected(lambda tokens, one=one: one.begin((tokens,), {}), pre)
                for one in (self._copies if untrained else ())
            ]
            sides = [torch.cat(list(tokens)).clone() for tokens in (pre, post, *others)]
        places = self._places if self._tries_places else TriedGrid(self._grid, True, "")
        layouts = tuple(
            places.layout(len(before), len(after), box)
            for before, after, box in zip(pre, post, given.boxes, strict=True)
        )
        self.token_counts |= {len(after): len(before) for before, after in zip(pre, post, strict=True)}
        self._exchanged = self._exchanged or _exchanged(self._connector, pre[0], post[0])
        return TokenBatch(
            prepared.images,
            layouts,
            sides[0],
            sides[1],
            None,
            tuple(sides[2:]),
        )

    def _encoded(self, inputs: Any, pictures: int) -> Sequence[Tensor] | Tensor:
        """The encoder's tokens: `[batch, n, d]`, or one `[n, d]` a picture where these are not equally many."""
        placed = moved(inputs, self.device, self._dtype)
        with failing("encoder", placed):
            output = called(self._encoder, placed)
        tokens = tokens_of(output, "encoder", pictures)
        like = next((p for p in self._connector.parameters()), None) if is_module(self._connector) else None
        if like is None or not like.is_floating_point():
            return tokens
        if isinstance(tokens, list):
            return [one.to(like.device, like.dtype) for one in tokens]
        return tokens.to(like.device, like.dtype)

    def _connected(self, connector: Any, pre: Sequence[Tensor] | Tensor) -> Sequence[Tensor] | Tensor:
        import torch

        def output_of(tokens: Tensor) -> Any:
            with failing("connector", tokens):
                return connector(tokens)

        if isinstance(pre, torch.Tensor):
            return tokens_of(output_of(pre), "connector", len(pre))
        return [tokens_of(output_of(one[None]), "connector", 1)[0] for one in pre]


def _exchanged(connector: Any, before: Tensor, after: Tensor) -> str:
    """A sentence where the connector's output looks like `[width, tokens]`; empty where it does not.

    As wide as tokens went in; and as many as the connector's last linear layer is wide, or, of a connector that is no
    module, another number than went in.
    """
    import torch

    if after.shape[1] != len(before):
        return ""
    linear = (
        [one for one in connector.modules() if isinstance(one, torch.nn.Linear)]
        if is_module(connector)
        else []
    )
    like = len(after) == linear[-1].out_features if linear else len(after) != len(before)
    if not like:
        return ""
    tokens, width = after.shape
    return (
        f"the connector gave {tokens} tokens of {width} numbers for {len(before)} tokens, which looks like "
        "[batch, width, tokens]: if it is, .transpose(1, 2) exchanges them"
    )
