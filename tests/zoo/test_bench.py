"""The zoo as a bench: from a connector typed in one's own folder to its place among the built-in ones."""

from __future__ import annotations

import math
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from connector_bench.cli import app
from connector_bench.leaderboard.board_entries import seed_half
from connector_bench.leaderboard.board_files import shipped_board, stored_runs
from connector_bench.leaderboard.merge import merge
from connector_bench.leaderboard.placing import SeededFigure, known_figures, placed
from connector_bench.leaderboard.printed_table import places
from connector_bench.zoo.bench import bench_text
from connector_bench.zoo.shipped import SHIPPED
from connector_bench.zoo.splits import SPLITS

MINE = """
import math

import torch
from torch import nn

from connector_bench.zoo.connectors import Layout


class Narrow(nn.Module):
    layout = Layout(tokens=196, grid=(14, 14))

    def __init__(self, d_in, d_out):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(d_in, 16), nn.GELU(), nn.Linear(16, d_out))

    def forward(self, pre):
        return self.layers(pre)


class Diverging(Narrow):
    def __init__(self, d_in, d_out):
        super().__init__(d_in, d_out)
        self.breaks = torch.initial_seed() == 1

    def forward(self, pre):
        return super().forward(pre) * (math.inf if self.breaks and self.training else 1)


class Raising(Narrow):
    def forward(self, pre):
        assert len(pre) < 8, "a batch of two was all I tried"
        return super().forward(pre)


class Named(Narrow):
    def forward(self, pre):
        return {"tokens": super().forward(pre)}
"""


@pytest.fixture(scope="module")
def board():
    return stored_runs(shipped_board())


def test_rank_32_stands_above_rank_8_and_two_seeds_of_one_tie(board):
    """By construction one is better; the seeds are the committed ones."""
    known = known_figures(board, "scenes_vqa", "accuracy")
    seeds = {name: known[f"connector_zoo/{name}"] for name in ("rank32", "rank8")}
    gap, low, high = placed(seeds["rank32"], {"rank8": seeds["rank8"]}).differences["rank8"]
    assert 0 < low < gap < high
    for figure in seeds.values():
        one, other = (SeededFigure(figure.seeds[i : i + 1], figure.stderr) for i in range(2))
        _, low, high = placed(one, {**known, "other": other}).differences["other"]
        assert low < 0 < high


def test_a_place_and_its_ends():
    def exact(value):
        return SeededFigure((value,) * 3, 0.01)

    found = placed(exact(0.5), {"a": exact(0.9), "b": exact(0.51), "c": exact(0.49), "d": exact(0.1)})
    assert (found.highest, found.place, found.lowest, found.of) == (2, 3, 4, 5)
    assert found.low == pytest.approx(0.5 - 1.959964 * 0.01)
    assert list(found.differences) == ["a", "b", "c", "d"]
    assert found.differences["b"] == pytest.approx((-0.01, -0.0377181, 0.0177181), rel=1e-5)


def test_the_place_and_the_board_take_one_interval_over_seeds():
    """With the normal's 1.96 in place of t, of two alike connectors of three seeds each it covered .88."""
    mine, other = (0.7, 0.75, 0.72), (0.66, 0.71, 0.7)
    found = placed(SeededFigure(mine, 0.0), {"other": SeededFigure(other, 0.0)})
    gap, low, high = found.differences["other"]
    assert (high - gap, gap - low) == pytest.approx([seed_half([mine, other])] * 2)
    assert found.high - found.value == pytest.approx(seed_half([mine]))
    alone = placed(SeededFigure(mine[:1], 0.0), {"other": SeededFigure(other, 0.0)})
    assert alone.high - alone.value == pytest.approx(seed_half([other]) * math.sqrt(3))
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(1000):
        one, two = (SeededFigure(tuple(rng.normal(0.7, 0.05, 3)), 0.002) for _ in range(2))
        _, low, high = placed(one, {"other": two}).differences["other"]
        covered.append(low <= 0 <= high)
    assert np.mean(covered) > 0.94


