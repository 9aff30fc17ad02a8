"""Bad input says what is wrong, and loses nothing that is right."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from connector_bench.cli import app
from connector_bench.foreign_files import printable
from connector_bench.pictures import reason
from connector_bench.plugin import documents_of
from connector_bench.processes.group import error_text
from connector_bench.reconstruction.config import reconstruction_config
from tests.harness import Outcome, run_here
from tests.reconstruction.small_task import OPTIONS, write_small_task

ZOO = ("--model", "connector_zoo", "--model_args")
FOLDER = ("--tasks", "knn_preservation_imagefolder")


def test_colours_of_others_messages_are_left_out() -> None:
    coloured = "\x1b[1;31mdo so only\x1b[0m if you\x1b[2J trust it"
    assert printable(coloured) == "do so only if you\N{REPLACEMENT CHARACTER}[2J trust it"
    assert error_text(RuntimeError(coloured)).startswith("RuntimeError: do so only if you")
    assert reason(ValueError(coloured)).startswith("ValueError: do so only if you")


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(15):
        Image.fromarray(rng.integers(0, 255, (60, 80, 3), dtype=np.uint8)).save(folder / f"{number:02}.png")
    monkeypatch.setenv("CONNECTOR_BENCH_IMAGE_FOLDER", str(folder))
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    return folder


def said(capfd: pytest.CaptureFixture[str]) -> str:
    captured = capfd.readouterr()
    return captured.out + captured.err


def test_unknown_connector(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"^1$"):
        run_here(tmp_path, *ZOO, "connector=mpl", "--tasks", "knn_preservation")
    message = said(capfd)
    assert "unknown connector 'mpl'" in message
    assert "mlp" in message
    assert not list(tmp_path.rglob("*_results.json"))


def test_k_that_the_images_do_not_allow(
    pictures: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    figures = run_here(tmp_path / "out", *ZOO, "connector=mlp", *FOLDER).figures(
        "knn_preservation_imagefolder"
    )
    assert "15 different images are too few for k = 50 (needs 52)" in said(capfd)
    assert "knor_10" in figures
    assert "knor_50" not in figures


def test_fewer_than_two_images_lose_no_other_task(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    outcome = run_here(
        tmp_path, *ZOO, "connector=mlp", "--tasks", "knn_preservation,scenes_vqa", "--limit", "1"
    )
    assert "needs at least 3 different images, got 1" in said(capfd)
    assert "accuracy" in outcome.figures("scenes_vqa")
    assert "knor_1" not in outcome.figures("knn_preservation")
    assert "needs at least 3" in outcome.record("knn_preservation")["error"]


def test_a_corrupt_image_is_named_and_left_out(
    pictures: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (pictures / "03.png").write_bytes(b"no picture")
    outcome = run_here(tmp_path / "out", *ZOO, "connector=mlp", *FOLDER)
    message = said(capfd)
    assert "1 document left out, could not be measured: 3 (03.png): UnidentifiedImageError" in message
    assert outcome.figures("knn_preservation_imagefolder")["n_images"] == 14
    assert list(outcome.record("knn_preservation_imagefolder")["unreadable"]) == ["3"]


def test_identical_images_count_once(pictures: Path, tmp_path: Path) -> None:
    shutil.copy(pictures / "05.png", pictures / "99.png")
    outcome = run_here(tmp_path / "out", *ZOO, "connector=mlp", *FOLDER)
    assert outcome.figures("knn_preservation_imagefolder")["n_images"] == 15
    assert [s["doc_id"] for s in outcome.samples("knn_preservation_imagefolder") if "same_image_as" in s] == [
        15
    ]


def test_nan_in_features(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A real weight of a real connector is damaged, which no precision is to blame for."""
    from connector_bench import zoo

    load = zoo.load

    def damaged(connector: str, seed: int = 0) -> object:
        model = load(connector, seed=seed)
        next(model.connector.parameters()).data.fill_(float("nan"))
        return model

    monkeypatch.setattr(zoo, "load", damaged)
    outcome = run_here(tmp_path, *ZOO, "connector=mlp", "--tasks", "knn_preservation", "--limit", "20")
    message = said(capfd)
    assert "post (the connector's output) hold NaN or infinity; float32 hardly overflows: look at" in message
    assert "half precision" not in message
    assert "error" in outcome.record("knn_preservation")


