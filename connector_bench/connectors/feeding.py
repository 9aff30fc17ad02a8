"""Pictures to model inputs, with the preprocessing that the model's own wrapper uses."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import TYPE_CHECKING, Any, Protocol

from connector_bench.connectors.base import Prepared, UnsupportedModel
from connector_bench.connectors.execution import in_precision
from connector_bench.connectors.family import PictureSize

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image


@dataclass(frozen=True)
class Fed:
    """Inputs of one batch, and what the layout needs to know of how they were made."""

    inputs: Mapping[str, Any]
    options: Mapping[str, Any]
    sizes: tuple[PictureSize, ...]


class Feed(Protocol):
    """Turns a batch of pictures into model inputs."""

    @property
    def image_processor(self) -> Any:
        """The image processor, whose settings layouts read."""
        ...

    @property
    def options(self) -> Mapping[str, Any]:
        """What the image processor is given beside the pictures."""
        ...

    @property
    def one_at_a_time(self) -> bool:
        """Whether it takes a single picture a call."""
        ...

    @property
    def ahead(self) -> bool:
        """Whether it may be called in other threads while the model runs."""
        ...

    def __call__(self, images: Sequence[Image]) -> Fed:
        """Inputs for `get_image_features`, on the CPU."""
        ...


@dataclass(frozen=True)
class Preparer:
    """Named pictures to model inputs on the CPU, in the model's precision but without the model."""

    feed: Feed
    alone: bool
    """Whether the model takes one picture a call: then every picture is a part of its own."""
    dtype: torch.dtype

    def __call__(self, images: Sequence[tuple[str, Image]]) -> Prepared:
        """Pictures of one batch. Raises ValueError where one is not RGB, and what the feed raises."""
        pictures = all_rgb(images)
        parts = [[image] for image in pictures] if self.alone else [pictures]
        return Prepared(tuple(name for name, _ in images), [self._fed(part) for part in parts])

    def _fed(self, images: Sequence[Image]) -> Fed:
        fed = self.feed(images)
        return replace(fed, inputs=in_precision(fed.inputs, self.dtype))


def all_rgb(images: Sequence[tuple[str, Image]]) -> list[Image]:
    """The pictures of named ones. ValueError where one is not RGB."""
    pictures = [image for _, image in images]
    for image in pictures:
        if image.mode != "RGB":
            raise ValueError(f"a picture has mode {image.mode!r}; RGB is needed (image.convert('RGB'))")
    return pictures


def unchanged(image: Image) -> Image:
    """The picture as it is."""
    return image


class Recorder:
    """An image processor that keeps the keyword arguments and the result of its last call."""

    def __init__(self, image_processor: Any) -> None:
        self._image_processor = image_processor
        self.options: dict[str, Any] = {}
        self.sizes: tuple[PictureSize, ...] = ()
        self.result: dict[str, Any] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._image_processor, name)

    def __call__(self, images: Any, **options: Any) -> Any:
        """Call the image processor and keep what went in and came out."""
        output = self._image_processor(images, **options)
        self.options, self.result = options, dict(output)
        self.sizes = tuple(_sizes(images))
        return output


def _sizes(images: Any) -> Iterator[PictureSize]:
    """Height and width of every picture in a possibly nested list; arrays have their channels first."""
    for image in images if isinstance(images, (list, tuple)) else [images]:
        if isinstance(image, (list, tuple)):
            yield from _sizes(image)
        elif hasattr(image, "height"):
            yield image.height, image.width
        else:
            yield int(image.shape[-2]), int(image.shape[-1])


