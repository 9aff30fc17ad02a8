"""`capture` and `measure`: tokens on the disk, and the tasks' figures from them."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from connector_bench.captured import token_files
from connector_bench.captured.replayed import CapturedTokens
from connector_bench.connectors.cli import load
from connector_bench.pictures import as_rgb, picture_hash
from connector_bench.results.harness_files import read_results
from tests.captured.conftest import FILES, CapturedFolder, say, without_words
from tests.harness import script

MEASURED_BY = {"knn_preservation_imagefolder": "knn_preservation_captured", "by_model": "by_capture"}
OF_THE_RUN = {"ran", "artefacts", "versions"}


def test_tokens_and_layouts_are_the_models_own(made: CapturedFolder) -> None:
    assert f"{FILES - 2} pictures of {FILES} files" in made.said
    assert "left out cat/broken.png" in made.said
    files = sorted(made.capture.glob("tokens-*.safetensors"))
    captured = CapturedTokens(made.capture)
    assert len(captured) == FILES - 2
    assert len(files) == 3
    adapter = load(str(made.checkpoint), "cpu")
    assert captured.manifest.connector.info() == adapter.info
    for path in sorted(made.pictures.rglob("[0-3]*.png"))[::7]:
        picture = as_rgb(Image.open(path))
        (expected,) = adapter.capture([picture])
        found = captured.tokens([picture_hash(picture)])
        assert found.layouts == (expected.layout,)
        assert torch.equal(found.post, expected.post)
        assert torch.equal(found.pre, expected.pre)


@pytest.mark.parametrize("task", MEASURED_BY)
def test_figures_are_those_of_the_task_with_the_model(task: str, made: CapturedFolder) -> None:
    """All that tokens alone tell, controls and untrained copies too, and everything that stands beside them."""
    other = MEASURED_BY[task]
    expected, found = without_words(made.by_model.figures(task)), made.by_capture.figures(other)
    assert len(expected) > 20
    assert {k: v for k, v in found.items() if k != "alias"} == {
        k: v for k, v in expected.items() if k != "alias"
    }
    records = without_words(made.by_model.record(task)), made.by_capture.record(other)
    kept = [{k: v for k, v in record.items() if k not in OF_THE_RUN} for record in records]
    assert kept[0] == kept[1]
    rows = [
        [
            json.loads(
                row["filtered_resps"] if isinstance(row["filtered_resps"], str) else row["filtered_resps"][0]
            )
            for row in outcome.samples(name)
        ]
        for outcome, name in ((made.by_model, task), (made.by_capture, other))
    ]
    assert without_words(rows[0]) == rows[1]


def test_a_capture_that_was_broken_off_goes_on(made: CapturedFolder, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = ("capture", made.checkpoint, "--images", made.pictures, "--out", out)
    code, said = say(*command, "--limit", 20)
    assert code == 0, said
    first = {path: path.stat().st_mtime_ns for path in out.glob("tokens-*")}
    (out / "pictures.json").unlink()  # which is written last
    (out / ".writing-1@elsewhere-00-tokens-00001.safetensors").write_bytes(b"half")
    code, said = say("measure", out, "--output-path", tmp_path / "results")
    assert code == 1
    assert "was broken off" in said
    code, said = say(*command)
    assert code == 0, said
    assert f"{FILES - 2} pictures of {FILES} files" in said
    assert "of them by an earlier run" in said
    assert first.items() <= {path: path.stat().st_mtime_ns for path in out.glob("tokens-*")}.items()
    whole, parts = CapturedTokens(made.capture), CapturedTokens(out)
    names = [one.image for one in parts.pictures().documents if one.image is not None]
    assert torch.equal(whole.tokens(names, untrained=False).post, parts.tokens(names).post)
    code, said = say(*command, "--dtype", "bfloat16")
    assert code == 1
    assert "holds tokens of another capture: dtype is float32 there and bfloat16 here" in said


@pytest.mark.slow
def test_measure_from_the_command_line(made: CapturedFolder, tmp_path: Path) -> None:
    """Without the pictures and the checkpoint; what the record lacks is said."""
    capture = shutil.copytree(made.capture, tmp_path / "moved")
    manifest = json.loads((capture / "manifest.json").read_text())
    (capture / "manifest.json").write_text(json.dumps(manifest | {"untrained_seeds": []}))
    typed = [script("connector-bench"), "measure", str(capture), "--tasks", "knn_preservation"]
    finished = subprocess.run(
        [*typed, "--output-path", str(tmp_path / "results")], capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    (result,) = read_results([tmp_path / "results"])
    record = result.records["knn_preservation_captured"]
    assert record["untrained_left_out"].startswith("these tokens hold none of untrained copies")
    expected = without_words(made.by_model.record("knn_preservation_imagefolder")["scores"])
    assert record["scores"] == {k: v for k, v in expected.items() if not k.startswith("untrained_")}
    code, said = say("report", tmp_path / "results", "-o", tmp_path / "report.html")
    assert code == 0, said


def edited(capture: Path, name: str, change: Any) -> None:
    path = capture / name
    path.write_text(json.dumps(change(json.loads(path.read_text()))))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: (d / "manifest.json").unlink(), "holds no capture"),
        (lambda d: edited(d, "manifest.json", lambda c: c | {"schema_version": 2}), "is of schema 2"),
        (lambda d: edited(d, "manifest.json", lambda c: c | {"more": 1}), "more"),
        (lambda d: edited(d, "manifest.json", lambda c: [c]), "manifest"),
        (lambda d: (d / "manifest.json").write_text("[" * 100 + "]" * 100), "nested"),
        (lambda d: edited(d, "pictures.json", lambda c: c | {"documents": 3}), "documents is 3"),
    ],
)
def test_a_folder_that_is_none(made: CapturedFolder, tmp_path: Path, change: Any, message: str) -> None:
    capture = shutil.copytree(made.capture, tmp_path / "capture")
    change(capture)
    code, said = say("measure", capture, "--output-path", tmp_path / "results")
    assert code == 1, said
    assert message in said
    assert len(said) < 1500


def test_token_files_that_are_none(made: CapturedFolder, tmp_path: Path) -> None:
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    def changed(change: Any) -> token_files.TokenFile:
        capture = shutil.copytree(made.capture, tmp_path / f"capture{len(list(tmp_path.iterdir()))}")
        path = capture / "tokens-00000.safetensors"
        with safe_open(path, framework="pt") as file:
            metadata = dict(file.metadata())
        tensors = load_file(path)
        content = json.loads(metadata["connector_bench"])
        change(tensors, content)
        path.unlink()
        save_file(tensors, path, metadata | {"connector_bench": json.dumps(content)})
        return token_files.TokenFile(path)

    cases: dict[str, Any] = {
        "no tensor 0.pre": lambda tensors, content: tensors.pop("0.pre"),
        "has tokens of": lambda tensors, content: tensors.update({"0.post": tensors["0.post"][:3].clone()}),
        "places for": lambda tensors, content: content["layouts"][0].update(n_post=3),
        "not among": lambda tensors, content: content["pictures"][0].update(layout=700),
        "pictures.0.image": lambda tensors, content: content["pictures"][0].update(image="../x"),
        "greater than or equal to 1": lambda tensors, content: content["layouts"][0]["tiles"][0].update(
            pre=[0, 4]
        ),
    }
    for message, change in cases.items():
        with pytest.raises(ValueError, match=message):
            changed(change).tokens(0, 0)
    cut = shutil.copytree(made.capture, tmp_path / "cut") / "tokens-00000.safetensors"
    cut.write_bytes(cut.read_bytes()[:5000])
    with pytest.raises(ValueError, match="cut short"):
        _ = token_files.TokenFile(cut).content


def test_what_cannot_be_captured(made: CapturedFolder, tmp_path: Path) -> None:
    def refused(*arguments: object) -> str:
        code, said = say("capture", *arguments)
        assert code == 1, said
        return said

    out = tmp_path / "out"
    assert "is no folder of pictures" in refused(made.checkpoint, "--images", tmp_path / "none", "--out", out)
    (tmp_path / "empty").mkdir()
    assert "has no pictures" in refused(made.checkpoint, "--images", tmp_path / "empty", "--out", out)
    assert "there is no such folder" in refused(tmp_path / "none", "--images", made.pictures, "--out", out)
    file = tmp_path / "a file"
    file.write_text("")
    assert "File exists" in refused(made.checkpoint, "--images", made.pictures, "--out", file)
    only = tmp_path / "only broken"
    only.mkdir()
    (only / "a.png").write_bytes(b"none")
    assert "0 of 1 pictures could be captured" in refused(made.checkpoint, "--images", only, "--out", out)


def test_what_precision_alone_changes(made: CapturedFolder, tmp_path: Path) -> None:
    capture = shutil.copytree(made.capture, tmp_path / "capture")
    words = ("fingerprint", "precision", made.checkpoint, "--images", made.pictures, "--out", capture)
    code, said = say(*words)
    assert code == 0, said
    content = json.loads((capture / "precision.json").read_text())
    assert content["n_images"] == FILES - 2
    expected = made.by_model.record("knn_preservation_imagefolder")["scores"]
    for name, change in content["figures"].items():
        assert change["value"] == pytest.approx(expected[name]["value"], rel=1e-4, abs=1e-5), name
        assert abs(change["one_at_a_time"]) < 0.01
    changes = [abs(change["bfloat16"]) for change in content["figures"].values()]
    assert 0 < max(changes) < 0.2
    captured = CapturedTokens(capture)
    assert captured.own_change == {k: v for k, v in content.items() if k != "schema_version"}
    edited(capture, "precision.json", lambda c: c | {"weights_sha256": "0" * 64, "in_float32": "1" * 64})
    with pytest.raises(ValueError, match="is of another model"):
        _ = CapturedTokens(capture).own_change


def test_a_fingerprint_is_left_beside_the_tokens(made: CapturedFolder) -> None:
    code, said = say("fingerprint", "compare", made.capture, made.capture / "fingerprint.json")
    assert code == 0, said
    assert "no stage that both have differs" in said
