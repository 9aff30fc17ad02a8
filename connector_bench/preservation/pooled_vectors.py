"""One vector per image on each side of the connector, of all processes once, and the gallery that is drawn of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float, Int

from connector_bench.pictures import draw_names
from connector_bench.preservation.options import PreservationOptions


@dataclass(frozen=True)
class PooledVectors:
    """One vector per image on each side of the connector, and its labels and captions by column, where it has some."""

    images: tuple[str, ...]
    pre: Float[np.ndarray, "n d_pre"]
    post: Float[np.ndarray, "n d_post"]
    labels: tuple[Mapping[str, str], ...]
    untrained: tuple[Float[np.ndarray, "m d_post"], ...] = ()
    """The connector's side of some images from untrained copies of it, one array a seed."""
    token_widths: tuple[int, int] | None = None
    """Width of one token on each side."""
    untrained_rows: Int[np.ndarray, " m"] | None = None
    """The rows that `untrained` is of, rising; None for all of them."""
    tokens: Mapping[str, tuple[np.ndarray, ...]] = field(default_factory=dict)
    """Some tokens of some images: before, after, and after each untrained copy."""

    @property
    def with_untrained(self) -> Int[np.ndarray, " m"]:
        """The rows whose untrained vectors are there."""
        every = len(self.images) if self.untrained else 0
        return np.arange(every) if self.untrained_rows is None else self.untrained_rows

    def take(self, rows: Sequence[int] | Int[np.ndarray, " m"]) -> PooledVectors:
        """Some of the images, in this order."""
        place = np.full(len(self.images), -1)
        place[self.with_untrained] = np.arange(len(self.with_untrained))
        places = place[np.asarray(rows, dtype=np.intp)]
        return replace(
            self,
            images=tuple(self.images[row] for row in rows),
            pre=self.pre[rows],
            post=self.post[rows],
            labels=tuple(self.labels[row] for row in rows),
            untrained=tuple(side[places[places >= 0]] for side in self.untrained),
            untrained_rows=np.flatnonzero(places >= 0),
        )


def merge(parts: Sequence[PooledVectors]) -> PooledVectors:
    """All ranks' vectors with every image once, sorted by image, so that no figure depends on who held what."""
    filled = [part for part in parts if part.images]
    if not filled:
        return parts[0]
    starts = np.cumsum([0, *(len(part.images) for part in filled)])
    controlled = [part.untrained for part in filled if part.untrained]
    together = PooledVectors(
        tuple(name for part in filled for name in part.images),
        np.concatenate([part.pre for part in filled]),
        np.concatenate([part.post for part in filled]),
        tuple(label for part in filled for label in part.labels),
        tuple(np.concatenate(sides) for sides in zip(*controlled, strict=True)),
        filled[0].token_widths,
        np.concatenate([start + part.with_untrained for start, part in zip(starts, filled, strict=False)]),
        {image: own for part in filled for image, own in part.tokens.items()},
    )
    _, first = np.unique(np.array(together.images), return_index=True)
    return together.take(first)


def draw_gallery(whole: PooledVectors, options: PreservationOptions) -> PooledVectors:
    """The images of the gallery that the options ask for: all of them where there are fewer."""
    if options.gallery is None or len(set(whole.images)) < options.gallery:
        return whole
    names = draw_names(whole.images, options.gallery, options.seed)
    return whole.take([row for row, name in enumerate(whole.images) if name in names])
