"""Scenes without pictures, whose answers are known: nine places, an object in each, its vector as the place's token."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from connector_bench.reconstruction.probes.training_loop import Schedule
from connector_bench.stages.measured_stages import MeasuredStages
from connector_bench.stages.scene_questions import StageQuestion
from connector_bench.stages.stage_figures import StageFigures
from connector_bench.stages.stage_learner import ReaderLearner
from connector_bench.stages.stage_options import StageConfig
from connector_bench.types import Tile, TokenBatch, TokenLayout

NAMES = ("red apple", "pear", "plum", "fig")
ROWS = ("top", "middle", "bottom")
PLACES = tuple(f"{row} {column}" for row in ROWS for column in ("left", "centre", "right"))
WIDTH = 16
KINDS = ("object", "number")
SCHEDULE = Schedule(epochs=14, batch_size=16, learning_rate=5e-3, warmup=0.1, patience=14)


@dataclass(frozen=True)
class Scenes:
    """`tokens` [n, 9, 16], `objects` [n, 9]."""

    tokens: Tensor
    objects: Tensor

    def questions(self, number: int) -> list[StageQuestion]:
        """What is at every place, and how many of each object there are."""
        held = [NAMES[one] for one in self.objects[number].tolist()]
        asked = [
            StageQuestion("object", f"What is at the {place}?", name)
            for place, name in zip(PLACES, held, strict=True)
        ]
        return asked + [
            StageQuestion("number", f"How many {name}s are there?", str(held.count(name))) for name in NAMES
        ]


def scenes(count: int, seed: int) -> Scenes:
    """Scenes whose objects are uniform and independent; noise of a fifth of the vectors' length."""
    drawn = torch.Generator().manual_seed(seed)
    vectors = torch.randn(len(NAMES), WIDTH, generator=torch.Generator().manual_seed(99))
    objects = torch.randint(len(NAMES), (count, len(PLACES)), generator=drawn)
    noise = torch.randn(count, len(PLACES), WIDTH, generator=drawn)
    return Scenes(vectors[objects] + 0.2 * noise, objects)


def batch_of(names: Sequence[str], pre: Tensor, post: Tensor) -> TokenBatch:
    """Images end to end."""
    layout = TokenLayout((Tile((3, 3), None),), post.shape[1])
    return TokenBatch(tuple(names), (layout,) * len(names), pre.flatten(0, 1), post.flatten(0, 1))


def measured(
    connector: Callable[[Tensor], Tensor],
    *,
    encoder: Callable[[Tensor], Tensor] = lambda tokens: tokens,
    training: int = 320,
    tested: int = 100,
) -> StageFigures:
    """What the measure says of a connector, through learner and measure as a run calls them."""
    known, asked = scenes(training, 1), scenes(tested, 2)
    config = StageConfig(KINDS, attention=SCHEDULE, linear=SCHEDULE)
    learner = ReaderLearner(config, [known.questions(number) for number in range(training)])
    names = [f"training-{number}" for number in range(training)]
    tests = [f"test-{number}" for number in range(tested)]
    learner.begin({name: [number] for number, name in enumerate(names)}, tests)
    pre = encoder(known.tokens)
    for part in torch.arange(training).split(50):
        learner.learn(batch_of([names[i] for i in part], pre[part], connector(pre[part])))
    learner.fit()
    assert learner.failure is None, learner.failure
    questions = [one for number in range(tested) for one in asked.questions(number)]
    per_scene = len(questions) // tested
    measure = MeasuredStages(learner, question_of=questions.__getitem__)
    measure.begin(
        {name: list(range(number * per_scene, (number + 1) * per_scene)) for number, name in enumerate(tests)}
    )
    pre = encoder(asked.tokens)
    measure.update(batch_of(tests, pre, connector(pre)))
    return measure.finish()
