from __future__ import annotations

import hashlib
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from PIL import Image
from torch import nn
from typer.testing import CliRunner

from connector_bench import zoo
from connector_bench.zoo import scenes
from connector_bench.zoo.cli import app
from connector_bench.zoo.splits import SPLITS
from connector_bench.zoo.train import TrainingConfig, train
from tests.zoo.cards import read_card

BUDGET = TrainingConfig(epochs=3, scenes=24, batch=8)


class Own(nn.Module):
    """A user's connector without a layout."""

    def __init__(self, d_in: int, d_out: int) -> None:
        super().__init__()
        self.project = nn.Linear(d_in, d_out)

    def forward(self, pre):
        return self.project(pre[:, :49])


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def small(cache, monkeypatch):
    monkeypatch.setenv("CONNECTOR_BENCH_CACHE", str(cache))
    monkeypatch.setitem(SPLITS, "test", replace(SPLITS["test"], scenes=12))


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_training_twice_gives_equal_weights_and_lowers_the_loss(tmp_path):
    first = train("mlp", 0, BUDGET, tmp_path / "a", evaluated=())
    second = train("mlp", 0, BUDGET, tmp_path / "b", evaluated=())
    other = train("mlp", 1, BUDGET, tmp_path / "c", evaluated=())
    assert digest(first) == digest(second) != digest(other)
    card = read_card("mlp", 0, tmp_path / "a")
    assert card.training["loss"][-1] < card.training["loss"][0] - 0.5


def test_a_card_names_the_scenes_it_was_trained_on(tmp_path, monkeypatch):
    train("linear", 0, BUDGET, tmp_path, evaluated=())
    monkeypatch.setitem(SPLITS, "train", replace(SPLITS["train"], scenes=BUDGET.scenes))
    assert read_card("linear", 0, tmp_path).fingerprint == scenes.fingerprint("train")


def test_an_untrained_connector_stays_while_its_decoder_learns(tmp_path):
    from connector_bench.zoo.model import build_parts
    from connector_bench.zoo.shipped import load

    train("untrained_mlp", 0, BUDGET, tmp_path, evaluated=())
    model, (connector, _, decoder) = load("untrained_mlp", 0, tmp_path), build_parts("untrained_mlp", 0)
    for kept, initial in zip(model.connector.parameters(), connector.parameters(), strict=True):
        assert torch.equal(kept, initial.half().float())
    assert not torch.equal(model.decoder.bias, decoder.bias.half().float())
    card = read_card("untrained_mlp", 0, tmp_path)
    assert card.training["loss"][-1] < card.training["loss"][0]


def test_a_rotation_is_still_one_after_saving(tmp_path):
    from connector_bench.zoo.shipped import load

    train("rotation", 0, BUDGET, tmp_path, evaluated=())
    matrix = load("rotation", 0, tmp_path).connector.matrix.double()
    torch.testing.assert_close(matrix.T @ matrix, torch.eye(112, dtype=torch.float64), atol=1e-6, rtol=0)


def test_own_connector_from_training_to_answers():
    name = f"{__name__}:Own"
    path = train(name, 0, BUDGET, evaluated=("test",))
    assert path.is_file()
    model = zoo.load(name)
    assert (model.layout.tokens, model.layout.grid) == (49, None)
    card = read_card(name)
    assert set(card.accuracy["test"]) == {"overall", "object", "existence", "count", "category"}
    assert 0 <= card.mean_pooled_overlap_10 <= 1


def test_commands(tmp_path):
    run = CliRunner().invoke
    assert "mlp" in run(app, ["list"]).output
    sheet = tmp_path / "sheet.png"
    assert run(app, ["preview", str(sheet), "--scenes", "3"]).exit_code == 0
    assert sheet.stat().st_size > 10_000
    assert run(app, ["preview", str(sheet), "--split", "objects_test", "--scenes", "9"]).exit_code == 0
    assert Image.open(sheet).size == (4 * 228, 3 * 256)
    wrong = run(app, ["train", "mpl"])
    assert wrong.exit_code == 2
    assert "mlp" in wrong.output
    assert run(app, ["train"]).exit_code == 2
    assert run(app, ["preview", str(sheet), "--split", "tset"]).exit_code == 2


def test_importing_the_zoo_is_light():
    code = "import sys, connector_bench.zoo; print({'torch', 'timm', 'datasets'} & set(sys.modules))"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "set()"
    )
