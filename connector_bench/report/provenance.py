"""Where the figures come from: model, weights, data, versions, options, seeds, and the command to repeat them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from connector_bench._version import __version__
from connector_bench.number_style import counted
from connector_bench.report.blocks import Block, Facts, Prose, Section
from connector_bench.results.harness_files import ResultFile
from connector_bench.results.models import ModelRuns
from connector_bench.results.recorded_command import command_line
from connector_bench.results.scrub import cleaned
from connector_bench.results.tasks import TaskRun

SEEDS = ("random_seed", "numpy_seed", "torch_seed", "fewshot_seed")
OF_THE_CONNECTOR = {
    "family": "family",
    "connector": "connector",
    "modules": "modules",
    "parameters": "parameters",
    "dtype": "number format",
    "weights_sha256": "weights, SHA-256",
    "assumptions": "assumptions",
    "remarks": "remarks",
    "places": "places",
}
OF_THE_DATA = {
    "n_images": "images",
    "n_documents": "documents",
    "images_sha256": "images, SHA-256",
    "train_images": "training images",
    "train_sha256": "training images, SHA-256",
    "options": "options",
    "untrained_seeds": "seeds of the untrained copies",
}


def provenance_section(results: ModelRuns, suffix: str = "") -> Section:
    """Connector, runs and data of one model; anchors end in `suffix`, so that several may stand on a page."""
    blocks: list[Block] = []
    if results.connector is not None:
        blocks.append(_facts(f"section-connector{suffix}", "Connector", _connector(results)))
    for number, file in enumerate(results.files, start=1):
        title = "Run" if len(results.files) == 1 else f"Run {number} of {len(results.files)}"
        blocks.append(_facts(f"section-run-{number}{suffix}", title, _run(file, results)))
    for task in results.tasks:
        if task.record:
            blocks.append(_facts(f"data-{task.anchor}{suffix}", f"Data of {task.name}", _data(task)))
            blocks += _unreadable(task)
    return Section(
        f"section-provenance{suffix}",
        "Provenance",
        "Provenance",
        tuple(blocks),
        "Weights, command, versions, data, seeds",
    )


def _connector(results: ModelRuns) -> Iterator[tuple[str, str]]:
    connector = results.connector or {}
    yield "model", results.model
    for key, said in OF_THE_CONNECTOR.items():
        if connector.get(key):
            yield said, _plain(connector[key])


def _run(file: ResultFile, results: ModelRuns) -> Iterator[tuple[str, str]]:
    content, config = file.content, file.content["config"]
    tasks = [task.name for task in results.tasks if task.file.path == file.path]
    yield "command", command_line(config, tasks, file.given_connector) + limit_argument(file)
    for task, done in file.interventions.items():
        yield f"intervention on {task}", _plain(cleaned(done))
    yield "date", str(content.get("date", "–"))
    yield "result file", file.path.name
    yield (
        "seeds",
        ", ".join(f"{name} {config[name]}" for name in SEEDS if config.get(name) is not None) or "–",
    )
    record = next((t.record for t in results.tasks if t.record and t.file.path == file.path), {})
    versions = record.get("versions") or {"lmms-eval": content.get("lmms_eval_version")}
    yield "versions", ", ".join(f"{name} {version}" for name, version in versions.items() if version)
    yield "hardware", f"{record.get('hardware', '–')}, threads {record.get('threads', '–')}"
    yield "measurement protocol", str(record.get("protocol", "–"))
    if content.get("total_evaluation_time_seconds"):
        yield "time", f"{float(content['total_evaluation_time_seconds']):.0f} s"
    yield "this page", f"connector-bench {__version__}"


def limit_argument(file: ResultFile) -> str:
    """` --limit 100` where the run was of a part of the data; empty otherwise."""
    limit = file.content["config"].get("limit")
    return "" if limit in (None, -1) else f" --limit {limit:g}"


def _data(task: TaskRun) -> Iterator[tuple[str, str]]:
    for key, said in OF_THE_DATA.items():
        if task.record.get(key) not in (None, [], ()):
            yield said, _plain(cleaned(task.record[key]))
    yield "task version", task.version or "–"
    if task.samples_hash:
        yield "lmms-eval's hash of the samples", task.samples_hash


def _unreadable(task: TaskRun) -> list[Block]:
    lost = task.record.get("unreadable") or {}
    if not lost:
        return []
    shown = "; ".join(f"{doc_id}: {why}" for doc_id, why in list(lost.items())[:10])
    more = f"; and {len(lost) - 10} more" if len(lost) > 10 else ""
    return [
        Prose(
            f"{task.name}: {counted(len(lost), 'document')} without a readable picture left out: {shown}{more}.",
            "warning",
        )
    ]


def _plain(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value))
    if isinstance(value, Mapping):
        return "; ".join(
            f"{key} ({_plain(one)})" if isinstance(one, Mapping) else f"{key} {_plain(one)}"
            for key, one in value.items()
        )
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    return f"{value:,}" if isinstance(value, int) else str(value)


def _facts(name: str, title: str, pairs: Iterator[tuple[str, str]]) -> Facts:
    return Facts(name, title, tuple(pairs))
