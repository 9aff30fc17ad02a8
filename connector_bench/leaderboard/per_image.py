"""What ranks are paired with: values of each image out of a run's sample files, checked against its figures."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from connector_bench.results.harness_files import ResultFile, UnusableResult

PAIRED = {"knn_preservation": ("knor_10",), "patch_reconstruction": ("sse", "sst")}
"""The columns of a measure's sample file that its rank column is made of."""

MOST_IMAGES = 10_000
"""Of larger sets no values of images are kept: a committed file stays small, and the recorded interval is narrow."""

TOLERANCE = 1e-4


def per_image_values(file: ResultFile, task: str, measure: str, n: int) -> dict[str, list[float]]:
    """Columns of numbers in the order of the images' hashes; empty where the run kept no samples.

    Raises UnusableResult where sample file and result file do not belong together: other images, or values that do
    not give the figure.
    """
    if n > MOST_IMAGES or not file.samples_path(task).is_file():
        return {}
    names = PAIRED[measure]
    images: dict[str, dict[str, Any]] = {}
    for row in file.samples(task):
        answer = _answer(file, task, row)
        if "image" in answer and all(_is_number(answer.get(name)) for name in names):
            images[str(answer["image"])] = answer
    if not images:
        return {}
    record = file.records.get(task, {})
    _require_same_images(file, task, images, record.get("images_sha256"))
    values = {name: [float(images[image][name]) for image in sorted(images)] for name in names}
    _require_the_figure(file, task, values, record)
    return values


def documents_sha256(file: ResultFile, task: str) -> str | None:
    """One hash for the documents of a task that is not ours, by number and target; None without samples."""
    if not file.samples_path(task).is_file():
        return None
    targets = {
        str(row.get("doc_id")): json.dumps(row.get("target"), default=str) for row in file.samples(task)
    }
    return _sha256(f"{doc_id}\t{target}" for doc_id, target in targets.items())


def _sha256(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(sorted(lines)).encode("utf-8", "surrogatepass")).hexdigest()


def _answer(file: ResultFile, task: str, row: Mapping[str, Any]) -> dict[str, Any]:
    try:
        answer = json.loads(row["filtered_resps"])
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise UnusableResult(
            f"{file.samples_path(task)}: document {row.get('doc_id')} has no answer of {task}: {error!r}"
        ) from error
    if not isinstance(answer, dict):
        raise UnusableResult(
            f"{file.samples_path(task)}: document {row.get('doc_id')} answers a {type(answer).__name__}"
        )
    return answer


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _require_same_images(file: ResultFile, task: str, images: Mapping[str, Any], recorded: object) -> None:
    found = _sha256(images)
    if recorded is not None and found != recorded:
        raise UnusableResult(
            f"{file.samples_path(task)}: its {len(images)} images ({found[:12]}) are not those of {file.path.name} "
            f"({str(recorded)[:12]})"
        )


def _require_the_figure(
    file: ResultFile, task: str, values: Mapping[str, list[float]], record: Mapping[str, Any]
) -> None:
    metric, found = _figure(values)
    score = record.get("scores", {}).get(metric)
    expected = score.get("value") if isinstance(score, Mapping) else None
    if expected is not None and not math.isclose(found, expected, rel_tol=TOLERANCE, abs_tol=TOLERANCE):
        raise UnusableResult(
            f"{file.samples_path(task)}: its images give {metric} = {found:.6g}, {file.path.name} says {expected}"
        )


def _figure(values: Mapping[str, list[float]]) -> tuple[str, float]:
    if "sst" in values:
        total = math.fsum(values["sst"])
        return "lost", math.fsum(values["sse"]) / total if total else math.nan
    return "knor_10", math.fsum(values["knor_10"]) / max(1, len(values["knor_10"]))
