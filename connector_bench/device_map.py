"""What lmms-eval's own wrappers need to start as README writes the command."""

from __future__ import annotations

import inspect
from functools import wraps
from typing import Any

NEED_A_DEVICE_MAP = frozenset(
    {"aero", "aria", "idefics2", "llama_vision", "llava_hf", "llava_onevision2", "phi4_multimodal"}
)
"""lmms-eval's wrappers whose default is `device_map=""`, which transformers refuses where one process runs."""


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
