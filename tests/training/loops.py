"""Small trainings with everything in them that a measurement could disturb, their losses to the last bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import transformers as hf
from PIL import Image
from torch import Tensor, nn

from tests import tiny_vlms

PIXELS, TOKENS, WIDTH = 48, 16, 12


class Tower(nn.Module):
    """A frozen encoder that is left in training mode, with dropout and running statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(PIXELS, WIDTH)
        self.norm = nn.BatchNorm1d(TOKENS)
        self.drop = nn.Dropout(0.3)

    def forward(self, x: Tensor) -> Tensor:
        return self.drop(self.norm(self.embed(x).tanh()))


class Connector(nn.Module):
    """With BatchNorm, dropout, a power iteration in a buffer, and a draw from numpy."""

    def __init__(self, draws: bool) -> None:
        super().__init__()
        self.draws = draws
        self.up = nn.utils.parametrizations.spectral_norm(nn.Linear(WIDTH, 20))
        self.norm = nn.BatchNorm1d(TOKENS)
        self.drop = nn.Dropout(0.2)
        self.out = nn.Linear(20, 20)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        noise = float(np.random.normal()) * 0.01 if self.draws else 0.0
        return self.out(self.drop(self.norm(self.up(x)).relu())) + noise


class Net(nn.Module):
    def __init__(self, draws: bool = True) -> None:
        super().__init__()
        self.tower, self.connector, self.head = Tower(), Connector(draws), nn.Linear(20, 5)
        self.tower.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.connector(self.tower(x)).mean(1))


def images(n: int = 40, seed: int = 7) -> Tensor:
    return torch.randn(n, TOKENS, PIXELS, generator=torch.Generator().manual_seed(seed))


def plain_loop(
    steps: int,
    between: Callable[[int, Net], None] = lambda step, net: None,
    wrap: Callable[[Net], Any] = lambda net: net,
    draws: bool = True,
) -> tuple[list[str], dict[str, Tensor]]:
    """Losses of two micro-batches a step under bf16 autocast, and the state at the end.

    `between` is called where it can do most harm: inside autocast, behind the forward pass and before the backward one.
    """
    torch.manual_seed(0)
    np.random.seed(0)
    net = Net(draws).train()
    model = wrap(net)
    optimiser = torch.optim.AdamW(net.parameters(), lr=0.01)
    losses = []
    for step in range(1, steps + 1):
        for _ in range(2):
            x, y = torch.randn(8, TOKENS, PIXELS), torch.randint(5, (8,))
            with torch.autocast("cpu", torch.bfloat16):
                loss = nn.functional.cross_entropy(model(x), y)
                between(step, net)
            loss.backward()
            losses.append(loss.item().hex())
        optimiser.step()
        optimiser.zero_grad()
    return losses, net.state_dict()


def same_bits(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def pictures(n: int, seed: int = 0) -> list[Image.Image]:
    """Smooth pictures of several colours, so that neighbours mean something."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 255, (n, 4, 4, 3), dtype=np.uint8)
    return [Image.fromarray(one).resize((56, 56), Image.Resampling.BICUBIC) for one in coarse]


def llava() -> tuple[Any, Any]:
    """A tiny LLaVA that drops attention in tower and language model while it trains."""
    model, processor = tiny_vlms.make("llava")
    for module in model.modules():
        for name in ("attention_dropout", "dropout"):
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.2)
    return model.train(), processor


def conversations(processor: Any, n: int = 16) -> list[dict[str, Tensor]]:
    rows = []
    for number, picture in enumerate(pictures(n, seed=1)):
        row = processor(text=f"<image>\nwhat is it? {number % 7}", images=picture, return_tensors="pt")
        given = {name: row[name][0] for name in ("input_ids", "attention_mask", "pixel_values")}
        rows.append({**given, "labels": given["input_ids"].clone()})
    return rows


def stacked(rows: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}


class RecordingTrainer(hf.Trainer):
    """Keeps the loss of each micro-batch to the last bit; what it logs is rounded."""

    def training_step(self, *args: Any, **options: Any) -> Tensor:
        loss = super().training_step(*args, **options)
        self.losses = [*getattr(self, "losses", []), loss.item().hex()]
        return loss


def trainer(folder: Any, callbacks: list[Any] | None = None, steps: int = 8, **more: Any) -> RecordingTrainer:
    """Of a tiny LLaVA whose tower and language model are frozen, as in LLaVA's first stage, unless `more` says."""
    model, processor = llava()
    model.requires_grad_(False)
    model.model.multi_modal_projector.requires_grad_(True)
    settings: dict[str, Any] = {
        "max_steps": steps,
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 2,
        "learning_rate": 3e-3,
        "report_to": [],
        "use_cpu": True,
        "save_strategy": "no",
        "disable_tqdm": True,
        "logging_strategy": "no",
        "seed": 3,
        **more,
    }
    return RecordingTrainer(
        model=model,
        args=hf.TrainingArguments(str(folder), **settings),
        train_dataset=conversations(processor),
        data_collator=stacked,
        processing_class=processor,
        callbacks=callbacks,
    )
