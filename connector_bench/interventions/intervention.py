"""What an intervention is, as its user writes it: one line of YAML or JSON, checked before anything runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from connector_bench.foreign_files import first_error

VARIABLE = "CONNECTOR_BENCH_INTERVENE"
IN_A_TASK = "intervene"
"""The same under `metadata:` of a task's YAML."""
FROM = "from"

Order = Literal["falling", "rising", "random"]
FallingToo = BeforeValidator(lambda given: "falling" if given == "loss" else given)
Number = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Asked(BaseModel):
    """What every intervention has; `said` is what a record, a table and a model's name call it."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    strength: ClassVar[str | None] = None
    """The field that a curve is drawn over; None where there is none."""
    over_the_data: ClassVar[bool] = False
    """Whether it needs the mean or the spread of the tokens over the data."""

    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0

    @property
    def said(self) -> str:
        """In a few words."""
        raise NotImplementedError

    def as_record(self) -> dict[str, Any]:
        """Ready for JSON; of a folder the name alone."""
        given = self.model_dump(by_alias=True, exclude_none=True)
        return {key: value.name if isinstance(value, Path) else value for key, value in given.items()}

    def as_json(self) -> str:
        """The value of `CONNECTOR_BENCH_INTERVENE` that asks for this."""
        return self.model_dump_json(by_alias=True, exclude_none=True)


class Permute(_Asked):
    """The tokens of a picture in a random order."""

    kind: Literal["permute"]

    @property
    def said(self) -> str:  # noqa: D102
        return "tokens in random order"


class RankCut(_Asked):
    """Tokens projected on the first directions in which they vary over the data."""

    kind: Literal["rank"]
    rank: Annotated[int, Field(ge=0)]
    strength = "rank"
    over_the_data = True

    @property
    def said(self) -> str:  # noqa: D102
        return f"tokens on their first {self.rank} directions"


class Noise(_Asked):
    """Normal noise, so many times as large as the tokens' spread over the data."""

    kind: Literal["noise"]
    size: Number
    strength = "size"
    over_the_data = True

    @property
    def said(self) -> str:  # noqa: D102
        return f"noise of {self.size:g} times the tokens' spread"


class Mask(_Asked):
    """A share of each picture's tokens replaced by the mean token, in the order of their loss or at random."""

    kind: Literal["mask"]
    order: Annotated[Order, FallingToo]
    share: Annotated[Number, Field(le=1)]
    earlier: Annotated[Path | None, Field(alias=FROM)] = None
    """Output folder of a run of `patch_reconstruction` on this connector, whose probes give the loss."""
    strength = "share"
    over_the_data = True

    @model_validator(mode="after")
    def _loss_is_told(self) -> Mask:
        if self.order == "random" and self.earlier is not None:
            raise ValueError("a random order needs no loss: leave `from` out")
        if self.order != "random" and self.earlier is None:
            raise ValueError(
                f"the {self.order} order of loss needs `from`: the output folder of a run of patch_reconstruction on "
                "this connector"
            )
        return self

    @property
    def said(self) -> str:  # noqa: D102
        how = "at random" if self.order == "random" else f"by {self.order} loss"
        return f"{self.share:.4g} of the tokens masked {how}"


class MaskedCells(_Asked):
    """The tokens inside or outside the answer mask replaced by the mean token."""

    kind: Literal["cells"]
    where: Literal["inside", "outside"]
    mask: Annotated[str, Field(pattern=r"^[\w.]+:\w+$")]
    """Import path of a function from a document to its answer mask."""
    over_the_data = True

    @property
    def said(self) -> str:  # noqa: D102
        return f"tokens {self.where} the answer mask masked"


class Reconstructed(_Asked):
    """What the best probe rebuilds of the patches, sent through the connector again."""

    kind: Literal["reconstructed"]
    earlier: Annotated[Path, Field(alias=FROM)]

    @property
    def said(self) -> str:  # noqa: D102
        return "patches as the probe rebuilds them"


class Swap(_Asked):
    """The tokens of another picture."""

    kind: Literal["swap"]

    @property
    def said(self) -> str:  # noqa: D102
        return "tokens of another picture"


Intervention = Permute | RankCut | Noise | Mask | MaskedCells | Reconstructed | Swap
_KNOWN: TypeAdapter[Intervention] = TypeAdapter(Annotated[Intervention, Field(discriminator="kind")])


def asked_intervention(given: Any, where: str) -> Intervention:
    """The intervention that a text of YAML or JSON, or a mapping, asks for.

    Parameters
    ----------
    given : text or mapping such as `{kind: mask, order: random, share: .5}`
    where : what its user wrote it in, for messages

    Raises
    ------
    ValueError
        It asks for none that there is; the message names the first thing that is wrong.
    """
    value = as_mapping(given, where)
    try:
        return _KNOWN.validate_python(value)
    except ValidationError as error:
        said = first_error(error).removeprefix(f"{value.get('kind')}.").removeprefix("Value error, ")
        raise ValueError(f"{where}: {said}") from None


def as_mapping(given: Any, where: str) -> Mapping[str, Any]:
    """A text of YAML or JSON, or what is one already, as names and values. ValueError where it is none."""
    try:
        value = yaml.safe_load(given) if isinstance(given, str) else given
    except yaml.YAMLError as error:
        raise ValueError(f"{where} is no YAML: {' '.join(str(error).split())}") from None
    if not isinstance(value, Mapping):
        raise ValueError(
            f"{where} is {value!r:.80}; needed is a mapping such as {{kind: mask, order: random, share: .5}}"
        )
    return value
