"""Where trained connectors and decoders lie, how they are written, and how they are read back."""

from __future__ import annotations

import json
import warnings
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from connector_bench.atomic_files import write_atomically
from connector_bench.foreign_files import first_line, read_json
from connector_bench.zoo.cache import cache_root
from connector_bench.zoo.decoder import Decoder
from connector_bench.zoo.model import ZooModel, build_parts
from connector_bench.zoo.named_connectors import canonical_name, find_factory, own_source

SHIPPED = Path(__file__).parent / "weights"


@dataclass(frozen=True)
class Card:
    """What is known of trained weights; kept beside them as JSON.

    ``fingerprint`` is the sha256 of the training scenes; accuracies are shares of right answers.
    """

    connector: str
    seed: int
    training: dict[str, Any]
    decoder: dict[str, int]
    connector_parameters: int
    scenes: str
    fingerprint: str
    versions: dict[str, str]
    accuracy: dict[str, dict[str, float]] = field(default_factory=dict)
    mean_pooled_overlap_10: float | None = None
    source_sha256: str | None = None
    """Of a class of one's own, the hash of its source (``imported_source``) when it was trained."""


def file_stem(connector: str, seed: int | str) -> str:
    """``mlp-seed0``; an import path's dots and colon are kept out of the file name."""
    return f"{canonical_name(connector).replace(':', '--').replace('.', '_')}-seed{seed}"


def user_folder() -> Path:
    """Where ``connector-bench zoo train`` writes by default."""
    return cache_root() / "zoo-weights"


def find_weights(connector: str, seed: int, folder: Path | None = None) -> Path:
    """The weight file of a connector and seed: in ``folder`` if given, else one trained here, else shipped.

    Raises:
        ValueError: unknown connector.
        FileNotFoundError: not trained for this seed; the message names the command that does.
    """
    find_factory(connector)
    stem = file_stem(connector, seed)
    folders = (folder,) if folder else (user_folder(), SHIPPED)
    candidates = [folder / f"{stem}.safetensors" for folder in folders]
    for path in candidates:
        if path.is_file():
            return path
    seeds = sorted(
        path.stem.rsplit("seed", 1)[1] for path in SHIPPED.glob(f"{stem.rsplit('seed', 1)[0]}seed*.json")
    )
    shipped = f"shipped seeds: {', '.join(seeds)}" if seeds else "none is shipped"
    raise FileNotFoundError(
        f"no weights for connector {connector!r} with seed {seed} ({shipped}); "
        f"train them with: connector-bench zoo train {connector} --seed {seed}"
    )


def read_card(weights: Path) -> Card:
    """The card beside a file of weights. ValueError naming the file where it is no card."""
    return _card(weights.with_suffix(".json"))


def _card(path: Path) -> Card:
    try:
        return Card(**read_json(path))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} is no card of trained weights: {first_line(error)}") from error


def save_weights(folder: Path, card: Card, connector: nn.Module, decoder: Decoder) -> Path:
    """Write ``<connector>-seed<seed>.safetensors`` and its card, the weights last, each in one step.

    ValueError where a weight is NaN or too large for float16.

    Parameters are kept in float16; buffers in full, since a rounded rotation would no longer be one.
    """
    from safetensors.torch import save

    folder.mkdir(parents=True, exist_ok=True)
    both = nn.ModuleDict({"connector": connector, "decoder": decoder})
    kept = {name: value.detach().half().contiguous() for name, value in both.named_parameters()}
    if bad := [name for name, value in kept.items() if not value.isfinite().all()]:
        raise ValueError(
            f"the weights of {card.connector}, seed {card.seed}, are no numbers in float16 ({', '.join(bad[:3])}); "
            "nothing was written"
        )
    kept |= {name: value.contiguous() for name, value in both.named_buffers()}
    path = folder / f"{file_stem(card.connector, card.seed)}.safetensors"
    text = json.dumps(asdict(card), indent=1) + "\n"
    write_atomically(path.with_suffix(".json"), text.encode())
    write_atomically(path, save(kept))
    return path


def load(connector: str, seed: int = 0, folder: Path | None = None) -> ZooModel:
    """A trained zoo model in float32, ready to encode, connect and answer; ``folder`` as in ``find_weights``.

    Warns where a class of one's own has been edited since it was trained: the weights are then those of other code.

    Raises:
        ValueError: unknown connector.
        FileNotFoundError: no weights for this connector and seed.
    """
    from safetensors.torch import load_file

    weights = find_weights(connector, seed, folder)
    edited = _edited_since(weights, connector)
    if edited:
        warnings.warn(
            f"the code of {connector} is not the code that it was trained with, so its weights may mean nothing here; "
            f"train it again with: connector-bench zoo train {connector} --seed {seed}",
            stacklevel=2,
        )
    stored = load_file(weights)
    module, layout, decoder = build_parts(connector, seed)
    for prefix, part in (("connector.", module), ("decoder.", decoder)):
        part.load_state_dict({k.removeprefix(prefix): v for k, v in stored.items() if k.startswith(prefix)})
    return ZooModel(connector, seed, module, layout, decoder, edited)


def _edited_since(weights: Path, connector: str) -> bool:
    """Whether a class has another source than when its weights were trained, as far as both are known."""
    if not weights.with_suffix(".json").is_file():
        return False
    then, now = read_card(weights).source_sha256, own_source(connector)
    return None not in (then, now) and then != now


def read_cards() -> list[Card]:
    """The cards of all weights found, own ones in place of shipped ones, by accuracy on the test scenes."""
    paths = {path.name: path for folder in (SHIPPED, user_folder()) for path in folder.glob("*.json")}
    cards = [_card(path) for path in paths.values()]
    return sorted(
        cards, key=lambda card: (-card.accuracy.get("test", {}).get("overall", 0.0), card.connector)
    )
