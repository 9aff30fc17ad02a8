"""Tower and connector of a checkpoint alone: of its language model nothing is read, and no memory is taken for it.

The model is built as transformers builds it, without values, and what hangs off the way to the connector and is no part
of the vision pass is taken out. `from_pretrained` then loads what is left, with its own renaming and conversion of
weights. Where the vision pass asks for a part that was taken out, the model is loaded with it.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from packaging.version import Version

from connector_bench.connectors.base import ConnectorAdapter, UnsupportedModel
from connector_bench.connectors.execution import chosen_device, require_device
from connector_bench.connectors.model_class import config_of_checkpoint, processor_of_checkpoint
from connector_bench.connectors.registry import adapter_for_model
from connector_bench.connectors.stored_weights import (
    FLOATING,
    Find,
    first_precision,
    forget_opened,
    stored_tensors,
)
from connector_bench.connectors.vision_pass import (
    NotLoaded,
    beside_the_vision_pass,
    without,
    without_values,
)
from connector_bench.foreign_files import first_line

DTYPES = ("auto", "float32", "bfloat16", "float16")
At = dict[str, str]
"""Which revision."""
LAZY_STATE = Version("5.0")
"""The first transformers that takes tensors that are read when they are wanted."""


def load_alone(
    checkpoint: str,
    *,
    device: str = "auto",
    dtype: str = "auto",
    revision: str | None = None,
    processor: Any = None,
) -> ConnectorAdapter:
    """The adapter of a checkpoint whose vision tower and connector alone are loaded.

    Args:
        checkpoint: folder or hub name.
        device: where they run, as torch names it; `auto` is a graphics card where there is one, else the CPU.
        dtype: one of `DTYPES`; `auto` is the checkpoint's own.
        revision: branch, tag or commit of a hub's checkpoint.
        processor: processor or image processor that prepares pictures; the checkpoint's own unless given.

    Raises:
        UnsupportedModel: the checkpoint cannot be loaded in part, or has no connector.
        ValueError: no such precision or device, a revision of a folder, or a processor that cannot be loaded.
        OSError: there is no such checkpoint.
    """
    from connector_bench.connectors.coloured import coloured_picture
    from connector_bench.connectors.fresh import observe_loading
    from connector_bench.connectors.given import give_connector
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
    config = config_of_checkpoint(checkpoint, **at)
    refuse(config)
    observe_loading()
    processor = processor or processor_of_checkpoint(checkpoint, **at)
    plain = without_values(config)
    left_out = beside_the_vision_pass(plain)
    kind = type(plain)
    del plain
    for _ in range(1 + len(left_out)):
        model = _loaded(kind, left_out, checkpoint, config, dtype, device, at)
        give_connector(model)
        adapter = adapter_for_model(model, processor, checkpoint)
        try:
            adapter.capture([coloured_picture(224, 224)])
        except NotLoaded as asked:
            left_out = left_out - {asked.path}
            del adapter, model
        else:
            return adapter
    raise UnsupportedModel(f"The vision pass of {kind.__name__} asks for parts that it has not")


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
                f"{first_line(error)}"
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
