"""The readers of one side: fitted on training scenes, chosen on validation scenes, asked about others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from connector_bench.reconstruction.probes.training_loop import (
    Schedule,
    TrainingRecord,
    build_seeded,
    train,
)
from connector_bench.stages.belief import believed_bits, shares_by_kind
from connector_bench.stages.readers import AttentionReader, LinearReader, ReaderShape
from connector_bench.stages.scene_questions import QuestionAlone, StageQuestion, Vocabulary
from connector_bench.stages.token_shelf import Coordinates, PaddedTokens, kept_tokens

READERS: dict[str, Callable[[ReaderShape], nn.Module]] = {
    "attention": AttentionReader,
    "linear": LinearReader,
}
AT_ONCE = 64
"""Images whose questions are answered together."""


@dataclass(frozen=True, eq=False)
class AskedImages:
    """Images' tokens beside the questions about them, on one device."""

    images: PaddedTokens
    questions: Int[Tensor, "n q l"]
    answers: Int[Tensor, "n q"]
    """-1 where an image has fewer questions than others, or training does not know the answer."""

    @classmethod
    def of(
        cls,
        tokens: Sequence[Float[Tensor, "n r"]],
        questions: Sequence[Sequence[StageQuestion]],
        vocabulary: Vocabulary,
    ) -> AskedImages:
        """Of tokens in a reader's coordinates, and all questions about each image."""
        device = tokens[0].device
        encoded = vocabulary.encoded([one for group in questions for one in group])
        shape = len(questions), max(1, *(len(group) for group in questions))
        words = np.zeros((*shape, encoded.words.shape[1]), dtype=np.int64)
        answers = np.full(shape, -1)
        first = 0
        for row, group in enumerate(questions):
            words[row, : len(group)] = encoded.words[first : first + len(group)]
            answers[row, : len(group)] = encoded.answers[first : first + len(group)]
            first += len(group)
        return cls(
            PaddedTokens.of(tokens), torch.from_numpy(words).to(device), torch.from_numpy(answers).to(device)
        )

    def __len__(self) -> int:
        return len(self.questions)

    def scores(self, network: nn.Module, rows: Int[Tensor, " b"]) -> Float[Tensor, "b q a"]:
        """What a reader gives for some of the images."""
        images = self.images.take(rows)
        found: Tensor = network(images.tokens, self.questions[rows], images.there)
        return found

    def loss(self, network: nn.Module, rows: Int[Tensor, " b"]) -> Tensor:
        """Mean cross-entropy over the questions of some images, in nats."""
        scores = self.scores(network, rows).float()
        return F.cross_entropy(scores.flatten(0, 1), self.answers[rows].flatten(), ignore_index=-1)

    def parts(self) -> Sequence[Int[Tensor, " b"]]:
        """All images, some at a time."""
        return torch.arange(len(self), device=self.questions.device).split(AT_ONCE)


@dataclass(frozen=True, eq=False)
class ReadingSample:
    """Training and validation scenes, as the training loop takes them."""

    training: AskedImages
    validation: AskedImages

    @property
    def examples(self) -> int:
        """Number of training images."""
        return len(self.training)

    @property
    def device(self) -> torch.device:
        """Where the data lie."""
        return self.training.questions.device

    def loss(self, network: nn.Module, index: Int[Tensor, " b"]) -> Tensor:
        """Of some training images."""
        return self.training.loss(network, index)

    def validation_loss(self, network: nn.Module) -> float:
        """Of all questions of the validation scenes."""
        known = self.validation.answers >= 0
        total = 0.0
        for rows in self.validation.parts():
            total += float(self.validation.loss(network, rows)) * int(known[rows].sum())
        return total / max(1, int(known.sum()))


