"""Loss beside answers, image by image: rank correlations, AUROCs, ends of the loss, and tests that there is nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from scipy import special

from benchmarks.coverage.setting import Outcome, Outcomes, Setting
from connector_bench.association.grounded import MEASURES, grounded_of
from connector_bench.association.pairs import pairs_of
from connector_bench.association.values import JoinedTable, Pair, Settings


def table(rng: np.random.Generator, n: int, failing: float, effect: float, questions: int) -> JoinedTable:
    """Answers that fail the more their image loses; a share of `failing` fails, exactly so without an effect.

    Inside and outside of the answer's mask as much is lost.
    """
    loss = rng.normal(size=n).repeat(questions)
    hard = rng.normal(size=n).repeat(questions) + (questions > 1) * rng.normal(size=n * questions)
    hard = effect * loss + math.sqrt(1 - effect**2) * hard / math.sqrt(1 + (questions > 1))
    failed = hard > (np.quantile(hard, 1 - failing) if effect == 0 else special.ndtri(1 - failing))
    inside, outside = MEASURES["mse"]
    parts = {side: 0.8 * loss + 0.6 * rng.normal(size=n * questions) for side in (inside, outside)}
    return JoinedTable(
        model="m",
        connector_task="c",
        score_task="s",
        identity="number",
        documents=tuple(range(len(loss))),
        images=tuple(map(str, np.arange(n).repeat(questions))),
        losses={"lost": loss, **parts},
        baselines={"entropy": 0.5 * loss + 0.9 * rng.normal(size=n).repeat(questions)},
        scores={"accuracy": 1.0 - failed},
        higher_is_better={"accuracy": True},
    )


def figures_of(pair: Pair) -> dict[str, Outcome]:
    found = {"Spearman": pair.spearman}
    if pair.partial:
        found["partial Spearman"] = pair.partial.correlation
    if pair.quartiles:
        found["quartiles' difference"] = pair.quartiles.difference
    if pair.prediction:
        found["AUROC"] = pair.prediction.auroc
        (baseline,) = pair.prediction.baselines
        found["AUROC less a baseline's"] = baseline.advantage
    outcomes = {name: Outcome.of(one) for name, one in found.items()}
    if pair.quartiles:
        outcomes["score of the quartile of least loss"] = Outcome.of(pair.quartiles.lowest)
    if pair.prediction:
        outcomes["failures of the first decile"] = Outcome.of(pair.prediction.calibration[0].failure_rate)
    return outcomes


def of_failures(n: int, failing: float, effect: float = 0.0, questions: int = 1) -> Setting:
    def draw(rng: np.random.Generator, _: int) -> Outcomes:
        drawn = table(rng, n, failing, effect, questions)
        pairs = pairs_of(drawn, Settings())[0]
        found = figures_of(next(pair for pair in pairs if pair.loss == "lost")) if pairs else {}
        for one in grounded_of(drawn, Settings()):
            found["Spearman inside the mask"] = Outcome.of(one.inside)
            found["Spearman inside less outside"] = Outcome.of(one.difference)
        return found

    def nothing() -> Mapping[str, float]:
        return {
            "Spearman": 0,
            "partial Spearman": 0,
            "quartiles' difference": 0,
            "AUROC": 0.5,
            "Spearman inside the mask": 0,
            "Spearman inside less outside": 0,
            "score of the quartile of least loss": 1 - failing,
            "failures of the first decile": failing,
        }

    asked = f", {questions} questions an image" if questions > 1 else ""
    name = f"{failing:.0%} of N = {n} fail{asked}" + (f", effect {effect:g}" if effect else "")
    return Setting("answers", name, draw, None if effect else nothing, null=effect == 0, more=4)
