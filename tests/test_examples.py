"""Every example is short and runs: the zoo's are trained and answer, the one for a real tower is measured behind it."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from connector_bench import zoo
from connector_bench.connectors.alone import load_alone
from connector_bench.connectors.given import MODULE, WEIGHTS
from connector_bench.zoo.backgrounds import paint_background
from connector_bench.zoo.splits import SPLITS
from connector_bench.zoo.train import TrainingConfig, train
from tests import tiny_vlms

EXAMPLES = Path(__file__).parent.parent / "examples"
OF_THE_ZOO = {
    "c_abstractor:CAbstractor": (7, 7),
    "frozen_connector:FrozenMlp": (14, 14),
    "q_former:QFormer": None,
    "token_pruning:Pruned": None,
}


@pytest.fixture(autouse=True)
def typed_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(EXAMPLES)
    monkeypatch.syspath_prepend(str(EXAMPLES))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def test_all_are_short_and_tried_here() -> None:
    files = sorted(EXAMPLES.glob("*.py"))
    elsewhere = {"train_with_probe"}  # tests/training/test_curve.py
    tried = {name.split(":")[0] for name in OF_THE_ZOO} | {"real_tower"} | elsewhere
    assert {file.stem for file in files} == tried
    for file in files:
        assert len(file.read_text().splitlines()) < 60, file


@pytest.mark.parametrize("name", OF_THE_ZOO)
def test_a_connector_learns_and_answers(name: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONNECTOR_BENCH_CACHE", str(cache))
    monkeypatch.setitem(SPLITS, "train", replace(SPLITS["train"], scenes=24))
    train(name, 0, TrainingConfig(epochs=2, scenes=24, batch=8), evaluated=())
    model = zoo.load(name)
    assert model.layout.grid == OF_THE_ZOO[name]
    assert model.layout.declared
    _, picture = paint_background(np.random.default_rng(0))
    (answer,) = model.answer([Image.fromarray(picture)], ["how many animals are there?"])
    assert answer


def test_a_connector_behind_a_real_tower(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import real_tower

    (tmp_path / "pictures").mkdir()
    for number in range(24):
        _, picture = paint_background(np.random.default_rng(number))
        Image.fromarray(picture).save(tmp_path / "pictures" / f"{number}.png")
    checkpoint = tiny_vlms.save("llava", tmp_path)
    real_tower.main(str(checkpoint), str(tmp_path / "pictures"), str(tmp_path / "bottleneck.safetensors"))
    monkeypatch.setenv(MODULE, "real_tower:Bottleneck")
    monkeypatch.setenv(WEIGHTS, str(tmp_path / "bottleneck.safetensors"))
    adapter = load_alone(str(checkpoint))
    assert adapter.info.connector == "real_tower:Bottleneck"
    (pair,) = adapter.capture([Image.open(tmp_path / "pictures" / "0.png").convert("RGB")])
    assert torch.linalg.matrix_rank(pair.post, rtol=1e-4) <= real_tower.RANK
    assert "real_tower" in sys.modules
