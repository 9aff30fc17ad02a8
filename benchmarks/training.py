"""What a probe costs a training run: seconds of a measurement over those of the steps from one to the next.

    python -m benchmarks.training                  # small sizes on a processor, a minute
    python -m benchmarks.training --device cuda    # LLaVA-1.5-7B's first stage on one card, two minutes
    python -m benchmarks.training --tiny           # shows that it runs

On a card tower, connector and language model have LLaVA-1.5-7B's sizes (CLIP-L at 336 pixels, a perceptron, all 32
layers of the decoder), random weights and bfloat16. A step is that of its first stage: tower and language model frozen,
576 tokens of picture and 64 of text an example, gradient checkpointing, AdamW on the connector. `--layers` takes fewer
layers where a card has not the room; the step is then shorter and the ratio larger than a whole model's.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers as hf

import connector_bench as cb
from benchmarks import released
from benchmarks.findings import Finding, machine, table

EVERY, PICTURES = 500, 512
MOST = 0.02
TEXT = 64
STAGE = 2181
"""Optimiser steps of LLaVA-1.5's first stage: 558,000 pictures in batches of 256."""
SMALL = {
    "hidden_size": 256,
    "intermediate_size": 1024,
    "num_hidden_layers": 6,
    "num_attention_heads": 8,
    "image_size": 112,
    "patch_size": 14,
}


@dataclass(frozen=True)
class Sizes:
    vision: dict[str, int]
    decoder: dict[str, int]
    batch: int
    pictures: int
    steps: int


def sizes_of(options: argparse.Namespace) -> Sizes:
    if options.tiny:
        decoder = {
            "hidden_size": 48,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
        }
        tiny = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4}
        return Sizes({**tiny, "image_size": 56, "patch_size": 14}, decoder, 2, 32, 2)
    if options.device == "cpu":
        decoder = {
            "hidden_size": 512,
            "intermediate_size": 1376,
            "num_hidden_layers": 6,
            "num_attention_heads": 8,
        }
        return Sizes(SMALL, decoder, 8, PICTURES, 5)
    return Sizes(released.CLIP_L, {"num_hidden_layers": options.layers}, options.batch, PICTURES, 6)


def build(sizes: Sizes, device: str) -> tuple[Any, Any]:
    """A LLaVA whose connector alone is trained."""
    config, processor = released.llava_parts(sizes.vision, sizes.decoder)
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32 if device == "cpu" else torch.bfloat16)
    try:
        with torch.device(device):
            model = hf.LlavaForConditionalGeneration(config)
    finally:
        torch.set_default_dtype(before)
    model.requires_grad_(False)
    model.model.multi_modal_projector.requires_grad_(True)
    if device != "cpu":
        model.gradient_checkpointing_enable()
    return model.train(), processor


