"""Results in the shape of lmms-eval's files, of what was not measured through it: the same readers take them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from connector_bench.atomic_files import write_atomically
from connector_bench.results.file_schema import RECORD_KEY
from connector_bench.results.harness_files import ResultFile


class WrittenTask(Protocol):
    """What a result file and a sample file hold of one task."""

    @property
    def record(self) -> Mapping[str, Any]:
        """Our record."""
        ...

    @property
    def figures(self) -> Mapping[str, float]:
        """Every figure by its name."""
        ...

    @property
    def stderrs(self) -> Mapping[str, float]:
        """Standard errors of those that are means over documents."""
        ...

    @property
    def higher_is_better(self) -> Mapping[str, bool | None]:
        """By figure."""
        ...

    @property
    def answers(self) -> Mapping[int, Mapping[str, Any]]:
        """By document: its image and figures, or why it has none."""
        ...


def write_result(
    path: Path, tasks: Mapping[str, WrittenTask], config: Mapping[str, Any], others: Mapping[str, Any]
) -> None:
    """Write the sample files of these tasks, then the result file `path`, with `others` at its top level."""
    for name, task in tasks.items():
        lines = [json.dumps(_sample(number, row)) for number, row in sorted(task.answers.items())]
        samples = ResultFile(path, {}).samples_path(name)
        write_atomically(samples, "".join(f"{line}\n" for line in lines).encode())
    counts = {name: {"original": len(t.answers), "effective": len(t.answers)} for name, t in tasks.items()}
    content = {
        "results": {name: _figures(name, task) for name, task in tasks.items()},
        "configs": {
            name: {"task": name, "dataset_path": "given in Python", "metadata": {RECORD_KEY: dict(t.record)}}
            for name, t in tasks.items()
        },
        "versions": dict.fromkeys(tasks, 1),
        "n-samples": counts,
        "higher_is_better": {name: dict(task.higher_is_better) for name, task in tasks.items()},
        "config": {"limit": None, **config},
        **others,
    }
    write_atomically(path, json.dumps(content, indent=1).encode())


def _sample(number: int, answer: Mapping[str, Any]) -> dict[str, Any]:
    text = json.dumps(dict(answer))
    return {"doc_id": number, "target": "", "input": "", "filtered_resps": text, **answer}


def _figures(name: str, task: WrittenTask) -> dict[str, Any]:
    found: dict[str, Any] = {"alias": name}
    for metric, value in task.figures.items():
        found[f"{metric},none"] = value
        found[f"{metric}_stderr,none"] = task.stderrs.get(metric, "N/A")
    return found


def mean_and_error(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and its standard error, in the order of operations of lmms-eval, so that bits agree."""
    mean = sum(values) / len(values)
    if len(values) < 2:
        return mean, None
    spread = math.sqrt(sum([(value - mean) ** 2 for value in values]) / (len(values) - 1))
    return mean, spread / math.sqrt(len(values))
