"""Frozen values of `connector-bench analyze`: the joined tables, and what the statistics say of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float64

from connector_bench.association.prediction_values import FixedPrediction, LeftOutPrediction
from connector_bench.stats.floors import GROUPS, IMAGES
from connector_bench.stats.intervals import Score
from connector_bench.stats.paired import LEVEL


@dataclass(frozen=True)
class Tested:
    """A figure with its interval, and how surprising it were without any association."""

    score: Score
    """`chance` is the value without an association: 0 for correlations and differences, 0.5 for an AUROC."""
    p: float | None
    """Two-sided, for `score.value == score.chance`; None where it has no value, and where nobody can tell."""
    q: float | None = None
    """`p` adjusted by Benjamini and Hochberg over all figures of this kind in the analysis."""

    @property
    def significant(self) -> bool:
        """Whether the adjusted p-value is at most 0.05."""
        return self.q is not None and self.q <= LEVEL


@dataclass(frozen=True)
class JoinedTable:
    """One connector task beside one scored task, a row a document of the latter; NaN where a figure is missing."""

    model: str
    connector_task: str
    score_task: str
    identity: str
    """What shows that both sides mean the same document, such as `document number and target`."""
    documents: tuple[int, ...]
    """`doc_id` in the scored task."""
    images: tuple[str, ...]
    """Hash of the picture's pixels."""
    losses: Mapping[str, Float64[np.ndarray, " n"]]
    """Higher means more lost, also where the measured figure falls: `1 - knor_10`, `lost`, `loss_inside` ..."""
    baselines: Mapping[str, Float64[np.ndarray, " n"]]
    """`mask_area` (share of the picture), `entropy` (bits), `encoder_norm`, those that were recorded."""
    scores: Mapping[str, Float64[np.ndarray, " n"]]
    """The task's own metrics, one value a document; where lower is better as `higher_is_better` says."""
    higher_is_better: Mapping[str, bool]
    notes: tuple[str, ...] = ()
    """How scores were made that lmms-eval has for whole data sets only."""
    drawn_with: tuple[str, ...] = ()
    """Which group of images each document's was drawn with, such as views of one object; empty where each was by
    itself."""

    @property
    def clusters(self) -> tuple[str, ...]:
        """What is an independent draw, a document: its image, or the group that this was drawn with."""
        return self.drawn_with or self.images

    @property
    def unit(self) -> str:
        """What such draws are called."""
        return GROUPS if self.drawn_with else IMAGES


@dataclass(frozen=True)
class Partial:
    """Rank correlation with other properties of the image or the mask held fixed."""

    controls: tuple[str, ...]
    correlation: Tested


@dataclass(frozen=True)
class Quartiles:
    """Mean score of the documents with the least and with the most loss."""

    lowest: Score
    highest: Score
    difference: Tested
    """Highest minus lowest: negative where more loss goes with a lower score."""


@dataclass(frozen=True)
class BaselinePrediction:
    """How well something simpler than the loss predicts the same failures."""

    name: str
    larger_fails: bool
    """Which end was found to fail; the AUROC is of that direction, so it is 0.5 at least: in the baseline's favour."""
    auroc: Tested
    advantage: Tested
    """AUROC of the loss minus that of the baseline, paired."""


@dataclass(frozen=True)
class CalibrationBin:
    """Documents of similar loss."""

    low: float
    high: float
    mean_loss: float
    documents: int
    failure_rate: Score


@dataclass(frozen=True)
class Prediction:
    """Loss as a predictor of failure."""

    failure: str
    """What counts as a failure, such as `score < 0.5`."""
    failures: int
    auroc: Tested
    baselines: tuple[BaselinePrediction, ...]
    calibration: tuple[CalibrationBin, ...]
    """By deciles of the loss, fewer where many documents share one loss; lowest loss first."""


@dataclass(frozen=True)
class Pair:
    """One loss figure beside one score of one model."""

    model: str
    connector_task: str
    score_task: str
    loss: str
    score: str
    documents: int
    images: int
    spearman: Tested
    partial: Partial | None
    quartiles: Quartiles | None
    prediction: Prediction | None
    notes: tuple[str, ...] = ()
    """Why a figure is missing."""
    unit: str = IMAGES
    """What intervals and p-values are over."""
    draws: int | None = None
    """How many of them there are; None where they are the images."""


