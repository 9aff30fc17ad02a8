from __future__ import annotations

import pytest
import torch
from torch import nn

from connector_bench.zoo.connectors import GRID, Layout, group_2x2
from connector_bench.zoo.model import D_POST, D_PRE
from connector_bench.zoo.named_connectors import (
    CONNECTORS,
    STUDIED,
    build_connector,
    canonical_name,
    connector_names,
    find_factory,
    layout_doubt,
    layout_of,
)

GRIDS = dict.fromkeys(CONNECTORS, (14, 14))
GRIDS |= dict.fromkeys(("pixel_shuffle", "patch_merger", "avg_pool", "c_abstractor"), (7, 7))
GRIDS |= dict.fromkeys(STUDIED, (14, 14))
GRIDS |= dict.fromkeys(("pixel_shuffle_4", "avg_pool_4", "c_abstractor_4"), (2, 2))
GRIDS |= {name: None for name in GRIDS if name.startswith("resampler")}


@pytest.fixture(scope="module")
def pre():
    return torch.randn(5, GRID * GRID, D_PRE, generator=torch.Generator().manual_seed(0))


class Halves(nn.Module):
    """A user's connector, found by its import path."""

    def __init__(self, d_in: int, d_out: int) -> None:
        super().__init__()
        self.project = nn.Linear(d_in, d_out)

    def forward(self, pre):
        return self.project(pre[:, ::2])


class TooWide(Halves):
    def forward(self, pre):
        return pre


@pytest.mark.parametrize("name", [*connector_names(), *STUDIED])
def test_shapes_layout_and_leading_norm(name, pre):
    module = build_connector(name, D_PRE, D_POST, seed=0)
    layout, post = layout_of(module, D_PRE, D_POST), module(pre)
    assert post.shape == (5, layout.tokens, D_POST)
    assert layout.grid == GRIDS[name.removeprefix("untrained_")]
    assert layout.grid is None or layout.grid[0] * layout.grid[1] == layout.tokens
    assert layout.norm is None or isinstance(module.get_submodule(layout.norm), nn.LayerNorm)


@pytest.mark.parametrize("name", ["identity", "rotation"])
def test_isometries_keep_every_distance(name, pre):
    module = build_connector(name, D_PRE, D_POST, seed=1)
    before, after = pre.flatten(0, 1)[:300], module(pre).flatten(0, 1)[:300]
    distances = torch.cdist(before.double(), before.double())
    torch.testing.assert_close(torch.cdist(after.double(), after.double()), distances, atol=1e-5, rtol=1e-6)
    assert not list(module.parameters())


@pytest.mark.parametrize(("name", "rank"), [("rank2", 2), ("rank8", 8), ("rank64", 64), ("mlp_hidden8", 8)])
def test_a_bottleneck_has_its_rank(name, rank, pre):
    post = build_connector(name, D_PRE, D_POST, seed=0)(pre).flatten(0, 1).double()
    values = torch.linalg.svdvals(post - post.mean(0))
    assert values[rank - 1] > 1e-3 * values[0]
    assert values[rank] < 1e-5 * values[0]


def test_the_seed_alone_makes_the_initialisation(pre):
    torch.manual_seed(5)
    state = torch.get_rng_state()
    one, same, other = (build_connector("mlp", D_PRE, D_POST, seed)(pre) for seed in (3, 3, 4))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert torch.equal(state, torch.get_rng_state())


def test_cells_are_grouped_in_raster_order():
    index = torch.arange(GRID * GRID).view(1, -1, 1)
    cells = group_2x2(index)[0, :, :, 0]
    assert cells[0].tolist() == [0, 1, GRID, GRID + 1]
    assert cells[1].tolist() == [2, 3, GRID + 2, GRID + 3]
    assert cells[7].tolist() == [2 * GRID, 2 * GRID + 1, 3 * GRID, 3 * GRID + 1]


def test_own_connector_by_import_path(pre):
    module = build_connector(f"{__name__}:Halves", D_PRE, D_POST, seed=0)
    assert isinstance(module, Halves)
    layout = layout_of(module, D_PRE, D_POST)
    assert (layout.tokens, layout.grid, layout.declared) == (98, None, False)
    assert layout_doubt("Halves", layout) is None


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mpl", r"unknown connector 'mpl'\. Did you mean 'mlp'\?.*identity.*untrained_rank32"),
        ("untrained_mpl", r"Did you mean 'untrained_mlp'"),
        ("zzz", r"unknown connector 'zzz'\. Known"),
        ("no_such_package:Thing", r"cannot import connector 'no_such_package:Thing'"),
        ("torch.nn:NoSuchClass", r"cannot import connector"),
        (":", r"cannot import connector"),
        ("math:pi", r"is a float, expected an nn.Module class"),
    ],
)
def test_unknown_connectors_are_named(name, message):
    with pytest.raises(ValueError, match=message):
        find_factory(name)


def test_wrong_output_is_refused():
    with pytest.raises(ValueError, match=r"TooWide maps .* to \[2, 196, 112\], expected \[2, m, 128\]"):
        layout_of(TooWide(D_PRE, D_POST), D_PRE, D_POST)
    with pytest.raises(ValueError, match="gave a Counter"):
        build_connector(f"{__name__}:make_counter", D_PRE, D_POST, 0)


def make_counter(d_in, d_out):
    from collections import Counter

    return Counter()


def test_untrained_isometries_are_aliases():
    assert canonical_name("untrained_identity") == "identity"
    assert canonical_name("untrained_mlp") == "untrained_mlp"
    assert "untrained_rotation" not in connector_names()
    assert len(connector_names()) == 22


@pytest.mark.parametrize("tokens", [16, 49, 196])
def test_a_layout_that_is_not_declared_is_doubted_where_a_grid_could_be_meant(tokens):
    doubt = layout_doubt("Mine", Layout(tokens, None, declared=False))
    assert f"its {tokens} tokens are taken to have no place" in doubt
    assert layout_doubt("Mine", Layout(tokens, None)) is None


def test_wrong_layouts_are_refused():
    with pytest.raises(ValueError, match=r"a grid of \(7, 7\) has 49 cells, not 196 tokens"):
        Layout(196, (7, 7))
    module = Halves(D_PRE, D_POST)
    module.layout = (7, 14)
    with pytest.raises(ValueError, match=r"Halves.layout is \(7, 14\); a Layout of .* is needed"):
        layout_of(module, D_PRE, D_POST)
