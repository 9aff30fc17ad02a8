"""Questions that two readers and a model answer: shares, what they differ by, and errors inside an answer's mask."""

from __future__ import annotations

import math

import numpy as np
from scipy import special

from benchmarks.coverage.setting import Outcome, Outcomes, Setting
from connector_bench.reconstruction.figures import mask_scores
from connector_bench.stages.stage_figures import (
    MODEL,
    RIGHT,
    ReadQuestion,
    model_scores,
    of_kind,
    stage_scores,
)

KIND = "count"
SHARED = 0.7
"""Correlation of who answers a question: some are hard for all."""


def asked(right: np.ndarray) -> list[ReadQuestion]:
    """A question a scene, which the readers of both sides answer as the first two rows say."""
    return [
        ReadQuestion(
            kind=KIND,
            image=str(scene),
            majority=scene % 4 == 0,
            right={"attention pre": pre, "attention post": post, "linear pre": pre, "linear post": post},
            bits=dict.fromkeys(("attention pre", "attention post", "linear pre", "linear post"), 1.0),
            alone=2.0,
        )
        for scene, (pre, post) in enumerate(right[:2].T)
    ]


def of_stages(n: int, pre: float, post: float, model: float) -> Setting:
    def draw(rng: np.random.Generator, _: int) -> Outcomes:
        hard = math.sqrt(SHARED) * rng.normal(size=n) + math.sqrt(1 - SHARED) * rng.normal(size=(3, n))
        right = (hard < special.ndtri(np.array([[pre], [post], [model]]))).astype(float)
        found = stage_scores(asked(right), [KIND])
        read = {"pre": right[0], "post": right[1]}
        found |= model_scores(right[2], read, [str(scene) for scene in range(n)], KIND, None)
        names = ("acc_pre", "acc_post", "lost_encoder", "lost_connector", RIGHT, MODEL)
        return {name: Outcome.of(found[of_kind(name, KIND)]) for name in names}

    truth = {
        "acc_pre": pre,
        "acc_post": post,
        "lost_encoder": 1 - pre,
        "lost_connector": pre - post,
        RIGHT: model,
        MODEL: post - model,
    }
    name = f"{n} scenes, {pre:g} read before, {post:g} after, {model:g} answered"
    return Setting("stages", name, draw, lambda: truth, more=4)


def of_mask(n: int, spread: float) -> Setting:
    """Two questions about each picture, whose errors are log-normal."""

    def draw(rng: np.random.Generator, _: int) -> Outcomes:
        errors = rng.lognormal(0, spread, n).repeat(2) * rng.lognormal(0, 0.2, 2 * n)
        rows = {number: {"loss_inside": float(error)} for number, error in enumerate(errors)}
        found = mask_scores(rows, {number: str(number // 2) for number in rows})
        return {"loss_inside": Outcome.of(found["loss_inside"])}

    mean = math.exp((spread**2 + 0.2**2) / 2)
    name = f"{n} images, errors of spread {spread:g}"
    return Setting("masks", name, draw, lambda: {"loss_inside": mean}, more=4)
