"""A model's fingerprint: hooks on its layers while the drawn pictures pass, one at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from connector_bench.atomic_files import write_atomically
from connector_bench.connectors.base import ConnectorAdapter, UnsupportedModel
from connector_bench.connectors.hooks import first_tensor
from connector_bench.connectors.transformers_adapter import TransformersAdapter, connector_paths
from connector_bench.environment import environment
from connector_bench.fingerprint.drawn_pictures import drawn_pictures
from connector_bench.fingerprint.fingerprint_file import MARKS, FingerprintFile, Stage, StageValues
from connector_bench.pictures import picture_hash

if TYPE_CHECKING:
    from torch import Tensor, nn

    from connector_bench.types import TokenLayout

KEPT = 32
"""Values of a layer's pooled and first token that are kept; of the connector's both sides all are."""
DIGITS = 7
MARKED = (0, 3, 4)
"""Numbers of the pictures whose tokens are marked one by one: a square, a wide and a tall one."""


def write_fingerprint(adapter: ConnectorAdapter, path: Path) -> None:
    """Write an adapter's fingerprint. UnsupportedModel where it runs no model of transformers."""
    if not isinstance(adapter, TransformersAdapter):
        raise UnsupportedModel(f"{adapter.info.model} is no model of transformers, whose stages are known")
    write_atomically(path, fingerprint_of(adapter).model_dump_json(exclude_none=True).encode())


def fingerprint_of(adapter: TransformersAdapter) -> FingerprintFile:
    """The fingerprint of a model, its tokens where its family claims them. Raises what the model raises."""
    info, claiming = adapter.info, adapter.claiming  # else the check of places would pass its pictures too
    found: dict[str, tuple[str | None, list[StageValues]]] = {}
    pictures = drawn_pictures()
    for number, picture in enumerate(pictures):
        for name, module, values in _stages(claiming, picture, marked=number in MARKED):
            found.setdefault(name, (module, []))[1].append(values)
    whole = {name: stage for name, stage in found.items() if len(stage[1]) == len(pictures)}
    made_with = environment()
    return FingerprintFile(
        schema_version=1,
        model=info.model,
        dtype=info.dtype,
        versions=made_with["versions"],
        hardware=made_with["hardware"],
        pictures=[picture_hash(picture) for picture in pictures],
        stages=[Stage(name=name, module=module, pictures=values) for name, (module, values) in whole.items()],
    )


def _stages(
    adapter: TransformersAdapter, picture: Any, *, marked: bool
) -> Iterator[tuple[str, str | None, StageValues]]:
    prepared = adapter.prepare([("picture", picture)])
    with _outputs_of_layers(adapter) as seen:
        batch = adapter.run(prepared, untrained=False)
    pixels = _pixels(prepared.inputs[0].inputs)
    if pixels is not None:
        yield "inputs", None, stage_values([pixels], kept=KEPT)
    for number, (path, tensors) in enumerate(seen.items()):
        name = "embeddings" if number == 0 else f"layer {number}"
        yield name, path or None, stage_values(tensors, kept=KEPT)
    (layout,) = batch.layouts
    paths = connector_paths(adapter.model, adapter.family)
    sides: dict[str, Tensor | None] = {
        "pre": batch.pre,
        "pre_normed": batch.pre_normed,
        "post": batch.post,
    }
    for branch, chain in enumerate(paths):
        for side, tokens in sides.items():
            if tokens is not None:
                width = tokens.shape[1] // len(paths)
                own = tokens[:, branch * width : (branch + 1) * width]
                name = f"{side} of branch {branch}" if branch else side
                module = chain[-1] if side == "post" else None
                yield name, module, stage_values([own], marked=marked, grid=_grid(layout, side))


@contextmanager
def _outputs_of_layers(adapter: TransformersAdapter) -> Iterator[dict[str, list[Tensor]]]:
    """By path, in the order in which they run, what layers gave; under no path what the first of them received."""
    seen: dict[str, list[Tensor]] = {}
    handles = []

    def before(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        received = args[0] if args else next(iter(kwargs.values()))
        if not seen or list(seen) == [""]:
            seen.setdefault("", []).append(first_tensor(received).detach())

    def after(path: str) -> Any:
        def note(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            seen.setdefault(path, []).append(first_tensor(output).detach())

        return note

    try:
        for path, layer in layers(adapter).items():
            handles.append(layer.register_forward_pre_hook(before, with_kwargs=True))
            handles.append(layer.register_forward_hook(after(path)))
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def layers(adapter: TransformersAdapter) -> dict[str, nn.Module]:
    """The members of the model's outermost lists of modules outside the connector, by path."""
    from torch import nn

    connector = [path for chain in connector_paths(adapter.model, adapter.family) for path in chain]
    connector += [path.removeprefix("model.") for path in connector]
    lists: list[str] = []
    for path, module in adapter.model.named_modules():
        inside = any(path == outer or path.startswith(f"{outer}.") for outer in (*connector, *lists))
        holds_connector = any(one.startswith(f"{path}.") for one in connector)
        if isinstance(module, nn.ModuleList) and not inside and not holds_connector:
            lists.append(path)
    return {
        f"{path}.{name}": layer
        for path in lists
        for name, layer in adapter.model.get_submodule(path).named_children()
    }


def stage_values(
    tensors: list[Tensor],
    *,
    kept: int | None = None,
    marked: bool = False,
    grid: tuple[int, int] | None = None,
) -> StageValues:
    """What is kept of a stage's tokens; several calls' lie end to end. `kept` values of a token, all unless told."""
    import torch

    width = tensors[0].shape[-1]
    tokens = torch.cat([tensor.reshape(-1, width).double().cpu() for tensor in tensors])
    return StageValues(
        rows=len(tokens),
        width=width,
        rms=_short(tokens.square().mean().sqrt()),
        pooled=[_short(value) for value in tokens.mean(0)[:kept].tolist()],
        first=[_short(value) for value in tokens[0][:kept].tolist()],
        marks=_marks(tokens) if marked else None,
        grid=grid,
    )


def _marks(tokens: Tensor) -> list[list[float]]:
    import torch

    places = torch.arange(tokens.shape[1])
    signs = torch.stack([1.0 - 2.0 * ((places >> bit) & 1) for bit in range(MARKS)], dim=1).double()
    return [[_short(mark) for mark in one] for one in (tokens @ signs / tokens.shape[1] ** 0.5).tolist()]


def _short(value: Any) -> float:
    return float(f"{float(value):.{DIGITS}g}")


def _grid(layout: TokenLayout, side: str) -> tuple[int, int] | None:
    if len(layout.tiles) > 1:
        return None
    return layout.tiles[0].post_grid if side == "post" else layout.tiles[0].pre_grid


def _pixels(inputs: Any) -> Tensor | None:
    """What the processor made of the picture."""
    values = inputs.get("pixel_values")
    if hasattr(values, "is_floating_point"):
        return values.float()
    return None
