"""The file of a sweep, checked before anything runs, and the runs that it stands for."""

from __future__ import annotations

import difflib
import hashlib
import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from connector_bench.connectors.given import MODULE, WEIGHTS
from connector_bench.foreign_files import first_error, regular_file
from connector_bench.imported_source import source_sha256
from connector_bench.results.harness_files import as_file_name
from connector_bench.sweep.unique_keys import GivenTwice, UniqueKeys

SEED = "{seed}"
ZOO = "connector_zoo"
OURS = ("--model", "--model_args", "--tasks", "--output_path", "--log_samples", "--config")
"""Options of lmms-eval that the sweep itself gives."""


def _no_brace(text: str) -> str:
    if re.search(r"[{}]", text.replace(SEED, "")):
        raise ValueError(f"may hold {SEED} and no other braces")
    return text


def _as_text(given: Any) -> Any:
    return ",".join(f"{key}={value}" for key, value in given.items()) if isinstance(given, Mapping) else given


def _labelled(given: Any) -> Any:
    """Checkpoints without labels get the last part of their paths."""
    if not isinstance(given, list):
        return given
    labels = [Path(str(one)).name for one in given]
    if shared := next((label for label in labels if labels.count(label) > 1), None):
        raise ValueError(
            f"{labels.count(shared)} are called {shared}; tell them apart as {{label: path, ...}}"
        )
    return dict(zip(labels, given, strict=True))


def _different(seeds: list[int]) -> list[int]:
    if len(set(seeds)) < len(seeds):
        raise ValueError("a seed stands there twice, which would count one run as two")
    return seeds


def _without_connector(given: dict[str, str]) -> dict[str, str]:
    if taken := [name for name in (WEIGHTS, MODULE) if name in given]:
        raise ValueError(f"{taken[0]} is a connector's; name it there, as checkpoints or module")
    return given


def _tasks_alone(given: Any) -> Any:
    return {"tasks": given} if isinstance(given, list) else given


def _without_ours(given: list[str]) -> list[str]:
    if taken := [one for one in given if one.split("=")[0] in OURS]:
        raise ValueError(f"{taken[0]} is given by the sweep itself")
    return given


Label = Annotated[str, Field(pattern=r"^[A-Za-z0-9][\w.+-]{0,60}$")]
Text = Annotated[str, Field(min_length=1), AfterValidator(_no_brace)]


class _SweepPart(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, given: Any) -> Any:
        """Before what is missing is told: a key that is misspelt is both."""
        known = list(cls.model_fields)
        if isinstance(given, Mapping) and (unknown := [str(key) for key in given if key not in known]):
            close = difflib.get_close_matches(unknown[0], known, n=1)
            nearest = f"; the nearest is {close[0]}" if close else ""
            raise ValueError(f"there is no key {unknown[0]:.60}{nearest}; allowed are {', '.join(known)}")
        return given


class SweptConnector(_SweepPart):
    """One connector: the model of lmms-eval, and what of its connector is another's."""

    model: Annotated[str, Field(min_length=1)]
    model_args: Annotated[str, BeforeValidator(_as_text), AfterValidator(_no_brace)] = ""
    module: str | None = None
    """Import path of a class in place of the model's connector."""
    checkpoints: Annotated[dict[Label, Text], BeforeValidator(_labelled)] = Field(default_factory=dict)
    """By label: file or folder of the connector's weights; none where they are the model's own."""

    @property
    def seeded(self) -> bool:
        """Whether another seed makes another run."""
        return any(SEED in text for text in (self.model_args, *self.checkpoints.values()))


class SweptData(_SweepPart):
    """Tasks that run together."""

    tasks: Annotated[list[Text], Field(min_length=1)]
    environment: Annotated[dict[str, str], AfterValidator(_without_connector)] = Field(default_factory=dict)


class Sweep(_SweepPart):
    """The whole file."""

    connectors: Annotated[dict[Label, SweptConnector], Field(min_length=1)]
    data_sets: Annotated[
        dict[Label, Annotated[SweptData, BeforeValidator(_tasks_alone)]], Field(min_length=1)
    ]
    seeds: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1), AfterValidator(_different)] = [0]
    output: str = "sweep"
    arguments: Annotated[list[str], AfterValidator(_without_ours)] = []
    """What else lmms-eval is given."""


