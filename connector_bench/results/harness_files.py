"""Reads what lmms-eval 0.7 writes, from files alone: result files, our records in them, sample files beside them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

RESULT_FILES = "*_results.json"
SUBMISSIONS = "submissions"
"""Folder that lmms-eval makes for answers to challenge servers, some of which are named like result files."""
RECORD_KEY = "connector_bench"
LEFT_BEHIND = re.compile(r"connector_bench/\w[\w.+-]*")
"""How a record names the folder of what is neither result nor sample file."""


class UnusableResult(ValueError):
    """A file that cannot be taken; the message names the file and the reason."""


@dataclass(frozen=True)
class ResultFile:
    """One finished run of lmms-eval: its result file and the folder that it lies in."""

    path: Path
    content: dict[str, Any]

    @property
    def records(self) -> dict[str, dict[str, Any]]:
        """What connector_bench recorded of each of its tasks."""
        found = {}
        for task, config in (self.content.get("configs") or {}).items():
            metadata = config.get("metadata") if isinstance(config, dict) else None
            if isinstance(metadata, dict) and metadata.get(RECORD_KEY):
                found[task] = metadata[RECORD_KEY]
        return found

    @property
    def tasks(self) -> tuple[str, ...]:
        """Tasks that have figures."""
        return tuple(self.content["results"])

    @property
    def model(self) -> str:
        """The model's name as our records have it, without folders; without a record, from lmms-eval's arguments."""
        recorded = [record["connector"]["model"] for record in self.records.values() if "connector" in record]
        return without_folders(str(recorded[0])) if recorded else _model_of(self.content["config"])

    def left_behind(self, task: str) -> Path | None:
        """The folder that a task of ours left beside this file or above the model's folder, if it still lies there.

        A record that names a folder elsewhere names none.
        """
        named = self.records.get(task, {}).get("artefacts")
        if not isinstance(named, str) or not LEFT_BEHIND.fullmatch(named):
            return None
        places = (self.path.parent / named, self.path.parent.parent / named)
        return next((place for place in places if place.is_dir()), None)

    def samples_path(self, task: str) -> Path:
        """Where `--log_samples` put this task's documents: always in the result file's own folder."""
        name = re.sub(r"[/\\\0]", "_", task)
        return self.path.with_name(self.path.name.replace("_results.json", f"_samples_{name}.jsonl"))

    def samples(self, task: str) -> Iterator[dict[str, Any]]:
        """A task's documents in the file's order: `doc_id`, `target`, `filtered_resps`, `input` and its metrics.

        Raises:
            UnusableResult: there is no such file (the run lacked `--log_samples`), or a line of it is broken.
        """
        import jsonlines

        path = self.samples_path(task)
        if not path.is_file():
            raise UnusableResult(f"{path}: no such file; run lmms-eval with --log_samples")
        try:
            with path.open(encoding=_encoding(path)) as file:
                yield from jsonlines.Reader(file).iter(type=dict)
        except (jsonlines.InvalidLineError, OSError, UnicodeDecodeError) as error:
            raise UnusableResult(f"{path}: {error}") from error


def result_files(paths: list[Path]) -> list[Path]:
    """The result files among files and below folders, sorted. Raises UnusableResult where there are none."""
    found: set[Path] = set()
    for path in paths:
        if path.is_dir():
            below = {file for file in path.rglob(RESULT_FILES) if file.parent.name != SUBMISSIONS}
            if not below:
                raise UnusableResult(
                    f"{path}: no {RESULT_FILES} in this folder or below it; run lmms-eval with --output_path"
                )
            found |= below
        elif path.is_file():
            found.add(path)
        else:
            raise UnusableResult(f"{path}: no such file or folder")
    return sorted(found)


def read_result(path: Path) -> ResultFile:
    """One result file. Raises UnusableResult for anything that is not a complete one."""
    content = _load(path)
    if not isinstance(content.get("config"), Mapping) or not isinstance(content.get("results"), Mapping):
        raise UnusableResult(f"{path}: not an lmms-eval result file, it has no 'config' and 'results'")
    return ResultFile(path, content)


def without_folders(name: str) -> str:
    """A checkpoint's name; of a path on somebody's machine only its last part."""
    posix, windows = PurePosixPath(name), PureWindowsPath(name)
    if windows.drive or "\\" in name:
        return windows.name or "unnamed"
    if posix.is_absolute() or name.startswith((".", "~")) or ".." in posix.parts:
        return posix.name.strip(".~") or "unnamed"
    return name


def as_file_name(name: str) -> str:
    """A name as it may stand in a file name or an address; different names differ in it."""
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-")[:80]
    return plain if plain == name else f"{plain}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _model_of(config: Mapping[str, Any]) -> str:
    """A run's checkpoint, else lmms-eval's name of the model."""
    model, model_args = str(config.get("model")), config.get("model_args") or ""
    given = model_args if isinstance(model_args, Mapping) else dict(_pairs(str(model_args)))
    if model == "connector_zoo":
        return f"connector_zoo/{given.get('connector', 'mlp')}-seed{given.get('seed', 0)}"
    return without_folders(
        str(given.get("pretrained") or given.get("model") or given.get("model_version") or model)
    )


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    for part in text.split(","):
        key, separator, value = part.partition("=")
        if separator:
            yield key.strip(), value.strip()


def _encoding(path: Path) -> str:
    """UTF-8 unless the file begins with a byte-order mark, as editors and shells of Windows write it."""
    with path.open("rb") as file:
        return json.detect_encoding(file.read(4))


def _load(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())  # UTF-8 or UTF-16, with or without a byte-order mark
    except (OSError, UnicodeDecodeError) as error:
        raise UnusableResult(f"{path}: cannot be read: {error}") from error
    except (ValueError, RecursionError) as error:
        raise UnusableResult(
            f"{path}: not complete JSON ({error}); was the run or the copy cut short?"
        ) from error
    if not isinstance(content, dict):
        raise UnusableResult(f"{path}: holds a {type(content).__name__}, expected lmms-eval's result object")
    return content
