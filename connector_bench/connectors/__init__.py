"""Adapters that run vision tower and connector of a vision-language model, and say where its tokens lie."""

from connector_bench.connectors.base import ConnectorAdapter, UnsupportedModel
from connector_bench.connectors.registry import adapter_for, adapter_for_model, declared_families, register

__all__ = [
    "ConnectorAdapter",
    "UnsupportedModel",
    "adapter_for",
    "adapter_for_model",
    "declared_families",
    "register",
]
