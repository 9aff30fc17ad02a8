"""Joins a connector task with a scored task by the identity of their documents, or refuses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from connector_bench.association.losses import losses, retrieval
from connector_bench.association.sides import ConnectorSide, ScoredSide
from connector_bench.association.values import JoinedTable
from connector_bench.headlines import BASELINES
from connector_bench.results.harness_files import UnusableResult
from connector_bench.results.tasks import GROUP_COLUMN


class JoinRefused(UnusableResult):
    """Two sides that do not hold the same documents; the message names both and the first that differs."""


@dataclass(frozen=True)
class _Match:
    """Which document of the connector task each document of the scored task belongs to."""

    partner: Mapping[int, int]
    identity: str


def join(connector: ConnectorSide, scored: ScoredSide) -> JoinedTable:
    """The scored task's documents with the connector's figures of the same document or image.

    Documents are the same where their numbers and targets are equal in both files, or where a column of the scored
    task holds the connector task's targets (the scenes' `image_id`). Documents whose picture could not be read are
    left out.

    Raises:
        JoinRefused: the two sides do not hold the same documents, or belong to different connectors.
    """
    _require_one_connector(connector, scored)
    match = _match(connector, scored)
    partner = {doc_id: other for doc_id, other in match.partner.items() if other in connector.image_of}
    values, notes = scored.scores.values, scored.scores.notes
    return JoinedTable(
        **_connector_columns(connector, partner),
        score_task=scored.of.name,
        identity=match.identity,
        scores={
            metric: np.array([held.get(doc_id, np.nan) for doc_id in partner])
            for metric, held in values.items()
        },
        higher_is_better=scored.scores.higher_is_better,
        notes=tuple(f"{metric}: {note}" for metric, note in notes.items() if metric in values),
    )


def join_retrieval(connector: ConnectorSide) -> JoinedTable | None:
    """A connector task of labelled images beside its own retrieval behind the connector; None without labels."""
    first = {image: doc_id for doc_id, image in list(connector.image_of.items())[::-1]}
    rows = sorted(first.values())
    figures = (connector.figures[doc_id] for doc_id in rows)
    scores = _columns([{name: row[name] for name in retrieval(row)} for row in figures])
    if not scores:
        return None
    return JoinedTable(
        **_connector_columns(connector, dict(zip(rows, rows, strict=True))),
        score_task=connector.of.name,
        identity="one answer holds both",
        scores=scores,
        higher_is_better=dict.fromkeys(scores, True),
    )


def _connector_columns(connector: ConnectorSide, partner: Mapping[int, int]) -> dict[str, Any]:
    """What a table takes from the connector task, for the documents on the left of `partner`."""
    figures = [connector.figures[doc_id] for doc_id in partner.values()]
    return {
        "model": connector.of.model,
        "connector_task": connector.of.name,
        "documents": tuple(partner),
        "images": tuple(connector.image_of[doc_id] for doc_id in partner.values()),
        "losses": _columns([losses(row) for row in figures]),
        "drawn_with": _drawn_with(connector, partner),
        "baselines": _columns([{name: row[name] for name in BASELINES if name in row} for row in figures]),
    }


def _drawn_with(connector: ConnectorSide, partner: Mapping[int, int]) -> tuple[str, ...]:
    """The group that each document's image was drawn with, or its image; empty where every image was drawn alone."""
    groups = [connector.figures[doc_id].get(GROUP_COLUMN) for doc_id in partner.values()]
    if all(group is None for group in groups):
        return ()
    images = (connector.image_of[doc_id] for doc_id in partner.values())
    return tuple(
        image if group is None else f"{group:.0f}" for group, image in zip(groups, images, strict=True)
    )


def _columns(rows: list[dict[str, float]]) -> dict[str, np.ndarray]:
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: np.array([row.get(name, np.nan) for row in rows]) for name in names}


def _require_one_connector(connector: ConnectorSide, scored: ScoredSide) -> None:
    if None not in (scored.of.file.weights, connector.of.file.weights) and (
        scored.of.file.weights != connector.of.file.weights
    ):
        raise JoinRefused(
            f"{_name(connector)} and {_name(scored)} ran on different connector weights: "
            f"{str(connector.of.file.weights)[:12]} and {str(scored.of.file.weights)[:12]}"
        )


