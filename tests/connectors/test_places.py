"""Places are tried before a model is measured: wrong ones are taken away and said, none is claimed without evidence."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from loguru import logger
from typer.testing import CliRunner

import connector_bench
from connector_bench.cli import app
from connector_bench.connectors import adapter_for_model, declared_families
from connector_bench.connectors import registry as registry_module
from connector_bench.connectors.coloured import coloured_picture
from connector_bench.connectors.family import Batch, Family
from connector_bench.connectors.generic import place
from connector_bench.connectors.layouts import grid_like
from connector_bench.connectors.override import VARIABLE
from connector_bench.connectors.place_check import PASSED
from connector_bench.connectors.places import by_grid_thw, tokens_of
from connector_bench.connectors.planted import planted_patches
from connector_bench.connectors.registry import installed_families
from connector_bench.reconstruction.artefacts import Artefacts
from connector_bench.results.harness_files import result_files
from connector_bench.types import Tile, TokenLayout
from tests.connectors.test_planted_patch import as_stored, whole_picture_first
from tests.harness import Outcome, run_here
from tests.reconstruction.small_task import write_small_task

Tiny = Callable[[str], tuple[Any, Any]]
PICTURES = [coloured_picture(*size) for size in ((112, 112), (112, 80), (70, 140))]
IN_WINDOWS = "{module: model.visual.merger, layout: grid_thw}"
"""True of qwen2_vl; qwen2_5_vl's merger runs in the order of attention windows."""


@pytest.fixture
def warnings_said() -> Iterator[list[str]]:
    said: list[str] = []
    number = logger.add(said.append, level="WARNING", format="{message}")
    yield said
    logger.remove(number)


def test_what_an_override_declares_is_tried(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch, warnings_said: list[str]
) -> None:
    monkeypatch.setenv(VARIABLE, IN_WINDOWS)
    right = adapter_for_model(*tiny("qwen2_vl"), "right")
    assert (right.info.places, right.info.planted_found) == ("planted patch found in 100 %", 1.0)
    assert all(pair.layout.has_places for pair in right.capture(PICTURES))
    assert warnings_said == []
    wrong = adapter_for_model(*tiny("qwen2_5_vl"), "wrong")
    for pair in wrong.capture(PICTURES):
        assert pair.layout == TokenLayout((), len(pair.post), unplaced=len(pair.pre))
    found = wrong.info.planted_found
    assert found is not None
    assert found < 0.7
    assert wrong.info.places == f"not known: planted patch found in {found:.0%}".replace("%", " %")
    (warning,) = warnings_said
    assert warning.startswith(f"wrong: places of tokens are {wrong.info.places}; no loss maps")


