"""From what a user holds to an adapter: a model, a pair of bare modules, a checkpoint's name, captured tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from connector_bench.api.spoken import require_name, say
from connector_bench.captured.replayed import CapturedAdapter, TokenSource
from connector_bench.connectors import ConnectorAdapter, UnsupportedModel, adapter_for_model
from connector_bench.connectors.bare import TRIAL_SIZE, BareAdapter
from connector_bench.connectors.execution import unwrapped
from connector_bench.connectors.registry import special_for
from connector_bench.connectors.stated_grid import GivenGrid


def adapter_of(
    model: Any,
    processor: Any = None,
    grid: GivenGrid = None,
    name: str | None = None,
    picture_size: tuple[int, int] = TRIAL_SIZE,
) -> ConnectorAdapter:
    """The adapter of a model, of `(encoder, connector)`, of a checkpoint by its name, or of an adapter itself.

    Raises:
        TypeError: a name that is no text.
        ValueError: naming what arrived and what is allowed; as UnsupportedModel for a model without a connector.

    Warns:
        UserWarning: bare modules in training mode, where dropout and batch norms change features.
    """
    if name is not None:
        require_name(name)
    if isinstance(model, (tuple, list)):
        if len(model) != 2:
            raise ValueError(f"bare modules come as (encoder, connector), got {len(model)} parts")
        encoder, connector = model
        bare = BareAdapter(encoder, connector, processor, grid, name, picture_size)
        if training := bare.in_training_mode:
            verb = "is" if len(training) == 1 else "are"
            say(
                [
                    f"{' and '.join(training)} {verb} in training mode, where dropout and batch norms change features; "
                    "call .eval() first"
                ]
            )
        return bare
    if grid is not None:
        raise ValueError("grid= is for bare modules (encoder, connector); a model's own layout is known")
    if isinstance(model, ConnectorAdapter):
        return model
    if isinstance(model, (str, Path)):
        from connector_bench.connectors.alone import load_alone

        return load_alone(str(model), processor=processor)
    if special_for(model) is None and getattr(unwrapped(model), "config", None) is None:
        raise UnsupportedModel(
            f"{type(model).__name__} has no config, so it is no model of transformers whose connector could be found; "
            "give bare modules as (encoder, connector), with processor= and grid="
        )
    return adapter_for_model(model, processor, name)


def adapter_of_tokens(source: TokenSource) -> ConnectorAdapter:
    """Captured tokens in the model's stead."""
    return CapturedAdapter(source)
