"""A prediction that was written down before its connectors were measured, held against what came out."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
from jaxtyping import Float64
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    StringConstraints,
    ValidationError,
    model_validator,
)

from connector_bench.association.across import require_same_documents
from connector_bench.association.connector_means import figures_of, scores_of, seeds_of
from connector_bench.association.connectors_across import Measured
from connector_bench.association.left_out import left_out_errors, r2_left_out, r2_score, rank_score
from connector_bench.association.prediction_values import FixedPrediction, FixedTarget, PredictedConnector
from connector_bench.association.values import Settings
from connector_bench.foreign_files import first_error, read_json
from connector_bench.results.harness_files import UnusableResult
from connector_bench.stats.intervals import Score

AIM = 0.80
"""R2 from which answers count as predicted."""
LEAST_CHOSEN_ON = 3
"""Connectors that a line needs so that one can be left out."""

Name = Annotated[str, StringConstraints(min_length=1, max_length=300)]
Figure = Annotated[str, StringConstraints(max_length=300, pattern=r"^[^:]+: .+$")]
"""`task: figure`."""


class _PredictionPart(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class FixedLine(_PredictionPart):
    """`intercept + slope * predictor` is the target."""

    target: Figure
    intercept: FiniteFloat
    slope: FiniteFloat
    r2_left_out: Annotated[FiniteFloat, Field(le=1)]


class PredictionFile(_PredictionPart):
    """A predictor with a line for each target, what it was chosen on and what it is to predict."""

    fixed_on: Annotated[str, StringConstraints(pattern=r"^\d{4}-\d\d-\d\d$")]
    predictor: Figure
    chosen_among: Annotated[str, StringConstraints(min_length=1, max_length=1000)]
    chosen_on: Annotated[list[Name], Field(min_length=LEAST_CHOSEN_ON, max_length=1000)]
    lines: Annotated[list[FixedLine], Field(min_length=1, max_length=100)]
    to_be_predicted: Annotated[list[Name], Field(min_length=1, max_length=1000)]

    @model_validator(mode="after")
    def _apart(self) -> PredictionFile:
        datetime.date.fromisoformat(self.fixed_on)
        if both := sorted(set(self.chosen_on) & set(self.to_be_predicted)):
            raise ValueError(
                f"{', '.join(both)} cannot be predicted by a line that was chosen on {'them' if both[1:] else 'it'}"
            )
        for what, names in (
            ("chosen_on", self.chosen_on),
            ("to_be_predicted", self.to_be_predicted),
            ("lines", [line.target for line in self.lines]),
        ):
            if twice := next((name for name in names if names.count(name) > 1), None):
                raise ValueError(f"{what} names {twice} more than once")
        return self


def read_prediction(path: Path) -> PredictionFile:
    """A prediction's file. Raises UnusableResult, saying what is wrong with it, for anything else."""
    try:
        return PredictionFile.model_validate(read_json(path))
    except ValidationError as error:
        raise UnusableResult(f"{path} is no prediction: {first_error(error)}") from error
    except (ValueError, OSError) as error:
        raise UnusableResult(f"{path} is no prediction: {error}") from error


def held_against(file: PredictionFile, models: Sequence[Measured], settings: Settings) -> FixedPrediction:
    """The lines' predictions of the connectors that were to be predicted, and what came out.

    No connector that a line was chosen on is scored as predicted, nor one that the file does not name.

    Raises:
        UnusableResult: no trained connector has the predictor, or one of the targets, or they rest on other pictures or
            documents in one model than in another.
    """
    seeds = seeds_of(models)
    wanted = [file.predictor, *(line.target for line in file.lines)]
    for name in wanted:
        task = name.partition(": ")[0]
        have = [model for held in seeds.values() for model in held if task in model.tasks]
        if not any(name in _known(model) for model in have):
            raise UnusableResult(
                f"the prediction needs {name}, which no trained connector of the results has"
            )
        require_same_documents(task, have)
    values = {}
    for name, held in seeds.items():
        complete = [known for model in held if set(wanted) <= set(known := _known(model))]
        if complete:
            rows = np.array([[known[figure] for figure in wanted] for known in complete])
            values[name] = (rows.mean(axis=0), len(complete))
    named = {*file.chosen_on, *file.to_be_predicted}
    return FixedPrediction(
        fixed_on=file.fixed_on,
        predictor=file.predictor,
        chosen_among=file.chosen_among,
        aim=AIM,
        targets=tuple(
            _target(line, place, file, values, settings) for place, line in enumerate(file.lines, start=1)
        ),
        missing=tuple(name for name in file.to_be_predicted if name not in values),
        neither=tuple(name for name in seeds if name not in named),
    )


def _known(model: Measured) -> dict[str, float]:
    return figures_of(model) | scores_of(model)


def _target(
    line: FixedLine,
    place: int,
    file: PredictionFile,
    values: dict[str, tuple[Float64[np.ndarray, " columns"], int]],
    settings: Settings,
) -> FixedTarget:
    held = [name for name in file.to_be_predicted if name in values]
    figures, true = (np.array([values[name][0][column] for name in held]) for column in (0, place))
    predicted = line.intercept + line.slope * figures
    older = [name for name in file.chosen_on if name in values]
    older_figures, older_true = (
        np.array([values[name][0][column] for name in older]) for column in (0, place)
    )
    predicted_by_others = np.empty(0)
    if len(older) >= LEAST_CHOSEN_ON:
        errors = left_out_errors(older_figures[None], older_true[:, None])[0, :, 0]
        predicted_by_others = older_true - errors
    whole = len(older) == len(file.chosen_on)
    return FixedTarget(
        target=line.target,
        intercept=line.intercept,
        slope=line.slope,
        predicted=_connectors(held, predicted, true, values),
        chosen_on=_connectors(
            older if len(predicted_by_others) else [], predicted_by_others, older_true, values
        ),
        r2_against_chosen=_r2(predicted, true, float(older_true.mean()), settings) if whole else None,
        r2_against_own_mean=_r2(predicted, true, None, settings),
        rank=rank_score(predicted, true, settings.confidence) if len(held) > 1 else None,
        mean_absolute_error=float(np.abs(true - predicted).mean()) if held else None,
        r2_left_out=float(r2_left_out(older_figures[None], older_true[:, None])[0, 0]) if whole else None,
        r2_left_out_in_file=line.r2_left_out,
    )


def _connectors(
    names: Sequence[str],
    predicted: Float64[np.ndarray, " n"],
    true: Float64[np.ndarray, " n"],
    values: dict[str, tuple[Float64[np.ndarray, " columns"], int]],
) -> tuple[PredictedConnector, ...]:
    return tuple(
        PredictedConnector(name, float(predicted[i]), float(true[i]), values[name][1])
        for i, name in enumerate(names)
    )


def _r2(
    predicted: Float64[np.ndarray, " n"],
    true: Float64[np.ndarray, " n"],
    mean: float | None,
    settings: Settings,
) -> Score | None:
    """1 less squared errors over those of one number for all: the given mean, or their own."""

    def r2(kept: np.ndarray) -> float:
        constant = true[kept].mean() if mean is None else mean
        with np.errstate(invalid="ignore", divide="ignore"):
            return float(
                1 - np.square((true - predicted)[kept]).sum() / np.square(true[kept] - constant).sum()
            )

    everyone = np.arange(len(true))
    if len(true) < 2 or not np.isfinite(value := r2(everyone)):
        return None
    return r2_score(value, np.array([r2(everyone != place) for place in everyone]), settings.confidence)
