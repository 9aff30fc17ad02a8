"""What lmms-eval calls when it loads its plugins: registers everything, or says why it cannot.

Kept apart from `plugin` because that one imports lmms_eval's classes, which an unknown version may lack.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import Any

from connector_bench._version import __version__

KNOWN_HARNESS = ">=0.7.3,<0.8"


def harness_problem(installed: str) -> str | None:
    """A sentence naming both versions where `installed` is an lmms-eval that was never tried, else None."""
    from packaging.specifiers import SpecifierSet

    if SpecifierSet(KNOWN_HARNESS).contains(installed, prereleases=True):
        return None
    return (
        f"connector-bench {__version__} works with lmms-eval {KNOWN_HARNESS}, but lmms-eval {installed} is installed: "
        f"its tasks and its model are not registered. A matching one: pip install 'lmms-eval{KNOWN_HARNESS}'"
    )


def register() -> list[Any]:
    """Entry point of group `lmms_eval.models`: the manifests of our models, with tasks and request type added.

    An unknown harness gets an error in the log and no registration, since an exception here would make
    lmms-eval skip the plugins of others.
    """
    from loguru import logger

    if (problem := harness_problem(version("lmms-eval"))) is not None:
        logger.error(problem)
        return []
    from connector_bench.plugin.registering import register as add_ours  # `plugin` may be half imported

    return add_ours()


def loaded_plugin() -> Any:
    """Our module `plugin` for those who use tasks outside of a run.

    Raises:
        RuntimeError: an lmms-eval that was never tried; the message names both versions.
    """
    if (problem := harness_problem(version("lmms-eval"))) is not None:
        raise RuntimeError(problem)
    return import_module("connector_bench.plugin")
