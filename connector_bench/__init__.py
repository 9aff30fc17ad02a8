"""Measures what a vision-language model's connector loses, as a plugin of lmms-eval.

`capture` takes what enters and what leaves a connector, `measure` gives the figures of the tasks, `knn_preservation`
and `reconstruct` take arrays. docs/API.md says how. Importing the package loads nothing else.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from connector_bench._version import __version__

_LAZY = {
    "ConnectorProbe": "connector_bench.training.probe",
    "PreservationOptions": "connector_bench.preservation.options",
    "ReconstructionConfig": "connector_bench.reconstruction.config",
    "Result": "connector_bench.api.result",
    "Tokens": "connector_bench.api.tokens",
    "capture": "connector_bench.api.capturing",
    "knn_preservation": "connector_bench.api.overlap_of_vectors",
    "measure": "connector_bench.api.both_measures",
    "reconstruct": "connector_bench.api.both_measures",
}

__all__ = ["__version__", *_LAZY]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__} has no attribute {name!r}; it offers {', '.join(__all__)}")
    return getattr(import_module(_LAZY[name]), name)
