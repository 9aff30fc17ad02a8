"""Every model folder of the installed transformers that gives image features has a status, and the table says it."""

from __future__ import annotations

import pytest
import transformers
from packaging.version import Version

from connector_bench.connectors import adapter_for_model, declared_families
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
from tests.tiny_vlms import building, recipe

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


def test_no_place_that_an_undeclared_type_claims_is_refuted(found: dict[str, Status | None]) -> None:
    """Pictures that the check itself does not use, over every type that the recipe builds; a few in ordinary runs."""
    _, rows = recorded()
    undeclared = [one for one in found.values() if one and one.kind == "undeclared"]
    claiming = [one for one in undeclared if "planted patch found" in rows.get(one.folder, "")]
    for status in claiming[:3]:
        require_true_places(status.types[0])


def require_true_places(kind: str) -> None:
    try:
        model, processor = building.make(lambda: recipe.build(kind))
    except recipe.CannotBuild as why:
        pytest.skip(str(why))
    adapter = adapter_for_model(model, processor, kind)
    for size in TRIED:
        picture = coloured_picture(*size)
        for side in sides_of(adapter.capture([picture])[0].layout):
            result = planted_patches(adapter, picture, side, limit=16)
            assert result.share >= PASSED, (kind, size, result)


@pytest.mark.slow
def test_no_place_of_any_undeclared_type_is_refuted(found: dict[str, Status | None]) -> None:
    """And the table's column of places holds, but for the share."""
    version, rows = recorded()
    for folder, status in found.items():
        if status is None or status.kind != "undeclared":
            continue
        said = places(status)
        if said and version == INSTALLED:
            row = rows[folder].removesuffix(" |")
            assert row.endswith(said) or said.split(":")[0] in row, (folder, said)
        if said and NOT_TRIED not in said:
            require_true_places(status.types[0])
