"""Bare modules: an encoder and a connector that no model holds, with the grid that their user states."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from connector_bench.connectors.base import ConnectorAdapter, Prepared
from connector_bench.connectors.boxes import fitted
from connector_bench.connectors.coloured import coloured_picture
from connector_bench.connectors.execution import in_precision, unwrapped
from connector_bench.connectors.family import Batch
from connector_bench.connectors.part_output import tokens_of
from connector_bench.connectors.place_check import CELLS, CELLS_IN_DOUBT, PASSED
from connector_bench.connectors.planted import Side, planted_patches
from connector_bench.connectors.stated_grid import GivenGrid, StatedGrid
from connector_bench.connectors.untrained import CannotCopy, UntrainedCopy
from connector_bench.connectors.weights import count_parameters, precision, weights_sha256
from connector_bench.pictures import reason
from connector_bench.protocol import PLACES_NOT_KNOWN
from connector_bench.types import WHOLE_PICTURE, Box, ConnectorInfo, TokenBatch

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image
    from torch import Tensor

FAMILY = "bare modules"
TRIAL_SIZE = (336, 336)
PIXELS = "pixel_values"
"""What processors of transformers call a picture's values."""


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
        if processor is None and _is_module(encoder):
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

    @property
    def prepares_ahead(self) -> bool:  # type: ignore[override]
        """Whether the processor is one that several threads may call."""
        return _is_transformers(self._processor) or _is_torchvision(self._processor)

    @property
    def in_training_mode(self) -> list[str]:
        """Which of encoder and connector are in training mode."""
        parts = {"encoder": self._encoder, "connector": self._connector}
        return [name for name, part in parts.items() if _is_module(part) and part.training]

    @property
    def device(self) -> torch.device:
        """Where the encoder takes its inputs: its own parameters' device, else the connector's."""
        import torch

        return next((one.device for one in self._parameters()), torch.device("cpu"))

    def _parameters(self) -> Sequence[Tensor]:
        parts = [part for part in (self._encoder, self._connector) if _is_module(part)]
        return [parameter for part in parts for parameter in part.parameters()]

    @property
    def _dtype(self) -> torch.dtype:
        import torch

        return next((one.dtype for one in self._parameters() if one.is_floating_point()), torch.float32)

    @property
    def claiming(self) -> BareAdapter:
        """The same without untrained copies; its layouts are what the grid says, also where that is refuted."""
        other = copy.copy(self)
        other._copies, other._tries_places = (), False
        return other

    @cached_property
    def _places(self) -> _TriedGrid:
        return _tried(self.claiming, self._grid, self._size)

    @cached_property
    def info(self) -> ConnectorInfo:
        """The connector that is measured; trying its places takes a moment on first use."""
        modules = [self._connector] if _is_module(self._connector) else []
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
        if not _is_module(self._connector):
            return "the connector is no torch.nn.Module"
        try:
            self._copies = tuple(UntrainedCopy.of((self._connector,), seed) for seed in seeds)
        except CannotCopy as why:
            return str(why)
        return None

    def prepare(self, images: Sequence[tuple[str, Image]]) -> Prepared:
        """Named pictures as the encoder takes them, floating numbers in its precision."""
        pictures = [image for _, image in images]
        inputs = _processed(self._processor, pictures)
        if isinstance(inputs, Mapping):
            inputs = in_precision(inputs, self._dtype)
        boxes = tuple(self._box(picture) for picture in pictures)
        return Prepared(tuple(name for name, _ in images), BareInputs(inputs, boxes))

    def _box(self, picture: Image) -> Box:
        if not _is_transformers(self._processor):
            return WHOLE_PICTURE
        half = getattr(self._processor, "image_processor", self._processor)
        return fitted(Batch(None, half, {}, {}, (), (), ()), (picture.height, picture.width))

    def run(self, prepared: Prepared, *, untrained: bool = True) -> TokenBatch:
        """One batch through encoder and connector, and through the untrained copies where they are wanted.

        Raises:
            ValueError: naming the shape that came and the one that is needed; a connector that does not keep pictures
                apart; a grid of another number of tokens.
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
        places = self._places if self._tries_places else _TriedGrid(self._grid, True, "")
        layouts = tuple(
            places.grid.layout(len(before), len(after), box, merges=True)
            for before, after, box in zip(pre, post, given.boxes, strict=True)
        )
        return TokenBatch(
            prepared.images,
            layouts if places.known else tuple(one.without_places() for one in layouts),
            sides[0],
            sides[1],
            None,
            tuple(sides[2:]),
        )

    def _encoded(self, inputs: Any, pictures: int) -> Sequence[Tensor] | Tensor:
        """The encoder's tokens: `[batch, n, d]`, or one `[n, d]` a picture where these are not equally many."""
        placed = _moved(inputs, self.device, self._dtype)
        output = _called(self._encoder, placed)
        tokens = tokens_of(output, "encoder", pictures)
        like = next((p for p in self._connector.parameters()), None) if _is_module(self._connector) else None
        if like is None or not like.is_floating_point():
            return tokens
        if isinstance(tokens, list):
            return [one.to(like.device, like.dtype) for one in tokens]
        return tokens.to(like.device, like.dtype)

    def _connected(self, connector: Any, pre: Sequence[Tensor] | Tensor) -> Sequence[Tensor] | Tensor:
        if not isinstance(pre, list):
            return tokens_of(connector(pre), "connector", len(pre))
        return [tokens_of(connector(one[None]), "connector", 1)[0] for one in pre]


