"""How much a model's figures change with precision and size of batches alone, on the same pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from connector_bench.captured.written import FigureChange, OwnChange
from connector_bench.connectors import capture
from connector_bench.connectors.base import ConnectorAdapter
from connector_bench.pictures import PictureReader, images_fingerprint
from connector_bench.preservation.options import PreservationOptions
from connector_bench.preservation.pooled import PooledPreservation
from connector_bench.run.documents import Document
from connector_bench.run.reading import read_pictures

if TYPE_CHECKING:
    from PIL.Image import Image

PICTURES = 200
BATCH = 8
DIGITS = 6


@dataclass(frozen=True)
class _Measured:
    weights_sha256: str | None
    images: frozenset[str]
    scores: dict[str, float]


def own_change(load: Callable[[str], ConnectorAdapter], documents: Sequence[Document]) -> OwnChange:
    """The figures of `knn_preservation` in float32, their change in bfloat16, and their change one picture at a time.

    Args:
        load: gives the model's adapter in a precision, as torch calls it.
        documents: pictures, of which the first `PICTURES` are measured.

    Raises:
        ValueError: too few pictures, or some that pass in one precision alone.
    """
    seen = read_pictures(documents[:PICTURES], PictureReader(), "Reading pictures")

    def pictures() -> Iterator[tuple[str, Callable[[], Image]]]:
        for name, document in seen.shown_by.items():
            yield name, document.load

    def measured(adapter: ConnectorAdapter, batch_size: int) -> _Measured:
        state, left_out = PooledPreservation(PreservationOptions()), capture.LeftOut()
        state.begin({name: [number] for number, name in enumerate(seen.shown_by)})
        names: set[str] = set()
        with closing(capture.stream(adapter, pictures(), batch_size, left_out)) as batches:
            for batch in batches:
                state.update(batch)
                names |= set(batch.images)
        scores = state.finish().summary["scores"]
        assert isinstance(scores, dict)
        found = {name: float(score["value"]) for name, score in scores.items() if score["value"] is not None}
        return _Measured(adapter.info.weights_sha256, frozenset(names), found)

    exact = load("float32")
    together, alone = measured(exact, BATCH), measured(exact, 1)
    del exact
    rounded = measured(load("bfloat16"), BATCH)
    if together.images != rounded.images or together.images != alone.images:
        raise ValueError(
            "some pictures give finite tokens in one precision and not in the other: their figures do not compare"
        )
    return OwnChange(
        schema_version=1,
        weights_sha256=rounded.weights_sha256,
        in_float32=together.weights_sha256,
        n_images=len(together.images),
        images_sha256=images_fingerprint(together.images),
        figures={
            name: FigureChange(
                value=_short(value),
                bfloat16=_short(rounded.scores[name] - value),
                one_at_a_time=_short(alone.scores[name] - value),
            )
            for name, value in together.scores.items()
            if name in rounded.scores and name in alone.scores
        },
    )


def _short(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
