"""What ranks are paired with: values of each image out of a run's sample files, checked against its figures."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from connector_bench.results.harness_files import UnusableResult
from connector_bench.results.tasks import TaskRun, numbers

PAIRED = {"knn_preservation": ("knor_10",), "patch_reconstruction": ("sse", "sst")}
"""The columns of a measure's sample file that its rank column is made of."""

MOST_IMAGES = 10_000
"""Of larger sets no values of images are kept: a committed file stays small, and the recorded interval is narrow."""

TOLERANCE = 1e-4


def per_image_values(task: TaskRun, measure: str, n: int) -> dict[str, list[float]]:
    """Columns of numbers in the order of the images' hashes; empty where the run kept no samples.

    Raises UnusableResult where sample file and result file do not belong together: other images, or values that do
    not give the figure.
    """
    if n > MOST_IMAGES or not task.has_samples or measure not in PAIRED:
        return {}
    names = PAIRED[measure]
    images = {
        str(answer["image"]): found
        for answer in task.answers.values()
        if "image" in answer and (found := numbers(answer)).keys() >= set(names)
    }
    if not images:
        return {}
    _require_same_images(task, images)
    values = {name: [images[image][name] for image in sorted(images)] for name in names}
    _require_the_figure(task, values)
    return values


def documents_sha256(task: TaskRun) -> str | None:
    """One hash for the documents of a task that is not ours, by number and target; None without samples."""
    if not task.has_samples:
        return None
    return _sha256(
        f"{number}\t{json.dumps(row.target, default=str)}" for number, row in task.documents.items()
    )


def _sha256(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(sorted(lines)).encode("utf-8", "surrogatepass")).hexdigest()


def _require_same_images(task: TaskRun, images: Mapping[str, Any]) -> None:
    found, recorded = _sha256(images), task.record.get("images_sha256")
    if recorded is not None and found != recorded:
        raise UnusableResult(
            f"{task.file.samples_path(task.name)}: its {len(images)} images ({found[:12]}) are not those of "
            f"{task.file.path.name} ({str(recorded)[:12]})"
        )


def _require_the_figure(task: TaskRun, values: Mapping[str, list[float]]) -> None:
    metric, found = _figure(values)
    score = task.record.get("scores", {}).get(metric)
    expected = score.get("value") if isinstance(score, Mapping) else None
    if expected is not None and not math.isclose(found, expected, rel_tol=TOLERANCE, abs_tol=TOLERANCE):
        raise UnusableResult(
            f"{task.file.samples_path(task.name)}: its images give {metric} = {found:.6g}, "
            f"{task.file.path.name} says {expected}"
        )


def _figure(values: Mapping[str, list[float]]) -> tuple[str, float]:
    if "sst" in values:
        total = math.fsum(values["sst"])
        return "lost", math.fsum(values["sse"]) / total if total else math.nan
    return "knor_10", math.fsum(values["knor_10"]) / max(1, len(values["knor_10"]))
