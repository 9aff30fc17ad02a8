"""The frozen encoder's tokens of a whole split, computed once and kept in the cache folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float16
from tqdm import tqdm

from connector_bench.zoo.cache import cache_root, new_folder
from connector_bench.zoo.splits import VERSION, Fingerprint, Split, make_scene

ENCODER_BATCH = 8
Features = Float16[np.ndarray, "n 196 112"]


def features_folder(split: Split) -> Path:
    """Where a split's tokens lie."""
    return cache_root() / f"scenes-v{VERSION}" / f"features-{split.name}-{split.scenes}"


def build_features(split: Split, folder: Path) -> None:
    """Write the tokens (float16 [n, 196, 112]), the kinds, questions and answers, and the fingerprint."""
    from connector_bench.zoo.encoder import D_PRE, TOKENS, load_encoder, normalise

    encoder = load_encoder()
    shape = (split.scenes, TOKENS, D_PRE)
    tokens = np.lib.format.open_memmap(folder / "tokens.npy", mode="w+", dtype=np.float16, shape=shape)
    questions: list[list[list[str]]] = []
    fingerprint = Fingerprint()
    starts = range(0, split.scenes, ENCODER_BATCH)
    for start in tqdm(starts, desc=f"encoding {split.name}", unit="batch", mininterval=2):
        made = [make_scene(split, i) for i in range(start, min(start + ENCODER_BATCH, split.scenes))]
        pixels = torch.from_numpy(np.stack([scene.image for scene, _ in made]))
        tokens[start : start + len(made)] = encoder(normalise(pixels)).numpy()
        for scene, asked in made:
            fingerprint.add(scene, asked)
        questions += [[[q.kind, q.question, q.answer] for q in asked] for _, asked in made]
    tokens.flush()
    (folder / "fingerprint").write_text(fingerprint.hex(), encoding="utf-8")
    (folder / "questions.json").write_text(json.dumps(questions), encoding="utf-8")


def features_fingerprint(split: Split) -> str:
    """sha256 of the scenes whose tokens are cached; equals ``scenes.fingerprint``.

    Raises:
        FileNotFoundError: the tokens were not computed yet.
    """
    return (features_folder(split) / "fingerprint").read_text(encoding="utf-8")


def load_features(split: Split) -> tuple[Features, list[list[list[str]]]]:
    """Tokens (memory-mapped) and questions of every scene, computed on first use: about 40 ms a scene."""
    folder = features_folder(split)
    if not folder.is_dir():
        with new_folder(folder) as unfinished:
            build_features(split, unfinished)
    questions: Any = json.loads((folder / "questions.json").read_text(encoding="utf-8"))
    return np.load(folder / "tokens.npy", mmap_mode="r"), questions
