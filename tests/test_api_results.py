"""Results from Python: what is lost, what a result says, and who takes it once it is saved."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import connector_bench as cb
from connector_bench import zoo
from connector_bench.cli import app
from connector_bench.connectors.coloured import coloured_picture
from connector_bench.number_style import with_interval
from connector_bench.zoo.splits import find_split, make_scene
from tests.bare_modules import KS, SMALL, bare, low_rank, pixels, projector

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def ranks() -> dict[int, cb.Result]:
    found = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for rank in (8, 16):
            pre, post = low_rank(rank)
            found[rank] = cb.reconstruct(
                (pre[:90], post[:90]), (pre[90:], post[90:]), grid=(4, 4), probes=SMALL, name=f"rank {rank}"
            )
    return found


def test_what_is_lost_is_known_beforehand(ranks: dict[int, cb.Result]) -> None:
    pre, _ = low_rank(8)
    for rank, result in ranks.items():
        tested, mean = pre[90:], pre[:90].mean((0, 1))
        lost = (tested[..., rank:] - mean[rank:]).square().sum() / (tested - mean).square().sum()
        score = result.scores["r2_ridge"]
        assert score.value == pytest.approx(1 - float(lost), abs=0.01)
        assert score.low < score.value < score.high
        maps = result.loss_maps
        assert len(maps) == 30
        assert all(one is not None and one.loss.shape == (16,) for one in maps)
        mean_loss = np.mean([float(one.loss.mean()) for one in maps if one is not None])
        assert mean_loss == pytest.approx(result.scores["nmse"].value, abs=1e-3)
        assert result.column("lost").shape == (30,)
    assert ranks[16].scores["lost"].high < ranks[8].scores["lost"].low


def test_reconstruct_refuses(ranks: dict[int, cb.Result]) -> None:
    pre, post = low_rank(8, 12)
    pair = (pre, post)
    cases: list[tuple[tuple[Any, Any], str]] = [
        ((pre, pair), "train is Tensor; allowed are captured tokens"),
        (((pre, post[:5]), pair), "got 12 and 5"),
        (((pre[:, 0], post[:, 0]), pair), r"pre is \[12, 24\]; allowed are \[images, tokens, width\]"),
        ((pair, pair), "no training image is left: there are 12, and 12 are test images too"),
        (((pre * math.nan, post), pair), "12 of 12 images of pre hold NaN"),
        (((pre, post[..., :5]), pair), "tokens of post are 5 wide in train and 8 in test"),
    ]
    for (train, test), message in cases:
        with pytest.raises(ValueError, match=message):
            cb.reconstruct(train, test, grid=(4, 4), probes=SMALL)
    with pytest.raises(ValueError, match="images 0 and 2 share the name 'a' and have other tokens"):
        cb.Tokens.of(pre[:3], post[:3], names=["a", "b", "a"])
    with pytest.raises(ValueError, match="images 0 and 1 share their tokens before the connector"):
        cb.Tokens.of(pre[[0, 0]], post[:2])
    assert len(cb.Tokens.of(pre[[0, 0]], post[[0, 0]])) == 2
    with pytest.raises(ValueError, match="tokens are of two connectors"):
        cb.reconstruct(
            cb.Tokens.of(*low_rank(8, 12, 1), name="a"), cb.Tokens.of(*pair, name="b"), probes=SMALL
        )


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("constant", [0.0, 1.0])
def test_a_connector_that_says_the_same_of_everything_has_lost_everything(constant: float) -> None:
    pre, post = low_rank(4, 60)
    post = torch.full_like(post, constant)
    result = cb.reconstruct((pre[:40], post[:40]), (pre[40:], post[40:]), grid=(4, 4), probes=SMALL)
    assert result.scores["lost"].value == pytest.approx(1, abs=0.01)
    assert result.scores["r2_mlp"].value == pytest.approx(0, abs=0.01)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_tokens_of_unequal_number_and_without_places() -> None:
    draw = torch.Generator().manual_seed(0)
    pre = [torch.randn(9 + n % 4, 8, generator=draw) for n in range(40)]
    post = [one[: 5 + n % 3, :6] for n, one in enumerate(pre)]
    result = cb.reconstruct((pre[:30], post[:30]), (pre[30:], post[30:]), probes=SMALL)
    assert {"r2_pooled", "r2_attention", "lost"} <= result.scores.keys()
    assert result.loss_maps == (None,) * 10
    assert any("places of tokens are not known: no grid was given" in line for line in result.warnings)
    assert cb.knn_preservation(pre, post, ks=(5,)).scores["knor_5"].n == 40


# results


@pytest.fixture(scope="module")
def both() -> cb.Result:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        images = [coloured_picture(60 + n, 70, n) for n in range(80)]
        return cb.measure(
            bare(projector()),
            [*images, images[2]],
            pixels,
            grid=(4, 4),
            options=KS,
            probes=SMALL,
            name="mine <b>",
        )


def test_a_result_is_read_at_a_glance(both: cb.Result) -> None:
    assert repr(both).startswith("Result(mine <b>, knor_5 ")
    assert len(repr(both)) < 160
    words = both.summary()
    assert max(map(len, words.splitlines())) <= 80
    score = both.scores["lost"]
    assert score.sign + with_interval(score.value, score.low, score.high) in " ".join(words.split())
    assert "untrained copy" in " ".join(words.split())
    assert not re.search(r"\s[;.,]", words), "no space before a stop"
    view = both._repr_html_()
    assert "mine &lt;b&gt;" in view
    assert "<b>" not in view
    table = both.to_pandas()
    assert set(table["measure"]) == {"knn_preservation", "patch_reconstruction"}
    assert len(table) == len(both.scores)
    with pytest.raises(AttributeError, match="cannot assign"):
        both.name = "other"  # type: ignore[misc]
    with pytest.raises(KeyError, match="there are"):
        both.column("knor_7")
    with pytest.raises(KeyError, match="there are knn_preservation, patch_reconstruction"):
        both["knn"]


def test_a_saved_result_is_the_same_result(both: cb.Result, tmp_path: Path) -> None:
    path = both.save(tmp_path)
    loaded = cb.Result.load(path)
    assert loaded.to_dict() == both.to_dict() == json.loads(json.dumps(both.to_dict()))
    assert loaded.summary() == both.summary()
    for one, other in zip(both.loss_maps, loaded.loss_maps, strict=True):
        assert (one is None) == (other is None)
        if one is not None and other is not None:
            assert np.array_equal(one.loss, other.loss)
    other = dataclasses.replace(both, pictures=90)
    again = other.save(tmp_path)
    assert again != path
    twice = cb.Result.load(again)
    assert len(list((tmp_path / "connector_bench").iterdir())) == 4
    assert [one is None for one in twice.loss_maps][:81] == [one is None for one in both.loss_maps]
    assert cb.Result.load(path).to_dict() == both.to_dict()
    with pytest.raises(ValueError, match="holds 2 results, name one"):
        cb.Result.load(tmp_path)
    content = json.loads(path.read_text())
    for change, message in (
        ({"connector_bench_python": None}, "a result of lmms-eval"),
        ({"connector_bench_python": {"schema_version": 9}}, "of schema 9"),
        ({"connector_bench_python": {**content["connector_bench_python"], "pictures": -1}}, "does not hold"),
        ({"connector_bench_python": {**content["connector_bench_python"], "pictures": 3}}, "beyond the 3"),
    ):
        path.write_text(json.dumps(content | change))
        with pytest.raises(ValueError, match=message):
            cb.Result.load(path)


def said(*arguments: object) -> str:
    ended = CliRunner().invoke(app, [str(one) for one in arguments])
    assert ended.exit_code == 0, ended.output
    return ended.output


def test_report_and_board_take_a_saved_result(both: cb.Result, tmp_path: Path) -> None:
    both.save(tmp_path / "results")
    said("report", tmp_path / "results", "-o", tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "connector_bench.measure(...) in Python" in page
    assert "data:image/webp" in page, "pictures below loss maps"
    board = tmp_path / "board"
    assert "1 run added" in said("leaderboard", "add", tmp_path / "results", "--board", board)
    table = (board / "LEADERBOARD.md").read_text(encoding="utf-8")
    assert "mine" in table
    assert f"{both.scores['lost'].value:.3f}"[1:] in table
    (kept,) = (board / "results").glob("*.json")
    assert json.loads(kept.read_text())["provenance"]["command"] == "connector_bench.measure(...) in Python"
    said("leaderboard", "check", "--board", board)


def test_a_connector_that_is_better_by_construction_wins(ranks: dict[int, cb.Result], tmp_path: Path) -> None:
    for rank, result in ranks.items():
        result.save(tmp_path / str(rank))
    said("compare", tmp_path / "8", tmp_path / "16", "--output", tmp_path / "out")
    found = {
        one["metric"]: one
        for one in json.loads((tmp_path / "out" / "comparison.json").read_text())["differences"]
    }
    assert found["lost"]["difference"]["high"] < 0
    assert found["lost"]["higher_is_better"] is False


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_rank_32_wins_over_rank_8_and_two_seeds_tie(tmp_path: Path) -> None:
    """The zoo's trained weights on scenes, from Python; of documents alone, which do not know how far seeds spread."""
    scenes = [Image.fromarray(make_scene(find_split("test"), number)[0].image) for number in range(150)]
    for name, seed in (("rank8", 0), ("rank8", 2), ("rank32", 0)):
        given = {"measures": ["knn_preservation"], "options": cb.PreservationOptions(ks=(10,))}
        cb.measure(zoo.load(name, seed=seed), scenes, **given).save(tmp_path / f"{name}-{seed}")

    def gap(first: str, second: str) -> dict[str, float]:
        said("compare", tmp_path / first, tmp_path / second, "--output", tmp_path / "out")
        found = json.loads((tmp_path / "out" / "comparison.json").read_text())["differences"]
        return next(one["difference"] for one in found if one["metric"] == "knor_10")

    assert gap("rank8-0", "rank32-0")["low"] > 0
    tie = gap("rank8-0", "rank8-2")
    assert tie["low"] < 0 < tie["high"]


