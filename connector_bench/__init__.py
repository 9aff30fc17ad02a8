"""Measures what a vision-language model's connector loses, as a plugin of lmms-eval.

`knn_preservation` compares two arrays of vectors; `measure` takes a model, its processor and pictures. Importing the
package loads nothing else.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from connector_bench._version import __version__

_LAZY = {
    "knn_preservation": "connector_bench.preservation.knn",
    "measure": "connector_bench.api",
    "ConnectorProbe": "connector_bench.training.probe",
}

__all__ = ["ConnectorProbe", "__version__", "knn_preservation", "measure"]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__} has no attribute {name!r}; it offers {', '.join(__all__)}")
    return getattr(import_module(_LAZY[name]), name)
