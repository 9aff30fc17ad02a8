"""Reads what lmms-eval 0.7 writes, from files alone: result files, our records in them, sample files beside them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from connector_bench.foreign_files import parsed, printable, read_json
from connector_bench.results.file_schema import GIVEN_KEY, INTERVENED_KEY, RECORD_KEY, require_result
from connector_bench.results.names import folder_id, told_apart, without_folders
from connector_bench.results.recorded_command import argument_pairs

RESULT_FILES = "*_results.json"
SUBMISSIONS = "submissions"
"""Folder that lmms-eval makes for answers to challenge servers, some of which are named like result files."""
LEFT_BEHIND = re.compile(r"connector_bench/\w[\w.+-]*")
"""How a record names the folder of what is neither result nor sample file."""


class UnusableResult(ValueError):
    """A file that cannot be taken; the message names the file and the reason, and stays below a screen."""

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


@dataclass(frozen=True)
class ResultFile:
    """One finished run of lmms-eval: its result file and the folder that it lies in."""

    path: Path
    content: dict[str, Any]
    called: str | None = None
    """What the model is called among the files that were read together; None for a file by itself."""

    @property
    def date(self) -> str:
        """lmms-eval's stamp, `YYYYMMDD_HHMMSS`."""
        return str(self.content.get("date", ""))

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
    def given_connector(self) -> Mapping[str, Any] | None:
        """What connector the model was given in place of its checkpoint's: label, and source or module or both."""
        configs = (self.content.get("configs") or {}).values()
        return next((c[GIVEN_KEY] for c in configs if isinstance(c, Mapping) and c.get(GIVEN_KEY)), None)

    @property
    def interventions(self) -> Mapping[str, Mapping[str, Any]]:
        """By task: what was done to the connector's tokens while the model answered; empty where nothing was."""
        configs = (self.content.get("configs") or {}).items()
        return {
            task: config[INTERVENED_KEY]
            for task, config in configs
            if isinstance(config, Mapping) and config.get(INTERVENED_KEY)
        }

    @property
    def tasks(self) -> tuple[str, ...]:
        """Tasks that have figures."""
        return tuple(self.content["results"])

    @property
    def checkpoint(self) -> str:
        """The model as our records have it, with its folders; without a record, from lmms-eval's arguments.

        A run in which answers were intervened on is not the model's: what was done stands behind the name.
        """
        said = list(dict.fromkeys(str(done["said"]) for done in self.interventions.values()))
        if not said:
            return self._untouched
        return f"{self._untouched}, {said[0] if len(said) == 1 else f'{len(said)} interventions'}"

    @property
    def _untouched(self) -> str:
        try:
            recorded = [
                record["connector"]["model"] for record in self.records.values() if "connector" in record
            ]
            if recorded:
                return str(recorded[0])
            given = self.given_connector
            named = _checkpoint_of(self.content["config"])
            return named if given is None else f"{named} + {given['label']}"
        except (TypeError, LookupError, AttributeError) as error:
            raise UnusableResult(f"{self.path}: does not say which model it is of: {error!r}") from error

    @property
    def model(self) -> str:
        """The model's name: a hub's as it stands, of a folder the parts that tell it apart."""
        return self.called or without_folders(self.checkpoint)

    @property
    def weights(self) -> str | None:
        """Hash of the connector's weights; None where no task of ours ran."""
        records = (record.get("connector", {}) for record in self.records.values())
        return next((record["weights_sha256"] for record in records if "weights_sha256" in record), None)

    def left_behind(self, task: str) -> Path | None:
        """The folder that a task of ours left beside this file or above the model's folder, if it still lies there.

        A record that names a folder elsewhere names none. Raises UnusableResult for a link in its place.
        """
        named = self.records.get(task, {}).get("artefacts")
        if not isinstance(named, str) or not LEFT_BEHIND.fullmatch(named):
            return None
        places = (self.path.parent / named, self.path.parent.parent / named)
        found = next((place for place in places if place.is_dir()), None)
        if found is not None and (found.is_symlink() or found.parent.is_symlink()):
            raise UnusableResult(f"{found} is a link, or lies in one; links are not followed")
        return found

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
                yield from jsonlines.Reader(file, loads=parsed).iter(type=dict)
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
    try:
        require_result(content)
    except ValueError as error:
        raise UnusableResult(f"{path}: not as lmms-eval and connector_bench write it: {error}") from error
    return ResultFile(path, content)


def read_results(paths: Iterable[Path]) -> list[ResultFile]:
    """All result files among files and below folders, oldest first, each checkpoint under a name of its own.

    `expA/final` and `expB/final` keep as much of their path as tells them apart. Raises UnusableResult as
    `result_files` and `read_result`, and for a file that does not say which model it is of.
    """
    files = sorted(map(read_result, result_files(list(paths))), key=lambda file: file.date)
    return called_apart(files)


def called_apart(files: Sequence[ResultFile]) -> list[ResultFile]:
    """The same files, each checkpoint under the shortest name that no other checkpoint among them has."""
    first = {folder_id(file.checkpoint) or file.checkpoint: file.checkpoint for file in files}
    names = told_apart(first.values())
    return [
        replace(file, called=names[first[folder_id(file.checkpoint) or file.checkpoint]]) for file in files
    ]


def as_file_name(name: str) -> str:
    """A name as it may stand in a file name or an address; different names differ in it."""
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-")[:80]
    return plain if plain == name else f"{plain}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _checkpoint_of(config: Mapping[str, Any]) -> str:
    """A run's checkpoint, else lmms-eval's name of the model."""
    model, given = str(config.get("model")), dict(argument_pairs(config.get("model_args")))
    if model == "connector_zoo":
        return f"connector_zoo/{given.get('connector', 'mlp')}-seed{given.get('seed', 0)}"
    return str(given.get("pretrained") or given.get("model") or given.get("model_version") or model)


def _encoding(path: Path) -> str:
    """UTF-8 unless the file begins with a byte-order mark, as editors and shells of Windows write it."""
    with path.open("rb") as file:
        return json.detect_encoding(file.read(4))


def _load(path: Path) -> dict[str, Any]:
    try:
        content = read_json(path)
    except (OSError, UnicodeDecodeError) as error:
        raise UnusableResult(f"{path}: cannot be read: {error}") from error
    except ValueError as error:
        raise UnusableResult(
            f"{path}: not complete JSON ({error}); was the run or the copy cut short?"
        ) from error
    if not isinstance(content, dict):
        raise UnusableResult(f"{path}: holds a {type(content).__name__}, expected lmms-eval's result object")
    return content
