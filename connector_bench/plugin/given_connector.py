"""The connector that the environment names, put into whatever model lmms-eval makes, before any task runs on it."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from lmms_eval.api.model import lmms
from lmms_eval.api.task import Task
from loguru import logger

from connector_bench.connectors.given import GivenConnector, give_connector, require_named
from connector_bench.connectors.matched_names import few
from connector_bench.connectors.registry import held_model
from connector_bench.foreign_files import printable
from connector_bench.plugin.refusing import end_run
from connector_bench.processes import rank_and_size
from connector_bench.results.file_schema import GIVEN_KEY

T = TypeVar("T")

_given: list[GivenConnector] = []
"""What the latest model was given."""


def give_models_their_connector() -> None:
    """Let models that lmms-eval makes carry the connector that the environment names, and results say so.

    What lmms-eval keeps of a task's configuration, also in the key of its cache of responses, then names the files.
    """
    original, dumped = lmms.__dict__["create_from_arg_string"].__func__, Task.dump_config
    if hasattr(original, "__wrapped__"):
        return

    @wraps(original)
    def create_from_arg_string(cls: Any, *args: Any, **options: Any) -> Any:
        _given.clear()
        if not _or_end(require_named):
            return original(cls, *args, **options)
        made = original(cls, *args, **options)
        given = _or_end(lambda: give_connector(held_model(made)))
        if given is not None:
            _given.append(given)
            if rank_and_size()[0] == 0:
                logger.info(_said(given))
        return made

    @wraps(dumped)
    def dump_config(self: Any) -> dict[str, Any]:
        config = dict(dumped(self))
        return config | {GIVEN_KEY: _given[0].as_record()} if _given else config

    lmms.create_from_arg_string = classmethod(create_from_arg_string)
    Task.dump_config = dump_config


def _or_end(work: Callable[[], T]) -> T:
    try:
        return work()
    except (ValueError, OSError) as error:
        end_run(f"the model was not given its connector, and nothing was measured: {printable(str(error))}")


def _said(given: GivenConnector) -> str:
    rest = f"; not read of it: {few(given.not_read)}" if given.not_read else ""
    return f"{'; '.join(given.remarks)}{rest}"