@dataclass(frozen=True)
class ProcessorFeed:
    """What a whole processor gives its image processor, and what comes back; nothing is said in words.

    A processor sets defaults of its own (tiling, Pixtral's merged patch size), so it is the one that is
    called; its image processor is watched, since a processor may hide part of the result (rows and
    columns of tiles).

    `picture` is what a wrapper does to a picture before its processor sees it; `options` are keyword
    arguments that a wrapper passes to its processor. With `nested`, each picture is a sample of its own.
    With `prompted`, an empty instruction is tokenised for the connector as well.
    """

    processor: Any
    options: Mapping[str, Any] = field(default_factory=dict)
    picture: Callable[[Image], Image] = unchanged
    nested: bool = False
    prompted: bool = False
    one_at_a_time: bool = False
    ahead: bool = True

    @property
    def image_processor(self) -> Any:
        """The image processor itself, whether or not it is part of a larger processor."""
        return image_half(self.processor)

    def __call__(self, images: Sequence[Image]) -> Fed:
        """Inputs for `get_image_features`, on the CPU."""
        pictures = [self.picture(image) for image in images]
        batch = [[picture] for picture in pictures] if self.nested else pictures
        inputs, options = processed(self.processor, batch, self.options)
        if self.prompted:
            inputs |= empty_instruction(self.processor, len(images))
        return Fed(inputs, options, tuple((picture.height, picture.width) for picture in pictures))


def processed(
    processor: Any, batch: Sequence[Any], options: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """A batch through a processor: what its image processor returned, and the arguments it was given."""
    watched = Recorder(image_half(processor))
    if not hasattr(processor, "image_processor"):
        watched(batch, return_tensors="pt", **options)
    else:
        shadow = copy.copy(processor)
        shadow.image_processor = watched
        _call(shadow, batch, options)
    if watched.result is None:
        raise UnsupportedModel(f"{type(processor).__name__} did not call its image processor.")
    return watched.result, watched.options


_tokenizing = Lock()
"""A fast tokenizer refuses to be used by two threads at once."""

_wants_text: dict[type, bool] = {}
"""Whether a processor class refuses pictures without a prompt, once it has taken some in this process."""


def _call(processor: Any, batch: Sequence[Any], options: Mapping[str, Any]) -> None:
    """Call a processor on pictures alone, or with one image token for each where it insists on a prompt.

    What it has taken before it is given first. Where it then takes neither, that first error is the picture's own.
    Some (Gemma 3's, before transformers 5.18) write a picture as its beginning, and take a list for one prompt's.
    """
    kind, first = type(processor), None
    alone_before = _wants_text.get(kind) is False
    if not _wants_text.get(kind, False):
        try:
            processor(images=batch, return_tensors="pt", **options)
            _wants_text[kind] = False
            return
        except (TypeError, ValueError, AttributeError) as error:
            first = error
    begins = getattr(processor, "boi_token", None)
    prompts = [str(begins or getattr(processor, "image_token", "<image>"))] * len(batch)
    if begins:
        batch = [picture if isinstance(picture, (list, tuple)) else [picture] for picture in batch]
    try:
        with _tokenizing:
            processor(images=batch, text=prompts, padding=True, return_tensors="pt", **options)
    except Exception as error:
        raise (first or error) if alone_before else error from None
    _wants_text[kind] = True


def image_half(processor: Any) -> Any:
    """The image processor of a processor; the processor itself where it is one.

    Raises:
        UnsupportedModel: there is none, as for a bare tokenizer.
    """
    for half in (
        "image_processor",
        "video_processor",
    ):  # a model of videos alone takes a picture as one frame
        if hasattr(processor, half):
            return getattr(processor, half)
    if callable(processor) and hasattr(processor, "preprocess"):
        return processor
    raise UnsupportedModel(
        f"{type(processor).__name__} has no image processor, so no picture can be prepared; "
        "pass the model's own processor."
    )


def empty_instruction(processor: Any, n_images: int) -> dict[str, Any]:
    """Tokens of the empty instruction for a Q-Former that reads one, repeated for each image."""
    tokenizer = getattr(processor, "qformer_tokenizer", None)
    if tokenizer is None:
        raise UnsupportedModel(
            f"{type(processor).__name__} has no qformer_tokenizer, which this connector needs."
        )
    with _tokenizing:
        tokens = tokenizer([""] * n_images, return_tensors="pt", padding=True)
    return {f"qformer_{name}": tokens[name] for name in ("input_ids", "attention_mask")}