def _match(connector: ConnectorSide, scored: ScoredSide) -> _Match:
    """By document, else by key; where neither holds, the reason that is nearer to a match."""
    try:
        return _by_document(connector, scored)
    except JoinRefused:
        if keyed := _by_key(connector, scored):
            return keyed
        raise


def _by_key(connector: ConnectorSide, scored: ScoredSide) -> _Match | None:
    """A match by a column that holds the connector task's targets; None where no column holds any of them."""
    of_target = {document.target_text: doc_id for doc_id, document in connector.of.documents.items()}
    if len(of_target) < len(connector.of.documents):
        return None
    keys = scored.keys()
    for column in dict.fromkeys(key for held in keys.values() for key in held):
        given = {doc_id: held.get(column) for doc_id, held in keys.items()}
        values = set(given.values())
        if not values & set(of_target):
            continue
        for doc_id, value in given.items():
            if value not in of_target:
                raise JoinRefused(
                    f"document {doc_id} of {_name(scored)} has {column} {value!r}, "
                    f"which is the target of no document of {_name(connector)}; the data sets differ"
                )
        for target, doc_id in of_target.items():
            if target not in values:
                raise JoinRefused(
                    f"document {doc_id} of {_name(connector)} has target {target!r}, "
                    f"which is the {column} of no document of {_name(scored)}; the data sets differ"
                )
        partner = {doc_id: of_target[str(value)] for doc_id, value in given.items()}
        return _Match(partner, f"{column} of {scored.of.name} equals target of {connector.of.name}")
    return None


def _by_document(connector: ConnectorSide, scored: ScoredSide) -> _Match:
    ours, theirs = connector.of.documents, scored.of.documents
    if lonely := sorted(set(ours) ^ set(theirs)):
        holder, other = (connector, scored) if lonely[0] in ours else (scored, connector)
        raise JoinRefused(
            f"{_name(connector)} holds {len(ours)} documents and {_name(scored)} {len(theirs)}; the first without a "
            f"partner is document {lonely[0]} of {_name(holder)}, which {_name(other)} lacks"
        )
    targets = {
        doc_id: (ours[doc_id].target_text, document.target_text) for doc_id, document in theirs.items()
    }
    questions = {doc_id: (ours[doc_id].input, document.input) for doc_id, document in theirs.items()}
    checks: dict[str, tuple[Mapping[int, tuple[str, str]], Callable[[str, str], bool]]] = {}
    if any(target for target, _ in targets.values()):
        checks["target"] = (targets, lambda a, b: a == b)
    # without the prompt that the task's own settings put around it, a question is part of the other side's input
    if any(a and a in b for a, b in questions.values()):
        checks["input"] = (questions, lambda a, b: a in b)
    for what, (pairs, same) in checks.items():
        for doc_id, (a, b) in pairs.items():
            if not same(a, b):
                raise JoinRefused(
                    f"document {doc_id} has {what} {a!r:.80} in {_name(connector)} and {b!r:.80} in "
                    f"{_name(scored)}; the data sets differ or are in another order"
                )
    telling = [what for what, (pairs, _) in checks.items() if len({b for _, b in pairs.values()}) > 1]
    return _Match({doc_id: doc_id for doc_id in theirs}, _identity(connector, scored, telling))


def _identity(connector: ConnectorSide, scored: ScoredSide, telling: list[str]) -> str:
    if telling:
        return " and ".join(["document number", *telling])
    if connector.of.file.path != scored.of.file.path or connector.of.data_set != scored.of.data_set:
        raise JoinRefused(
            f"all documents of {_name(scored)} have the same target and input, so nothing shows that "
            f"{_name(connector)} numbers them alike; run both tasks in one run"
        )
    return "document number, in one run on one data set"


def _name(side: ConnectorSide | ScoredSide) -> str:
    limit = side.of.file.content["config"].get("limit")
    cut = "" if limit in (None, -1) else f", with --limit {limit}"
    return f"{side.of.name} ({side.of.file.path.name}{cut})"
