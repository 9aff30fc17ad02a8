"""What a user with a projector of their own types at first, and what the answer is."""

from __future__ import annotations

import pickle
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.neighbors import NearestNeighbors
from typer.testing import CliRunner

import connector_bench as cb
from connector_bench.cli import app

torch.set_num_threads(1)
GENERATOR = torch.Generator().manual_seed(3)
BEFORE = torch.randn(60, 20, generator=GENERATOR)
AFTER = BEFORE[:, :7] + 0.1 * torch.randn(60, 7, generator=GENERATOR)
DRAWN = np.random.default_rng(0).integers(0, 255, (6, 40, 50, 3), dtype=np.uint8)
PICTURES = [Image.fromarray(one) for one in DRAWN]


class Patches(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.convolution = torch.nn.Conv2d(3, 12, 8, 8)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.convolution(pixels).flatten(2).transpose(1, 2)


ENCODER, CONNECTOR = Patches().eval(), torch.nn.Linear(12, 6).eval()


def pixels(given: list[Image.Image]) -> torch.Tensor:
    small = [np.array(one.resize((32, 32))) for one in given]
    return torch.stack([torch.from_numpy(one).permute(2, 0, 1).float() / 255 for one in small])


@pytest.mark.parametrize(
    ("given", "error", "says"),
    [
        ({"confidence": 95}, ValueError, "confidence is 95; it lies between 0 and 1"),
        ({"confidence": 1.0}, ValueError, "confidence is 1.0"),
        ({"ks": 10}, ValueError, r"got 10; one k is \(10,\)"),
        ({"device": "gpu"}, ValueError, "device gpu cannot be used here"),
        ({"name": 500}, TypeError, "name is 500; a text is needed, such as name='500'"),
        ({"name": " "}, ValueError, "name is empty"),
    ],
)
def test_what_is_no_option_is_named(given: dict[str, Any], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        cb.knn_preservation(BEFORE, AFTER, **({"ks": (10,)} | given))


def test_a_device_is_named_as_torch_names_it() -> None:
    by_name = cb.knn_preservation(BEFORE, AFTER, ks=(5,), device="cpu")
    by_torch = cb.knn_preservation(BEFORE, AFTER, ks=(5,), device=torch.device("cpu"))  # type: ignore[arg-type]
    assert by_torch.scores == by_name.scores


@pytest.mark.parametrize("k", [1, 5, 20])
def test_an_overlap_is_that_of_another_library(k: int) -> None:
    lists = [
        NearestNeighbors(n_neighbors=k, algorithm="brute").fit(side).kneighbors()[1]
        for side in (BEFORE, AFTER)
    ]
    expected = [len(set(before) & set(after)) / k for before, after in zip(*lists, strict=True)]
    assert cb.knn_preservation(BEFORE, AFTER, ks=(k,)).column(f"knor_{k}").tolist() == expected


def test_options_of_another_kind_are_named() -> None:
    with pytest.raises(ValueError, match=r"got 3; one k is \(3,\)"):
        cb.PreservationOptions(ks=3)  # type: ignore[arg-type]
    with pytest.raises(
        TypeError, match=r"options is dict; options=cb.PreservationOptions\(\*\*...\) is needed"
    ):
        cb.measure((ENCODER, CONNECTOR), PICTURES, pixels, options={"ks": (1,)})  # type: ignore[arg-type]
    tokens = BEFORE[:, None], AFTER[:, None]
    with pytest.raises(TypeError, match=r"probes is str; probes=cb\.ReconstructionConfig"):
        cb.reconstruct(tokens, tokens, probes="small")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("array", "says"),
    [
        (np.random.default_rng(0).random((2, 40, 40, 3)), "[40, 40, 3] of float64 is no picture"),
        (np.zeros((2, 3, 40, 40), np.uint8), "[3, 40, 40] of uint8 is no picture"),
    ],
)
def test_arrays_that_are_no_pictures_say_what_is_needed(array: np.ndarray, says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        cb.capture((ENCODER, CONNECTOR), array, pixels)


def test_sides_of_a_grid_may_be_numbers_of_numpy() -> None:
    tokens = cb.capture((ENCODER, CONNECTOR), PICTURES, pixels, grid=(np.int64(4), np.int64(4)))
    assert tokens.layouts[0].tiles[0].pre_grid == (4, 4)
    again = cb.Tokens.of(tokens.pre, tokens.post, grid=((np.int32(4), 4), (4, np.int32(4))))
    assert again.layouts == tokens.layouts


@pytest.mark.parametrize("kind", [str, Path])
def test_one_path_is_one_picture(kind: type, tmp_path: Path) -> None:
    PICTURES[0].save(tmp_path / "one picture ü.png")
    tokens = cb.capture((ENCODER, CONNECTOR), kind(tmp_path / "one picture ü.png"), pixels)
    assert len(tokens) == 1
    assert torch.equal(tokens.pre[0], ENCODER(pixels(PICTURES[:1]))[0])


def test_a_wrapped_connector_is_filed_under_its_own_name() -> None:
    wrapped = torch.nn.DataParallel(CONNECTOR).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tokens = cb.capture((ENCODER, wrapped), PICTURES, pixels)
    assert tokens.connector.model == tokens.connector.connector == "Linear"


def test_tokens_of_a_folder_go_to_another_process(tmp_path: Path) -> None:
    tokens = cb.capture((ENCODER, CONNECTOR), PICTURES, pixels, folder=tmp_path / "tokens")
    assert len(tokens.pre) == 6
    again = pickle.loads(pickle.dumps(tokens))
    assert all(map(torch.equal, again.post, tokens.post))
    assert torch.equal(tokens[-1].pre, tokens.pre[-1])
    with pytest.raises(IndexError):
        tokens[6]


def test_a_file_in_a_folders_place_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OSError, match="could not be written"):
        cb.Tokens.of(BEFORE[:, None], AFTER[:, None]).save(tmp_path / "file")
    with pytest.raises(OSError, match="could not be written"):
        cb.capture((ENCODER, CONNECTOR), PICTURES, pixels, folder=tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"


def test_a_tilde_is_home_wherever_a_path_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    photos = tmp_path / "photos"
    photos.mkdir()
    for number, picture in enumerate(PICTURES):
        picture.save(photos / f"{number}.png")
    tokens = cb.capture((ENCODER, CONNECTOR), "~/photos", pixels, folder="~/tokens")
    listed = cb.capture((ENCODER, CONNECTOR), [f"~/photos/{number}.png" for number in range(6)], pixels)
    for found in (listed, cb.Tokens.load("~/tokens"), cb.Tokens.load(tokens.save("~/again"))):
        assert all(map(torch.equal, found.post, tokens.post))
    result = cb.knn_preservation(BEFORE, AFTER, ks=(10,))
    assert cb.Result.load(result.save("~/results")).to_dict() == result.to_dict()
    tensors = torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    probe = cb.ConnectorProbe(tensors, (ENCODER, CONNECTOR), folder="~/curve", ks=(1,))
    probe.begin()
    assert probe.plot("~/curve.png") == tmp_path / "curve.png"
    made = {"photos", "tokens", "again", "results", "curve", "curve.png"}
    names = {path.name for path in tmp_path.iterdir()}
    assert made <= names
    assert "~" not in names


@pytest.mark.parametrize("command", [[], ["compare"], ["leaderboard", "show"], ["zoo", "train"], ["sweep"]])
def test_help_by_one_letter(command: list[str]) -> None:
    shown = CliRunner().invoke(app, [*command, "-h"])
    assert shown.exit_code == 0
    assert "Usage" in shown.output


def test_saved_results_in_a_narrow_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of arrays, which have neither weights nor pictures: a figure in one line, in the columns that they have."""
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.chdir(tmp_path)
    tokens = BEFORE.reshape(60, 4, 5)
    small = cb.ReconstructionConfig(mlp_width=16, patch_pairs=500, curve=False)
    for name, width in (("mein Projektor ß", 2), ("der andere", 4)):
        parts = [(side, side[..., :width]) for side in (tokens[:45], tokens[45:])]
        cb.reconstruct(*parts, grid=(2, 2), probes=small, name=name).save("res ults")
    shown = CliRunner().invoke(app, ["leaderboard", "show", "res ults"])
    assert shown.exit_code == 0, shown.output
    (line,) = [line for line in shown.output.splitlines() if re.match(r"\s+der andere\s", line)]
    assert re.search(r"\d\.\d{3}\s+#1", line)
    assert "connector_zoo" not in shown.output
    added = CliRunner().invoke(app, ["leaderboard", "add", "res ults", "--board", "bo ard"])
    assert added.exit_code == 0, added.output
    again = CliRunner().invoke(app, ["leaderboard", "check", "--board", "bo ard"])
    assert again.exit_code == 0, again.output
    alone = CliRunner().invoke(app, ["compare", "res ults"])
    assert alone.exit_code == 2
    assert "der andere, mein Projektor" in re.sub(r"[\s│]+", " ", alone.output)
