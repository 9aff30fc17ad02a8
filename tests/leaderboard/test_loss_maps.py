"""Loss maps of a run in its row, and pictures only where the submitter wants them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from connector_bench.cli import app
from connector_bench.leaderboard import board as boards
from connector_bench.leaderboard.loss_maps import FINEST, NOWHERE, loss_maps, raster
from connector_bench.leaderboard.schema import StoredLossMap as ShownMap
from connector_bench.reconstruction.artefacts import Selection, same_for_all, select, write_selection
from connector_bench.reconstruction.lossmaps import LossMap, pack
from connector_bench.reconstruction.store import RunStore
from connector_bench.results.harness_files import UnusableResult, read_result
from connector_bench.types import Tile, TokenLayout
from tests.comparison.harness_output import our_task, write_output
from tests.leaderboard.runs import a_connector

GRID = TokenLayout((Tile((2, 3), None),), n_post=4)
ARTEFACTS = "connector_bench/patch_reconstruction-0123456789ab"


def a_map(image: str, losses: Any, layout: TokenLayout = GRID) -> LossMap:
    loss = np.asarray(losses, np.float32)
    return LossMap(image, layout, loss, loss, loss)


def write_run(output: Path, artefacts: str = ARTEFACTS) -> Path:
    """A result file whose record names the artefacts of eight pictures, of which picture 0 lost most."""
    images = [f"{number:064x}" for number in range(8)]
    maps = [a_map(image, np.arange(6) / 8 + 1 / (number + 1)) for number, image in enumerate(images)]
    folder = output / ARTEFACTS
    RunStore(folder / "scored-0of1", {"run": 1}).write("maps-0", *pack(maps))
    losses = {image: float(8 - number) for number, image in enumerate(images)}
    picture = Image.new("RGB", (600, 400), "red")
    chosen = select(losses, {i: [n] for n, i in enumerate(images)}, each=2)
    beside = {image: images.index(image) for image in same_for_all(images)}
    write_selection(folder, Selection(["scored-0of1"], chosen, beside), lambda _: picture, None)
    record = {
        "measure": "patch_reconstruction",
        "connector": a_connector("org/model").model_dump(),
        "protocol": "2",
        "n_images": 8,
        "artefacts": artefacts,
    }
    rows = our_task([{"lost": 0.5} for _ in images])
    return write_output(
        output / "org__model", {"patch_reconstruction": rows}, records={"patch_reconstruction": record}
    )


def add(board: Path, *arguments: str | Path) -> str:
    result = CliRunner().invoke(app, ["leaderboard", "add", *map(str, arguments), "--board", str(board)])
    assert result.exit_code == 0, result.output
    return result.output


def maps_on(board: Path) -> tuple[ShownMap, ...]:
    (row,) = boards.table_with(board, [])[0].competitors
    return row.results["patch_reconstruction"].loss_maps


def test_the_same_six_maps_of_every_model_and_no_picture(tmp_path: Path) -> None:
    add(tmp_path / "board", write_run(tmp_path / "out"))
    found = maps_on(tmp_path / "board")
    assert [one.image for one in found] == [f"{number:064x}" for number in range(6)], "the smallest hashes"
    assert {one.why for one in found} == {"the same picture for every model"}
    assert (found[0].rows, found[0].columns) == (2, 3)
    assert found[0].values == pytest.approx([1.0, 1.12, 1.25, 1.38, 1.5, 1.62], abs=0.01)
    assert all(one.picture is None for one in found)
    assert not (tmp_path / "board" / "pictures").exists()


def test_pictures_are_published_where_asked_for_and_go_with_their_run(tmp_path: Path) -> None:
    board, output = tmp_path / "board", write_run(tmp_path / "out")
    add(board, output, "--pictures")
    found = maps_on(board)
    assert {path.relative_to(board).as_posix() for path in (board / "pictures").iterdir()} == {
        one.picture for one in found
    }
    with Image.open(board / str(found[0].picture)) as picture:
        assert picture.size == (224, 150)
    assert boards.stale_files(board) == []
    (result,) = output.rglob("*_results.json")
    result.write_text(result.read_text().replace(ARTEFACTS, "").replace("20260101", "20260102"))
    add(board, output, "--replace")
    assert not list((board / "pictures").iterdir())


@pytest.mark.parametrize(
    "named", ["../../etc", "/etc", "connector_bench/..", "connector_bench/../..", "", None]
)
def test_a_record_cannot_name_a_folder_elsewhere(named: Any, tmp_path: Path) -> None:
    output = write_run(tmp_path / "out", artefacts=named)
    (path,) = output.rglob("*_results.json")
    file = read_result(path)
    assert loss_maps(file, "patch_reconstruction", pictures=True) == ()


def test_a_folder_that_is_no_text_is_refused_where_the_file_is_read(tmp_path: Path) -> None:
    (path,) = write_run(tmp_path / "out", artefacts=3).rglob("*_results.json")
    with pytest.raises(UnusableResult, match="artefacts is 3"):
        read_result(path)


def test_a_broken_folder_is_refused(tmp_path: Path) -> None:
    output = write_run(tmp_path / "out")
    (shard,) = (tmp_path / "out").rglob("maps-*")
    shard.write_bytes(shard.read_bytes()[:50])
    with pytest.raises(UnusableResult, match="loss maps cannot be read"):
        boards.read_runs([output])
    (selection,) = (tmp_path / "out").rglob("selection.json")
    selection.write_text(json.dumps([{"image": "x"}]))
    with pytest.raises(UnusableResult, match=ARTEFACTS):
        boards.read_runs([output])


def test_tiles_are_laid_over_the_picture_the_smallest_patch_on_top() -> None:
    layout = TokenLayout((Tile((1, 1), None), Tile((1, 1), None, (0.5, 0.0, 1.0, 0.5))), n_post=2)
    cells = raster(a_map("x", [0.25, 0.75], layout))
    assert cells.shape == (FINEST, FINEST)
    half = FINEST // 2
    assert (cells[:half, half:] == 0.75).all()
    assert (cells[half:] == 0.25).all()
    assert (cells[:, :half] == 0.25).all()


def test_where_no_patch_lies_is_marked() -> None:
    layout = TokenLayout((Tile((1, 1), None, (0.0, 0.0, 1.0, 0.5)),), n_post=1)
    cells = raster(a_map("x", [0.5], layout))
    assert (cells[FINEST // 2 :] == NOWHERE).all()
    assert (cells[: FINEST // 2] == 0.5).all()
