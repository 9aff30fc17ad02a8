"""Results on the disk, in the shape of lmms-eval's files: the commands that read those read these too."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from connector_bench.api.result import FIGURES_SCHEMA, MeasuredPart, Result
from connector_bench.atomic_files import make_folder, write_atomically
from connector_bench.foreign_files import file_inside
from connector_bench.results.harness_files import as_file_name, read_result, result_files
from connector_bench.results.names import without_folders
from connector_bench.results.recorded_command import IN_PYTHON
from connector_bench.results.tasks import MEASURES, TaskRun
from connector_bench.results.written_results import write_result

STAMP = "%Y%m%d_%H%M%S"
OWN_KEY = "connector_bench_python"
TASK_SUFFIX = "_python"
"""Of the names of what was measured from Python, beside the tasks of the same measure."""


def task_of(measure: str) -> str:
    """What a measure is called among lmms-eval's tasks."""
    return f"{measure}{TASK_SUFFIX}"


def save(result: Result, folder: Path) -> Path:
    """Write a result into a folder, beside others; the result file, which comes last, is returned."""
    below = folder / as_file_name(without_folders(result.name))
    make_folder(below)
    date = result.date
    while (path := below / f"{date}_results.json").exists():
        date = (datetime.strptime(date, STAMP) + timedelta(seconds=1)).strftime(STAMP)
    parts = [_beside_others(part, folder) for part in result.parts]
    for part in parts:
        for name, content in part.files.items():
            make_folder((folder / name).parent)
            write_atomically(folder / name, content)
    own = {
        "schema_version": FIGURES_SCHEMA,
        "name": result.name,
        "function": result.function,
        "pictures": result.pictures,
        "date": result.date,
        "warnings": list(result.warnings),
    }
    config = {"model": IN_PYTHON[result.function], "model_args": f"pretrained={result.name}"}
    tasks = {task_of(part.measure): part for part in parts}
    write_result(path, tasks, config, {"date": date, OWN_KEY: own})
    return path


def _beside_others(part: MeasuredPart, folder: Path) -> MeasuredPart:
    """The part, its files in a folder that no other result has: one of the same model, on other pictures, may."""
    named, count = str(part.record.get("artefacts")), 1
    place = named
    while (folder / place).exists():
        count += 1
        place = f"{named}-{count}"
    files = {f"{place}{name.removeprefix(named)}": content for name, content in part.files.items()}
    return part if count == 1 else replace(part, record={**part.record, "artefacts": place}, files=files)


def load(path: Path) -> Result:
    """Read what `save` has written. ValueError for anything else."""
    files = [read_result(one) for one in result_files([path])]
    if len(files) > 1:
        names = ", ".join(str(file.path.relative_to(path)) for file in files[:5])
        raise ValueError(f"{path} holds {len(files)} results, name one: {names}")
    (file,) = files
    own = file.content.get(OWN_KEY)
    if not isinstance(own, dict):
        raise ValueError(
            f"{file.path} is a result of lmms-eval, not one that was saved in Python; `connector-bench report` and "
            "`compare` read it"
        )
    if own.get("schema_version") != FIGURES_SCHEMA:
        raise ValueError(
            f"{file.path} is of schema {own.get('schema_version')!r:.40}; this version reads schema {FIGURES_SCHEMA}"
        )
    pictures, said = own.get("pictures"), own.get("warnings")
    texts = [own.get(key) for key in ("name", "function", "date")]
    whole = isinstance(pictures, int) and 0 < pictures < 2**31 and own.get("function") in IN_PYTHON
    if not whole or not all(isinstance(text, str) for text in texts) or not _texts(said):
        raise ValueError(f"{file.path}: {OWN_KEY} does not hold what `save` writes")
    assert isinstance(pictures, int)
    assert isinstance(said, list)
    name, function, date = map(str, texts)
    parts = tuple(_part(TaskRun(file, task), pictures) for task in file.tasks)
    return Result(name, function, pictures, parts, date, tuple(said))


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _part(task: TaskRun, pictures: int) -> MeasuredPart:
    measure = task.name.removesuffix(TASK_SUFFIX)
    if measure not in MEASURES:
        raise ValueError(f"{task.file.path}: {task.name} is no measure; known are {', '.join(MEASURES)}")
    answers = task.answers
    if not all(0 <= number < pictures for number in answers):
        raise ValueError(f"{task.file.path}: answers of pictures beyond the {pictures} that were given")
    if any(row.get("same_image_as", min(answers)) not in answers for row in answers.values()):
        raise ValueError(f"{task.file.path}: a picture is the same as one that is not there")
    return MeasuredPart(
        measure,
        task.record,
        task.figures,
        {m.name: m.stderr for m in task.metrics if m.stderr is not None and math.isfinite(m.stderr)},
        task.higher_is_better,
        answers,
        files_below(task),
    )


def files_below(task: TaskRun) -> dict[str, bytes]:
    """What was left beside a result, by its path; files alone, no link is followed."""
    folder = task.file.left_behind(task.name)
    if folder is None:
        return {}
    root = folder.parent.parent
    paths = [path.relative_to(root) for path in sorted(folder.rglob("*")) if path.is_file()]
    return {path.as_posix(): file_inside(root, *path.parts).read_bytes() for path in paths}
