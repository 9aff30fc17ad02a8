"""Fitted probes from their stored weights and description, as `FittedProbes.save` writes them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from connector_bench.reconstruction.cells import CellShape
from connector_bench.reconstruction.probes.attention_fit import AttentionFit
from connector_bench.reconstruction.probes.attention_probe import AttentionProbe, AttentionShape
from connector_bench.reconstruction.probes.cell_fit import CellProbes, CurvePoint
from connector_bench.reconstruction.probes.mlp import MLPProbe, MLPShape
from connector_bench.reconstruction.probes.ridge import Affine, RidgeFit
from connector_bench.reconstruction.probes.training_loop import TrainingRecord


def cell_name(shape: CellShape) -> str:
    """Begins the names of the weights of a cell shape's probes."""
    return f"cell-{shape[0]}x{shape[1]}"


def load_cell(described: Mapping[str, Any], weights: Mapping[str, Tensor]) -> CellProbes:
    """The probes of one cell shape."""
    head = cell_name(tuple(described["shape"]))
    ridge, record, curve = _load_fit(described, f"{head}.ridge", weights)
    mlp = MLPProbe(MLPShape(**described["architecture"]))
    mlp.load_state_dict(under(f"{head}.mlp.", weights))
    return CellProbes(tuple(described["shape"]), ridge, mlp.eval(), record, curve)


def load_attention(described: Mapping[str, Any] | None, weights: Mapping[str, Tensor]) -> AttentionFit | None:
    """The attention probe, where there is one."""
    if described is None:
        return None
    ridge, record, curve = _load_fit(described, "pooled", weights)
    probe = AttentionProbe(AttentionShape(**described["architecture"]))
    probe.load_state_dict(under("attention.", weights))
    return AttentionFit(ridge, probe.eval(), record, curve)


def under(head: str, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Those whose names begin with `head`, by the rest of their names."""
    return {name[len(head) :]: tensor for name, tensor in weights.items() if name.startswith(head)}


def _load_fit(
    described: Mapping[str, Any], head: str, weights: Mapping[str, Tensor]
) -> tuple[RidgeFit, TrainingRecord, tuple[CurvePoint, ...]]:
    affine = Affine(weights[f"{head}.weight"], weights[f"{head}.bias"])
    by_penalty = dict(described["validation_r2_by_penalty"])
    losses = tuple(described["training"]["validation_losses"])
    record = TrainingRecord(**{**described["training"], "validation_losses": losses})
    curve = tuple(_load_point(point) for point in described["curve"])
    return RidgeFit(affine, described["penalty"], by_penalty), record, curve


def _load_point(values: Mapping[str, Any]) -> CurvePoint:
    errors = {name: number(error) for name, error in values["squared_error"].items()}
    total = number(values["squared_total"])
    return CurvePoint(values["fraction"], values["patches"], errors, total)


def number(value: float | None) -> float:
    """NaN for the null that stands for it in JSON."""
    return math.nan if value is None else value