@dataclass(frozen=True, eq=False)
class SideReaders:
    """Everything that reads one side: coordinates, and a fitted network by reader."""

    coordinates: Coordinates
    alone: QuestionAlone
    networks: Mapping[str, nn.Module]
    trainings: Mapping[str, TrainingRecord]
    believed: Mapping[str, Mapping[str, float]]
    """By reader and kind of question, the share of its probability beside that of the question alone."""

    @classmethod
    def fit(
        cls,
        tokens: Sequence[Float[Tensor, "n m"]],
        questions: Sequence[Sequence[StageQuestion]],
        validates: Sequence[bool],
        alone: QuestionAlone,
        schedules: Mapping[str, Schedule],
        device: torch.device,
    ) -> SideReaders:
        """On kept tokens of all scenes, of which some validate, in the order given.

        The first weights depend on the schedule's seed and the sizes alone.
        """
        placed = [image.to(device) for image in tokens]
        learnt = [number for number, held in enumerate(validates) if not held]
        chosen = [number for number, held in enumerate(validates) if held]
        coordinates = Coordinates.of([placed[number] for number in learnt])
        seen = [coordinates(image) for image in placed]
        sample = ReadingSample(
            *(
                AskedImages.of(
                    [seen[number] for number in part],
                    [questions[number] for number in part],
                    alone.vocabulary,
                )
                for part in (learnt, chosen)
            )
        )
        shape = ReaderShape(
            coordinates.width,
            max(map(len, tokens)),
            len(alone.vocabulary.tokens),
            len(alone.vocabulary.answers),
        )
        validation = [one for number in chosen for one in questions[number]]
        networks, trainings, believed = {}, {}, {}
        for name, schedule in schedules.items():
            network = build_seeded(lambda build=READERS[name]: build(shape), schedule.seed)  # type: ignore[misc]
            trainings[name] = train(network, sample, schedule, graphed=False)
            networks[name] = network.requires_grad_(False)
            bits = [
                row[: len(questions[number])]
                for row, number in zip(_answered(network, sample.validation)[..., 1], chosen, strict=True)
            ]
            believed[name] = shares_by_kind(
                np.concatenate(bits), alone.bits(validation), [one.kind for one in validation]
            )
        return cls(coordinates, alone, networks, trainings, believed)

    def to(self, device: torch.device) -> SideReaders:
        """The same on a device."""
        networks = {name: network.to(device) for name, network in self.networks.items()}
        return SideReaders(self.coordinates.to(device), self.alone, networks, self.trainings, self.believed)

    @torch.no_grad()
    def read(
        self, images: Sequence[Float[Tensor, "n d"]], questions: Sequence[Sequence[StageQuestion]]
    ) -> dict[str, list[Float[np.ndarray, "q 2"]]]:
        """By reader and image: of each question whether it is answered rightly, and `-log2 p` of the right answer.

        What training does not know is answered wrongly, and has no bits (NaN). Tokens are as the connector has them.
        """
        seen = [self.coordinates(kept_tokens(image)) for image in images]
        asked = AskedImages.of(seen, questions, self.alone.vocabulary)
        alone = [self.alone.bits(group) for group in questions]
        found: dict[str, list[np.ndarray]] = {}
        for name, network in self.networks.items():
            found[name] = []
            for rows, group, own in zip(_answered(network, asked), questions, alone, strict=True):
                share = np.array([self.believed[name].get(one.kind, 1.0) for one in group])
                bits = believed_bits(rows[: len(group), 1], own, share)
                found[name].append(np.stack([rows[: len(group), 0], bits], axis=-1))
        return found

    def described(self) -> dict[str, dict[str, Any]]:
        """By reader: fitted numbers and how its training went."""
        return {
            name: {
                "parameters": sum(one.numel() for one in network.parameters()),
                "coordinates": self.coordinates.width,
                "images": self.trainings[name].examples,
                "steps": self.trainings[name].steps,
                "best_step": self.trainings[name].best_step,
                "stopped": self.trainings[name].stopped,
                "more_steps_help": self.trainings[name].more_steps_help,
                "validation_bits": self.trainings[name].best_loss / float(np.log(2)),
                "seed": self.trainings[name].seed,
                "precision": self.trainings[name].precision,
                "believed": dict(self.believed[name]),
            }
            for name, network in self.networks.items()
        }


@torch.no_grad()
def _answered(network: nn.Module, asked: AskedImages) -> Float[np.ndarray, "n q 2"]:
    """Of every question whether it is answered rightly, and `-log2 p` of the right answer, NaN where none is known."""
    known = asked.answers >= 0
    wanted = asked.answers.clamp(min=0)
    scores = torch.cat([asked.scores(network, rows) for rows in asked.parts()]).double()
    right = (scores.argmax(-1) == wanted) & known
    bits = -scores.log_softmax(-1).gather(-1, wanted[..., None])[..., 0] / np.log(2)
    found: np.ndarray = (
        torch.stack([right.double(), bits.masked_fill(~known, torch.nan)], dim=-1).cpu().numpy()
    )
    return found
