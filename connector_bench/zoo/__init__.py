"""The zoo: small vision-language models that differ in the connector alone, and the scenes they are asked
about.

``load("mlp", seed=0)`` gives a trained ``ZooModel``; ``connector_bench.zoo.scenes.load("test")`` gives
scenes. Importing this package imports nothing heavy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from connector_bench.zoo.model import ZooModel

__all__ = ["load"]


def load(connector: str, seed: int = 0) -> ZooModel:
    """A trained zoo model. See ``connector_bench.zoo.shipped.load`` for the errors."""
    from connector_bench.zoo.shipped import load as load_weights

    return load_weights(connector, seed)