@dataclass(frozen=True)
class SweepRun:
    """One process of lmms-eval."""

    connector: str
    checkpoint: str | None
    data_set: str
    seed: int
    command: tuple[str, ...]
    """Without its folder."""
    environment: Mapping[str, str]
    own: tuple[Any, ...] = ()
    """What tells apart code and trained weights of somebody's own, which the command names and does not hold."""

    @property
    def row(self) -> str:
        """What its line of the table is called."""
        return self.connector if self.checkpoint is None else f"{self.connector} {self.checkpoint}"

    @property
    def name(self) -> str:
        """What it is called on the way."""
        return f"{self.row}, {self.data_set}, seed {self.seed}"

    @property
    def folder(self) -> str:
        """Name of its folder, which differs with whatever would change its figures."""
        weights = _state(self.environment.get(WEIGHTS))
        asked = json.dumps([self.command, dict(self.environment), weights, *self.own])
        named = "-".join(
            part for part in (self.connector, self.checkpoint, self.data_set, f"seed{self.seed}") if part
        )
        return f"{as_file_name(named)}-{hashlib.sha256(asked.encode()).hexdigest()[:8]}"


def read_sweep(path: Path) -> Sweep:
    """The file of a sweep.

    Raises:
        ValueError: it is no YAML or no text, a key stands twice, or a key or value is not allowed; the message
            names the first.
        OSError: it cannot be read.
    """
    try:
        content = yaml.load(regular_file(path).read_text(encoding="utf-8"), UniqueKeys)
        return Sweep.model_validate(content)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no YAML: {error}") from error
    except GivenTwice as error:
        raise ValueError(f"{path}: {error}") from None
    except RecursionError:
        raise ValueError(f"{path} is nested far deeper than any sweep") from None
    except ValidationError as error:
        raise ValueError(f"{path}: {first_error(error)}") from error


def runs_of(sweep: Sweep) -> list[SweepRun]:
    """Every run; a connector that names no seed runs once, under the first of them."""
    found = []
    for name, connector in sweep.connectors.items():
        for label, weights in connector.checkpoints.items() or [(None, None)]:
            for data_set, data in sweep.data_sets.items():
                for seed in sweep.seeds if connector.seeded else sweep.seeds[:1]:
                    environment = dict(data.environment)
                    if weights is not None:
                        environment[WEIGHTS] = weights.replace(SEED, str(seed))
                    if connector.module is not None:
                        environment[MODULE] = connector.module
                    command = [sys.executable, "-m", "lmms_eval", "--model", connector.model]
                    if connector.model_args:
                        command += ["--model_args", connector.model_args.replace(SEED, str(seed))]
                    command += ["--tasks", ",".join(data.tasks), "--log_samples", *sweep.arguments]
                    own = _own_parts(connector, seed)
                    found.append(SweepRun(name, label, data_set, seed, tuple(command), environment, own))
    return found


def _own_parts(connector: SweptConnector, seed: int) -> tuple[Any, ...]:
    """Sources of the classes that a connector names, and the state of what `zoo train` made of one."""
    found: list[Any] = [] if connector.module is None else [_source(connector.module)]
    if connector.model == ZOO:
        from connector_bench.zoo.shipped import file_stem, user_folder

        arguments = arguments_of(connector, seed)
        name = arguments.get("connector", "")
        found += [_source(name)] if ":" in name else []
        found += _state(str(user_folder() / f"{file_stem(name, arguments.get('seed', '0'))}.safetensors"))
    return tuple(found)


def arguments_of(connector: SweptConnector, seed: int) -> dict[str, str]:
    """What its model is given, by name."""
    given = connector.model_args.replace(SEED, str(seed)).split(",")
    return dict(text.partition("=")[::2] for text in given)


def _source(path: str) -> str | None:
    """The hash of a class's source; None where it cannot be read, which the run then says."""
    try:
        return source_sha256(path)
    except ValueError:
        return None


def _state(weights: str | None) -> list[Any]:
    """Sizes and times of a file or of a folder's files, by which weights that were written anew are told."""
    if weights is None:
        return []
    path = Path(weights).expanduser()
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    return [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files if file.is_file()]
