"""Feeding a model through its wrapper's own `generate_until`, for wrappers and models that are not known.

`WrapperFeed` lets the wrapper prepare its inputs and stops before the language model: the model's
`generate` is stood in for. `WrapperAdapter` lets it generate one token with hooks on the connector, for
models whose vision pass cannot run alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from types import MappingProxyType, SimpleNamespace
from typing import TYPE_CHECKING, Any

from connector_bench.connectors.base import Prepared, UnsupportedModel
from connector_bench.connectors.family import Family
from connector_bench.connectors.feeding import Fed, Recorder, all_rgb
from connector_bench.connectors.hooks import Calls, Tapped, recording
from connector_bench.connectors.transformers_adapter import TransformersAdapter
from connector_bench.connectors.wrappers import processor_of

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import nn

TASK, SPLIT = "connector_bench", "images"


class _NoCache:
    """Takes the place of the wrapper's response cache, which must not remember these answers."""

    def add_partial(self, *args: Any) -> None:
        """Forget."""


@contextmanager
def asked(lm: Any, images: Sequence[Image]) -> Iterator[list[Any]]:
    """Requests for one token about each picture, which the wrapper holds as documents of a task."""
    before, cache_hook = lm.task_dict, lm.cache_hook
    lm.task_dict = {**before, TASK: {SPLIT: list(images)}}
    lm.cache_hook = _NoCache()
    try:
        yield [_request(lm, index) for index in range(len(images))]
    finally:
        lm.task_dict, lm.cache_hook = before, cache_hook


def _request(lm: Any, index: int) -> Any:
    keywords = {"max_new_tokens": 1, "temperature": 0, "do_sample": False}
    text = "Describe the image."
    if getattr(lm, "is_simple", True):
        arguments: tuple[Any, ...] = (text, keywords, lambda image: [image], index, TASK, SPLIT)
    else:
        arguments = (text, _messages(text), keywords, index, TASK, SPLIT)
    metadata = {"task": TASK, "doc_id": index, "repeats": 1}
    return SimpleNamespace(args=arguments, arguments=arguments, metadata=metadata, idx=0, doc_id=index)


def _messages(text: str) -> Callable[[Image], list[dict[str, Any]]]:
    def messages(image: Image) -> list[dict[str, Any]]:
        content = [{"type": "image", "url": image}, {"type": "text", "text": text}]
        return [{"role": "user", "content": content}]

    return messages


class WrapperFeed:
    """Model inputs as a wrapper makes them, one picture a call; the language model does not run."""

    one_at_a_time = True
    ahead = False
    """It borrows the model while it prepares."""
    options: Mapping[str, Any] = MappingProxyType({})
    """The wrapper's own, which are not known before it is called."""

    def __init__(self, lm: Any, model: nn.Module) -> None:
        self.lm, self.model = lm, model

    @cached_property
    def image_processor(self) -> Any:
        """The wrapper's image processor, or its processor where it has no such part."""
        processor = processor_of(self.lm)
        return getattr(processor, "image_processor", processor)

    def __call__(self, images: Sequence[Image]) -> Fed:
        """Inputs that reached `generate` for a single picture.

        Raises:
            UnsupportedModel: the wrapper never called `generate`.
        """
        seen: list[dict[str, Any]] = []

        def generate(*args: Any, **inputs: Any) -> Any:
            import torch

            first = args[0] if args else {}
            inputs = {**(first if isinstance(first, Mapping) else {"inputs": first}), **inputs}
            seen.append(inputs)
            ids = inputs.get("input_ids", inputs.get("inputs", torch.zeros(1, 1, dtype=torch.long)))
            return torch.cat([ids, ids[:, -1:]], dim=1).clamp(min=0)  # some mark a picture by negative ids

        with (
            asked(self.lm, images) as requests,
            standing_in(self.model, answering_method(self.model), generate),
            self._watched() as watched,
        ):
            self.lm.generate_until(requests)
        if len(seen) != 1:
            raise UnsupportedModel(
                f"{type(self.lm).__name__} called generate {len(seen)} times for one picture; "
                "one call is needed."
            )
        sizes = watched.sizes if len(watched.sizes) == 1 else ((images[0].height, images[0].width),)
        return Fed({**(watched.result or {}), **seen[0]}, watched.options, sizes)

    @contextmanager
    def _watched(self) -> Iterator[Recorder]:
        """The wrapper's image processor under watch, so that layouts learn how it tiles."""
        processor, watched = processor_of(self.lm), Recorder(self.image_processor)
        if not hasattr(processor, "image_processor"):
            yield watched
            return
        with standing_in(processor, "image_processor", watched):
            yield watched


def answering_method(model: nn.Module) -> str:
    """The method by which wrappers let a model answer; Molmo's takes its inputs as one mapping."""
    return "generate_from_batch" if hasattr(model, "generate_from_batch") else "generate"


@contextmanager
def standing_in(owner: Any, name: str, other: Any) -> Iterator[None]:
    """`other` in place of an attribute while the block runs."""
    before = vars(owner).get(name)
    object.__setattr__(owner, name, other)
    try:
        yield
    finally:
        object.__delattr__(owner, name) if before is None else object.__setattr__(owner, name, before)


class WrapperAdapter(TransformersAdapter):
    """Hooks on the connector while the wrapper generates one token, one picture at a time."""

    def __init__(self, lm: Any, model: nn.Module, family: Family, name: str) -> None:
        super().__init__(model, family, WrapperFeed(lm, model), name)
        self.lm = lm

    def prepare(self, images: Sequence[tuple[str, Image]]) -> Prepared:
        """The pictures as they are: the wrapper prepares them itself. ValueError where one is not RGB."""
        return Prepared(tuple(name for name, _ in images), [[image] for image in all_rgb(images)])

    def _called(self, given: Sequence[Image], tapped: Sequence[Tapped]) -> tuple[Fed, Sequence[Calls]]:
        with asked(self.lm, given) as requests, recording(tapped) as calls:
            self.lm.generate_until(requests)
        return Fed({}, {}, tuple((image.height, image.width) for image in given)), calls
