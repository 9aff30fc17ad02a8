"""Frozen values of what predicts answers across connectors: each connector left out, and lines fixed beforehand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from connector_bench.stats.intervals import Score


@dataclass(frozen=True)
class LeftOutPair:
    """One figure as the predictor of one score: each connector by the line through all others."""

    predictor: str
    """`task: figure`, or one of the baselines by its own name."""
    target: str
    """`task: score`."""
    baseline: bool
    """Whether the predictor is known without measuring what the connector loses."""
    r2: Score
    """1 less the squared errors over those of the constant prediction: the mean of all other connectors. 0 is no better
    than that, below 0 is worse."""
    rank: Score
    """Spearman's correlation of predicted and true scores."""
    mean_absolute_error: float
    """In the score's unit."""
    p: float
    """Family-wise: how often the best of *all* pairs reaches this R2 once scores are permuted among connectors."""
    lowest: float
    """The least R2 with one connector taken away, which is `lowest_without`."""
    lowest_without: str


@dataclass(frozen=True)
class LeftOutPrediction:
    """Every figure of a connector as the predictor of every score, over the same trained connectors."""

    connectors: tuple[str, ...]
    pairs: tuple[LeftOutPair, ...]
    constant_errors: Mapping[str, float]
    """Mean absolute error of the constant prediction, by target."""
    permutations: int
    seed: int
    best_by_chance: float
    """R2 that the best of all pairs exceeds in one of twenty permutations."""
    left_out: tuple[str, ...]
    """Which connectors and figures are not among these, and why."""


@dataclass(frozen=True)
class PredictedConnector:
    """One connector's score as a line that was fixed beforehand has it, and as it came out."""

    connector: str
    predicted: float
    true: float
    seeds: int


@dataclass(frozen=True)
class FixedTarget:
    """One score, predicted by a line that was fixed before its connectors were measured."""

    target: str
    intercept: float
    slope: float
    predicted: tuple[PredictedConnector, ...]
    """The connectors that were to be predicted, those that are measured."""
    chosen_on: tuple[PredictedConnector, ...]
    """The connectors that the line was chosen on, each by the line through the others: no prediction beforehand."""
    r2_against_chosen: Score | None
    """Against the mean of the connectors that the line was chosen on; None where not all of them are measured,
    or fewer than two were predicted."""
    r2_against_own_mean: Score | None
    """Against the mean of the predicted connectors, which nobody knew beforehand; None of fewer than two."""
    rank: Score | None
    mean_absolute_error: float | None
    r2_left_out: float | None
    """Of those that the line was chosen on, as the results have it; None where not all of them are measured."""
    r2_left_out_in_file: float


@dataclass(frozen=True)
class FixedPrediction:
    """A predictor with its lines, fixed beforehand, held against what was measured since."""

    fixed_on: str
    predictor: str
    chosen_among: str
    aim: float
    targets: tuple[FixedTarget, ...]
    missing: tuple[str, ...]
    """Connectors that were to be predicted and are not in the results, or lack the predictor or a score."""
    neither: tuple[str, ...]
    """Trained connectors of the results that the file names nowhere; they are not scored."""

    @property
    def reached(self) -> bool | None:
        """Whether R2 is the aim at least for every target, against either mean; None while a connector is missing."""
        found = [r2 for one in self.targets for r2 in (one.r2_against_chosen, one.r2_against_own_mean)]
        if self.missing or None in found:
            return None
        return all(r2 is not None and r2.value >= self.aim for r2 in found)