@dataclass(frozen=True)
class _TriedGrid:
    """What planted patches say of the stated grid."""

    grid: StatedGrid
    known: bool
    phrase: str
    found: float | None = None
    assumptions: tuple[str, ...] = ()


def _tried(claiming: BareAdapter, grid: StatedGrid, size: tuple[int, int]) -> _TriedGrid:
    """Try the grid on a picture of this size, and on a square one where that does not show every patch."""
    if grid.pre is None:
        return _TriedGrid(grid, False, f"{PLACES_NOT_KNOWN}: no grid was given")
    shares: dict[Side, float] = {}
    why = ""
    for width, height in dict.fromkeys((size, (min(size), min(size)))):
        try:
            layout = claiming.capture([coloured_picture(width, height)])[0].layout
            sides: tuple[Side, ...] = ("pre", "post") if layout.has_places else ("pre",)
            for side in sides:
                share = _share(claiming, side, (width, height))
                if share is not None:
                    shares[side] = max(share, shares.get(side, 0.0))
        except Exception as error:  # whatever stops the model also stops the run, which says so
            why = f" ({reason(error)})"
        if len(shares) > 0 and min(shares.values()) >= PASSED:
            break
    if "pre" not in shares:
        return _TriedGrid(grid, True, f"as stated; planted patch not tried{why}")
    found = min(shares.values())
    phrase = f"planted patch found in {found:.0%}".replace("%", " %")
    if shares["pre"] < PASSED:
        return _TriedGrid(grid, False, f"{PLACES_NOT_KNOWN}: {phrase}", found)
    if shares.get("post", 1.0) >= PASSED:
        return _TriedGrid(grid, True, phrase, found)
    found_pre = f"{shares['pre']:.0%}".replace("%", " %")
    said = f"the connector's tokens are taken to have no place in the picture: {phrase} of them"
    return _TriedGrid(
        grid.without_post(), True, f"planted patch found in {found_pre} before", shares["pre"], (said,)
    )


def _share(claiming: BareAdapter, side: Side, size: tuple[int, int]) -> float | None:
    """Share of planted patches found, of more of them where one of the first was not; None where none changed."""
    share = None
    for limit in (CELLS, CELLS_IN_DOUBT):
        result = planted_patches(claiming, coloured_picture(*size), side, limit=limit)
        share = result.share if result.cells else None
        if result.hits == result.cells:
            break
    return share


def _processed(processor: Any, pictures: list[Image]) -> Any:
    import torch

    if processor is None:
        return pictures
    if _is_transformers(processor):
        return dict(getattr(processor, "image_processor", processor)(images=pictures, return_tensors="pt"))
    if _is_torchvision(processor):
        return torch.stack([processor(picture) for picture in pictures])
    return processor(pictures)


def _called(encoder: Any, inputs: Any) -> Any:
    """The encoder on its input: of several named parts, those that it takes, or the pixels where it names none."""
    if not isinstance(inputs, Mapping):
        return encoder(inputs)
    taken = inspect.signature(encoder.forward if _is_module(encoder) else encoder).parameters
    if any(one.kind is inspect.Parameter.VAR_KEYWORD for one in taken.values()):
        return encoder(**inputs)
    named = {name: value for name, value in inputs.items() if name in taken}
    return encoder(**named) if named else encoder(inputs.get(PIXELS, next(iter(inputs.values()))))


def _moved(inputs: Any, device: torch.device, dtype: torch.dtype) -> Any:
    import torch

    if isinstance(inputs, torch.Tensor):
        return inputs.to(device, dtype) if inputs.is_floating_point() else inputs.to(device)
    if isinstance(inputs, Mapping):
        return {name: _moved(value, device, dtype) for name, value in inputs.items()}
    return inputs


def _is_module(part: Any) -> bool:
    import torch

    return isinstance(part, torch.nn.Module)


def _is_transformers(processor: Any) -> bool:
    half = getattr(processor, "image_processor", processor)
    ours = any(kind.__module__.startswith("transformers.") for kind in type(half).__mro__)
    return ours and callable(getattr(half, "preprocess", None))


def _is_torchvision(processor: Any) -> bool:
    return type(processor).__module__.startswith("torchvision.transforms")
