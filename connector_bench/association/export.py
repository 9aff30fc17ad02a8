"""An analysis as JSON (every figure) and its joined tables as CSV (every document)."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

from connector_bench.association.values import AcrossConnectors, Analysis, JoinedTable, Tested

if TYPE_CHECKING:
    import pandas as pd

SCHEMA_VERSION = 1
DIGITS = 6


def as_json(analysis: Analysis) -> str:
    """Every figure with its interval, p-value and adjusted p-value; numbers to six digits, NaN as null.

    Figures of connectors as a whole stand once, under `connectors`, and not again under every correlation. Each entry
    of a list has a line of its own, so that a committed file shows what changed.
    """
    content = {
        "schema_version": SCHEMA_VERSION,
        "settings": _plain(analysis.settings),
        "versions": dict(analysis.versions),
        "joins": [_join(table) for table in analysis.tables],
        "pairs": _plain(analysis.pairs),
        "grounded": _plain(analysis.grounded),
        "connectors": _connectors(analysis),
        "across": [_across(found) for found in analysis.across],
        "contrasts": _plain(analysis.contrasts),
        **_predictions(analysis),
        "skipped": _plain(analysis.skipped),
    }
    return "{\n" + ",\n".join(f"{_line(key)}: {_lines(value)}" for key, value in content.items()) + "\n}\n"


def _lines(value: Any) -> str:
    if not isinstance(value, list) or not value:
        return _line(value)
    return "[\n " + ",\n ".join(_line(item) for item in value) + "\n]"


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def as_table(analysis: Analysis) -> pd.DataFrame:
    """The joined tables below each other, a row a document of a scored task."""
    import pandas as pd

    frames = [
        pd.DataFrame(
            {
                "model": table.model,
                "connector_task": table.connector_task,
                "score_task": table.score_task,
                "doc_id": table.documents,
                "image": table.images,
                **table.losses,
                **table.baselines,
                **table.scores,
            }
        )
        for table in analysis.tables
    ]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def _join(table: JoinedTable) -> dict[str, Any]:
    return {
        "model": table.model,
        "connector_task": table.connector_task,
        "score_task": table.score_task,
        "identity": table.identity,
        "documents": len(table.documents),
        "images": len(set(table.images)),
        "unit": table.unit,
        "draws": len(set(table.clusters)),
        "notes": list(table.notes),
    }


def _connectors(analysis: Analysis) -> list[dict[str, Any]]:
    models: dict[tuple[str, str], dict[str, dict[str, float | None]]] = {}
    for found in analysis.across:
        names = f"{found.connector_task}: {found.loss}", f"{found.score_task}: {found.score}"
        for point in found.points:
            held = models.setdefault((point.connector, point.group), {})
            for seed in point.seeds:
                figures = held.setdefault(seed.model, {})
                figures |= dict(zip(names, (_rounded(seed.loss), _rounded(seed.score)), strict=True))
    return [
        {"connector": connector, "group": group, "models": held}
        for (connector, group), held in models.items()
    ]


def _across(found: AcrossConnectors) -> dict[str, Any]:
    """Method and chance are the same for all correlations and stand in the documentation."""
    return {
        "connector_task": found.connector_task,
        "loss": found.loss,
        "score_task": found.score_task,
        "score": found.score,
        "spearman": {
            name: {
                key: value for key, value in _plain(correlation).items() if key not in ("method", "chance")
            }
            for name, correlation in found.correlations.items()
            if correlation is not None
        },
        "refusals": dict(found.refusals),
        "sensitivity": None if found.sensitivity is None else _plain(found.sensitivity),
    }


def _predictions(analysis: Analysis) -> dict[str, Any]:
    """What predicts answers, a line a pair; method and chance of the R2 are the same for all of them."""
    content: dict[str, Any] = {}
    if analysis.left_out is not None:
        found = _plain(analysis.left_out)
        pairs = found.pop("pairs")
        for pair in pairs:
            for figure in ("r2", "rank"):
                pair[figure] = {key: pair[figure][key] for key in ("value", "low", "high")}
        content |= {"left_out_prediction": found, "left_out_pairs": pairs}
    if analysis.fixed is not None:
        content["fixed_prediction"] = _plain(analysis.fixed) | {"reached": analysis.fixed.reached}
    return content


def _plain(value: Any) -> Any:
    if isinstance(value, Tested):
        return {
            **_plain(value.score),
            "p": _rounded(value.p),
            "q": _rounded(value.q),
            "significant": value.significant,
        }
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return _rounded(value) if isinstance(value, float) else value


def _rounded(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(f"{value:.{DIGITS}g}")
