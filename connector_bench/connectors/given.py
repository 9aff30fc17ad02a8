"""A connector in place of the checkpoint's own: other weights, or another class, that the environment names.

`CONNECTOR_BENCH_CONNECTOR_WEIGHTS` names a file or folder of weights, `CONNECTOR_BENCH_CONNECTOR_MODULE` a class as
`my_package.mine:MyProjector`, which is built with the model's configuration and put in the place of the connector. The
rest of the model stays, so that whatever runs on it afterwards, VQA tasks among it, sees this connector.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from connector_bench.connectors.base import UnsupportedModel
from connector_bench.connectors.execution import unwrapped
from connector_bench.connectors.family import Family
from connector_bench.connectors.fresh import refuse_fresh
from connector_bench.connectors.matched_names import MatchedNames, few, matched_names
from connector_bench.connectors.modules import find
from connector_bench.connectors.weight_files import WeightFiles, weight_files
from connector_bench.connectors.weights import WRAPPED, hooks_of, is_sharded, quantised_parts, quantiser
from connector_bench.imported import imported_factory

if TYPE_CHECKING:
    from torch import Tensor, nn

WEIGHTS, MODULE = "CONNECTOR_BENCH_CONNECTOR_WEIGHTS", "CONNECTOR_BENCH_CONNECTOR_MODULE"
NOTE = "_connector_bench_given"
STEP = re.compile(r"(checkpoint|global_?step|step|epoch|iter(ation)?)[-_ =]?\d+", re.IGNORECASE)
"""Name of a folder that says which step of a training its file is of."""
ADAPTED = re.compile(r"base_layer|lora_|modules_to_save|original_module")
WRAPPER = re.compile(rf"({'|'.join(WRAPPED)})\.")


@dataclass(frozen=True)
class GivenConnector:
    """What of a model's connector is not its checkpoint's."""

    module: str | None
    """Import path of its class; None where that is the model's own."""
    source: str | None
    """File or folder of its weights, without the folders above; None where they are as initialised."""
    files: Mapping[str, str]
    """SHA-256 of every file that was read, by name."""
    not_read: tuple[str, ...] = ()
    """What else lies in the files."""

    @property
    def sha256(self) -> str | None:
        """Of the file, or of the names and hashes of all files in one text; None where none was read."""
        if len(self.files) <= 1:
            return next(iter(self.files.values()), None)
        return hashlib.sha256(
            "\n".join(f"{hash_} {name}" for name, hash_ in self.files.items()).encode()
        ).hexdigest()

    @property
    def label(self) -> str:
        """What a model with this connector is called behind its own name."""
        hash_ = self.sha256
        parts = [self.module, self.source, None if hash_ is None else f"({hash_[:8]})"]
        return " ".join(part for part in parts if part)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a record says of it."""
        module = (
            () if self.module is None else (f"the connector is {self.module}, in place of the model's own",)
        )
        if self.source is None:
            return module
        return (*module, f"the connector's weights are those of {self.source}, SHA-256 {self.sha256}")

    def as_record(self) -> dict[str, Any]:
        """Ready for JSON."""
        named = {
            "module": self.module,
            "source": self.source,
            "sha256": self.sha256,
            "files": dict(self.files),
        }
        return {"label": self.label, **{key: value for key, value in named.items() if value}}


def given_to(model: Any) -> GivenConnector | None:
    """What was put into a model in place of its checkpoint's connector, None where nothing was."""
    found: GivenConnector | None = getattr(unwrapped(model), NOTE, None)
    return found


def filed_name(model: Any, name: str) -> str:
    """The name under which results of a model are filed: its own, and that of a connector that it was given."""
    given = given_to(model)
    return name if given is None else f"{name} + {given.label}"


def said_of_given(model: Any) -> tuple[str, ...]:
    """What a record says of a connector that a model was given; nothing where it has its own."""
    given = given_to(model)
    return () if given is None else given.remarks


def as_given(model: Any, family: Family) -> Family:
    """The family where the connector is of the model's own class; else what is still known of another class."""
    given = given_to(model)
    if given is None or given.module is None:
        return family
    return replace(
        family, connector=given.module, leading_norm=None, learnt_arguments=(), learnt_parameters=()
    )


def require_named() -> bool:
    """Whether the environment names a connector.

    Raises:
        ValueError: what it names is not there, is no weights, or cannot be imported.
        OSError: the same of a file.
    """
    weights, module = _named(WEIGHTS), _named(MODULE)
    if weights is not None:
        weight_files(Path(weights).expanduser()).close()
    if module is not None:
        _factory(module)
    return weights is not None or module is not None


def give_connector(model: Any) -> GivenConnector | None:
    """Put the connector that the environment names into a model; None where it names none.

    Args:
        model: a model of transformers, or of the zoo; the tensors of its connector are written over.

    Raises:
        UnsupportedModel: files and connector do not fit, each name and shape that does not is named; or the connector
            is quantised, sharded, offloaded or adapted, so that weights cannot be put into it.
        ValueError, OSError: as `require_named`.
    """
    weights, module = _named(WEIGHTS), _named(MODULE)
    if weights is None and module is None:
        return None
    model = unwrapped(model)
    kind = type(model).__name__
    parts = _parts(model)
    if module is not None:
        parts = _replaced(model, parts, module)
    given = GivenConnector(module, None, {})
    if weights is None:
        refuse_fresh(kind, [f"{path}.{name}" for path, part in parts.items() for name in part])
    else:
        files = weight_files(Path(weights).expanduser())
        try:
            matched = _match(files, parts, kind)
            _load(files, matched, parts)
            given = GivenConnector(module, _called(files.path), files.sha256(), matched.elsewhere)
        finally:
            files.close()
    object.__setattr__(model, NOTE, given)
    return given


