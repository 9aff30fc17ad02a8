"""Tower and connector of a checkpoint alone: of its language model nothing is read, and no memory is taken for it.

The model is built as transformers builds it, without values, and what hangs off the way to the connector and is no part
of the vision pass is taken out. `from_pretrained` then loads what is left, with its own renaming and conversion of
weights. Where the vision pass asks for a part that was taken out, the model is loaded with it.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging.version import Version

from connector_bench.connectors.base import ConnectorAdapter, UnsupportedModel
from connector_bench.connectors.execution import chosen_device, require_device
from connector_bench.connectors.generic import ELSEWHERE
from connector_bench.connectors.registry import adapter_for_model, family_of
from connector_bench.connectors.stored_weights import (
    FLOATING,
    Find,
    first_precision,
    forget_opened,
    stored_tensors,
)

if TYPE_CHECKING:
    from torch import nn

DTYPES = ("auto", "float32", "bfloat16", "float16")
SEES = re.compile(r"vision|visual|image|qformer|perceiver|projector|resampler|abstractor|connector")
"""Names of parts of a composite configuration that stand for what pictures pass."""
NOT_SEEING = re.compile(rf"{ELSEWHERE.pattern}|lm_head|vqmodel|talker|code2wav|token2wav")
"""Names of modules beside tower and connector that pictures do not pass on their way to the language model."""
At = dict[str, str]
"""Which revision."""
LAZY_STATE = Version("5.0")
"""The first transformers that takes tensors that are read when they are wanted."""


class NotLoaded(AttributeError):
    """The vision pass asked for a part that was left out."""

    def __init__(self, path: str) -> None:
        super().__init__(f"{path} was not loaded")
        self.path = path


def load_alone(
    checkpoint: str, *, device: str = "auto", dtype: str = "auto", revision: str | None = None
) -> ConnectorAdapter:
    """The adapter of a checkpoint whose vision tower and connector alone are loaded.

    Args:
        checkpoint: folder or hub name.
        device: where they run, as torch names it; `auto` is a graphics card where there is one, else the CPU.
        dtype: one of `DTYPES`; `auto` is the checkpoint's own.
        revision: branch, tag or commit of a hub's checkpoint.

    Raises:
        UnsupportedModel: the checkpoint cannot be loaded in part, or has no connector.
        ValueError: no such precision or device, or a revision of a folder.
        OSError: there is no such checkpoint.
    """
    import transformers

    from connector_bench.connectors.coloured import coloured_picture
    from connector_bench.connectors.fresh import observe_loading
    from connector_bench.connectors.unsupported import refuse

    if dtype not in DTYPES:
        raise ValueError(f"dtype is {dtype!r}; allowed are {', '.join(DTYPES)}")
    device = chosen_device(device)
    require_device(device)
    if Path(checkpoint).is_dir() and revision is not None:
        raise ValueError(f"{checkpoint} is a folder, which has no revisions; got {revision!r}")
    if Path(checkpoint).is_absolute() and not Path(checkpoint).is_dir():
        raise FileNotFoundError("there is no such folder")
    at = {} if revision is None else {"revision": revision}
    config = transformers.AutoConfig.from_pretrained(checkpoint, **at)
    refuse(config)
    observe_loading()
    processor = transformers.AutoProcessor.from_pretrained(checkpoint, **at)
    plain = without_values(config)
    left_out = beside_the_vision_pass(plain)
    kind = type(plain)
    del plain
    for _ in range(1 + len(left_out)):
        model = _loaded(kind, left_out, checkpoint, config, dtype, device, at)
        adapter = adapter_for_model(model, processor, checkpoint)
        try:
            adapter.capture([coloured_picture(224, 224)])
        except NotLoaded as asked:
            left_out = left_out - {asked.path}
            del adapter, model
        else:
            return adapter
    raise UnsupportedModel(f"The vision pass of {kind.__name__} asks for parts that it has not")


def without_values(config: Any) -> nn.Module:
    """The model of a configuration on the meta device: all its modules, no memory.

    Raises:
        UnsupportedModel: it is none that reads images and writes text.
    """
    import torch
    import transformers

    try:
        with torch.device("meta"):
            model: nn.Module = transformers.AutoModelForImageTextToText.from_config(config)
    except (ValueError, KeyError) as error:
        model_type = getattr(config, "model_type", "?")
        reason = str(error).splitlines()[0]  # the others list every class of transformers
        raise UnsupportedModel(
            f"A {model_type} model is none that reads images and writes text: {reason}"
        ) from error
    return model.eval()


def beside_the_vision_pass(model: nn.Module) -> frozenset[str]:
    """Paths of the modules beside the way to the connector that are no part of the vision pass.

    Told by the part of the configuration that a module is built from, and by its name.
    """
    from connector_bench.connectors.modules import find
    from connector_bench.connectors.transformers_adapter import connector_paths

    connector = {find(model, path) for chain in connector_paths(model, family_of(model)) for path in chain}
    output: Any = getattr(model, "get_output_embeddings", lambda: None)()
    others = _configurations_that_do_not_see(model.config)

    def leave_out(name: str, module: nn.Module) -> bool:
        config = getattr(module, "config", None)
        return module is output or NOT_SEEING.search(name) is not None or type(config) in others

    def walk(path: str, module: nn.Module) -> Iterator[str]:
        for name, child in module.named_children():
            below = f"{path}.{name}" if path else name
            inside = set(child.modules())
            if inside & connector:
                if child not in connector:
                    yield from walk(below, child)
            elif leave_out(name, child):
                yield below

    return frozenset(walk("", model))


def _configurations_that_do_not_see(config: Any) -> set[type]:
    parts = getattr(type(config), "sub_configs", {})
    sees: set[type] = set()
    others: set[type] = set()
    for name in parts:
        kind = type(getattr(config, name, None))
        (sees if SEES.search(name) else others).add(kind)
    return others - sees - {type(None), type(config), dict}


def without(kind: Any, left_out: Collection[str]) -> Any:
    """A model's class that has none of these modules; whoever asks for one gets `NotLoaded`."""
    from torch import nn

    class LeftOut(nn.Module):
        def __init__(self, path: str) -> None:
            super().__init__()
            self.__dict__["_path"] = path

        def __getattr__(self, name: str) -> Any:
            if name.startswith("_"):
                return super().__getattr__(name)
            raise NotLoaded(self.__dict__["_path"])

        def forward(self, *args: Any, **kwargs: Any) -> Any:
            raise NotLoaded(self.__dict__["_path"])

    def __init__(self: Any, config: Any, *args: Any, **options: Any) -> None:
        kind.__init__(self, config, *args, **options)
        for path in left_out:
            parent, _, name = path.rpartition(".")
            setattr(self.get_submodule(parent), name, LeftOut(path))
        here = dict(self.named_parameters(remove_duplicate=False))
        tied = vars(self).get("all_tied_weights_keys")
        if tied is not None:
            self.all_tied_weights_keys = {a: b for a, b in tied.items() if a in here and b in here}

    changed = {
        "__init__": __init__,
        "__module__": kind.__module__,
        "can_generate": classmethod(lambda cls: False),
        "get_output_embeddings": lambda self: None,
    }
    return type(kind.__name__, (kind,), changed)


