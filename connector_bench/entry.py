"""What lmms-eval calls when it loads its plugins: registers everything, or says why it cannot.

Kept apart from `plugin` because that one imports lmms_eval's classes, which an unknown version may lack. What
lmms-eval's own wrappers need to start as README writes the command is here too.
"""

from __future__ import annotations

import inspect
from functools import wraps
from importlib import import_module
from importlib.metadata import version
from typing import Any

from connector_bench._version import __version__

KNOWN_HARNESS = ">=0.7.3,<0.8"

NEED_A_DEVICE_MAP = frozenset(
    {"aero", "aria", "idefics2", "llama_vision", "llava_hf", "llava_onevision2", "phi4_multimodal"}
)
"""lmms-eval's wrappers whose default is `device_map=""`, which transformers refuses where one process runs."""


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
    from connector_bench import plugin

    return plugin.register()


def give_wrappers_a_device_map(registry: Any) -> None:
    """Let the wrappers of `NEED_A_DEVICE_MAP` start without `device_map`, on the device that they run on anyway.

    A wrapper is changed when `registry` imports it for a run, and only while its own default is still `""`.

    Args:
        registry: lmms-eval's class of registries, whose `get_model_class` is wrapped.
    """
    original = registry.get_model_class
    if hasattr(original, "__wrapped__"):
        return

    @wraps(original)
    def get_model_class(self: Any, *args: Any, **kwargs: Any) -> type:
        found: type = original(self, *args, **kwargs)
        for kind in found.__mro__:
            package, _, name = kind.__module__.rpartition(".")
            if name in NEED_A_DEVICE_MAP and package.startswith("lmms_eval.models."):
                _give_a_device_map(kind)
        return found

    registry.get_model_class = get_model_class


def _give_a_device_map(wrapper: type) -> None:
    """Fill `device_map` in the wrapper's own constructor, so that its subclasses have it as well.

    With several processes on CUDA the wrapper chooses `cuda:RANK` itself. Its default device is CUDA, so without
    CUDA it gets the device that accelerate finds.
    """
    original = vars(wrapper).get("__init__")
    if original is None or hasattr(original, "__wrapped__"):
        return
    signature = inspect.signature(original)
    device_map = signature.parameters.get("device_map")
    if device_map is None or device_map.default != "":
        return

    @wraps(original)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        import torch
        from accelerate import PartialState
        from loguru import logger

        given = signature.bind(self, *args, **kwargs)
        arguments, cuda, state = given.arguments, torch.cuda.is_available(), PartialState()
        if not arguments.get("device_map") and (state.num_processes == 1 or not cuda):
            if "device" not in arguments:
                arguments["device"] = signature.parameters["device"].default if cuda else str(state.device)
                if not cuda:
                    logger.warning(
                        f"{wrapper.__name__} got no device and finds no CUDA: {state.device} it is"
                    )
            arguments["device_map"] = arguments["device"]
        original(*given.args, **given.kwargs)

    wrapper.__init__ = __init__  # type: ignore[misc]


def loaded_plugin() -> Any:
    """Our module `plugin` for those who use tasks outside of a run.

    The harness is imported first: it imports our plugin itself, which must not be half imported by then.

    Raises:
        RuntimeError: an lmms-eval that was never tried; the message names both versions.
    """
    if (problem := harness_problem(version("lmms-eval"))) is not None:
        raise RuntimeError(problem)
    import_module("lmms_eval.models")
    return import_module("connector_bench.plugin")
