"""Which adapter fits a model: the zoo's, an override, entry points, declared families, or the structure."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Protocol

from connector_bench.connectors import families as family_package
from connector_bench.connectors import zoo
from connector_bench.connectors.base import ConnectorAdapter, UnsupportedModel
from connector_bench.connectors.execution import unwrapped
from connector_bench.connectors.family import Family, single
from connector_bench.connectors.feeding import Feed, ProcessorFeed, image_half
from connector_bench.connectors.given import as_given, filed_name
from connector_bench.connectors.wrappers import model_of, name_of, preparation_of, processor_of

ENTRY_POINTS = "connector_bench.connectors"
"""Group of entry points, each a `Family` or a sequence of them, for models unknown to this package."""


class MakeAdapter(Protocol):
    """Builds an adapter for a model that is no transformers model."""

    def __call__(self, model: Any, name: str) -> ConnectorAdapter:
        """The adapter; `model` is one that `matches` accepted."""
        ...


@dataclass(frozen=True)
class Special:
    """An adapter that is found by the model object itself, such as that of the embedded zoo."""

    matches: Callable[[Any], bool]
    make: MakeAdapter


def _zoo(model: Any, name: str) -> ConnectorAdapter:
    return zoo.ZooAdapter(model)


_SPECIAL: dict[str, Special] = {"connector_zoo": Special(zoo.matches, _zoo)}


def register(key: str, matches: Callable[[Any], bool], make: MakeAdapter) -> None:
    """Add an adapter for models that `matches` accepts; it is asked before any transformers family.

    Raises:
        ValueError: the key is taken.
    """
    if key in _SPECIAL:
        raise ValueError(f"an adapter {key!r} is registered already; taken are {', '.join(_SPECIAL)}")
    _SPECIAL[key] = Special(matches, make)


@cache
def declared_families() -> tuple[Family, ...]:
    """Families of `connector_bench.connectors.families`, in the order of their files."""
    found: list[Family] = []
    for module in sorted(m.name for m in pkgutil.iter_modules(family_package.__path__)):
        found += importlib.import_module(f"{family_package.__name__}.{module}").FAMILIES
    return tuple(found)


@cache
def installed_families() -> tuple[Family, ...]:
    """Families that installed packages offer under the entry point group `connector_bench.connectors`.

    Raises:
        TypeError: an entry point is neither a family nor a sequence of families.
    """
    from importlib.metadata import entry_points

    found: list[Family] = []
    for point in entry_points(group=ENTRY_POINTS):
        value = point.load()
        offered = [value] if isinstance(value, Family) else list(value)
        if not all(isinstance(family, Family) for family in offered):
            raise TypeError(f"entry point {point.name!r} of {ENTRY_POINTS} is {value!r}; a Family is needed")
        found += offered
    return tuple(found)


def family_of(model: Any) -> Family:
    """The family of a transformers model: override, entry points, declared families, then its structure.

    Raises:
        UnsupportedModel: saying why the model cannot be measured.
    """
    from connector_bench.connectors.generic import family_by_structure
    from connector_bench.connectors.override import family_from_environment
    from connector_bench.connectors.unsupported import refuse

    config = getattr(model, "config", None)
    if config is None:
        raise UnsupportedModel(f"{type(model).__name__} has no config, so its family cannot be told.")
    known = (
        family_from_environment(model)
        or single(installed_families(), config)
        or single(declared_families(), config)
    )
    if known is None:
        refuse(config)
    return as_given(model, known or family_by_structure(model))


def adapter_for_model(model: Any, processor: Any = None, name: str | None = None) -> ConnectorAdapter:
    """The adapter for a model without the harness.

    Args:
        model: a zoo model, or a transformers model in evaluation mode.
        processor: its processor or image processor; needed for transformers models.
        name: name under which results are filed, the checkpoint's unless told.

    Raises:
        UnsupportedModel: saying why the model cannot be measured.
    """
    special = special_for(model)
    if special is not None:
        return special.make(model, name or type(model).__name__)
    inner = unwrapped(model)
    family = family_of(inner)
    return _adapter(
        model, family, processor_feed(processor, family), filed_name(inner, name or name_of(None, inner))
    )


def adapter_for(lm: Any) -> ConnectorAdapter:
    """The adapter for the model inside an lmms-eval wrapper, with that wrapper's preprocessing.

    Args:
        lm: the wrapper object, duck-typed.

    Raises:
        UnsupportedModel: saying why the model cannot be measured.
    """
    held = held_model(lm)
    model = unwrapped(held)
    special = special_for(model)
    if special is not None:
        return special.make(model, name_of(lm, model))
    from connector_bench.connectors.through_wrapper import WrapperAdapter, WrapperFeed

    family, prepared, name = family_of(model), preparation_of(lm), filed_name(model, name_of(lm, model))
    if prepared is not None and not family.through_wrapper:
        feed: Feed = processor_feed(processor_of(lm), family, prepared.picture, prepared.options)
        return _adapter(held, family, feed, name)
    alone = family.run is not None or hasattr(model, "get_image_features")
    if alone and not family.through_wrapper:
        return _adapter(held, family, WrapperFeed(lm, model), name)
    return WrapperAdapter(lm, model, family, name)


def special_for(model: Any) -> Special | None:
    """The registered special adapter that accepts this object, or None."""
    return next((special for special in _SPECIAL.values() if special.matches(model)), None)


def held_model(lm: Any) -> Any:
    """The wrapper's model; the zoo's is no `nn.Module` with a config, so special adapters are asked first."""
    held = getattr(lm, "_model", None)
    return held if held is not None and special_for(held) else model_of(lm)


def processor_feed(processor: Any, family: Family, picture: Any = None, options: Any = None) -> ProcessorFeed:
    """How a processor prepares pictures for a family. UnsupportedModel where there is no processor."""
    if processor is None:
        raise UnsupportedModel(
            f"A {'/'.join(family.model_types)} model needs its processor to prepare pictures, "
            "and none was given or found."
        )
    if family.image_processor_alone:
        processor = image_half(processor)
    feed = ProcessorFeed(
        processor, {**family.options, **(options or {})}, nested=family.nested, prompted=family.prompted
    )
    return feed if picture is None else replace(feed, picture=picture)


def _adapter(model: Any, family: Family, feed: Feed, name: str) -> ConnectorAdapter:
    from connector_bench.connectors.transformers_adapter import TransformersAdapter

    return TransformersAdapter(model, family, feed, name)
