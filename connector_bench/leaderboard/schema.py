"""What the leaderboard keeps of a run: one small, validated, versioned JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    FiniteFloat,
    PlainSerializer,
    field_validator,
    model_validator,
)

from connector_bench.metrics import Measure
from connector_bench.protocol import respelled

SCHEMA_VERSION: Literal[2] = 2
OVERLAP = "knor_10"
"""The overlap whose values and halvings a board keeps."""

Name = Annotated[str, Field(min_length=1, max_length=300)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


def _numbers(given: Any) -> Any:
    return tuple(map(float, given.split())) if isinstance(given, str) else given


def _line(values: tuple[float, ...]) -> str:
    return " ".join(f"{value:.{DIGITS}g}" for value in values)


DIGITS = 4
"""Significant digits of the numbers in `Numbers`: their rounding is far below what images differ by."""

Numbers = Annotated[
    tuple[FiniteFloat, ...], BeforeValidator(_numbers), PlainSerializer(_line, when_used="json")
]
"""Many numbers, in JSON one line of them between spaces. Numbers of images stand in the order of the images' hashes."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class Figure(_Frozen):
    """One metric of one task, with what is known of its uncertainty."""

    value: FiniteFloat
    low: FiniteFloat | None = None
    high: FiniteFloat | None = None
    method: str | None = None
    """How the interval was made, or why there is none; without it only lmms-eval's standard error is known."""
    stderr: FiniteFloat | None = None
    n: int | None = Field(default=None, ge=1)
    """How many images or documents the figure rests on, where that is not the task's own N."""
    k: int | None = Field(default=None, ge=1)
    """Size of the neighbourhood, for figures of neighbours."""
    chance: FiniteFloat | None = None
    p: float | None = Field(default=None, ge=0, le=1)
    """How surprising the figure is if nothing is wrong, of a control whose figure varies by chance."""
    higher_is_better: bool | None = None
    """None where neither is better: controls and descriptions."""

    @property
    def refused(self) -> bool:
        """Whether the run says why there is no interval."""
        return self.low is None and self.method is not None


class Comparable(_Frozen):
    """What two results of one task must share to stand in one column; None is what a run did not record."""

    n: int = Field(ge=1)
    """Images of a connector task, documents of any other."""
    images_sha256: Sha256 | None = None
    train_sha256: Sha256 | None = None
    """The images that the probes were trained on."""
    documents_sha256: Sha256 | None = None
    """Documents and their targets, of a task that is not ours and ran with `--log_samples`."""
    protocol: str | None = None
    """Version of the measurement protocol; None for a task that is not ours."""
    options: dict[str, Any] = Field(default_factory=dict)
    version: str | None = None
    """lmms-eval's version of the task."""

    @field_validator("options")
    @classmethod
    def _today(cls, options: dict[str, Any]) -> dict[str, Any]:
        return respelled(options)[0]


class ProbeBudget(_Frozen):
    """What the probes of patch reconstruction were given, so that lost is not under-trained."""

    train_images: int | None = Field(default=None, ge=1)
    best_probe: Name | None = None
    more_data_helps: bool | None = None
    """Whether the learning curve of the best probe still rose at its end."""
    probes: dict[Name, dict[Name, FiniteFloat | int | str | bool | None]] = Field(default_factory=dict)
    """By probe: its parameters, patches seen, and what else the run recorded of it."""


class StoredLossMap(_Frozen):
    """Where one picture's patches were lost: the best probe's normalised error, row by row."""

    image: Sha256
    why: str
    """Why this picture was chosen: `most lossy`, `least lossy` or `spread`."""
    rows: int = Field(ge=1)
    columns: int = Field(ge=1)
    values: Numbers
    """`rows * columns` numbers: 0 rebuilt whole, 1 what the mean patch misses on average, below 0 where no patch is."""
    picture: str | None = Field(default=None, pattern="^pictures/[0-9a-f]{64}[.]webp$")
    """Path below the board, where the submitter chose to publish the picture."""

    @model_validator(mode="after")
    def _complete(self) -> StoredLossMap:
        if len(self.values) != self.rows * self.columns:
            raise ValueError(f"a map of {self.rows} x {self.columns} cells has {len(self.values)} values")
        return self


