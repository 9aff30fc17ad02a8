"""The main figures of our tasks among lmms-eval's results, with the intervals that the record holds."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from connector_bench.headlines import PRINTED
from connector_bench.metrics import listed_as
from connector_bench.number_style import counted
from connector_bench.results.file_schema import RECORD_KEY

NORMAL_95 = 1.959964
COUNT = "n_images"
KINDS = ("_stderr", "_stderr_clt", "_stderr_clustered")


def main_rows(results: Mapping[str, Any], whole: Collection[str]) -> tuple[dict[str, Any], list[str]]:
    """The results with fewer rows of our tasks but for the `whole` ones, and lines on what is not among them."""
    tasks, left_out = {}, 0
    ours = dict(_records(results))
    for task, figures in results["results"].items():
        tasks[task] = _with_intervals(figures, ours[task]) if task in ours else dict(figures)
        if task in ours and task not in whole:
            kept = _main_rows(tasks[task], str(ours[task].get("measure")))
            left_out += len(_metrics(figures)) - len(_metrics(kept))
            tasks[task] = kept
    said = []
    told = [task for task in ours if _metrics(results["results"][task])]
    if told:
        said.append(f"Of {', '.join(told)}: value ± 1.96 x Stderr is the 95 % interval of the record.")
    if left_out:
        said.append(
            f"{counted(left_out, 'further figure')}, controls among them, in the result file alone; "
            "CONNECTOR_BENCH_ROWS=all prints every one."
        )
    return {**results, "results": tasks}, said


def _records(results: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for task, config in (results.get("configs") or {}).items():
        metadata = config.get("metadata") if isinstance(config, Mapping) else None
        record = metadata.get(RECORD_KEY) if isinstance(metadata, Mapping) else None
        if isinstance(record, Mapping) and task in results["results"]:
            yield task, record


def _metrics(figures: Mapping[str, Any]) -> list[str]:
    """What has a number; for what a task passes through lmms-eval writes an empty list."""
    columns = (
        key.partition(",")[0]
        for key, value in figures.items()
        if "," in key and isinstance(value, int | float)
    )
    return [metric for metric in columns if not metric.endswith(KINDS)]


def _with_intervals(figures: Mapping[str, Any], record: Mapping[str, Any]) -> dict[str, Any]:
    """Our standard errors in place of those over documents, which take images for independent and are too small."""
    scores = record.get("scores") or {}
    shown = dict(figures)
    for key in figures:
        metric, comma, made_by = key.partition(",")
        if not comma or metric.endswith(KINDS):
            continue
        score = scores.get(metric) or {}
        low, high = score.get("low"), score.get("high")
        for kind in KINDS:
            shown.pop(f"{metric}{kind},{made_by}", None)
        error = "N/A" if low is None or high is None else (high - low) / (2 * NORMAL_95)
        shown[f"{metric}_stderr,{made_by}"] = error
    return shown


def _main_rows(figures: Mapping[str, Any], measure: str) -> dict[str, Any]:
    """The figures that are printed of a measure; all where a run has none of them, such as with ks of its own."""
    named = {metric: listed_as(metric) for metric in _metrics(figures)}
    wanted: Sequence[str] = PRINTED.get(measure, ())  # type: ignore[call-overload]
    kept = {metric for metric, listed in named.items() if listed in wanted}
    if kept <= {COUNT}:
        return dict(figures)
    return {
        key: value
        for key, value in figures.items()
        if "," not in key or any(key.startswith((f"{metric},", f"{metric}_stderr,")) for metric in kept)
    }
