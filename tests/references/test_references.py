"""References behind somebody's own tower: closed forms against what a ridge finds, and the command on real towers."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from torch import nn
from typer.testing import CliRunner

from connector_bench.cli import app
from connector_bench.pictures import picture_hash
from connector_bench.references.bottlenecks import (
    bottleneck,
    cell_moments,
    identity,
    normed_patches,
    pca_loss,
    regressed_loss,
    ridge_loss,
    whole_cell,
)
from connector_bench.references.fitting import cell_of, fitted_cells_loss
from connector_bench.references.kinds import closed_references, fitted_references
from connector_bench.references.tower import TowerTokens, tower_tokens
from connector_bench.zoo import connectors
from connector_bench.zoo.backgrounds import paint_background
from tests import tiny_vlms
from tests.harness import run_here

GRID = (4, 4)
WIDTH = 12


@pytest.fixture(scope="module")
def tokens() -> TowerTokens:
    """Gaussian tokens of a falling spectrum, neighbours alike, with means and scales of their own."""
    random = torch.Generator().manual_seed(0)
    scales = 2.0 ** -torch.arange(WIDTH)
    mixing = torch.linalg.qr(torch.randn(WIDTH, WIDTH, generator=random))[0]

    def draw(images: int) -> torch.Tensor:
        coarse = (
            torch.randn(images, 2, 2, WIDTH, generator=random).repeat_interleave(2, 1).repeat_interleave(2, 2)
        )
        own = torch.randn(images, 4, 4, WIDTH, generator=random)
        return ((coarse + own).flatten(1, 2) * scales) @ mixing + 3

    return TowerTokens(GRID, draw(400), draw(200), (), ())


@pytest.mark.parametrize(("cell", "rank"), [(1, 2), (1, 5), (2, 3), (2, 8)])
def test_the_pca_bottleneck_is_what_a_ridge_finds_behind_it(
    tokens: TowerTokens, cell: int, rank: int
) -> None:
    """A connector that projects to the first principal components, measured by the probe of the tasks."""
    moments = cell_moments(tokens, cell, whole_cell(GRID, cell))
    directions = torch.linalg.eigh(moments.training.xx)[1][:, -rank:]

    class Projection(nn.Module):
        def forward(self, pre: torch.Tensor) -> torch.Tensor:
            return whole_cell(GRID, cell)(pre) @ directions.float()

    closed = pca_loss(tokens, cell, rank)
    assert closed == pytest.approx(ridge_loss(tokens, cell, Projection()), abs=0.005)
    values = torch.linalg.eigvalsh(moments.test.xx)
    assert closed == pytest.approx(float(values[:-rank].sum() / values.sum()), abs=0.01), (
        "the spectrum's own tail"
    )


def test_no_map_of_that_rank_loses_less(tokens: TowerTokens) -> None:
    """One that is trained by gradient descent to be rebuilt from comes near and stays above."""
    torch.manual_seed(0)
    learnt = fitted_cells_loss(tokens, 1, connectors.Bottleneck(WIDTH, WIDTH, 2, GRID), 400)
    assert pca_loss(tokens, 1, 2) - 0.002 < learnt < pca_loss(tokens, 1, 2) + 0.02


def test_a_bottleneck_of_full_rank_is_the_map_itself(tokens: TowerTokens) -> None:
    moments = cell_moments(tokens, 2, normed_patches(GRID, 2))
    ridge = moments.ridge()
    assert bottleneck(moments, ridge, 4 * WIDTH) is ridge
    assert regressed_loss(tokens, 2, 4 * WIDTH, normed_patches(GRID, 2)) == moments.loss(ridge)
    same = cell_moments(tokens, 2, whole_cell(GRID, 2))
    assert same.loss(identity(same)) == pytest.approx(0, abs=1e-12)


def test_what_is_known_of_each_kind(tokens: TowerTokens) -> None:
    found = [*closed_references(tokens, 4, 16, ranks=(2, 6)), *fitted_references(tokens, 4, 16, steps=60)]
    rows = {row.name: row for row in found}
    assert list(rows) == [
        *(
            "linear",
            "mlp",
            "rank2",
            "rank6",
            "pixel_shuffle",
            "patch_merger",
            "avg_pool",
            "c_abstractor",
            "resampler",
        )
    ]
    assert rows["linear"].untrained == pytest.approx(0, abs=1e-6), "16 numbers hold 12"
    assert rows["linear"].fitted == pytest.approx(0, abs=1e-6)
    assert rows["rank2"].fitted > rows["rank6"].fitted
    for name in ("rank2", "rank6", "pixel_shuffle", "patch_merger"):
        assert rows[name].fitted <= rows[name].untrained + 0.002, name
    assert rows["avg_pool"].fitted > pca_loss(tokens, 2, 16), "the mean alone tells less than the best map"
    assert (rows["mlp"].tokens, rows["resampler"].tokens) == (16, 4)


def test_sizes_that_do_not_fit_are_named(tokens: TowerTokens) -> None:
    with pytest.raises(ValueError, match="allowed are 16, 4, 1"):
        next(closed_references(tokens, 9, 16))
    with pytest.raises(ValueError, match="multiple of 4"):
        next(closed_references(tokens, 4, 15))
    with pytest.raises(ValueError, match="rank 13 is none"):
        next(closed_references(tokens, 4, 16, ranks=(13,)))
    assert cell_of((24, 24), 144) == 2
    assert cell_of((4, 6), 6) == 2


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(48):
        _, picture = paint_background(np.random.default_rng(number))
        Image.fromarray(picture).save(folder / f"{number:02}.png")
    (folder / "broken.png").write_bytes((folder / "00.png").read_bytes()[:300])
    return folder


def typed(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["references", *map(str, arguments)], env={"COLUMNS": "80"})


def test_a_bare_tower(pictures: Path, tmp_path: Path) -> None:
    """A vision model of transformers with its own processor, whose CLS is left out."""
    config = transformers.CLIPVisionConfig(
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=56,
        patch_size=14,
    )
    torch.manual_seed(0)
    model = transformers.CLIPVisionModel(config).eval()
    processor = transformers.CLIPImageProcessor(
        size={"shortest_edge": 56}, crop_size={"height": 56, "width": 56}
    )
    model.save_pretrained(tmp_path / "tower")
    processor.save_pretrained(tmp_path / "tower")
    found = tower_tokens(str(tmp_path / "tower"), pictures)
    assert found.grid == (4, 4)
    assert found.width == 16
    assert len(found.train) + len(found.test) == 48
    assert any("broken.png" in why for why in found.left_out)
    ended = typed(
        tmp_path / "tower", "--images", pictures, "--tokens", 4, "--width", 16, "--rank", 2, "--steps", 20
    )
    assert ended.exit_code == 0, ended.output
    rows = [
        line.split()[0] for line in ended.output.splitlines() if re.search(r"(form|linear|fitted)$", line)
    ]
    assert rows == [
        *("linear", "mlp", "rank2", "pixel_shuffle", "patch_merger"),
        *("avg_pool", "c_abstractor", "resampler"),
    ]
    assert "connector       tokens   width     parameters  untrained  as can be" in ended.output
    assert max(map(len, ended.output.splitlines()[2:])) <= 80
    assert "left out" in ended.output
    wrong = typed(tmp_path / "tower", "--images", pictures, "--tokens", 5, "--width", 16)
    assert wrong.exit_code == 1
    assert "allowed are 16, 4, 1" in wrong.output
    assert typed(tmp_path / "nothing", "--images", pictures, "--tokens", 4, "--width", 16).exit_code == 1


def test_what_is_broken_off_leaves_what_was_done(pictures: Path, tmp_path: Path) -> None:
    """Closed forms are there at once; a fit says which it is and how far, and takes minutes."""
    checkpoint = tiny_vlms.save("llava", tmp_path)
    size = ("--images", pictures, "--tokens", 16, "--width", 48, "--rank", 2, "--steps", 1_000_000)
    command = [
        sys.executable,
        "-c",
        "from connector_bench.cli import main; main()",
        "references",
        checkpoint,
        *size,
    ]
    with subprocess.Popen(
        list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as started:
        assert started.stdout is not None
        assert started.stderr is not None
        lines = list(iter(started.stdout.readline, "\n"))
        bar = ""
        while not re.search(r"c_abstractor, fit 1 of 3: .*\d/1000000", bar):
            sign = started.stderr.read(1)
            assert sign, bar
            bar += sign
        started.send_signal(signal.SIGINT)
    assert [line.split()[0] for line in lines[3:]] == [
        "linear",
        "mlp",
        "rank2",
        "pixel_shuffle",
        "patch_merger",
        "avg_pool",
    ]


def test_a_tower_of_timm(pictures: Path, tmp_path: Path) -> None:
    """Its layers are maps, without the class token that its output has."""
    config = transformers.TimmWrapperConfig(
        architecture="vit_tiny_patch16_224",
        model_args={"img_size": 56, "patch_size": 14, "embed_dim": 16, "depth": 2, "num_heads": 2},
        pretrained_cfg={"input_size": [3, 56, 56], "mean": [0.5] * 3, "std": [0.5] * 3, "crop_pct": 1.0},
    )
    torch.manual_seed(0)
    model = transformers.TimmWrapperModel(config).eval()
    model.save_pretrained(tmp_path / "tower")
    found = tower_tokens(str(tmp_path / "tower"), pictures)
    assert (found.grid, found.width) == ((4, 4), 16)
    processor = transformers.AutoImageProcessor.from_pretrained(tmp_path / "tower")
    shown = {picture_hash(image): image for image in map(loaded, sorted(pictures.rglob("[0-9]*.png")))}
    pixels = processor([shown[found.tested[0]]], return_tensors="pt")["pixel_values"]
    with torch.inference_mode():
        normed = model.timm_model.norm(found.test[0])
        torch.testing.assert_close(normed, model(pixels).last_hidden_state[0, 1:], atol=1e-5, rtol=1e-4)
    size = ("--tokens", 16, "--width", 16, "--rank", 2, "--steps", 2)
    ended = typed(tmp_path / "tower", "--images", pictures, *size)
    assert ended.exit_code == 0, ended.output
    assert "rank2" in ended.output


def loaded(path: Path) -> Image.Image:
    return Image.open(path).convert("RGB")


def test_mine_stands_beside_them(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A vision-language model's tower and, from lmms-eval, what its connector loses on the same pictures."""
    checkpoint = tiny_vlms.save("llava", tmp_path / "checkpoints")
    monkeypatch.setenv("CONNECTOR_BENCH_IMAGE_FOLDER", str(pictures))
    run_here(
        tmp_path / "results",
        *("--model", "llava_hf", "--model_args", f"pretrained={checkpoint}"),
        *("--tasks", "patch_reconstruction_imagefolder"),
    )
    size = ("--images", pictures, "--tokens", 16, "--width", 48, "--rank", 2, "--steps", 20)
    ended = typed(checkpoint, *size, "--mine", tmp_path / "results")
    assert ended.exit_code == 0, ended.output
    assert re.search(r"llava loses (≤ )?0\.\d{3}", ended.output)
    assert "on patch_reconstruction_imagefolder; of 16 tokens with 48 numbers each" in ended.output
    assert "other pictures" not in ended.output
    assert "nan" not in ended.output, "an interval only where there is one"
    closed = typed(checkpoint, *size, "--mine", tmp_path / "results", "--closed-form-only").stdout
    assert "resampler" not in closed
    for said in (ended.stdout, closed):
        row = next(line for line in said.splitlines() if line.startswith("rank2 "))
        last = said.splitlines()[-1]
        assert last.startswith(f"rank2 need lose no more than {row.split()[5]}; ")
        assert re.search(r"; \S+ loses (≤ )?0\.\d{3}", last)
    fewer = typed(checkpoint, *size, "--mine", tmp_path / "results", "--limit", 30, "--closed-form-only")
    assert "your result is of other pictures" in fewer.output