class DrawnTogether(_Frozen):
    """Groups of images that were halved as one, such as views of one object."""

    by: Name | None = None
    """The column that tells them."""
    groups: int = Field(ge=1)
    worth: FiniteFloat = Field(ge=1)
    """Groups of like size that tell as much."""
    sha256: Sha256
    """Of which image is in which group."""


class TaskResult(_Frozen):
    """One task's metrics in one run."""

    measure: Measure | None = None
    """Which measure of ours this is, on whatever data set; None for any other task."""
    comparable: Comparable
    figures: dict[Name, Figure] = Field(min_length=1, max_length=500)
    per_image: dict[Literal["knor_10", "sse", "sst"], Numbers] = Field(default_factory=dict)
    """Values of the ranked metric; empty where the run had no `--log_samples`."""
    halvings: dict[Name, Numbers] = Field(default_factory=dict)
    """By metric, the figure of one half of the images less that of the other; halvings are the same in all runs that
    halved the same groups."""
    drawn_together: DrawnTogether | None = None
    """None where every image was drawn by itself."""
    probe: ProbeBudget | None = None
    loss_maps: tuple[StoredLossMap, ...] = ()

    @field_validator("halvings", mode="before")
    @classmethod
    def _of_overlap_alone(cls, value: Any) -> Any:
        """Results that were filed before other figures had halvings hold those of the overlap."""
        return value if isinstance(value, Mapping) else {OVERLAP: value} if value else {}

    @model_validator(mode="after")
    def _one_number_an_image(self) -> TaskResult:
        for name, values in self.per_image.items():
            if len(values) != self.comparable.n:
                raise ValueError(f"{name} has {len(values)} values for {self.comparable.n} images")
        return self


class Connector(_Frozen):
    """The connector whose loss was measured."""

    model: Name
    family: Name
    """`model_type` of the model, or `connector_zoo`."""
    connector: Name
    """Kind of connector in the field's words: `mlp`, `resampler`, `patch_merger` ..."""
    modules: tuple[str, ...]
    parameters: int = Field(ge=0)
    dtype: str
    weights_sha256: Sha256 | None = None
    """None where a run could not read the weights, as of some offloaded models, or had tokens alone."""
    tokens: int | None = Field(default=None, ge=0)
    """Most tokens of an image behind it; None where no run recorded them."""
    resolution: str | None = None
    """Of the vision tower in pixels, such as `336x336`, where the run recorded it."""
    assumptions: tuple[str, ...] = ()
    """What a generic adapter had to assume; empty for a known family."""
    places: str | None = Field(default=None, max_length=400)
    """What planted patches say of the tokens' places, where the run tried them."""
    planted_found: float | None = Field(default=None, ge=0, le=1)
    """Share of planted patches that were found."""


class Provenance(_Frozen):
    """Where figures come from, and the command line that gives them again."""

    date: str
    """lmms-eval's stamp, `YYYYMMDD_HHMMSS`."""
    wrapper: Name
    """lmms-eval's name of the model class, its `--model`."""
    revision: str | None = None
    command: str
    """A command line to the same figures; holds only arguments that are known to be harmless."""
    left_out: int = Field(default=0, ge=0)
    """How many model arguments of the original command are not in `command`."""
    versions: dict[Name, str | None] = Field(default_factory=dict)
    hardware: str | None = None
    threads: int | None = None
    seeds: dict[Name, int | None] = Field(default_factory=dict)


class StoredRun(_Frozen):
    """One run of lmms-eval on one model."""

    schema_version: Literal[2] = SCHEMA_VERSION
    model: Name
    """Name under which the model is filed: a hub's, the end of a folder's path, or the submitter's choice."""
    checkpoint: Annotated[str, Field(pattern="^[0-9a-f]{8}$")] | None = None
    """Tells local folders apart that end alike; None for a hub's checkpoint, a chosen name, and older runs."""
    provenance: Provenance
    connector: Connector | None = None
    tasks: dict[Name, TaskResult] = Field(min_length=1, max_length=500)
