"""Which of a document's figures are losses, baselines or retrieval, and which way they point: as the catalogue says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from connector_bench.headlines import FURTHER_CANDIDATES
from connector_bench.metrics import HEADLINE_K, Metric, named
from connector_bench.metrics import metric as metric_of


def of_a_question(name: str) -> bool:
    """Whether a figure belongs to a question and its answer mask; all others belong to the image."""
    entry = metric_of(name)
    return entry is not None and entry.of == "question"


def losses_of_a_set(metrics: Mapping[str, float]) -> dict[str, float]:
    """The losses among a connector task's metrics, higher where more is lost."""
    found = list(named(list(metrics)))
    of_images = [entry for entry in found if not _of_sets_alone(entry)]
    further = [entry for entry in found if _of_sets_alone(entry) and entry.k in (None, HEADLINE_K)]
    return _losses([*of_images, *further], metrics)


def candidates_of_a_set(metrics: Mapping[str, float]) -> dict[str, float]:
    """What may predict answers: the losses among a connector task's metrics, and `FURTHER_CANDIDATES` as they are."""
    further = {
        entry.name: metrics[entry.name]
        for entry in named(list(metrics))
        if entry.control is None and {entry.name, entry.listed_as} & set(FURTHER_CANDIDATES)
    }
    return losses_of_a_set(metrics) | further


def losses(row: Mapping[str, float]) -> dict[str, float]:
    """The losses among a document's figures, higher where more is lost."""
    return _losses([entry for entry in named(list(row)) if not _of_sets_alone(entry)], row)


def retrieval(names: Iterable[str]) -> list[str]:
    """The figures that say whether an image is still found among its class behind the connector."""
    return [entry.name for entry in named(list(names)) if entry.reported and _behind(entry)]


def _of_sets_alone(entry: Metric) -> bool:
    """Whether only whole data sets have or need the figure: of an image, chance taken off says nothing new."""
    return entry.of == "set" or entry.corrects is not None


def _behind(entry: Metric) -> bool:
    parts = entry.name.split("_")
    return entry.family == "retrieval" and "post" in parts and entry.of == "image" and entry.column is None


def _losses(entries: Iterable[Metric], values: Mapping[str, float]) -> dict[str, float]:
    named_losses = ((entry.loss_name, entry.loss_of(values[entry.name])) for entry in entries)
    return {name: loss for name, loss in named_losses if name is not None and loss is not None}
