"""The adapter for models of transformers: a family's declaration, with hooks around the vision pass."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from connector_bench.connectors.base import ConnectorAdapter, Prepared, UnsupportedModel
from connector_bench.connectors.coloured import coloured_picture
from connector_bench.connectors.execution import (
    dtype_of,
    fetchable,
    gathering,
    input_device,
    on_device,
    refuse_shared_out,
    run_gathered,
    unwrapped,
)
from connector_bench.connectors.family import Family
from connector_bench.connectors.feeding import Fed, Feed, Preparer
from connector_bench.connectors.fresh import fresh_weights, refuse_fresh
from connector_bench.connectors.given import said_of_given
from connector_bench.connectors.hooks import Calls, Tapped, recording
from connector_bench.connectors.laying_out import LayingOut
from connector_bench.connectors.modules import expand, find
from connector_bench.connectors.place_check import PlaceCheck, check_places
from connector_bench.connectors.resolution import resolution_of
from connector_bench.connectors.rewriting import Changed, Located, Rewritten, rewriting
from connector_bench.connectors.untrained import CannotCopy, UntrainedCopy
from connector_bench.connectors.weights import (
    count_parameters,
    gathered,
    keeps_flat,
    precision,
    weights_sha256,
)
from connector_bench.types import ConnectorInfo, TokenBatch

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image
    from torch import nn


class TransformersAdapter(ConnectorAdapter):
    """Runs vision tower and connector of one transformers model; the language model never runs.

    Args:
        model: a model in evaluation mode, on any device and in any precision, also as torch.compile, PEFT, DDP or
            FSDP wrap it.
        family: where its connector is and how its tokens lie.
        feed: its preprocessing.
        name: name under which results are filed.

    Raises:
        UnsupportedModel: a declared module is missing, or its weights
            were missing from the checkpoint (see `fresh`).
    """

    _checks_places = True

    def __init__(self, model: nn.Module, family: Family, feed: Feed, name: str) -> None:
        refuse_shared_out(model)
        self._gathering, model = gathering(model), unwrapped(model)
        if model.training:
            raise ValueError(
                f"{name} is in training mode, where dropout changes features; call model.eval() first"
            )
        self.model, self.family, self.feed, self.name = model, family, feed, name
        self._chains = connector_paths(model, family)
        self._tapped = [self._tap(chain) for chain in self._chains]
        self._run = family.run or get_image_features
        self._fresh = self._fresh_weights()

    def _tap(self, chain: tuple[str, ...]) -> Tapped:
        modules = tuple(find(self.model, path) for path in chain)
        norm = find(modules[0], self.family.leading_norm) if self.family.leading_norm else None
        source = self.family.pre_output_of
        path = source(self.model.config) if callable(source) else source
        return Tapped(
            modules,
            norm,
            self.family.pre_argument,
            self.family.grid_argument,
            find(self.model, path) if path else None,
            self.family.joined,
            between_modules=self.family.between_modules,
        )

    def _fresh_weights(self) -> tuple[str, ...]:
        """What a record says of weights that no checkpoint gave. UnsupportedModel where they are not allowed."""
        return refuse_fresh(self.name, fresh_weights(self.model, self._modules))

    @property
    def _modules(self) -> dict[str, nn.Module]:
        """The connector's modules by path."""
        paths = dict.fromkeys(path for chain in self._chains for path in chain)
        return {path: find(self.model, path) for path in paths}

    def add_untrained(self, seeds: Sequence[int]) -> str | None:
        """From now on pairs also carry what untrained copies of the connector give.

        Returns why they cannot, where the connector's weights cannot be drawn anew (quantised, offloaded, sharded) or
        the model does something between two of its modules that copies cannot repeat; else None.
        """
        if keeps_flat(self._gathering):
            return "its weights lie in FSDP's flat parameters"
        plain = self._tapped
        learnt = self.family.learnt_arguments
        try:
            self._tapped = [
                replace(tap, copies=tuple(UntrainedCopy.of(tap.modules, seed, learnt) for seed in seeds))
                for tap in plain
            ]
            if any(len(tap.modules) > 1 for tap in plain):
                self.capture([coloured_picture(224, 224)])
        except CannotCopy as why:
            self._tapped = plain
            return str(why)
        return None

    @property
    def device(self) -> torch.device:
        """Where the model takes its inputs."""
        return input_device(self.model)

    @property
    def claiming(self) -> TransformersAdapter:
        """The same without untrained copies; its layouts are what the family says, also where that is refuted."""
        other = copy.copy(self)
        other._tapped = self._without_copies
        other._checks_places = False
        return other

    def word_embeddings(self, most: int, seed: int) -> np.ndarray | None:
        """What its embedding of words makes of token ids, with whatever that scales them by."""
        import torch

        try:
            words: Any = self.model.get_input_embeddings()  # type: ignore[operator]
        except (AttributeError, NotImplementedError):
            return None
        weight = getattr(words, "weight", None)
        if self._gathering is not None or weight is None or weight.ndim != 2 or weight.is_meta:
            return None
        ids = np.random.default_rng(seed).permutation(len(weight))[:most]
        try:
            with torch.inference_mode():
                found = words(torch.from_numpy(ids).to(weight.device))
        except Exception:  # a layer of another kind, which takes no ids
            return None
        return np.asarray(found.float().cpu().numpy()) if found.ndim == 2 else None

    @cached_property
    def place_check(self) -> PlaceCheck:
        """What planted patches say of the family's places; the model runs on some pictures on first use."""
        from connector_bench.connectors.registry import declared_families

        return check_places(self.claiming, self.name, any(self.family is one for one in declared_families()))

    @cached_property
    def info(self) -> ConnectorInfo:
        """The connector that is measured; trying its places and hashing its weights takes a moment on first use."""
        check = self.place_check
        with gathered(self._gathering):
            modules = list(self._modules.values())
            return ConnectorInfo(
                model=self.name,
                family=getattr(self.model.config, "model_type", type(self.model).__name__),
                connector=self.family.connector,
                modules=tuple(self._modules),
                parameters=count_parameters(modules),
                dtype=precision(modules, dtype_of(self.model)),
                weights_sha256=weights_sha256(modules),
                resolution=resolution_of(self.feed.image_processor, self.feed.options),
                assumptions=(*self.family.assumptions, *self._fresh, *said_of_given(self.model)),
                places=check.phrase,
                planted_found=check.found,
                remarks=self.family.remarks,
            )

    @property
    def prepares_ahead(self) -> bool:  # type: ignore[override]
        """Whether pictures can be prepared in other threads while the model runs."""
        return self.feed.ahead

    def prepare(self, images: Sequence[tuple[str, Image]]) -> Prepared:
        """Named pictures as model inputs, on the CPU; several parts where the model takes one picture a call.

        Raises:
            ValueError: a picture is not RGB.
        """
        prepared = self._preparer()(images)
        inputs = [replace(fed, inputs=fetchable(self.model, fed.inputs)) for fed in prepared.inputs]
        return replace(prepared, inputs=inputs)

    @cached_property
    def preparer(self) -> Preparer | None:
        """What `prepare` does but for memory that a graphics card can fetch from."""
        return self._preparer() if self.feed.ahead else None

    def _preparer(self) -> Preparer:
        alone = self.family.one_at_a_time or self.feed.one_at_a_time
        return Preparer(self.feed, alone, dtype_of(self.model))

    def run(self, prepared: Prepared, *, untrained: bool = True) -> TokenBatch:
        """One batch through vision tower and connector, and through the untrained copies where they are wanted.

        Raises:
            ValueError: tokens and layout do not fit each other.
        """
        tapped = self._tapped if untrained else self._without_copies
        batch = TokenBatch.end_to_end([self._tokens(fed, tapped) for fed in prepared.inputs])
        batch = replace(batch, images=prepared.images)
        return self.place_check.applied(batch) if self._checks_places else batch

    def located(self, image: Image) -> Located:
        """A picture's tokens, and where they stand in what the connector's modules take and give.

        Raises what `prepare` and `run` raise.
        """
        (given,) = self.prepare([("picture", image)]).inputs
        fed, calls = self._called(given, self._without_copies)
        tokens = self._laid_out(fed, calls)
        laying_out = self._laying_out
        (where,) = laying_out.placements(fed, calls[0])
        widths = tuple(laying_out.last(seen.pre[0]).shape[-1] // laying_out.folded for seen in calls)
        seen = calls[0]
        counts = (
            sum(tensor.numel() // widths[0] for tensor in seen.pre),
            sum(tensor.numel() // tensor.shape[-1] for tensor in seen.post[: len(seen.pre)]),
        )
        return Located(
            self.place_check.applied(tokens) if self._checks_places else tokens,
            where.pre_rows,
            where.post_rows,
            counts,
            (widths, tuple(seen.post[0].shape[-1] for seen in calls)),
        )

    def rewriting(self, pictures: Sequence[Rewritten]) -> AbstractContextManager[Changed]:
        """While it lasts, these pictures' tokens are changed as they pass the connector."""
        return rewriting(
            self._without_copies,
            pictures,
            channels_first=self.family.channels_first,
            folded=self._laying_out.folded,
        )

    @property
    def _without_copies(self) -> list[Tapped]:
        return [replace(tap, copies=()) for tap in self._tapped]

    def _tokens(self, fed: Any, tapped: Sequence[Tapped]) -> TokenBatch:
        return self._laid_out(*self._called(fed, tapped))

    def _called(self, given: Any, tapped: Sequence[Tapped]) -> tuple[Fed, Sequence[Calls]]:
        """The vision pass: what the model was fed, and what its connector saw."""
        import torch

        # FSDP keeps versions of its tensors, which inference mode forbids
        without_gradients = torch.inference_mode() if self._gathering is None else torch.no_grad()
        with without_gradients, recording(tapped) as calls:
            self._vision_pass(given)
        return given, calls

    def _vision_pass(self, fed: Fed) -> None:
        inputs = on_device(self.model, fed.inputs)
        if self._gathering is not None:
            run_gathered(self._gathering, self.model, self._run, inputs)
        else:
            self._run(self.model, inputs)

    def _laid_out(self, fed: Fed, calls: Sequence[Calls]) -> TokenBatch:
        if any(not seen.pre or not seen.post for seen in calls):
            raise UnsupportedModel(
                f"The vision pass of {self.name} did not call its connector {self._chains}."
            )
        return self._laying_out.tokens(fed, calls)

    @property
    def _laying_out(self) -> LayingOut:
        return LayingOut(self.model, self.family, self.feed.image_processor)


def connector_paths(model: nn.Module, family: Family) -> tuple[tuple[str, ...], ...]:
    """Module paths of the connector's parallel chains, the main one first."""
    branches = [(path,) for pattern in family.parallel for path in expand(model, pattern)]
    return (family.modules, *(branch for branch in branches if branch != family.modules))


def get_image_features(model: nn.Module, inputs: Mapping[str, Any]) -> Any:
    """The model's own `get_image_features`, with those inputs that it takes.

    The inner model's method is preferred: the outer one may hide an argument behind `**kwargs` (LLaVA's
    `image_sizes`, without which Pixtral reads padding as picture).

    Raises:
        UnsupportedModel: the model has no such method.
    """
    for owner in (getattr(model, "model", None), model):
        method = getattr(owner, "get_image_features", None)
        if method is not None:
            accepted = inspect.signature(method).parameters
            return method(**{name: value for name, value in inputs.items() if name in accepted})
    raise UnsupportedModel(
        f"{type(model).__name__} has no get_image_features, so its vision pass cannot run alone."
    )