def test_a_connector_named_with_square_pictures_in_mind(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its pictures are packed: square ones are right, of the others there is no grid."""
    monkeypatch.setenv(VARIABLE, "{module: model.multi_modal_projector, layout: grid}")
    adapter = adapter_for_model(*tiny("llava_pixtral"), "packed")
    assert adapter.info.places is not None
    assert adapter.info.places.startswith("not known")
    assert not adapter.info.knows_places


def test_what_a_package_declares_is_tried(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("theirs", f"{__name__}:THEIRS", registry_module.ENTRY_POINTS)
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: [point])
    installed_families.cache_clear()
    try:
        wrong, right = (adapter_for_model(*tiny(name), name) for name in ("qwen2_5_vl", "qwen2_vl"))
    finally:
        installed_families.cache_clear()
    assert wrong.info.connector == right.info.connector == "theirs"
    assert (wrong.info.knows_places, right.info.knows_places) == (False, True)
    assert all(pair.layout.unplaced for pair in wrong.capture(PICTURES))


THEIRS = Family(("qwen2_vl", "qwen2_5_vl"), "theirs", ("model.visual.merger",), by_grid_thw())


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("qwen2_vl", as_stored),
        ("qwen2_5_vl", as_stored),
        ("internvl", as_stored),
        ("idefics3", whole_picture_first),
    ],
)
def test_a_declared_order_that_is_no_longer_true_is_noticed(
    name: str, wrong: Any, tiny: Tiny, monkeypatch: pytest.MonkeyPatch, warnings_said: list[str]
) -> None:
    stale = tuple(replace(family, place=wrong(family)) for family in declared_families())
    monkeypatch.setattr(registry_module, "declared_families", lambda: stale)
    adapter = adapter_for_model(*tiny(name), name)
    assert not adapter.info.assumptions
    assert adapter.info.planted_found is not None
    assert adapter.info.planted_found < PASSED
    assert all(pair.layout.unplaced for pair in adapter.capture(PICTURES))
    (warning,) = warnings_said
    assert "this version of transformers may order tokens anew" in warning


@pytest.mark.parametrize(
    ("declared", "pictures"), [(True, 1 + 2 * (1 + 4)), (False, 3 * (1 + 2 * (1 + 8)) + 1)]
)
def test_it_costs_few_pictures_once(
    declared: bool, pictures: int, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On every picture one pass for the layout, and for each side one as it is and one for each planted patch.

    Of one more, as large as a photograph, the layout alone is looked at unless it has more tiles.
    """
    if not declared:
        monkeypatch.setattr(registry_module, "declared_families", lambda: ())
    model, processor = tiny("llava")
    seen: list[int] = []
    tower = model.model.vision_tower
    handle = tower.register_forward_hook(lambda module, args, output: seen.append(len(output[0])))
    adapter = adapter_for_model(model, processor, "llava")
    assert adapter.info.planted_found == 1
    assert sum(seen) == pictures
    assert adapter.info.places == "planted patch found in 100 %"
    adapter.capture(PICTURES)
    handle.remove()
    assert sum(seen) == pictures + len(PICTURES)


def test_a_connector_of_zeros_refutes_nothing(tiny: Tiny) -> None:
    model, processor = tiny("paligemma")
    linear = model.model.multi_modal_projector.linear
    kept = linear.weight.detach().clone(), linear.bias.detach().clone()
    with torch.no_grad():
        linear.weight.zero_()
        linear.bias.zero_()
        result = planted_patches(adapter_for_model(model, processor).claiming, PICTURES[0], "post")
        pair = adapter_for_model(model, processor).capture(PICTURES[:1])[0]
        linear.weight.copy_(kept[0])
        linear.bias.copy_(kept[1])
    assert result.cells == 0
    assert pair.layout.has_places


def test_a_grid_has_the_shape_of_the_picture() -> None:
    assert grid_like(50, (140, 70)) == (10, 5)
    assert grid_like(49, (84, 84)) == (7, 7)
    assert tokens_of((1, 64, 32), pixels=(56, 224)) == (4, 16)
    for n, shape in ((49, (140, 70)), (64, (70, 140)), (15, (1, 1))):
        with pytest.raises(ValueError, match=f"{n} tokens are no .*grid"):
            grid_like(n, shape)


CONFIG = SimpleNamespace(vision_config=SimpleNamespace(patch_size=14, image_size=56))


def placed(
    pre: tuple[int, ...], post: tuple[int, ...], inputs: dict[str, Any], config: Any = CONFIG
) -> TokenLayout:
    processor = SimpleNamespace(size={"height": 70, "width": 140})
    return place(Batch(config, processor, {}, inputs, ((70, 140),), (pre,), (post,)))[0].layout


def test_a_grid_is_held_by_evidence() -> None:
    pixels = {"pixel_values": torch.zeros(1, 3, 70, 140)}
    assert placed((1, 50, 32), (1, 50, 48), pixels) == TokenLayout((Tile((5, 10), (5, 10)),), 50)
    assert placed((1, 51, 32), (1, 50, 48), pixels).tiles[0].pre_grid == (5, 10), "with a CLS"
    assert placed((1, 49, 32), (1, 49, 48), pixels) == TokenLayout((), 49, unplaced=49), "no patch is a CLS"
    packed = {"pixel_values": torch.zeros(50, 588)}
    assert placed((50, 32), (50, 48), packed).unplaced == 50
    assert placed((1, 49, 32), (1, 49, 48), packed).unplaced == 49, "a square number is no square"
    assert placed((1, 16, 32), (1, 16, 48), {}).tiles[0].pre_grid == (4, 4), "the tower's own size"
    assert placed((1, 64, 32), (1, 64, 48), {}).unplaced == 64
    assert placed((1, 4, 32), (1, 4, 48), {}).tiles[0].pre_grid == (2, 2), "pooled before the connector"
    reported = {**packed, "spatial_shapes": torch.tensor([[5, 10]])}
    assert placed((50, 32), (50, 48), reported).tiles[0].pre_grid == (5, 10)
    tiles = {"pixel_values": torch.zeros(5, 3, 56, 56)}
    assert placed((5, 16, 32), (5, 16, 48), tiles).unplaced == 80


@pytest.fixture(scope="module")
def without_places(checkpoint: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """Both tasks on a model whose override names a wrong order."""
    tasks = write_small_task(tmp_path_factory.mktemp("tasks"), images=24)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, IN_WINDOWS)
        return run_here(
            tmp_path_factory.mktemp("wrong"),
            *(
                "--model",
                "qwen2_5_vl",
                "--batch_size",
                "4",
                "--limit",
                "40",
                *tasks[:-1],
                "small,knn_preservation",
            ),
            *(
                "--model_args",
                f"pretrained={checkpoint('qwen2_5_vl')},device=cpu,device_map=cpu,max_pixels=12544",
            ),
        )


def test_a_run_without_places_has_no_maps_and_no_probe_per_cell(without_places: Outcome) -> None:
    figures, record = without_places.figures("small"), without_places.record("small")
    assert "error" not in record, record
    assert {"r2_pooled", "r2_attention", "lost", "identity_r2_mlp"} <= set(figures)
    assert not {name for name in figures if "r2_ridge" in name or "inside" in name} & {
        "r2_ridge",
        "loss_inside",
    }
    assert "mlp" not in record["probes"]
    assert figures["identity_r2_mlp"] >= 0.999
    assert record["connector"]["places"].startswith("not known: planted patch found in")
    assert record["connector"]["planted_found"] < PASSED
    assert without_places.record("knn_preservation")["connector"] == record["connector"]
    artefacts = Artefacts(without_places.folder / record["artefacts"])
    assert list(artefacts.maps()) == []
    assert artefacts.selection


def test_report_and_board_say_so(without_places: Outcome, tmp_path: Path) -> None:
    said = without_places.record("small")["connector"]["places"]
    page = tmp_path / "report.html"
    made = CliRunner().invoke(app, ["report", str(without_places.folder), "--output", str(page)])
    assert made.exit_code == 0, made.output
    text = page.read_text(encoding="utf-8")
    assert f"No loss maps of small: places of tokens are {said}." in text
    whole, board = tmp_path / "whole", tmp_path / "board"
    shutil.copytree(without_places.folder, whole)
    for path in result_files([whole]):  # a board takes no run with --limit
        path.write_text(path.read_text().replace('"limit": 40.0', '"limit": null'))
    added = CliRunner().invoke(app, ["leaderboard", "add", str(whole), "--board", str(board)])
    assert added.exit_code == 0, added.output
    for path in (board / "LEADERBOARD.md", board / "index.html"):
        assert said in path.read_text(encoding="utf-8"), path


def test_measure_says_so(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, IN_WINDOWS)
    pictures = [coloured_picture(112, 80, seed) for seed in range(12)]
    model, processor = tiny("qwen2_5_vl")
    with pytest.warns(UserWarning, match="places of tokens are not known: planted patch found in"):
        connector_bench.measure(model, pictures, processor, measures=["knn_preservation"])


def test_inspect_shows_it(
    checkpoint: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv(VARIABLE, IN_WINDOWS)
    picture = tmp_path / "a.png"
    coloured_picture(112, 80).save(picture)
    arguments = [
        "connectors",
        "inspect",
        str(checkpoint("qwen2_5_vl")),
        "--cells",
        "8",
        "--image",
        str(picture),
    ]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2, result.output
    assert "not known: planted patch found in" in result.output
    assert "measured without token places" in result.output
    monkeypatch.delenv(VARIABLE)
    result = CliRunner().invoke(app, arguments[:-2])
    assert result.exit_code == 0, result.output
    assert "planted patch found in 100 %" in result.output