def _named(variable: str) -> str | None:
    return os.environ.get(variable, "").strip() or None


def _factory(path: str) -> Any:
    if ":" not in path:
        raise ValueError(
            f"{MODULE} is {path!r}; an import path such as my_package.mine:MyProjector is needed"
        )
    return imported_factory(path)


def _called(path: Path) -> str:
    """A file's name, with its folder's where that says a step, such as `checkpoint-500 mm_projector.bin`."""
    path = path.resolve()
    step = path.is_file() and STEP.fullmatch(path.parent.name)
    return f"{path.parent.name} {path.name}" if step else path.name


Parts = dict[str, dict[str, "Tensor"]]
"""By path of a module: its tensors by their plain names."""


def _parts(model: Any) -> Parts:
    from connector_bench.connectors import zoo

    if zoo.matches(model):
        return {"connector": _tensors("connector", model.connector)}
    from connector_bench.connectors.registry import family_of
    from connector_bench.connectors.transformers_adapter import connector_paths

    family = family_of(model)
    paths = dict.fromkeys(path for chain in connector_paths(model, family) for path in chain)
    parts = {path: _tensors(path, find(model, path)) for path in paths}
    for path in family.learnt_parameters:
        above, _, name = path.rpartition(".")
        parts[path] = {"": getattr(find(model, above) if above else model, name)}
    return {path: tensors for path, tensors in parts.items() if tensors}


def _tensors(path: str, module: nn.Module) -> dict[str, Tensor]:
    if quantised := quantised_parts(module):
        raise UnsupportedModel(
            f"the weights of {path} are quantised ({quantiser(quantised[0][1])}), so no others can be put in their "
            "place; load the model without quantisation"
        )
    tensors = {WRAPPER.sub("", name): tensor for name, tensor in module.state_dict(keep_vars=True).items()}
    if adapted := [name for name in tensors if ADAPTED.search(name)]:
        raise UnsupportedModel(
            f"{path} carries adapters ({adapted[0]}); merge them before other weights are given"
        )
    if any(tensor.is_meta for tensor in tensors.values()):
        raise UnsupportedModel(
            f"the weights of {path} are offloaded; load the model on one device to give it others"
        )
    if any(is_sharded(tensor) for tensor in tensors.values()):
        raise UnsupportedModel(
            f"the weights of {path} are shared out over processes; give every process a whole model"
        )
    return tensors


def _replaced(model: Any, parts: Parts, module: str) -> Parts:
    """A new module of the named class where the connector was."""
    import torch
    from torch import nn

    if not isinstance(model, nn.Module):
        raise UnsupportedModel(
            f"{MODULE} needs a model of transformers; to the zoo one gives connector={module}"
        )
    if len(parts) > 1:
        raise UnsupportedModel(
            f"the connector of {type(model).__name__} has {len(parts)} modules ({', '.join(parts)}), and {MODULE} "
            "takes the place of one"
        )
    (path,) = parts
    old = find(model, path)
    if any(hooks_of(part) for part in old.modules()):
        raise UnsupportedModel(f"{type(model).__name__} is spread over devices; load it on one for {MODULE}")
    factory = _factory(module)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        try:
            new = factory(model.config)
        except Exception as error:
            raise UnsupportedModel(
                f"{module} cannot be made with the configuration of {type(model).__name__}: "
                f"{type(error).__name__}: {error}"
            ) from error
    if not isinstance(new, nn.Module):
        raise UnsupportedModel(f"{module} gave a {type(new).__name__}, expected an nn.Module")
    like = next(iter(parts[path].values()))
    new = new.to(like.device, like.dtype if like.is_floating_point() else None).requires_grad_(False).eval()
    for owner in model.modules():
        for name, child in owner._modules.items():
            if child is old:
                owner._modules[name] = new
    return {path: _tensors(path, new)}


def _match(files: WeightFiles, parts: Parts, kind: str) -> MatchedNames:
    wanted = {path: {name: tuple(t.shape) for name, t in part.items()} for path, part in parts.items()}
    held = {name: files.shape(name) for name in files.tensors}
    matched = matched_names(wanted, held)
    where = f"the connector of {kind} ({', '.join(parts)})"
    if not matched.found and not matched.other_shape:
        raise UnsupportedModel(
            f"{files.path} holds no weights of {where}: it has {few(list(held)) or 'nothing'}, and needed are "
            f"{few([f'{path}.{name}'.removesuffix('.') for path, part in wanted.items() for name in part])}"
        )
    if (complaint := matched.complaint) is not None:
        raise UnsupportedModel(f"{files.path} does not fit {where}: {complaint}")
    packed = [
        stored
        for (path, name), stored in matched.found.items()
        if parts[path][name].is_floating_point() and not files.is_floating(stored)
    ]
    if packed:
        raise UnsupportedModel(
            f"{files.path} holds whole or packed numbers for {where}: {few(packed)}; floating ones are needed"
        )
    return matched


def _load(files: WeightFiles, matched: MatchedNames, parts: Parts) -> None:
    import torch

    with torch.no_grad():
        for (path, name), stored in matched.found.items():
            parts[path][name].copy_(files.read(stored))
