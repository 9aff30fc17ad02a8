"""What becomes of every model folder of the installed transformers that turns pictures into tokens.

`python -m tests.connectors.every_folder` writes the table of docs/FAMILIES.md anew, for the newest transformers.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import transformers
from packaging.version import Version
from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES, model_type_to_module_name
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
)

from connector_bench.connectors import UnsupportedModel, adapter_for_model, declared_families
from connector_bench.connectors.generic import ELSEWHERE, NAME, candidates
from connector_bench.connectors.unsupported import REASONS, WITHOUT_LANGUAGE_MODEL
from tests.tiny_vlms import building, recipe

PAGE = Path(__file__).parents[2] / "docs" / "FAMILIES.md"
MODELS = Path(transformers.__file__).parent / "models"
BEGIN, END = "<!-- every folder: transformers {version} -->", "<!-- every folder: end -->"
HEAD = (
    "| folder | `model_type` | status | connector, or why there is none | places found by structure |\n"
    "|---|---|---|---|---|\n"
)
NOT_TRIED = "not tried"


@dataclass(frozen=True)
class Status:
    """One folder's."""

    folder: str
    types: tuple[str, ...]
    kind: str
    """`declared`, `refused`, `no connector`, `undeclared`."""
    what: str

    def row(self, places: str) -> str:
        """A row of the table."""
        return f"| {self.folder} | {', '.join(self.types)} | {self.kind} | {self.what} | {places} |"


@cache
def types_of() -> dict[str, tuple[str, ...]]:
    """The model types of every folder, those that answer with text about pictures first."""
    found: dict[str, list[str]] = {}
    for kind in CONFIG_MAPPING_NAMES:
        found.setdefault(model_type_to_module_name(kind), []).append(kind)
    answering = MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES
    order = {folder: sorted(kinds, key=lambda kind: kind not in answering) for folder, kinds in found.items()}
    return {folder: tuple(kinds) for folder, kinds in order.items()}


def source(folder: str) -> str:
    """The text of a folder's modelling files."""
    return "\n".join(
        path.read_text(encoding="utf-8") for path in sorted((MODELS / folder).glob("modeling_*.py"))
    )


def gives_image_features(folder: str) -> bool:
    """Whether any class of the folder defines `get_image_features`."""
    return "def get_image_features" in source(folder)


def folders() -> list[str]:
    """Folders that define `get_image_features`, and those of types that are declared or refused."""
    known = {kind for family in declared_families() for kind in family.model_types} | set(REASONS)
    named = {folder for folder, kinds in types_of().items() if known & set(kinds)}
    defining = {path.name for path in MODELS.iterdir() if path.is_dir() and gives_image_features(path.name)}
    return sorted(defining | {folder for folder in named if (MODELS / folder).is_dir()})


def status_of(folder: str) -> Status | None:
    """A folder's status; None where no configuration leads to it, so that no checkpoint could."""
    kinds = types_of().get(folder, ())
    families = [one for one in declared_families() if set(one.model_types) & set(kinds)]
    if families:
        covered = tuple(kind for kind in kinds if any(kind in one.model_types for one in families))
        ways = [f"{one.connector}: {_code((*one.modules, *one.parallel))}" for one in families]
        return Status(folder, covered, "declared", "; or ".join(dict.fromkeys(ways)))
    for kind in kinds:
        if kind in REASONS:
            word = "no connector" if kind in WITHOUT_LANGUAGE_MODEL else "refused"
            return Status(folder, (kind,), word, REASONS[kind])
    if not kinds:
        return None
    return Status(folder, kinds[:1], "undeclared", _by_structure(kinds[0]) or _by_source(folder))


def _by_structure(kind: str) -> str | None:
    """What the generic adapter finds in a small model; None where none can be built."""
    try:
        model, _ = recipe.build_model(kind)
    except recipe.CannotBuild:
        return None
    found = candidates(model)
    if not found:
        return "no module is named like a connector: refused"
    if len(found) > 1:
        return f"several modules are named like a connector: refused ({_code(found)})"
    if not any(hasattr(one, "get_image_features") for one in (model, getattr(model, "model", None))):
        return f"{_code(found)}, by its name; only a wrapper can feed it"
    return f"{_code(found)}, by its name"


def _by_source(folder: str) -> str:
    """Names that the generic adapter would look at, where no small model can be built."""
    assigned = dict.fromkeys(re.findall(r"self\.(\w+) = \w", source(folder)))
    found = [name for name in assigned if NAME.match(name) and not ELSEWHERE.search(name)]
    named = _code(found) if found else "nothing that is named like a connector"
    return f"{named} in its source; no small model could be built"


def _code(names: tuple[str, ...] | list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def places(status: Status) -> str:
    """What planted patches say of the places that the structure gives a small model of an undeclared type."""
    if status.kind != "undeclared" or "by its name" not in status.what:
        return ""
    try:
        adapter = adapter_for_model(*building.make(lambda: recipe.build(status.types[0])), status.folder)
        check = adapter.place_check  # type: ignore[attr-defined]
    except (recipe.CannotBuild, UnsupportedModel):
        return NOT_TRIED
    return NOT_TRIED if NOT_TRIED in check.why else check.phrase


def recorded() -> tuple[Version, dict[str, str]]:
    """The version of the table on the page, and its rows by folder."""
    text = PAGE.read_text(encoding="utf-8")
    (version,) = re.findall(BEGIN.format(version=r"(\S+)"), text)
    block = text[text.index("<!-- every folder") : text.index(END)]
    rows = [line for line in block.splitlines() if line.startswith("| ")][1:]
    return Version(version), {row.split(" | ")[0].removeprefix("| "): row for row in rows}


def statuses() -> Iterator[tuple[str, Status | None]]:
    """Every folder's."""
    for folder in folders():
        yield folder, status_of(folder)


def write() -> None:
    """Write the table anew."""
    found = dict(statuses())
    rows = [status.row(places(status)) for status in found.values() if status is not None]
    counts = {kind: sum(one is not None and one.kind == kind for one in found.values()) for kind in KINDS}
    summary = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    text = PAGE.read_text(encoding="utf-8")
    begin, end = text.index("<!-- every folder: transformers"), text.index(END)
    version = transformers.__version__
    block = f"{BEGIN.format(version=version)}\n\ntransformers {version}: {summary}.\n\n{HEAD}" + "\n".join(
        rows
    )
    PAGE.write_text(f"{text[:begin]}{block}\n\n{text[end:]}", encoding="utf-8")


KINDS = ("declared", "undeclared", "refused", "no connector")

if __name__ == "__main__":
    write()
    sys.exit()