def test_saved_overlaps_are_compared_by_their_halves(tmp_path: Path) -> None:
    pre = np.random.default_rng(0).normal(size=(200, 32))
    for width in (8, 16):
        cb.knn_preservation(pre, pre[:, :width], ks=(10,), name=f"{width} wide").save(tmp_path / str(width))
    said("compare", tmp_path / "8", tmp_path / "16", "--output", tmp_path / "out")
    (found,) = json.loads((tmp_path / "out" / "comparison.json").read_text())["differences"]
    assert found["metric"] == "knor_10"
    assert found["difference"]["low"] > 0
    assert "halv" in found["difference"]["interval_method"]
    said("report", tmp_path / "8", "-o", tmp_path / "report.html")
    assert "2 runs added" in said(
        "leaderboard", "add", tmp_path / "8", tmp_path / "16", "--board", tmp_path / "board"
    )


@pytest.mark.slow
def test_two_processes_get_what_one_gets(tmp_path: Path) -> None:
    found = {}
    for ranks in (1, 2):
        out = tmp_path / str(ranks)
        out.mkdir()
        started = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={ranks}"]
        script = str(Path(__file__).parent / "measured_by_two.py")
        ended = subprocess.run([*started, script, str(out)], capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stderr[-2000:]
        found[ranks] = [json.loads(path.read_text()) for path in sorted(out.iterdir())]
    (alone,), (first, second) = found[1], found[2]
    assert first == second
    assert alone["images"] == first["images"]
    for measure, figures in alone["figures"].items():
        assert first["figures"][measure] == pytest.approx(figures, abs=1e-9)
    assert sum(one is not None for one in first["maps"]) > 1
    for one, other in zip(alone["maps"], first["maps"], strict=True):
        assert (one is None) == (other is None)