class Training:
    """Steps of the first stage on random pictures."""

    def __init__(self, model: Any, sizes: Sizes, device: str) -> None:
        self.model, self.device = model, device
        self.optimiser = torch.optim.AdamW(model.model.multi_modal_projector.parameters(), lr=1e-3)
        side, patch = sizes.vision["image_size"], sizes.vision["patch_size"]
        image = torch.full((sizes.batch, (side // patch) ** 2), model.config.image_token_id)
        text = torch.randint(5, 250, (sizes.batch, TEXT))
        ids = torch.cat([image, text], dim=1).to(device)
        labels = ids.clone()
        labels[:, : image.shape[1]] = -100
        dtype = next(model.parameters()).dtype
        pixels = torch.randn(sizes.batch, 3, side, side).to(device, dtype)
        self.given = {"input_ids": ids, "labels": labels, "pixel_values": pixels}

    def step(self) -> float:
        """The loss; the device is waited for."""
        loss = self.model(**self.given).loss
        loss.backward()
        self.optimiser.step()
        self.optimiser.zero_grad()
        return float(loss.item())

    def seconds(self, steps: int) -> float:
        """Median of a step, after one that warms up."""
        self.step()
        taken = []
        for _ in range(steps):
            begun = time.perf_counter()
            self.step()
            if self.device != "cpu":
                torch.cuda.synchronize()
            taken.append(time.perf_counter() - begun)
        return statistics.median(taken)


def measure(sizes: Sizes, device: str, folder: Path) -> list[Finding]:
    model, processor = build(sizes, device)
    training = Training(model, sizes, device)
    step = training.seconds(sizes.steps)
    drawn = np.random.default_rng(0).integers(0, 255, (sizes.pictures, 240, 320, 3), dtype=np.uint8)
    probe = cb.ConnectorProbe(drawn, model, processor=processor, every=1, folder=folder / "frozen")
    probe.begin()
    for number in range(1, 4):
        training.step()
        probe.step(number)
    frozen = probe.to_pandas()
    first, later = frozen["seconds"].iloc[0], float(frozen["seconds"].iloc[1:].median())
    trained = cb.ConnectorProbe(drawn, model, processor=processor, every=1, folder=folder / "trained")
    tower = next(model.model.vision_tower.parameters())
    for number in range(1, 5):
        tower.data += 0.01 * torch.randn_like(tower)
        trained.step(number)
    whole = float(trained.to_pandas()["seconds"].iloc[2:].median())
    errors = [name for one in (frozen, trained.to_pandas()) for name in one if name == "error"]
    if errors:
        raise RuntimeError(f"a step was not measured: {frozen.to_string()}")
    n = f"{sizes.pictures} pictures"
    parts = (STAGE // EVERY) * later
    return [
        Finding(f"a step of {sizes.batch} examples", step, "s"),
        Finding(f"first measurement, tower and checks of places, {n}", first, "s"),
        Finding(f"later measurement, tower frozen, {n}", later, "s"),
        Finding(f"later measurement, tower trained, {n}", whole, "s"),
        Finding(f"frozen tower: measurement over {EVERY} steps", later / (EVERY * step), "of 1", MOST),
        Finding(f"trained tower: measurement over {EVERY} steps", whole / (EVERY * step), "of 1", MOST),
        Finding(f"all of {STAGE} steps, first one included", (first + parts) / (STAGE * step), "of 1", MOST),
        same_bits(sizes, device, folder),
    ]


def same_bits(sizes: Sizes, device: str, folder: Path) -> Finding:
    """Losses of four steps with a probe and without, from the same weights and draws."""
    losses = []
    for probed in (False, True):
        model, processor = build(
            Sizes(sizes.vision, {**sizes.decoder, "num_hidden_layers": 2}, 2, 32, 1), device
        )
        for module in model.modules():
            if isinstance(getattr(module, "attention_dropout", None), float):
                module.attention_dropout = 0.1
        torch.manual_seed(1)
        training = Training(model, Sizes(sizes.vision, sizes.decoder, 2, 32, 1), device)
        drawn = np.random.default_rng(0).integers(0, 255, (32, 240, 320, 3), dtype=np.uint8)
        probe = cb.ConnectorProbe(drawn, model, processor=processor, every=1, folder=folder / "bits")
        own = []
        for number in range(1, 5):
            own.append(training.step())
            if probed:
                probe.step(number)
        losses.append(own)
    differing = sum(a != b for a, b in zip(*losses, strict=True))
    return Finding("steps whose loss the probe changed, of 4, dropout on", differing, "", most=0)


def main(arguments: Sequence[str] | None = None) -> list[Finding]:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--layers", type=int, default=32, help="layers of the language model on a card")
    parser.add_argument("--batch", type=int, default=16, help="examples of a step on a card")
    parser.add_argument("--tiny", action="store_true", help="the tests' sizes")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        found = measure(sizes_of(options), options.device, Path(folder))
    where = machine().split(";")[0] if options.device == "cpu" else torch.cuda.get_device_name()
    print(f"\n{where}; wall time\n\n{table(found)}")
    return found


if __name__ == "__main__":
    main()
