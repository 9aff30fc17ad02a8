"""What a family file declares: where the connector of a model is, and how its tokens lie in the image."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from connector_bench.connectors.untrained import BetweenModules
from connector_bench.types import TokenLayout

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Int

PictureSize = tuple[int, int]
"""Height and width in pixels."""


@dataclass(frozen=True)
class Batch:
    """One batch of pictures after the vision pass, as a family's `place` sees it.

    `sizes` are those of the pictures that the image processor received. `pre_shapes` and `post_shapes`
    hold one shape for each call of the connector; nearly every family calls it once a batch.
    """

    config: Any
    image_processor: Any
    options: Mapping[str, Any]
    """Keyword arguments that the image processor was called with."""
    inputs: Mapping[str, Any]
    """What the image processor returned."""
    sizes: tuple[PictureSize, ...]
    pre_shapes: tuple[tuple[int, ...], ...]
    post_shapes: tuple[tuple[int, ...], ...]
    grids: tuple[Any, ...] = ()
    """What the model told the connector of its patches' rows and columns in each call, where `grid_argument` is set."""
    model: Any = None
    """The model itself, for what no configuration says of an order."""

    def option(self, name: str, default: Any = None) -> Any:
        """An image-processor setting: the call's own value before the processor's."""
        value = self.options.get(name)
        return getattr(self.image_processor, name, default) if value is None else value


@dataclass(frozen=True)
class Placement:
    """Rows of the connector's flattened input and output that belong to one image, in the layout's order."""

    layout: TokenLayout
    pre_rows: Int[np.ndarray, " n_pre"]
    post_rows: Int[np.ndarray, " n_post"]
    normed_rows: Int[np.ndarray, " n_pre"] | None = None
    """Rows of the leading norm's output where a pixel shuffle precedes it; `pre_rows` unless told."""


Place = Callable[[Batch], list[Placement]]


@dataclass(frozen=True)
class Family:
    """Everything that sets one VLM family apart. Paths are relative to the conditional-generation class."""

    model_types: tuple[str, ...]
    """Values of `config.model_type` that this family covers."""
    connector: str
    """Kind of connector in the field's words."""
    modules: tuple[str, ...]
    """The modules in the order they run: the first one's input is *pre*, the last one's output *post*."""
    place: Place
    """Where the tokens of each image are, and in which order."""
    parallel: tuple[str, ...] = ()
    """Further connectors over other layers (`*` for an index); tokens are joined on the last dimension."""
    leading_norm: str | None = None
    """Path under the first module of the norm the connector begins with, if it begins with one."""
    pre_argument: str | int = 0
    """Position or keyword of the argument of the first module that holds the encoder's tokens."""
    grid_argument: int | None = None
    """Position of the argument of the first module that says how many rows and columns of patches it receives."""
    pre_output_of: Callable[[Any], str] | str = ""
    """Module of the tower whose output is *pre*, where the tower pools or shuffles it before the first module."""
    joined: bool = False
    """Whether the module takes or returns several token sets of one place; they are joined on the last dimension."""
    learnt_arguments: tuple[str, ...] = ()
    """Keyword arguments of the first module that are weights, such as queries; untrained copies draw their own."""
    learnt_parameters: tuple[str, ...] = ()
    """Paths of those weights, which are the model's own and no module's."""
    between_modules: BetweenModules | None = None
    """What the model does to one module's output before the next, where it is more than reshaping and cutting."""
    tokens_per_row: Callable[[Any], int] | int = 1
    """Encoder tokens interleaved in one row of the module's input (a pixel shuffle before the module)."""
    channels_first: bool = False
    """Whether the module receives `[batch, channels, rows, columns]`."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Keyword arguments that the image processor needs to report where tiles lie."""
    run: Callable[[Any, Mapping[str, Any]], Any] | None = None
    """The vision pass up to and with the connector, where it is not `get_image_features`."""
    nested: bool = False
    """Whether the image processor wants one list of pictures for each sample."""
    image_processor_alone: bool = False
    """Whether the whole processor is left out, because it repeats a picture for each of its own questions."""
    through_wrapper: bool = False
    """Whether only the wrapper's own `generate_until` can feed the model; it then generates one token."""
    one_at_a_time: bool = False
    """Whether pictures must pass one by one, because their tiles could not be told apart in a batch."""
    prompted: bool = False
    """Whether the connector also reads an instruction; it is then always given the empty one."""
    resamples: bool = False
    """Whether the connector's tokens have no place in the image."""
    dropped: str = "nothing"
    """What of the tower's output is left out of *pre*, in words."""
    note: str = ""
    """Anything else that a reader of a result should know."""
    when: Callable[[Any], bool] = field(default=lambda config: True)
    """Second condition on the config, where one `model_type` covers several layouts."""
    assumptions: tuple[str, ...] = ()
    """What had to be assumed; empty for a declared family."""

    @property
    def remarks(self) -> str:
        """What is left out, and notes, in one line; empty where there is nothing to say."""
        left_out = "" if self.dropped == "nothing" else f"left out: {self.dropped}"
        return "; ".join(part for part in (left_out, self.note) if part)


def single(families: Sequence[Family], config: Any) -> Family | None:
    """The family among `families` that covers this config, or None."""
    model_type = getattr(config, "model_type", None)
    return next((f for f in families if model_type in f.model_types and f.when(config)), None)
