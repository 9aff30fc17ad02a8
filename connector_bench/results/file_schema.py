"""What a result file of lmms-eval and our records in it must hold, where anybody here reads them.

Checked once, when a file is read: whoever works on it afterwards finds the types that stand here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    FiniteFloat,
    StringConstraints,
    ValidationError,
)

from connector_bench.foreign_files import first_error

RECORD_KEY = "connector_bench"
GIVEN_KEY = "given_connector"
"""Under which every task's configuration says what connector the model was given in place of its checkpoint's."""
INTERVENED_KEY = "intervention"
"""Under which a task's configuration says what was done to the connector's tokens while the model answered."""

Name = Annotated[str, StringConstraints(max_length=300)]
Text = Annotated[str, StringConstraints(max_length=10_000)]
Count = Annotated[int, Field(ge=0, le=2**53)]
Number = Annotated[float, Field(strict=True)]
"""May be infinite or NaN."""


def _no_infinity(value: float) -> float:
    if math.isinf(value):
        raise ValueError("is infinite")
    return value


End = Annotated[Number, AfterValidator(_no_infinity)]
"""Of an interval; NaN where there is none."""


class _FilePart(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)


class _Score(_FilePart):
    value: FiniteFloat | None = None
    low: End | None = None
    high: End | None = None
    chance: FiniteFloat | None = None
    n: Count
    method: Text | None = None
    halving_gaps: list[FiniteFloat] = []


class _DrawnTogether(_FilePart):
    by: Name | None = None
    groups: Count
    most: Count
    worth: FiniteFloat
    sha256: Name


class _Connector(_FilePart):
    model: Name
    family: Name
    connector: Name
    parameters: Count
    dtype: Name | None = None
    modules: list[Name] = []
    weights_sha256: Name | None
    assumptions: list[Text] = []
    places: Text | None = None
    planted_found: FiniteFloat | None = None


class _Curve(_FilePart):
    fractions: list[FiniteFloat] = []
    patches: list[Count] = []
    r2: dict[Name, list[FiniteFloat]] = {}
    best: Name | None = None


class _CurvePoint(_Score):
    value: FiniteFloat
    k: Count


class _Fit(_FilePart):
    at: Count
    extrapolated: _Score | None = None


class _GalleryCurve(_FilePart):
    fixed_k: list[_CurvePoint] = []
    fixed_share: list[_CurvePoint] = []
    fit: _Fit | None = None


class _ControlGallery(_FilePart):
    scores: dict[Name, _Score] = {}


class _ReadOptions(_FilePart):
    """Those of a measure's options that a reader asks for by name."""

    kinds: list[Name] | None = None
    reference: Name | None = None
    distance: Name | None = None
    pooling: Name | None = None
    tap: Name | None = None


class _Probe(_FilePart):
    parameters: Count | None = None
    patches_seen: Count | None = None


class _Controls(_FilePart):
    closed_form_r2: dict[Name, FiniteFloat] = {}


class _LabelColumn(_FilePart):
    classes: Count | None = None
    most: FiniteFloat | None = None


class _Record(_FilePart):
    measure: Name | None = None
    protocol: Name | None = None
    error: Text = ""
    versions: dict[Name, Name | None] | None = None
    threads: Count | None = None
    hardware: Name | None = None
    connector: _Connector | None = None
    options: dict[Name, Any] | None = None
    read_options: _ReadOptions | None = Field(default=None, validation_alias="options")
    n_images: Count | None = None
    tokens_per_image: dict[Name, list[Count]] | None = None
    images_sha256: Name | None = None
    train_images: Count | None = None
    train_sha256: Name | None = None
    pre_width: Count | None = None
    post_width: Count | None = None
    scores: dict[Name, _Score] = {}
    at_control_gallery: _ControlGallery | None = None
    gallery_curve: _GalleryCurve | None = None
    read_worse_before: list[Name] | None = None
    drawn_together: _DrawnTogether | None = None
    labels: dict[Name, _LabelColumn] = {}
    curve: list[FiniteFloat] = []
    probes: dict[Name, _Probe] | None = None
    best_probe: Name | None = None
    learning_curve: _Curve | None = None
    untrained_seeds: list[Count] | None = None
    n_documents: Count | None = None
    artefacts: Text | None = None
    more_data_helps: bool | None = None
    controls: _Controls | None = None
    unreadable: dict[Name, Text] | None = None


def _of_ours(metadata: Any) -> Any:
    """Other tasks keep what they like under `metadata`."""
    return metadata.get(RECORD_KEY) or None if isinstance(metadata, Mapping) else None


class _GivenConnector(_FilePart):
    label: Name
    source: Name | None = None
    module: Name | None = None


class _Intervention(_FilePart):
    said: Name
    kind: Name


class _Config(_FilePart):
    given_connector: _GivenConnector | None = None
    intervention: _Intervention | None = None
    dataset_path: Text | None = None
    dataset_name: Text | None = None
    dataset_kwargs: dict[Name, Any] | None = None
    test_split: Name | None = None
    validation_split: Name | None = None
    metadata: Annotated[_Record | None, BeforeValidator(_of_ours)] = None


class _Samples(_FilePart):
    effective: Count | None = None


class _Command(_FilePart):
    model: Text | None = None
    model_args: Text | dict[Name, Any] | None = None
    gen_kwargs: Text | dict[Name, Any] | None = None
    limit: Number | None = None


class _ResultFile(_FilePart):
    config: _Command
    results: dict[Name, dict[Name, Any]]
    configs: dict[Name, _Config] | None = None
    versions: dict[Name, Any] | None = None
    task_hashes: dict[Name, Name] | None = None
    higher_is_better: dict[Name, dict[Name, bool | None]] | None = None
    n_samples: dict[Name, _Samples] | None = Field(default=None, alias="n-samples")
    date: Name = ""
    lmms_eval_version: Name | None = None
    total_evaluation_time_seconds: Annotated[FiniteFloat, Field(strict=False)] | None = None


def require_result(content: Any) -> None:
    """Raise ValueError naming the first place that does not hold what it should, and what stands there instead."""
    try:
        _ResultFile.model_validate(content)
    except ValidationError as error:
        raise ValueError(first_error(error)) from None
