"""What is known of one connector's trained weights."""

import json
from pathlib import Path

from connector_bench.zoo.shipped import Card, find_weights


def read_card(connector: str, seed: int = 0, folder: Path | None = None) -> Card:
    """The card beside the weights that `find_weights` finds."""
    return Card(**json.loads(find_weights(connector, seed, folder).with_suffix(".json").read_text()))
