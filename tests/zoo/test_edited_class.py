"""Weights whose class was edited after its training: told where the code that counts is another, and only there."""

from __future__ import annotations

import importlib
import sys
import warnings
from pathlib import Path

import pytest

from connector_bench import zoo
from connector_bench.connectors.zoo import EDITED, ZooAdapter
from connector_bench.imported_source import source_sha256
from connector_bench.sweep.plan import read_sweep, runs_of
from connector_bench.zoo.train import TrainingConfig, train
from tests.zoo.cards import read_card

MINE = """
from functools import partial
import torch
from torch import nn
from .parts import Middle, SCALE
from . import more

FACTOR = 1.0


class Mine(nn.Module):
    def __init__(self, d_in, d_out):
        super().__init__()
        self.layers = nn.Sequential(Middle(d_in), more.act(), nn.Linear(16, d_out))

    def forward(self, pre):
        return self.layers(pre) * FACTOR * SCALE


class Other(nn.Module):
    pass


half = partial(Mine)
"""
PARTS = """
from torch.nn import Linear as Map

SCALE, UNUSED = 1.0, 2.0


class Middle(Map):
    def __init__(self, width):
        super().__init__(width, 16)


class Apart(Map):
    pass
"""
MORE = "from torch import nn\n\n\ndef act():\n    return nn.GELU()\n"
PACKAGE = {"mine.py": MINE, "parts.py": PARTS, "more.py": MORE, "__init__.py": "from .mine import Mine\n"}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "edited_package"
    folder.mkdir()
    for name, text in PACKAGE.items():
        (folder / name).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CONNECTOR_BENCH_CACHE", str(tmp_path / "cache"))
    yield folder
    forget()


def forget() -> None:
    """As in another process."""
    for name in [name for name in sys.modules if name.split(".")[0] == "edited_package"]:
        del sys.modules[name]
    importlib.invalidate_caches()


def edit(folder: Path, file: str, before: str, after: str) -> None:
    text = (folder / file).read_text()
    assert before in text
    (folder / file).write_text(text.replace(before, after, 1))
    forget()


@pytest.mark.parametrize(
    ("file", "before", "after", "counts"),
    [
        ("mine.py", "Linear(16, d_out)", "Linear(16, d_out, bias=False)", True),
        ("mine.py", "FACTOR = 1.0", "FACTOR = 2.0", True),
        ("mine.py", "half = ", "Mine.factor = 3\nhalf = ", True),
        ("parts.py", "width, 16", "width, 8", True),
        ("parts.py", "SCALE, UNUSED = 1.0", "SCALE, UNUSED = 0.5", True),
        ("parts.py", "Linear as Map", "Bilinear as Map", True),
        ("more.py", "GELU", "ReLU", True),
        ("mine.py", "class Other(nn.Module):\n    pass", "class Another(nn.Module):\n    wide = 3", False),
        ("mine.py", "        super()", "        # what follows is torch's\n\n        super()", False),
        ("mine.py", "import torch\n", "import torch, json\n", False),
        ("parts.py", "class Apart(Map)", "class Apart(Middle)", False),
        ("__init__.py", "from .mine import Mine", "from .mine import Mine, Other", False),
    ],
)
@pytest.mark.parametrize(
    "path", ["edited_package.mine:Mine", "edited_package:Mine", "edited_package.mine:half"]
)
def test_what_a_class_rests_on_and_nothing_else(
    path: str, file: str, before: str, after: str, counts: bool, package: Path
) -> None:
    first = source_sha256(path)
    assert first is not None
    edit(package, file, before, after)
    assert (source_sha256(path) != first) is counts


def test_a_class_without_a_file_has_no_source() -> None:
    sys.modules["typed_in"] = module = type(sys)("typed_in")
    exec("class Mine: pass", module.__dict__)
    try:
        assert source_sha256("typed_in:Mine") is None
    finally:
        del sys.modules["typed_in"]


def test_an_edited_class_is_warned_of_until_it_is_trained_again(package: Path) -> None:
    name, budget = "edited_package.mine:Mine", TrainingConfig(epochs=1, scenes=4, batch=4)
    (package.parent / "sweep.yaml").write_text(
        f"connectors: {{mine: {{model: connector_zoo, model_args: 'connector={name}'}}}}\ndata_sets: {{d: [t]}}\n"
    )

    def loaded() -> tuple[list[str], bool, str]:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            model = zoo.load(name)
        (run,) = runs_of(read_sweep(package.parent / "sweep.yaml"))
        own = [str(one.message) for one in said if "connector-bench zoo train" in str(one.message)]
        return own, EDITED in ZooAdapter(model).info.assumptions, run.folder

    train(name, 0, budget, evaluated=())
    assert read_card("linear").source_sha256 is None
    said, recorded, folder = loaded()
    assert (said, recorded) == ([], False)
    edit(package, "more.py", "GELU", "ReLU")
    said, recorded, other = loaded()
    assert recorded
    assert said == [
        f"the code of {name} is not the code that it was trained with, so its weights may mean nothing here; "
        f"train it again with: connector-bench zoo train {name} --seed 0"
    ]
    assert other != folder, "no sweep takes the one's figures for the other's"
    train(name, 0, budget, evaluated=())
    said, recorded, again = loaded()
    assert (said, recorded) == ([], False)
    assert again not in (folder, other), "the weights are others"
