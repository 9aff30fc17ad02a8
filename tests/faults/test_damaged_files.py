"""Damaged and foreign files through every command that reads files: one sentence, no change, nothing half written."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from connector_bench.cli import app
from connector_bench.preservation.neighbour_lists import FILE, NeighbourLists
from connector_bench.reconstruction.artefacts import FOLDERS, SELECTION, Artefacts
from tests.faults.damaged import COMMANDS, faults_of
from tests.faults.real_runs import CONNECTORS, two_models

COUNT = int(os.environ.get("CONNECTOR_BENCH_FAULTS", "0"))
"""Files that are damaged for each command; `make faults` asks for 2,000, otherwise a few are."""
SHORT = {"compare": 10, "analyze": 20, "report": 3, "plates": 30, "leaderboard": 60}


@pytest.fixture(scope="session")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real runs of two models, and a board that holds them."""
    folder = tmp_path_factory.mktemp("originals")
    two_models(folder / "runs")
    (folder / "out").mkdir()
    board = ["leaderboard", "add", str(folder / "runs"), "--pictures", "--board", str(folder / "out" / "b")]
    result = CliRunner().invoke(app, board)
    assert result.exit_code == 0, result.output
    return folder


@pytest.mark.faults
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
@pytest.mark.parametrize("command", list(COMMANDS))
def test_a_damaged_file_costs_one_sentence(command: str, originals: Path, tmp_path: Path) -> None:
    assert faults_of(command, originals, tmp_path, range(COUNT or SHORT[command])) == []


class Touches:
    """What creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


@pytest.fixture
def run(originals: Path, tmp_path: Path) -> Path:
    """A run that may be changed."""
    return Path(shutil.copytree(originals / "runs" / CONNECTORS[0], tmp_path / "run"))


def plates_of(run: Path, out: Path) -> Result:
    return CliRunner().invoke(app, ["plates", str(run), "-o", str(out), "--worst", "1", "--neighbours", "2"])


@pytest.mark.faults
def test_nothing_is_unpickled(run: Path, tmp_path: Path) -> None:
    (lists,) = run.rglob(FILE)
    with np.load(lists) as stored:
        parts = dict(stored)
    touching = np.array([Touches(tmp_path / "ran")] * len(parts["images"]), dtype=object)
    np.savez(lists, **parts | {"images": touching}, allow_pickle=True)
    found = plates_of(run, tmp_path / "plates")
    assert found.exit_code == 1
    assert "cannot be read" in found.stderr
    assert not (tmp_path / "ran").exists()
    with np.load(lists, allow_pickle=True) as stored:
        stored["images"]
    assert (tmp_path / "ran").exists(), "the file would have run it"


def behind_a_link(path: Path, elsewhere: Path) -> None:
    """Move a file or folder out, and leave a link to it in its place."""
    path.rename(elsewhere / path.name)
    path.symlink_to(elsewhere / path.name)


def read_artefacts(folder: Path) -> None:
    """All of it, as `report` and `leaderboard add` do."""
    artefacts = Artefacts(folder)
    list(artefacts.maps())
    for one in artefacts.selection:
        artefacts.picture(one.image)
        for doc_id in one.doc_ids:
            artefacts.mask(doc_id)


@pytest.mark.faults
@pytest.mark.parametrize(
    "name",
    [
        SELECTION,
        FOLDERS,
        "*.webp",
        "*.png",
        "maps-*.safetensors",
        "pictures",
        "masks",
        "scored-*",
        FILE,
        "task",
    ],
)
def test_no_link_is_followed(name: str, run: Path, tmp_path: Path) -> None:
    """Also one to a file that is as it should be."""
    (elsewhere := tmp_path / "elsewhere").mkdir()
    (folder,) = (path.parent for path in run.rglob(SELECTION))
    if name == FILE:
        (path,) = run.rglob(FILE)
        NeighbourLists.load(path.parent)
        behind_a_link(path, elsewhere)
        with pytest.raises(ValueError, match="is a link; links are not followed"):
            NeighbourLists.load(path.parent)
        found = plates_of(run, tmp_path / "plates")
    else:
        read_artefacts(folder)
        behind_a_link(folder if name == "task" else sorted(folder.rglob(name))[0], elsewhere)
        if name != "task":
            with pytest.raises(ValueError, match="is a link; links are not followed"):
                read_artefacts(folder)
        found = CliRunner().invoke(app, ["report", str(run), "-o", str(tmp_path / "report.html")])
    assert found.exit_code == 1
    assert "links are not followed" in " ".join(found.stderr.split())
