"""Which tensors of a file are a connector's, whatever trainings have put before their names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

WRAPPERS = re.compile(r"^(module\.|_orig_mod\.|_fsdp_wrapped_module\.|base_model\.model\.)+")
"""What data-parallel training, compilers and PEFT put before a name."""
LLAVA = ("mm_projector", "multi_modal_projector")
"""The projector in LLaVA's own code and in transformers'."""
LLAVA_LAYERS = {"0": "linear_1", "2": "linear_2"}
"""Its layers in LLaVA's own code, and their names in transformers."""
NAMED = 6
"""Names that a message holds."""

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class MatchedNames:
    """By path of a module and name within it: the file's name. And what is wrong, by kind."""

    found: Mapping[tuple[str, str], str]
    missing: tuple[str, ...]
    left_over: tuple[str, ...]
    """Names that stand among the connector's, and that it does not have."""
    other_shape: tuple[str, ...]
    elsewhere: tuple[str, ...]
    """Names that are not the connector's."""

    @property
    def complaint(self) -> str | None:
        """What does not fit, in one clause; None where all does."""
        said = [
            f"{what} {few(names)}"
            for what, names in (
                ("missing are", self.missing),
                ("left over are", self.left_over),
                ("of another shape are", self.other_shape),
            )
            if names
        ]
        return "; ".join(said) or None


def matched_names(wanted: Mapping[str, Shapes], held: Shapes) -> MatchedNames:
    """Match what a connector needs, by the path of each of its modules, with what a file holds.

    A file may call the modules by any end of their paths, by LLaVA's own names, or hold one module's tensors alone.
    """
    plain = {WRAPPERS.sub("", name): name for name in held}
    found: dict[tuple[str, str], str] = {}
    missing: list[str] = []
    left_over: list[str] = []
    other_shape: list[str] = []
    for path, shapes in wanted.items():
        inner = _own(path, shapes, plain, held, alone=len(wanted) == 1)
        for name, shape in shapes.items():
            if name not in inner:
                missing.append(f"{path}.{name}".removesuffix("."))
            elif held[inner[name]] != shape:
                other_shape.append(
                    f"{inner[name]} ({_sizes(held[inner[name]])} in the file, {_sizes(shape)} in the model)"
                )
            else:
                found[path, name] = inner[name]
        left_over += [name for key, name in inner.items() if key not in shapes]
    known = {*found.values(), *left_over, *(text.split(" (")[0] for text in other_shape)}
    elsewhere = tuple(name for name in held if name not in known)
    return MatchedNames(found, tuple(missing), tuple(left_over), tuple(other_shape), elsewhere)


def _own(path: str, shapes: Shapes, plain: Mapping[str, str], held: Shapes, *, alone: bool) -> dict[str, str]:
    """The file's names of one module by their names within it; a bare parameter's is the empty one."""
    if shapes.keys() == {""}:
        names = (prefix.removesuffix(".") for prefix in _prefixes(path, shapes))
        return next(({"": plain[name]} for name in names if name in plain), {})
    for prefix in _prefixes(path, shapes):
        below = {name.removeprefix(prefix): full for name, full in plain.items() if name.startswith(prefix)}
        if below:
            return _renamed(below, shapes)
    if alone:
        bare = _renamed(plain, shapes)
        if shapes.keys() & bare.keys():
            return bare
    covering = [prefix for prefix in _endings(shapes, plain) if _covers(prefix, shapes, plain, held)]
    if len(covering) == 1:
        return {name: plain[covering[0] + name] for name in shapes}
    return {}


def _prefixes(path: str, shapes: Shapes) -> Iterator[str]:
    parts = path.split(".")
    tails = [".".join(parts[first:]) for first in range(len(parts)) if not parts[first].isdigit()]
    if _is_llavas(shapes):
        tails += [name for name in LLAVA if name not in tails]
    for tail in tails:
        yield f"{tail}."
        yield f"model.{tail}."


def _is_llavas(shapes: Shapes) -> bool:
    layers = {name.split(".")[0] for name in shapes}
    return layers in (set(LLAVA_LAYERS), set(LLAVA_LAYERS.values()))


def _renamed(names: Mapping[str, str], shapes: Shapes) -> dict[str, str]:
    """The same with LLaVA's layers called as the model calls them."""
    if not _is_llavas(shapes):
        return dict(names)
    back = {new: old for old, new in LLAVA_LAYERS.items()}
    ways = LLAVA_LAYERS if any(name.startswith("linear_") for name in shapes) else back
    split = {name: name.partition(".") for name in names}
    return {f"{ways.get(first, first)}{dot}{rest}": names[name] for name, (first, dot, rest) in split.items()}


def _endings(shapes: Shapes, plain: Mapping[str, str]) -> list[str]:
    """What stands before the module's first name, wherever a name of the file ends with it."""
    first = next(iter(shapes), None)
    if first is None:
        return []
    return [name.removesuffix(first) for name in plain if name.endswith(f".{first}")]


def _covers(prefix: str, shapes: Shapes, plain: Mapping[str, str], held: Shapes) -> bool:
    return all(
        prefix + name in plain and held[plain[prefix + name]] == shape for name, shape in shapes.items()
    )


def _sizes(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape)) or "a number"


def few(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
