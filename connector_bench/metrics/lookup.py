"""From concrete names, such as `untrained_knor_10`, to the catalogue's entries, and to the names a task reports."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cache

from connector_bench.metrics.catalogue import CONTROLS, METRICS
from connector_bench.metrics.entries import BY, Control, Family, Measure, Metric, Owner, by_column


@cache
def metric(name: str) -> Metric | None:
    """The entry of a concrete name such as `untrained_knor_10`, with its k and its control; None for any other."""
    for entry in METRICS:
        pattern = entry.name.replace("{k}", r"(?P<k>\d+)").replace("{kind}", r"(?P<kind>[a-zA-Z]\w*)")
        if entry.needs == "labels":
            pattern += rf"(?:{BY}(?P<column>\w+))?"
        controls = "|".join(key.replace("{k}", r"\d+") for key in entry.controls)
        if found := re.fullmatch(rf"(?:(?P<control>{controls})_)?{pattern}" if controls else pattern, name):
            parts = found.groupdict()
            k, column, kind = parts.get("k"), parts.get("column"), parts.get("kind")
            return replace(
                entry,
                name=name,
                label=entry.label.format(k=k, kind=kind) + (f", by {column}" if column else ""),
                meaning=entry.meaning.replace("{kind}", kind or "{kind}"),
                loss_label=entry.loss_label and entry.loss_label.format(k=k),
                corrects=entry.corrects and entry.corrects.format(k=k),
                k=None if k is None else int(k),
                control=control(parts["control"]) if parts.get("control") else None,
                column=column,
                kind=kind,
            )
    return None


@cache
def control(key: str) -> Control | None:
    """The control of a concrete key such as `rank8`; None for any other."""
    for entry in CONTROLS:
        if found := re.fullmatch(entry.key.replace("{k}", r"(?P<k>\d+)"), key):
            k = found.groupdict().get("k")
            return replace(entry, key=key, label=entry.label.format(k=k))
    return None


def label_of(name: str) -> str:
    """What a reader is shown for a metric."""
    entry = metric(name)
    if entry is None:
        return name
    return entry.label if entry.control is None else f"{entry.control.key.replace('_', ' ')}: {entry.label}"


def loss_named(loss: str) -> str:
    """A loss in the catalogue's words: `1 - knor_10` is `1 − kept, k = 10`; any other as it stands."""
    turned, name = loss.startswith("1 - "), loss.removeprefix("1 - ")
    return f"{'1 − ' if turned else ''}{label_of(name)}"


def corrected(name: str) -> str | None:
    """The name of the same figure with chance taken off, None where there is none."""
    entry = metric(name)
    if entry is None or entry.k is None:
        return None
    candidates = (m.name.format(k=entry.k) for m in METRICS if m.corrects is not None)
    return next((other for other in candidates if metric(other).corrects == name), None)  # type: ignore[union-attr]


def meanings(measure: Measure, *families: Family) -> Iterator[tuple[str, str]]:
    """Name and meaning of the entries of some families, in the catalogue's order."""
    return (
        (entry.name, entry.meaning)
        for entry in METRICS
        if entry.measure == measure and entry.family in families
    )


def of_owner(names: Iterable[str], owner: Owner) -> set[str]:
    """Those of the names whose figure is an image's, a question's or the set's."""
    return {entry.name for entry in named(names) if entry.of == owner}


def listed_as(name: str) -> str:
    """What lists of figures call one of them: see `Metric.listed_as`; a name of no figure of ours as it is."""
    entry = metric(name)
    return name if entry is None else entry.listed_as


def named(names: Iterable[str]) -> Iterator[Metric]:
    """The entries of those names that are in the catalogue, in their order."""
    return (found for name in names if (found := metric(name)) is not None)


def reported(
    measure: Measure,
    *,
    ks: Sequence[int] = (),
    rank: int | None = None,
    published: bool = False,
    further_labels: Sequence[str] = (),
    captions: bool = False,
    kinds: Sequence[str] = (),
    reference: bool = False,
) -> dict[str, bool | None]:
    """Names of all figures that a task of this measure may report, and whether higher is better (None: neither).

    `ks` are the numbers of neighbours, `rank` that of the random projection; `published` asks for the figures of
    `protocol: paper` in place of ours; `further_labels` are the columns of labels behind the first, `captions` whether
    images have some, `kinds` those of questions, `reference` whether there is one. Controls come last, one control
    after the other.
    """
    ours = [
        m
        for m in METRICS
        if m.measure == measure
        and m.reported
        and (m.family == "published") == published
        and (captions or m.needs != "captions")
        and (reference or m.needs != "reference")
    ]
    names: dict[str, bool | None] = {
        name: entry.higher_is_better for entry in ours for name in _expanded(entry.name, ks, kinds)
    }
    names |= {
        by_column(entry.name, column): entry.higher_is_better
        for column in further_labels
        for entry in ours
        if entry.needs == "labels"
    }
    for control in CONTROLS:
        for entry in ours:
            if control.key in entry.controls:
                names |= dict.fromkeys(_expanded(f"{control.key.format(k=rank)}_{entry.name}", ks, kinds))
    return names | {"n_images": None}


def _expanded(name: str, ks: Sequence[int], kinds: Sequence[str]) -> list[str]:
    if "{kind}" in name:
        return [name.format(kind=kind) for kind in kinds]
    return [name.format(k=k) for k in ks] if "{k}" in name else [name]
