"""Several models on one page: who is on it, the same figures beside one another, and what does not compare."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from connector_bench.cli import app
from connector_bench.report.blocks import Prose, ReportTable
from connector_bench.report.measured_runs import MOST, read_models
from connector_bench.report.side_by_side import assemble_side_by_side, short_names
from connector_bench.results.harness_files import UnusableResult
from connector_bench.results.tasks import PRESERVATION, RECONSTRUCTION
from tests.report.written import CONNECTOR, record, score, write_result


def write(folder: Path, model: str, lost: float, number: int = 0, **more: Any) -> Path:
    connector = {"connector": CONNECTOR | {"model": model, "weights_sha256": f"{number:02}" * 32}}
    images = {"images_sha256": "ab" * 32} | more
    patches = record({"lost": score(lost, 0.01, 1.0)}, measure=RECONSTRUCTION) | connector | images
    neighbours = record({"knor_10": score(0.4, 0.01, 0.02)}, measure=PRESERVATION) | connector
    records = {"patch_reconstruction": patches, "knn_preservation": neighbours}
    metrics = {"vqa": {"accuracy,none": 1 - lost, "accuracy_stderr,none": 0.01}}
    return write_result(folder, records, metrics, date=f"202601{number + 1:02}_000000")


def table_of(*named: str, models: tuple[str, ...] = ()) -> ReportTable:
    (table,) = assemble_side_by_side(read_models(named, models)).summary
    assert isinstance(table, ReportTable)
    return table


def test_folders_of_one_model_each_stand_side_by_side(tmp_path: Path) -> None:
    write(tmp_path / "a", "org/first", 0.3)
    write(tmp_path / "b", "org/second", 0.6, 1)
    table = table_of(str(tmp_path / "a"), str(tmp_path / "b"))
    assert table.columns == ("figure", "first", "second")
    rows = {row[0].text: [cell.text for cell in row[1:]] for row in table.rows}
    assert rows["lost"] == ["0.300 ±.010", "0.600 ±.010"]
    assert rows["kept, k = 10"] == ["0.400 ±.010", "0.400 ±.010"]
    assert rows["accuracy, vqa"] == ["0.700 ±.020", "0.400 ±.020"]


def test_models_stand_in_the_order_in_which_they_are_named(tmp_path: Path) -> None:
    for number, name in enumerate(("first", "second", "third")):
        write(tmp_path / name[0], f"org/{name}", 0.1, number)
    named = (f"{tmp_path}/t", f"{tmp_path}/f:org/first", f"{tmp_path}/s")
    assert table_of(*named).columns == ("figure", "third", "first", "second")


def test_models_of_one_folder_are_named(tmp_path: Path) -> None:
    for number, name in enumerate(("org/first", "org/second", "org/third")):
        write(tmp_path, name, 0.1 * number + 0.1, number)
    assert table_of(f"{tmp_path}:org/third", f"{tmp_path}:first").columns == ("figure", "third", "first")
    assert table_of(str(tmp_path), models=("org/second", "org/first")).columns[1:] == ("second", "first")
    assert len(table_of(str(tmp_path)).columns) == 4
    with pytest.raises(UnusableResult, match="fourth is no model there; there are org/first, org/second"):
        read_models([f"{tmp_path}:fourth"])


def test_two_runs_of_one_model_keep_their_folders_in_their_names(tmp_path: Path) -> None:
    write(tmp_path / "before", "org/first", 0.3)
    write(tmp_path / "after", "org/first", 0.2, 1)
    both = read_models([f"{tmp_path}/before:org/first", f"{tmp_path}/after:org/first"])
    assert [one.model for one in both] == ["org/first (before)", "org/first (after)"]


def test_more_than_a_page_holds_must_be_chosen_from(tmp_path: Path) -> None:
    for number in range(MOST + 1):
        write(tmp_path, f"org/m{number}", 0.3, number)
    finished = CliRunner().invoke(app, ["report", str(tmp_path), "-o", str(tmp_path / "page.html")])
    assert finished.exit_code == 1
    assert "a page has room for 6; choose with --model: org/m0, " in " ".join(finished.stderr.split())


def test_figures_of_other_images_are_a_warning_and_no_picture_is_shown(tmp_path: Path) -> None:
    write(tmp_path / "a", "org/first", 0.3)
    write(tmp_path / "b", "org/second", 0.3, 1, images_sha256="cd" * 32)
    report = assemble_side_by_side(read_models([str(tmp_path / "a"), str(tmp_path / "b")]))
    (warning,) = report.warnings
    assert warning.about == "patch_reconstruction"
    assert (
        "first and second were not measured alike, so their figures do not compare: hash of" in warning.text
    )
    pictures = next(section for section in report.sections if section.name == "section-pictures")
    assert [type(block) for block in pictures.blocks] == [Prose]


def test_a_task_that_one_model_lacks_is_a_dash(tmp_path: Path) -> None:
    write(tmp_path / "a", "org/first", 0.3)
    write_result(tmp_path / "b", {}, {"vqa": {"accuracy,none": 0.5}}, date="20260102_000000")
    table = table_of(str(tmp_path / "a"), str(tmp_path / "b"))
    rows = {row[0].text: [cell.text for cell in row[1:]] for row in table.rows}
    assert rows["lost"] == ["0.300 ±.010", "–"]
    assert rows["accuracy, vqa"] == ["0.700 ±.020", "0.500"]


@pytest.mark.parametrize(
    ("names", "short"),
    [
        (["zoo/a", "zoo/b"], ["a", "b"]),
        (["org/a", "other/a"], ["org/a", "other/a"]),
        (["a", "b"], ["a", "b"]),
    ],
)
def test_names_lose_the_folder_that_they_share(names: list[str], short: list[str]) -> None:
    assert short_names(names) == short