def test_an_output_folder_that_cannot_be_written(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("in the way")
    arguments = (*ZOO, "connector=mlp", "--tasks", "knn_preservation", "--limit", "20")
    with pytest.raises(SystemExit, match="1"):
        run_here(tmp_path / "file" / "out", *arguments)
    message = said(capfd)
    assert "Traceback" not in message
    assert "cannot be written" in message
    assert "nothing was measured" in message
    assert (tmp_path / "file").read_text() == "in the way"


@pytest.mark.parametrize(
    ("variable", "value", "options", "sentence"),
    [
        ("WAIT", "soon", {}, "CONNECTOR_BENCH_WAIT must be a number of seconds from 0 to 86400, got 'soon'"),
        (
            "WAIT",
            "0",
            {"attention_heads": 0},
            "attention_heads: Input should be greater than or equal to 1, got 0",
        ),
        (
            "WAIT",
            "0",
            {"device": "cudda"},
            "device: Value error, must be auto, cpu, cuda or cuda:<number>, got 'cudda'",
        ),
        ("WAIT", "0", {"shard": 0}, "shard must be a whole number of images, at least 1, got 0"),
        ("WORKERS", "fibres", {}, "CONNECTOR_BENCH_WORKERS is 'fibres'; a whole number from 1 on is needed"),
        ("PROBES", "empty", {}, "empty holds no probes.json: it is no folder of probes that a run has left"),
        ("PROBES", "cut", {}, "cut/probes.json cannot be read: "),
        ("PROBES", "other", {}, "the probes in other were made with other options: mlp_width (8, here 64)"),
    ],
)
def test_an_option_that_is_not_allowed_ends_in_a_sentence(
    variable: str,
    value: str,
    options: dict[str, Any],
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """In the environment or in a user's YAML; who asks in Python gets the exception."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(f"CONNECTOR_BENCH_{variable}", value)
    small = write_small_task(tmp_path / "tasks", images=8, **options)
    probes = {"config": reconstruction_config(OPTIONS | {"mlp_width": 8}).as_json()}
    for name, content in (("empty", None), ("cut", json.dumps(probes)[:50]), ("other", json.dumps(probes))):
        (tmp_path / name).mkdir()
        if content is not None:
            (tmp_path / name / "probes.json").write_text(content)
    with pytest.raises(SystemExit, match="1"):
        run_here(tmp_path / "out", *ZOO, "connector=mlp", *small)
    message = said(capfd)
    assert message.count(f"small: {sentence}") == 1
    assert message.count("; nothing was measured") == 1
    assert "Traceback" not in message
    assert not list(tmp_path.rglob("*_results.json"))
    with pytest.raises(ValueError, match=re.escape(f"small: {sentence}")):
        documents_of("small", tmp_path / "tasks")


@pytest.mark.parametrize(
    ("block", "sentence"),
    [
        ("{seed: -1}", "seed must be a whole number of at least 0, got -1"),
        ("5", "connector_bench must be a block of options, got 5"),
        ("{1: 2}", "unknown option 1; allowed are ks"),
    ],
)
def test_options_of_neighbours_are_checked_before_the_pass(
    block: str, sentence: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    include = Path(__file__).parents[1] / "tasks" / "knn_preservation_scenes.yaml"
    (tmp_path / "near.yaml").write_text(f"task: near\ninclude: {include}\nconnector_bench: {block}\n")
    with pytest.raises(SystemExit, match="1"):
        run_here(tmp_path / "out", *ZOO, "connector=mlp", "--include_path", str(tmp_path), "--tasks", "near")
    message = said(capfd)
    assert f"near: {sentence}" in message
    assert "nothing was measured" in message
    assert "Traceback" not in message


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return run_here(
        tmp_path_factory.mktemp("finished"), *ZOO, "connector=rank2", "--tasks", "knn_preservation"
    )


def test_a_result_file_cut_in_half(finished: Outcome, tmp_path: Path) -> None:
    board = tmp_path / "board"
    (whole,) = finished.folder.rglob("*_results.json")
    assert CliRunner().invoke(app, ["leaderboard", "add", str(whole), "--board", str(board)]).exit_code == 0
    before = {path: path.read_bytes() for path in board.rglob("*") if path.is_file()}
    cut = tmp_path / whole.name
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    result = CliRunner().invoke(app, ["leaderboard", "add", str(cut), "--board", str(board)])
    assert result.exit_code == 1
    assert "not complete JSON" in result.output
    assert {path: path.read_bytes() for path in board.rglob("*") if path.is_file()} == before


def test_a_run_with_limit_is_refused(tmp_path: Path) -> None:
    outcome = run_here(tmp_path, *ZOO, "connector=rank2", "--tasks", "knn_preservation", "--limit", "20")
    result = CliRunner().invoke(
        app, ["leaderboard", "add", str(outcome.folder), "--board", str(tmp_path / "board")]
    )
    assert result.exit_code == 1
    assert "--limit 20" in result.output
    assert not (tmp_path / "board").exists()
