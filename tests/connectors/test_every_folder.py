"""Every model folder of the installed transformers that gives image features has a status, and the table says it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import transformers
from packaging.version import Version

from connector_bench.connectors import UnsupportedModel, adapter_for_model, declared_families
from connector_bench.connectors import registry as registry_module
from connector_bench.connectors.coloured import coloured_picture
from connector_bench.connectors.place_check import PASSED
from connector_bench.connectors.planted import planted_patches, sides_of
from tests.connectors.every_folder import (
    KINDS,
    NOT_TRIED,
    Status,
    folders,
    gives_image_features,
    places,
    recorded,
    status_of,
)
from tests.tiny_vlms import NAMES, building, recipe

Tiny = Callable[[str], tuple[Any, Any]]
INSTALLED = Version(transformers.__version__)


@pytest.fixture(scope="module")
def found() -> dict[str, Status | None]:
    return {folder: status_of(folder) for folder in folders()}


def test_every_folder_has_a_status(found: dict[str, Status | None]) -> None:
    defining = [folder for folder in found if gives_image_features(folder)]
    assert len(defining) > 30
    without = [folder for folder, status in found.items() if status is None]
    assert without == [], "declare these, or say in unsupported.py why they have no connector"
    assert {status.kind for status in found.values() if status} <= set(KINDS)


def test_the_table_is_up_to_date(found: dict[str, Status | None]) -> None:
    version, rows = recorded()
    if version > INSTALLED:
        pytest.skip(f"the table is of transformers {version}; this is {INSTALLED}")
    stale = "write it anew: python -m tests.connectors.every_folder"
    assert found.keys() == rows.keys(), stale
    for folder, status in found.items():
        assert status is not None
        assert rows[folder].startswith(status.row("").removesuffix(" |").rstrip()), stale


def test_every_declared_type_that_transformers_has_is_in_a_folder(found: dict[str, Status | None]) -> None:
    types = {
        kind for status in found.values() if status and status.kind == "declared" for kind in status.types
    }
    known = set(transformers.models.auto.configuration_auto.CONFIG_MAPPING_NAMES)
    declared = {kind for family in declared_families() for kind in family.model_types}
    assert declared & known == types


TRIED = ((112, 112), (112, 80), (70, 140))
"""Width and height of pictures that the check itself does not use."""
A_FEW = (
    *("hunyuan_vl", "kimi_k25", "video_llama_3", "molmo2", "llava_next_video", "mistral_large4"),
    *("inkling2", "gemma4", "qwen2_5_vl", "minicpm_ocr"),
)
"""Of those whose places the structure alone once got wrong."""


def require_true_places(model: Any, processor: Any, name: str) -> None:
    try:
        adapter = adapter_for_model(model, processor, name)
    except UnsupportedModel:
        return
    if not adapter.info.knows_places:
        return
    for size in TRIED:
        picture = coloured_picture(*size)
        for side in sides_of(adapter.capture([picture])[0].layout):
            result = planted_patches(adapter, picture, side, limit=16)
            assert result.share >= PASSED, (name, size, result)


@pytest.mark.parametrize("name", A_FEW)
def test_what_the_structure_claims_is_true(name: str, tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry_module, "declared_families", lambda: ())
    require_true_places(*tiny(name), name)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NAMES if name not in A_FEW])
def test_what_the_structure_claims_of_any_family_is_true(
    name: str, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    test_what_the_structure_claims_is_true(name, tiny, monkeypatch)


@pytest.mark.slow
def test_the_table_of_undeclared_types_says_what_planted_patches_say(found: dict[str, Status | None]) -> None:
    version, rows = recorded()
    for folder, status in found.items():
        if status is None or status.kind != "undeclared":
            continue
        said = places(status)
        if said and version == INSTALLED:
            assert said.split(":")[0] in rows[folder], (folder, said)
        if said and NOT_TRIED not in said:
            require_true_places(*building.make(lambda kind=status.types[0]: recipe.build(kind)), folder)
