"""`connector-bench plates` on what the real command line has left: chosen and worst images, and what is refused."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from connector_bench.cli import app
from connector_bench.entry import loaded_plugin
from connector_bench.pictures import picture_hash
from connector_bench.plates.neighbour_gallery import galleries
from connector_bench.preservation.neighbour_lists import FILE, NeighbourLists
from connector_bench.results.harness_files import UnusableResult
from tests.harness import Outcome, run_here

IMAGES = 40


@pytest.fixture(scope="module")
def rank2(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    folder = tmp_path_factory.mktemp("rank2")
    model = ("--model", "connector_zoo", "--model_args", "connector=rank2")
    return run_here(folder, *model, "--tasks", "knn_preservation", "--limit", str(IMAGES))


def plates(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["plates", *map(str, arguments)])


def test_the_neighbours_left_behind_are_those_of_the_figures(rank2: Outcome) -> None:
    (gallery,) = galleries([rank2.folder])
    kept = dict(zip(gallery.nearest.documents, gallery.nearest.kept(10), strict=True))
    measured = {
        row["doc_id"]: json.loads(row["filtered_resps"])["knor_10"] for row in rank2.samples(gallery.task)
    }
    assert kept == pytest.approx(measured)
    row_of = dict(zip(gallery.nearest.documents, range(IMAGES), strict=True))
    lost_most = sorted(measured, key=lambda number: (measured[number], row_of[number]))[:3]
    assert [gallery.nearest.documents[row] for row in gallery.rows((), 3)] == lost_most


def test_every_neighbour_is_the_picture_that_was_measured(rank2: Outcome) -> None:
    (gallery,) = galleries([rank2.folder])
    documents = loaded_plugin().documents_of("knn_preservation")
    for row in (0, *gallery.nearest.pre[0, :5]):
        assert picture_hash(gallery.picture(int(row), documents)) == gallery.nearest.images[int(row)]


def test_chosen_and_worst_images_are_drawn(rank2: Outcome, tmp_path: Path) -> None:
    result = plates(rank2.folder, "-o", tmp_path, "--document", "7", "--document", "3", "--worst", "1")
    assert result.exit_code == 0, result.output
    (path,) = tmp_path.iterdir()
    assert path.name.startswith("connector_zoo-rank2-seed0")
    assert path.name.endswith("-knn_preservation.png")
    one = plates(rank2.folder, "-o", tmp_path / "one", "--document", "7", "--neighbours", "3")
    assert one.exit_code == 0, one.output
    (small,) = (tmp_path / "one").iterdir()
    with Image.open(path) as three_queries, Image.open(small) as one_query:
        assert three_queries.height > 2.5 * one_query.height
        assert three_queries.width > one_query.width


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--document", "9000"), "no document 9000 among the 40 images"),
        (("--model", "another"), "no nearest.npz of another, any task; there are: connector_zoo/rank2-seed0"),
        (("--task", "scenes_vqa"), "of any model, scenes_vqa"),
    ],
)
def test_what_is_not_there_is_named(
    rank2: Outcome, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    result = plates(rank2.folder, "-o", tmp_path / "plates", *arguments)
    assert result.exit_code == 1
    assert said in " ".join(result.output.split())
    assert not (tmp_path / "plates").exists()


def test_a_changed_data_set_is_noticed(rank2: Outcome) -> None:
    (gallery,) = galleries([rank2.folder])
    documents = loaded_plugin().documents_of("knn_preservation")
    with pytest.raises(UnusableResult, match="another picture than the one that was measured"):
        gallery.picture(0, lambda number: documents(number + 1))


def test_a_broken_file_is_named(rank2: Outcome, tmp_path: Path) -> None:
    shutil.copytree(rank2.folder, tmp_path / "copy")
    (path,) = (tmp_path / "copy").rglob(FILE)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    result = plates(tmp_path / "copy", "-o", tmp_path)
    assert result.exit_code == 1
    assert f"{FILE} cannot be read" in " ".join(result.output.split())
    NeighbourLists(("a", "b"), (0, 1), np.array([[1], [2]]), np.array([[1], [0]])).save(path.parent)
    assert "do not fit" in " ".join(plates(tmp_path / "copy", "-o", tmp_path).output.split())


def test_options_that_were_not_recorded_cost_no_plate(rank2: Outcome, tmp_path: Path) -> None:
    shutil.copytree(rank2.folder, tmp_path / "copy")
    (path,) = (tmp_path / "copy").rglob("*_results.json")
    content = json.loads(path.read_text())
    content["configs"]["knn_preservation"]["metadata"]["connector_bench"]["options"] = None
    path.write_text(json.dumps(content))
    result = plates(tmp_path / "copy", "-o", tmp_path / "drawn", "--worst", "1")
    assert result.exit_code == 0, result.output


def test_plates_are_drawn_all_or_none(rank2: Outcome, tmp_path: Path) -> None:
    """The second model's pictures are not those of the data set; the first one's plate is not kept either."""
    for name in ("first", "second"):
        shutil.copytree(rank2.folder, tmp_path / name)
    (result,) = (tmp_path / "second").rglob("*_results.json")
    result.write_text(result.read_text().replace("connector_zoo/rank2-seed0", "connector_zoo/xanother"))
    lists = NeighbourLists.load(next((tmp_path / "second").rglob(FILE)).parent)
    shown = replace(lists, images=tuple(reversed(lists.images)))
    shown.save(next((tmp_path / "second").rglob(FILE)).parent)
    found = plates(tmp_path / "first", tmp_path / "second", "-o", tmp_path / "drawn", "--worst", "1")
    assert found.exit_code == 1
    assert "shows another picture than the one that was measured" in " ".join(found.output.split())
    assert not (tmp_path / "drawn").exists()
    assert plates(tmp_path / "first", "-o", tmp_path / "drawn", "--worst", "1").exit_code == 0


def test_an_unknown_task_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no task knn_preservation_of_mine; name its YAML's folder"):
        loaded_plugin().documents_of("knn_preservation_of_mine", tmp_path)
    with pytest.raises(ValueError, match="scenes_vqa is no task that measures a connector"):
        loaded_plugin().documents_of("scenes_vqa")
