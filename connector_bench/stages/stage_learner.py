"""The readers of a run: tokens of training scenes gathered on all ranks, both sides fitted on one, handed to all."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from connector_bench.processes import first_rank_takes_in_turn
from connector_bench.progress import doing
from connector_bench.reconstruction.folds import Ledger, fold_of, image_key, validation_share
from connector_bench.reconstruction.precision import with_room
from connector_bench.stages.reader_fit import SideReaders
from connector_bench.stages.scene_questions import QuestionAlone, StageQuestion, Vocabulary
from connector_bench.stages.stage_options import StageConfig
from connector_bench.stages.token_shelf import kept_tokens

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from connector_bench.types import TokenBatch

SIDES = ("pre", "post")


@dataclass(frozen=True, eq=False)
class StageReaders:
    """Readers of both sides, and what the question alone says."""

    sides: Mapping[str, SideReaders]
    alone: QuestionAlone
    training_images: Ledger
    validation_images: int

    def to(self, device: torch.device) -> StageReaders:
        """The same on a device."""
        sides = {name: side.to(device) for name, side in self.sides.items()}
        return StageReaders(sides, self.alone, self.training_images, self.validation_images)

    def described(self) -> dict[str, Any]:
        """By side and reader: sizes, and how the training went."""
        return {
            f"{reader}_{side}": found
            for side, one in self.sides.items()
            for reader, found in one.described().items()
        }


@dataclass
class Gathered:
    """Kept tokens of one rank's training images, on the host."""

    tokens: dict[str, tuple[Tensor, Tensor]]
    device: str = "cpu"
    """Where the model ran."""


class ReaderLearner:
    """Takes training scenes and ends in readers of both sides.

    `questions` gives the questions about each training document; pictures that several documents show have all of them.
    """

    def __init__(self, config: StageConfig, questions: Sequence[Sequence[StageQuestion]]) -> None:
        self.config, self._questions = config, questions
        self.readers: StageReaders | None = None
        self.failure: str | None = None
        """Why there are no readers after `fit`."""
        self.troubles: list[str] = []
        self.left_out = 0
        """Training images that were not learnt from because they are test images too."""
        self.unreadable = 0
        self._allowed: set[str] = set()
        self._gathered = Gathered({})
        self._asked: dict[str, list[StageQuestion]] = {}

    def begin(
        self, images: Mapping[str, Sequence[int]], held_out: Collection[str], unreadable: int = 0
    ) -> None:
        """Say what will come: the training images of all ranks with their documents, and the test images.

        `unreadable` counts the training documents whose picture could not be read.
        """
        self.unreadable = unreadable
        self._allowed = set(images) - set(held_out)
        self.left_out = len(images) - len(self._allowed)
        self._asked = {
            image: [one for number in images[image] for one in self._questions[number]]
            for image in self._allowed
        }

    def refuse(self, images: Collection[str]) -> None:
        """Nothing to note: what gave no tokens was not gathered."""

    def wants(self, image: str) -> bool:
        """Whether this training image is still to be learnt from."""
        return bool(self._asked.get(image)) and image not in self._gathered.tokens

    def wants_untrained(self, image: str) -> bool:
        """Never: untrained copies are not read."""
        del image
        return False

    def learn(self, batch: TokenBatch) -> None:
        """Keep some training images' tokens of both sides."""
        self._gathered.device = batch.pre.device.type
        pre, post = kept_tokens(batch.pre).cpu(), kept_tokens(batch.post).cpu()
        for name, before, after in zip(batch.images, batch.pre_rows, batch.post_rows, strict=True):
            self._gathered.tokens[name] = pre[before].clone(), post[after].clone()

    def fit(self) -> None:
        """Fit on what all ranks have gathered; every rank has the readers afterwards, or knows why there are none."""
        try:
            self.readers = first_rank_takes_in_turn(self._gathered, self._fitted, doing)
        except Exception as error:
            self.failure = f"no reader could be fitted: {error}"
        finally:
            self._gathered = Gathered({})

    def _fitted(self, parts: Iterator[Gathered]) -> StageReaders:
        import torch

        tokens: dict[str, tuple[Tensor, Tensor]] = {}
        device = "cpu"
        for part in parts:
            tokens |= part.tokens
            device = part.device if part.tokens else device
        images = sorted(tokens, key=image_key)
        if len(images) < 2:
            raise ValueError(
                f"{len(images)} training scenes gave tokens and are no test scenes; two are needed at least"
            )
        share = validation_share(images, self.config.validation)
        validates = [fold_of(image, share) == "validation" for image in images]
        asked = [self._asked[image] for image in images]
        training = [one for group, held in zip(asked, validates, strict=True) if not held for one in group]
        validation = [one for group, held in zip(asked, validates, strict=True) if held for one in group]
        alone = QuestionAlone.fit(Vocabulary.of(training), training, validation)
        where = torch.device(device if device in ("cpu", "cuda") else "cpu")
        sides = {
            side: with_room(
                f"readers of {side}",
                lambda there, place=place: SideReaders.fit(  # type: ignore[misc]
                    [tokens[image][place] for image in images],
                    asked,
                    validates,
                    alone,
                    self.config.schedules,
                    there,
                ),
                where,
                self.troubles,
            )
            for place, side in enumerate(SIDES)
        }
        return StageReaders(sides, alone, Ledger.of(images), sum(validates)).to(torch.device("cpu"))
