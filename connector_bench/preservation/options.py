"""Options of `knn_preservation`, read once from a task's YAML."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields

from connector_bench.preservation.neighbours.space import DISTANCES
from connector_bench.preservation.overlap import one_k
from connector_bench.protocol import PROTOCOLS, TAPS

POOLINGS = ("mean", "none")


@dataclass(frozen=True)
class PreservationOptions:
    """Options of `knn_preservation`, shared by index and query alike.

    `ks` neighbourhood sizes; `distance` one of `DISTANCES`; `pooling` how an image's tokens become one vector:
    their `mean`, or all of them in a row (`none`); `tap` where the encoder's side is read: `pre` at the connector's
    input, `pre_normed` behind its leading norm; `gallery` how many images are drawn from a larger set, by `seed` and
    their pixels alone (None: all are taken); `device` where vectors are searched: `auto` for where the model ran if
    it is a CUDA card, `cpu`, or a torch device. `reference` is what the record calls the space that neighbourhoods
    are held against, which is opened beside the options. `drawn_together` is the column of labels that tells which
    images were drawn together, such as views of one object: intervals are for other such groups. `protocol: paper`
    gives the published procedure instead, in metrics of their own (`paper_knor_<k>`): mean-pooled, the image itself
    counted as its neighbour; published figures are L2.
    """

    ks: tuple[int, ...] = (1, 10, 50, 100)
    distance: str = "l2"
    pooling: str = "mean"
    tap: str = "pre"
    seed: int = 0
    protocol: str = "connector_bench"
    gallery: int | None = None
    device: str = "auto"
    reference: str | None = None
    drawn_together: str | None = None

    def __post_init__(self) -> None:
        _one_of("distance", self.distance, DISTANCES)
        _one_of("pooling", self.pooling, POOLINGS)
        _one_of("tap", self.tap, TAPS)
        _one_of("protocol", self.protocol, PROTOCOLS)
        if self.protocol == "paper" and self.pooling != "mean":
            raise ValueError(f"protocol: paper pools by the mean, got {self.pooling}")
        if (
            not isinstance(self.ks, (tuple, list))
            or not self.ks
            or any(not isinstance(k, int) or k < 1 for k in self.ks)
        ):
            raise ValueError(f"ks must be whole numbers of at least 1, got {self.ks}{one_k(self.ks)}")
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or self.seed < 0:
            raise ValueError(f"seed must be a whole number of at least 0, got {self.seed!r}")
        if self.drawn_together is not None and not isinstance(self.drawn_together, str):
            raise ValueError(f"drawn_together must be one column of labels, got {self.drawn_together!r}")
        if not isinstance(self.device, str) or not re.fullmatch(
            r"auto|(torch-)?cpu|cuda(:\d+)?", self.device
        ):
            raise ValueError(
                f"device must be auto, cpu, torch-cpu, cuda or cuda:<number>, got {self.device!r}"
            )
        if self.gallery is not None and (
            not isinstance(self.gallery, int) or self.gallery < min(self.ks) + 2
        ):
            raise ValueError(
                f"gallery must be a whole number of at least {min(self.ks) + 2} (k + 2), got {self.gallery!r}"
            )


def preservation_options(given: Mapping[str, object]) -> PreservationOptions:
    """Options from a task's YAML block. Raises ValueError for a key or a value that is not allowed."""
    allowed = [field.name for field in fields(PreservationOptions)]
    if unknown := sorted(str(name) for name in given if name not in allowed):
        raise ValueError(f"unknown option {', '.join(unknown)}; allowed are {', '.join(allowed)}")
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in given.items()}
    return PreservationOptions(**values)  # type: ignore[arg-type]


def not_a_label(by: str, labels: Iterable[str]) -> str:
    """What to say of a `drawn_together` that names no column of labels."""
    allowed = ", ".join(labels) or "none, since there are no labels"
    return f"drawn_together must name a column of labels ({allowed}), got {by!r}"


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {value!r}")