def test_what_is_said_of_a_shipped_connector():
    said = bench_text([SHIPPED / f"rank32-seed{seed}.safetensors" for seed in range(3)])
    assert "place 5 of 21 beside the built-in connectors by accuracy; 95 %: 1 to 7" in said
    assert "more than rank8 " in said
    assert "connector=rank32,seed=2 --tasks knn_preservation,patch_reconstruction,scenes_vqa" in said
    assert "budget" not in said


def test_a_connector_of_ones_own_as_it_is_typed(tmp_path, monkeypatch):
    for split in ("test", "test_unseen", "validation"):
        monkeypatch.setitem(SPLITS, split, replace(SPLITS[split], scenes=12))
    monkeypatch.setenv("CONNECTOR_BENCH_CACHE", str(tmp_path / "cache"))
    (tmp_path / "own_package").mkdir()
    (tmp_path / "own_package" / "mine.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    few = ("--epochs", "1", "--scenes", "24")
    typed = CliRunner().invoke(app, ["zoo", "train", "own_package.mine:Narrow", "--seeds", "2", *few])
    assert typed.exit_code == 0, typed.output
    assert [Path(line).name for line in typed.output.splitlines() if line.endswith("safetensors")] == [
        f"own_package_mine--Narrow-seed{seed}.safetensors" for seed in range(2)
    ]
    assert "of 48 questions about the test scenes (seeds " in typed.output
    assert " of 22 beside the built-in connectors by accuracy" in typed.output
    assert "not the budget of the others: epochs 1 instead of 8, scenes 24 instead of 6000" in typed.output
    assert "connector-bench leaderboard show results" in typed.output
    some = CliRunner().invoke(app, ["zoo", "train", "own_package.mine:Diverging", "--seeds", "3", *few])
    assert some.exit_code == 1
    assert [line[-13:] for line in some.output.splitlines() if line.endswith("safetensors")] == [
        "0.safetensors",
        "2.safetensors",
    ]
    assert "these are figures of 2 of 3 trainings: of those that did not diverge" in some.output
    assert "Diverging seed 1 diverged: its loss was nan at step 1 of " in some.output
    folder = tmp_path / "taken"
    folder.touch()
    for name, says in (
        ("Raising", "fails while it is trained: AssertionError: a batch of two was all I tried"),
        ("Named", "maps [2, 196, 112] to dict, expected one tensor [2, m, 128]"),
        ("Other", f"looked for in {tmp_path} and among what is installed): AttributeError"),
        ("Narrow --out taken", "taken could not be written"),
    ):
        wrong = CliRunner().invoke(app, ["zoo", "train", *f"own_package.mine:{name}".split(), *few])
        assert wrong.exit_code == 2
        assert says in " ".join(re.sub("[│╭╰─╮╯]", "", wrong.output).split())
    both = CliRunner().invoke(app, ["zoo", "train", "mlp", "--seeds", "2", "--seed", "1"])
    assert both.exit_code == 2


def test_the_board_is_shown_without_a_checkout(tmp_path, monkeypatch, board):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    shown = CliRunner().invoke(app, ["leaderboard", "show", "--metric", "lost", "--metric", "accuracy"])
    assert shown.exit_code == 0, shown.output
    assert "connector_zoo/rank32-seed0" in shown.output
    assert not list(tmp_path.iterdir())
    wrong = CliRunner().invoke(app, ["leaderboard", "show", "--metric", "lots"])
    assert wrong.exit_code == 1
    assert "no result has lots" in wrong.output
    lines = list(places(merge(board), {"connector_zoo/rank32-seed0"}))
    assert len(lines) == 10, (
        "two figures of objects and of scenes, and patches, of seen and of unseen drawings"
    )
    assert lines[0].startswith("connector_zoo/rank32-seed0: knn_preservation, trustworthiness ")
    assert any("rank32-seed0: knn_preservation, kept beyond chance, k = 10 " in line for line in lines)
    assert " of 41" in lines[0]