@dataclass(frozen=True)
class Grounded:
    """Loss inside and outside the answer mask beside one score, as in figure 5 of arXiv 2509.11986."""

    model: str
    connector_task: str
    score_task: str
    score: str
    measure: Literal["mse", "norm", "cosine"]
    documents: int
    images: int
    inside: Tested
    """Spearman's correlation of the score with the loss inside the mask."""
    outside: Tested
    inside_partial: Partial | None
    """With mask area, entropy and encoder norm held fixed, those that were recorded."""
    outside_partial: Partial | None
    difference: Tested
    """Inside minus outside, paired: negative where loss inside the mask goes more with a lower score."""
    unit: str = IMAGES
    draws: int | None = None
    """As those of a `Pair`."""


@dataclass(frozen=True)
class Skipped:
    """Something that has no figure; `refused` where both sides are there and do not belong together."""

    what: str
    why: str
    refused: bool = False


@dataclass(frozen=True)
class SeedValue:
    """One trained instance of a connector."""

    model: str
    loss: float
    score: float


@dataclass(frozen=True)
class Point:
    """One connector, drawn with the spread of its seeds."""

    connector: str
    group: Literal["trained", "isometry", "untrained"]
    seeds: tuple[SeedValue, ...]
    loss: float
    """Mean over the seeds, as is `score`."""
    score: float


@dataclass(frozen=True)
class LeaveOneOut:
    """A correlation without one connector."""

    left_out: str
    value: float


@dataclass(frozen=True)
class Part:
    """A correlation over some of the trained connectors."""

    connectors: tuple[str, ...]
    value: float
    p: float | None
    """Exact, over all orders of the connectors; None where they are too many."""


@dataclass(frozen=True)
class Sensitivity:
    """What the correlation over trained connectors leans on."""

    lowest: LeaveOneOut
    """Of the correlations with one connector left out, each in turn."""
    highest: LeaveOneOut
    parts: Mapping[str, Part]
    """By what the connectors have in common, such as `among the 49-token grids`."""


@dataclass(frozen=True)
class Contrast:
    """Two losses beside one score, over the same trained connectors."""

    score_task: str
    score: str
    connector_tasks: tuple[str, str]
    losses: tuple[str, str]
    difference: Tested
    """Spearman's correlation of the first loss with the score less that of the second.

    The p-value is that of all exchanges, or of as many random ones as its method says."""


@dataclass(frozen=True)
class AcrossConnectors:
    """One loss figure beside one score, a point a connector."""

    connector_task: str
    loss: str
    score_task: str
    score: str
    data_sets: frozenset[str]
    """Names of the data that the scored task reads, and the connector task too, or pictures of the same drawings."""
    points: tuple[Point, ...]
    correlations: Mapping[str, Tested | None]
    """Spearman's correlation by subset (`trained`, `trained and isometries`, `all`); None where a subset is too small
    for a claim."""
    refusals: Mapping[str, str]
    """Why a subset has no correlation, or one without interval and p-value."""
    sensitivity: Sensitivity | None = None
    """Of the trained connectors; None where they are too few."""


@dataclass(frozen=True)
class Settings:
    """What the analysis was asked to do, so that it can be repeated."""

    seed: int = 0
    confidence: float = 0.95
    failure_below: float = 0.5
    """Scores within 0..1 below this are failures; other scores fail at or below their median."""


@dataclass(frozen=True)
class Analysis:
    """The outcome of `connector-bench analyze`."""

    settings: Settings
    versions: Mapping[str, str]
    tables: tuple[JoinedTable, ...]
    pairs: tuple[Pair, ...]
    """In the order of the tables, losses and scores."""
    grounded: tuple[Grounded, ...]
    across: tuple[AcrossConnectors, ...]
    skipped: tuple[Skipped, ...]
    contrasts: tuple[Contrast, ...] = ()
    left_out: LeftOutPrediction | None = None
    """What predicts answers across connectors; None of too few of them."""
    fixed: FixedPrediction | None = None
    """A prediction that was fixed beforehand, where one was given."""
