"""What of a model pictures pass on their way through the connector, and the model's class without the rest."""

from __future__ import annotations

import copy
import re
from collections.abc import Collection, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from connector_bench.connectors.base import UnsupportedModel
from connector_bench.connectors.generic import ELSEWHERE
from connector_bench.connectors.model_class import model_class
from connector_bench.connectors.registry import family_of
from connector_bench.foreign_files import first_line

if TYPE_CHECKING:
    from torch import nn

SEES = re.compile(r"vision|visual|image|qformer|perceiver|projector|resampler|abstractor|connector")
"""Names of parts of a composite configuration that stand for what pictures pass."""
NOT_SEEING = re.compile(
    rf"{ELSEWHERE.pattern}|lm_head|vqmodel|talker|code2wav|token2wav|video_tower|projection_head|^(embed_)?action"
)
"""Names of modules beside tower and connector that pictures do not pass on their way to the language model."""


class NotLoaded(AttributeError):
    """The vision pass asked for a part that was left out."""

    def __init__(self, path: str) -> None:
        super().__init__(f"{path} was not loaded")
        self.path = path


def without_values(config: Any) -> nn.Module:
    """The model of a configuration on the meta device: all its modules, no memory.

    Raises:
        UnsupportedModel: it is none that reads images and writes text.
    """
    import torch

    config = copy.deepcopy(config)  # timm takes parts out of what it is given
    loader = model_class(config)
    try:
        with torch.device("meta"):
            automatic = hasattr(loader, "from_config")
            model: nn.Module = (
                loader.from_config(config, trust_remote_code=False) if automatic else loader(config)
            )
    except (ValueError, KeyError) as error:
        model_type = getattr(config, "model_type", "?")
        reason = first_line(error)  # the others list every class of transformers
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
    output, words = (_embeddings(model, side) for side in ("output", "input"))
    others = _configurations_that_do_not_see(model.config)

    def leave_out(name: str, module: nn.Module) -> bool:
        config = getattr(module, "config", None)
        return module is output or NOT_SEEING.search(name) is not None or type(config) in others

    def walk(path: str, module: nn.Module) -> Iterator[str]:
        children = dict(module.named_children())
        reads_words = any(
            child is words for child in children.values()
        )  # Phi-4: the tower hangs in the decoder
        for name, child in children.items():
            below = f"{path}.{name}" if path else name
            inside = set(child.modules())
            if inside & connector:
                if child not in connector:
                    yield from walk(below, child)
            elif reads_words or leave_out(name, child):
                yield below

    return frozenset(walk("", model))


def _embeddings(model: nn.Module, side: str) -> nn.Module | None:
    """Of words at the input or output; None where the model does not say which they are."""
    try:
        found: nn.Module | None = getattr(model, f"get_{side}_embeddings", lambda: None)()
    except NotImplementedError:
        return None
    return found


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
    from transformers import PreTrainedModel

    class LeftOut(nn.Module):
        def __init__(self, path: str) -> None:
            super().__init__()
            self.__dict__["_path"] = path

        def __getattr__(self, name: str) -> Any:
            if name.startswith("_"):
                return super().__getattr__(name)
            raise NotLoaded(self.__dict__["_path"])

        def refuse(self, *args: Any, **kwargs: Any) -> Any:
            raise NotLoaded(self.__dict__["_path"])

        forward = __iter__ = __len__ = __getitem__ = refuse

    def __init__(self: Any, config: Any, *args: Any, **options: Any) -> None:
        kind.__init__(self, config, *args, **options)
        for path in left_out:
            parent, _, name = path.rpartition(".")
            setattr(self.get_submodule(parent), name, LeftOut(path))
        here = dict(self.named_parameters(remove_duplicate=False))
        tied = vars(self).get("all_tied_weights_keys")
        if tied is not None:
            self.all_tied_weights_keys = {a: b for a, b in tied.items() if a in here and b in here}

    from_pretrained: Any = vars(PreTrainedModel)["from_pretrained"]  # Qwen-Omni's own reads voices too

    def _init_weights(self: Any, module: nn.Module) -> None:
        with suppress(NotLoaded):  # ModernVBERT's whole model draws its output layer
            kind._init_weights(self, module)

    changed = {
        "__init__": __init__,
        "_init_weights": _init_weights,
        "__module__": kind.__module__,
        "from_pretrained": from_pretrained,
        "can_generate": classmethod(lambda cls: False),
        "get_output_embeddings": lambda self: None,
    }
    return type(kind.__name__, (kind,), changed)