def _loaded(
    kind: Any, left_out: Collection[str], checkpoint: str, config: Any, dtype: str, device: str, at: At
) -> Any:
    import transformers
    from safetensors import SafetensorError

    reduced = without(kind, left_out)
    quantised = getattr(config, "quantization_config", None) is not None
    with _quietly():
        try:
            if Version(transformers.__version__) >= LAZY_STATE:
                model = _read_when_wanted(reduced, checkpoint, config, dtype, at)
                if model is not None:
                    return model.to(device).eval()
            places = {"device_map": {"": device}} if quantised else {}
            model = reduced.from_pretrained(
                checkpoint, config=copy.deepcopy(config), dtype=dtype, **places, **at
            )
            return model.eval() if quantised else model.to(device).eval()
        except SafetensorError as error:
            raise UnsupportedModel(
                f"its weights cannot be read, the copy may be cut short: {error}"
            ) from error
        except (ImportError, RuntimeError, ValueError, AttributeError) as error:
            if not quantised or isinstance(error, UnsupportedModel):
                raise
            method = _method_of(config)
            raise UnsupportedModel(
                f"its tower or connector is quantised ({method}), and transformers cannot load that here: "
                f"{str(error).splitlines()[0]:.300}"
            ) from error
        finally:
            forget_opened()


def _read_when_wanted(reduced: Any, checkpoint: str, config: Any, dtype: str, at: At) -> Any:
    """The model from tensors that are read one by one; None where what is left of it is quantised.

    Quantisers mostly leave tower and connector as they are: then they are read without the quantiser's package.
    """
    config = copy.deepcopy(config)
    quantised = vars(config).pop("quantization_config", None) is not None
    read: set[str] = set()
    tensors = stored_tensors(_finder(checkpoint, at), read)
    if dtype == "auto" and getattr(config, "dtype", None) is None:
        dtype = first_precision(tensors) or "float32"
    model, loading = reduced.from_pretrained(
        None,
        state_dict=tensors,
        dtype=dtype,
        config=config,
        output_loading_info=True,
        ignore_mismatched_sizes=quantised,
    )
    whole = not loading["missing_keys"] and not loading["mismatched_keys"] and read <= set(FLOATING)
    if quantised and not whole:
        return None
    model.name_or_path = model.config.name_or_path = checkpoint
    return model


def _method_of(config: Any) -> str:
    said = config.quantization_config
    found = said.get("quant_method") if isinstance(said, dict) else getattr(said, "quant_method", None)
    return str(getattr(found, "value", found))


@contextmanager
def _quietly() -> Iterator[None]:
    """Without transformers' list of weights that were not wanted."""
    from transformers import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


def _finder(checkpoint: str, at: At) -> Find:
    from transformers.utils import cached_file

    def find(name: str) -> Path | None:
        if Path(checkpoint).is_dir():
            path = Path(checkpoint) / name
            return path if path.is_file() else None
        found = cached_file(
            checkpoint,
            name,
            _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=False,
            **at,
        )
        return None if found is None else Path(found)

    return find
