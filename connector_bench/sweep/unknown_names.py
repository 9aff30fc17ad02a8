"""Names in a sweep's file that nothing answers to, told before anything runs.

lmms-eval's own names are looked up in the text of its files: its index of tasks takes ten seconds to make, its models
five to import.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Collection, Iterator
from fnmatch import fnmatch
from functools import cache
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path

from connector_bench.connectors.given import WEIGHTS
from connector_bench.results.data_sets import our_tasks
from connector_bench.sweep.plan import ZOO, Sweep, arguments_of, runs_of

OUR_MODELS = (ZOO, "connector_capture")
PREFIX = "CONNECTOR_BENCH_"
VARIABLES = tuple(
    f"{PREFIX}{name}"
    for name in (
        *(
            "ALLOW_FRESH",
            "CACHE",
            "CAPTURED",
            "CAPTURED_TRAIN",
            "COCO_FOLDER",
            "CONNECTOR",
            "CONNECTOR_MODULE",
        ),
        *("CONNECTOR_WEIGHTS", "CUB_FOLDER", "IMAGE_FOLDER", "INTERVENE", "PROBES", "ROWS", "VIZWIZ_FOLDER"),
        *("WAIT", "WORKERS"),
    )
)
"""All that a run reads."""
LOCAL = ("./", "../", "/", "~")
"""What begins so is no name on the hub."""


def require_known_names(sweep: Sweep) -> None:
    """Raise ValueError with a line for every name that nothing answers to, and the nearest that something does."""
    wrong = [*_connectors(sweep), *_checkpoints(sweep), *_data(sweep), *_options(sweep)]
    if wrong:
        raise ValueError("\n".join(["names that nothing answers to", *dict.fromkeys(wrong)]))


def _connectors(sweep: Sweep) -> Iterator[str]:
    models = _models()
    for name, connector in sweep.connectors.items():
        if models and connector.model not in models:
            yield (
                f"connectors.{name}.model is {connector.model!r}: lmms-eval has no such model"
                f"{_nearest(connector.model, models)}"
            )
        for arguments in (arguments_of(connector, seed) for seed in sweep.seeds):
            if connector.model == ZOO and ":" not in (asked := arguments.get("connector", "mlp")):
                from connector_bench.zoo.named_connectors import find_factory

                try:
                    find_factory(asked)
                except ValueError as error:
                    yield f"connectors.{name}.model_args: {error}"
            if _is_no_folder(path := arguments.get("pretrained", "")):
                yield f"connectors.{name}.model_args: there is no {path}"


def _is_no_folder(path: str) -> bool:
    """Whether it is clearly a path, and leads nowhere: names on the hub have one slash at most."""
    local = path.startswith(LOCAL) or (path.count("/") > 1 and Path(path).parent.is_dir())
    return local and not Path(path).expanduser().exists()


def _checkpoints(sweep: Sweep) -> Iterator[str]:
    for run in runs_of(sweep):
        path = Path(run.environment.get(WEIGHTS, ".")).expanduser()
        if not path.exists():
            yield f"connectors.{run.connector}.checkpoints.{run.checkpoint}: there is no {path.absolute()}"


def _data(sweep: Sweep) -> Iterator[str]:
    own = any(argument.startswith("--include_path") for argument in sweep.arguments)
    for name, data in sweep.data_sets.items():
        for task in (part for text in data.tasks for part in text.split(",")):
            if not own and not _is_task(task):
                yield (
                    f"data_sets.{name}.tasks: lmms-eval has no task {task!r}{_nearest(task, [*our_tasks(), *_words()])}"
                )
        for variable in data.environment:
            if variable.startswith(PREFIX) and variable not in VARIABLES:
                yield (
                    f"data_sets.{name}.environment: nothing reads {variable}{_nearest(variable, VARIABLES)}"
                )


def _is_task(name: str) -> bool:
    """Whether it is a task, a group or a tag, a pattern that matches some, or a file."""
    if Path(name).is_file() or not _words():
        return True
    if re.search(r"[*?\[]", name):
        return any(fnmatch(known, name) for known in (*our_tasks(), *_words()))
    return name in our_tasks() or name in _words()


def _options(sweep: Sweep) -> Iterator[str]:
    known = set(re.findall(r'"(--[\w-]+)"', _text("__main__.py")))
    for argument in sweep.arguments:
        name = argument.split("=")[0]
        if known and name.startswith("--") and not any(one.startswith(name) for one in known):
            yield f"arguments: lmms-eval has no option {name}{_nearest(name, known)}"


def _nearest(name: str, known: Collection[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"; the nearest is {close[0]}" if close else ""


def _models() -> frozenset[str]:
    """None at all where another plugin adds some, which only it knows."""
    others = [
        one for one in entry_points(group="lmms_eval.models") if not one.value.startswith("connector_bench.")
    ]
    text = _text(Path("models", "__init__.py"))
    if others or os.environ.get("LMMS_EVAL_PLUGINS") or not text:
        return frozenset()
    return frozenset({*re.findall(r'"([a-z]\w*)"', text), *OUR_MODELS})


@cache
def _words() -> frozenset[str]:
    """Every word of the files that define lmms-eval's tasks: a task's name is one of them."""
    folder = _harness()
    files = () if folder is None else (folder / "tasks").rglob("*yaml")
    texts = (file.read_text(encoding="utf-8", errors="replace") for file in files if file.is_file())
    return frozenset(word for text in texts for word in re.findall(r"[\w.+-]+", text))


def _text(path: str | Path) -> str:
    folder = _harness()
    file = None if folder is None else folder / path
    return "" if file is None or not file.is_file() else file.read_text(encoding="utf-8")


@cache
def _harness() -> Path | None:
    """Where lmms-eval is installed."""
    spec = find_spec("lmms_eval")
    return (
        None
        if spec is None or not spec.submodule_search_locations
        else Path(spec.submodule_search_locations[0])
    )
