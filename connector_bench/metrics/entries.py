"""What the catalogue says of a metric and of a control: meaning, direction, whose it is, chance, source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Measure = Literal["knn_preservation", "patch_reconstruction", "connector_stages"]
Owner = Literal["image", "question", "set"]
Family = Literal[
    "overlap",
    "reference",
    "gallery",
    "text",
    "ranks",
    "geometry",
    "sharing",
    "retrieval",
    "published",
    "probe",
    "size",
    "error",
    "answer",
    "stage",
    "baseline",
    "count",
]

BY = "_by_"
HEADLINE_K = 10
"""The number of neighbours that stands for the others, and whose labels and captions are looked at."""


@dataclass(frozen=True)
class Control:
    """A reference that is measured beside the connector on the same images; its figures are `<key>_<metric>`."""

    key: str
    label: str
    kind: Literal["oracle", "random", "untrained"]
    """`oracle`: the figure is known beforehand; `random` and `untrained` are what the connector is read against."""
    meaning: str
    keeps: Literal["all", "nothing"] | None = None
    """What its figures must say."""


@dataclass(frozen=True)
class Metric:
    """One figure. `control` and `k` are set where a concrete name asked for them."""

    name: str
    label: str
    """For a table's head."""
    meaning: str
    """One line on how to read it."""
    family: Family
    source: str
    """Where the formula is from."""
    measure: Measure | None
    """None for what is noted of a picture whatever the task."""
    of: Owner
    higher_is_better: bool | None
    chance: str | None = None
    """What nothing kept gives, as a formula in N images; None where there is no such level."""
    controls: tuple[str, ...] = ()
    loss: Literal["itself", "one minus"] | None = None
    """How the figure says what is lost: as it is, or as 1 less it."""
    loss_label: str | None = None
    """What a figure's axis calls that loss."""
    reported: bool = True
    """Whether lmms-eval lists it; what is only recorded stands in samples or in the record's scores."""
    neighbours: bool = False
    """Whether an image also counts as another's neighbour, so that images are not drawn independently."""
    corrects: str | None = None
    """The metric that this one is with chance taken off."""
    sums: tuple[str, str] | None = None
    """Recorded figures of an image whose summed ratio is the set's figure, where that is no mean over images."""
    needs: Literal["labels", "captions", "reference"] | None = None
    """What images must have, or a space that they are held against. There may be labels of several columns: the first
    one's figure has this name, the others' end in `_by_<column>`."""
    bound: Literal["at most", "at least"] | None = None
    """What the figure is a bound of, where more training images still help the best probe."""
    effect: tuple[str, str] | None = None
    """What a connector does whose figure is higher than another's, and one whose figure is lower, in plain words."""
    k: int | None = None
    control: Control | None = None
    column: str | None = None
    """The column of labels that a concrete name ends in."""
    kind: str | None = None
    """The kind of question that a concrete name ends in."""

    @property
    def of_first_column(self) -> str:
        """What the figure is called for the first column of labels."""
        return self.name if self.column is None else self.name.removesuffix(by_column("", self.column))

    @property
    def listed_as(self) -> str:
        """What lists call it that hold one name for all columns of labels, and one for all kinds of questions."""
        return self.of_first_column if self.kind is None else self.name.removesuffix(self.kind) + "{kind}"

    @property
    def is_a_mark(self) -> bool:
        """Whether the way it points makes one connector better than another.

        Of neighbours it does not: training lowers the overlap of most connectors while what they answer improves. Nor
        of labels found, since a label may be what a connector should throw away, such as a background.
        """
        return self.measure != "knn_preservation"

    @property
    def base(self) -> str:
        """The name without its control's."""
        return self.name if self.control is None else self.name.removeprefix(f"{self.control.key}_")

    def loss_of(self, value: float) -> float | None:
        """The loss that a value of this figure says, None where it is no loss."""
        if self.loss is None:
            return None
        return 1 - value if self.loss == "one minus" else value

    @property
    def loss_name(self) -> str | None:
        """What its loss is called, `lost` or `1 - knor_10`; None where it is no loss, as for every control."""
        if self.loss is None or self.control is not None:
            return None
        return f"1 - {self.name}" if self.loss == "one minus" else self.name


def by_column(name: str, column: str | None) -> str:
    """What a figure of labels is called for a column behind the first; the plain name for None."""
    return name if column is None else f"{name}{BY}{column}"
