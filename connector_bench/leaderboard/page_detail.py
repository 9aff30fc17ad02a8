"""What the details of one row show beside its figures: the connector, the probes' budget, loss maps, its runs."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from connector_bench.foreign_files import file_inside
from connector_bench.leaderboard.alarms import BoardAlarms
from connector_bench.leaderboard.schema import Comparable, ProbeBudget, Provenance, StoredLossMap
from connector_bench.leaderboard.table import Rank, Row
from connector_bench.results.harness_files import UnusableResult

Json = dict[str, Any]
Fact = tuple[str, object]

STAMP = re.compile(r"(\d{4})(\d\d)(\d\d)_(\d\d)(\d\d)(\d\d)")
PICTURE_BYTES = 65536
"""A larger picture stays out of the page; its loss map is shown alone."""


def unmasked(text: str) -> str:
    """The text with every character that shows nothing or turns its neighbours around written as its code point."""
    return "".join(sign if sign.isprintable() else f"\\u{{{ord(sign):x}}}" for sign in text)


def facts(given: Iterable[Fact]) -> list[tuple[str, str]]:
    """Names and values as text, those without a value left out."""
    return [(label, unmasked(str(value))) for label, value in given if value not in (None, "", (), {})]


def row_detail(row: Row) -> Json:
    """All of a row's details."""
    return {
        "facts": facts([*_connector(row), ("controls not as they must be", _off(row))]),
        "probes": {
            unmasked(task): facts(_probes(result.probe))
            for task, result in row.results.items()
            if result.probe
        },
        "loss_maps": [
            _loss_map(task, loss_map) for task, result in row.results.items() for loss_map in result.loss_maps
        ],
        "runs": _runs(row),
    }


def _off(row: Row) -> str:
    return "; ".join(alarm.what for alarm in BoardAlarms.of([row]).off)


def conditions(shared: Comparable) -> list[tuple[str, str]]:
    """What all figures of one task share."""
    options = ", ".join(f"{name} {value}" for name, value in shared.options.items())
    return facts(
        [
            ("N", f"{shared.n:,}"),
            ("images", shared.images_sha256),
            ("training images", shared.train_sha256),
            ("documents", shared.documents_sha256),
            ("protocol", shared.protocol),
            ("task version", shared.version),
            ("options", options),
        ]
    )


def rank_words(rank: Rank, by: str | None = None) -> str:
    """`2=, shared by 3 models, from paired differences over the same images`, or from what `by` says."""
    shared = f", shared by {rank.shared_by} models" if rank.shared_by > 1 else ""
    by = by or (
        "paired differences over the same images" if rank.paired else "the intervals that the runs recorded"
    )
    return f"{rank}{shared}, from {by}"


def _connector(row: Row) -> list[Fact]:
    connector = row.connector
    if connector is None:
        return []
    return [
        ("family", connector.family),
        ("connector", connector.connector),
        ("parameters", f"{connector.parameters:,}"),
        ("modules", ", ".join(connector.modules)),
        ("precision", connector.dtype),
        ("resolution", connector.resolution),
        ("weights (SHA-256)", connector.weights_sha256),
        ("assumed by the adapter", "; ".join(connector.assumptions)),
        ("places of tokens", connector.places),
    ]


def _probes(budget: ProbeBudget) -> list[Fact]:
    helps = {True: "yes: lost may be less than shown", False: "no", None: None}[budget.more_data_helps]
    each = [
        (f"probe {name}", ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in given.items()))
        for name, given in budget.probes.items()
    ]
    return [
        ("images to train probes", budget.train_images),
        ("best probe", budget.best_probe),
        ("more data still helps", helps),
        *each,
    ]


def _loss_map(task: str, loss_map: StoredLossMap) -> Json:
    """A map as hundredths of the loss, below 0 where no patch lies."""
    return {
        "task": unmasked(task),
        "why": unmasked(loss_map.why),
        "rows": loss_map.rows,
        "columns": loss_map.columns,
        "values": [round(100 * value) for value in loss_map.values],
        "picture": loss_map.picture,
    }


def picture_of(board: Path, picture: str) -> str | None:
    """A picture below the board as a data address; None where it is not there, no WebP, or too large.

    Raises UnusableResult for one that cannot be read.
    """
    try:
        content = file_inside(board, *picture.split("/")).read_bytes()
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise UnusableResult(f"{board / picture}: {error}") from error
    is_webp = content[:4] == b"RIFF" and content[8:12] == b"WEBP"
    if not is_webp or len(content) > PICTURE_BYTES:
        return None
    return f"data:image/webp;base64,{b64encode(content).decode('ascii')}"


def _runs(row: Row) -> list[Json]:
    tasks_of: dict[str, tuple[Provenance, list[str]]] = {}
    for task, provenance in row.provenance.items():
        tasks_of.setdefault(provenance.model_dump_json(), (provenance, []))[1].append(unmasked(task))
    return [_run(provenance, tasks) for provenance, tasks in tasks_of.values()]


def _run(provenance: Provenance, tasks: list[str]) -> Json:
    versions = ", ".join(f"{name} {value}" for name, value in provenance.versions.items() if value)
    seeds = ", ".join(f"{name} {value}" for name, value in provenance.seeds.items() if value is not None)
    return {
        "tasks": tasks,
        "facts": facts(
            [
                ("date", STAMP.sub(r"\1-\2-\3 \4:\5:\6", provenance.date)),
                ("wrapper", provenance.wrapper),
                ("revision", provenance.revision),
                ("versions", versions),
                ("hardware", provenance.hardware),
                ("threads", provenance.threads),
                ("seeds", seeds),
            ]
        ),
        "command": unmasked(provenance.command),
        "left_out": provenance.left_out,
    }
