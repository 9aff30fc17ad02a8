"""One line of YAML that names the connector of a model: `{module: model.mm_projector, layout: grid}`.

It is read from the environment variable `CONNECTOR_BENCH_CONNECTOR`. Keys:

- `module`: path of the connector, or a list of paths in the order they run. Required.
- `layout`: `grid` (one square tile a picture), `grid_thw` (packed, blocks, by `image_grid_thw`),
  `image_sizes` (packed, raster, by `image_sizes`), `resampler` (no places), `auto` (by shapes; the default).
- `skip`: leading tokens of the input that are no patches, such as 1 for a CLS.
- `leading_norm`: path under the first module of the norm it begins with.
- `model_type`: apply to this `config.model_type` only.
- `through_wrapper`: feed pictures through the wrapper's own `generate_until`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from connector_bench.connectors import generic
from connector_bench.connectors.family import Family, Place
from connector_bench.connectors.places import by_grid_thw, by_image_sizes, grid

VARIABLE = "CONNECTOR_BENCH_CONNECTOR"
KEYS = ("module", "layout", "skip", "leading_norm", "model_type", "through_wrapper")
LAYOUTS = ("auto", "grid", "grid_thw", "image_sizes", "resampler")


def family_from_environment(model: Any) -> Family | None:
    """The family that the environment variable declares for this model, or None."""
    text = os.environ.get(VARIABLE, "").strip()
    if not text:
        return None
    declared = parse(text)
    wanted = declared.get("model_type")
    if wanted is not None and wanted != getattr(model.config, "model_type", None):
        return None
    return family_from(declared, getattr(model.config, "model_type", "?"))


def parse(text: str) -> dict[str, Any]:
    """The keys of one override.

    Raises:
        ValueError: it is no YAML mapping, has an unknown key, or names no module.
    """
    import yaml

    try:
        declared = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"{VARIABLE} is {text!r}, which is no YAML: {error}") from error
    if not isinstance(declared, Mapping):
        raise ValueError(
            f"{VARIABLE} is {text!r}; a mapping such as {{module: PATH, layout: grid}} is needed"
        )
    unknown = sorted(set(declared) - set(KEYS))
    if unknown:
        raise ValueError(f"{VARIABLE} has unknown keys {', '.join(unknown)}; allowed are {', '.join(KEYS)}")
    if not declared.get("module"):
        raise ValueError(f"{VARIABLE} names no module: {text!r}")
    return dict(declared)


def family_from(declared: Mapping[str, Any], model_type: str) -> Family:
    """The family that an override's keys stand for."""
    modules = declared["module"]
    layout = declared.get("layout", "auto")
    return Family(
        model_types=(model_type,),
        connector="declared by the user",
        modules=(modules,) if isinstance(modules, str) else tuple(modules),
        place=_place(layout, int(declared.get("skip", 0))),
        leading_norm=declared.get("leading_norm"),
        resamples=layout == "resampler",
        one_at_a_time=layout == "auto",
        through_wrapper=bool(declared.get("through_wrapper", False)),
        assumptions=(
            f"connector and layout are the user's: {dict(declared)}",
            *(generic.UNDECLARED if layout == "auto" else ()),
        ),
    )


def _place(layout: str, skip: int) -> Place:
    if layout not in LAYOUTS:
        raise ValueError(f"layout is {layout!r}; allowed are {', '.join(LAYOUTS)}")
    if layout == "auto":
        return generic.place
    if layout == "grid_thw":
        return by_grid_thw()
    if layout == "image_sizes":
        return by_image_sizes()
    return grid(skip_pre=skip, resampler=layout == "resampler")
