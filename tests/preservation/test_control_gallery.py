"""Controls are measured among a part of the images: which, beside what, and that a small set knows no difference."""

import numpy as np
import pytest
import torch

from connector_bench.pictures import for_controls
from connector_bench.preservation import control_figures
from connector_bench.preservation.figures import PreservationFigures, SampledTokens, preservation_figures
from connector_bench.preservation.options import PreservationOptions
from connector_bench.preservation.pooled import PooledPreservation
from connector_bench.preservation.pooled_vectors import PooledVectors, draw_gallery, merge
from connector_bench.preservation.text_side import sample_of
from connector_bench.types import Tile, TokenBatch, TokenLayout, TokenPair

ONE_TOKEN = TokenLayout((Tile((1, 1), (1, 1)),), n_post=1)
OPTIONS = PreservationOptions(ks=(1, 10))
N, CONTROLS = 150, 60


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    for room in ("control_figures", "pooled"):
        monkeypatch.setattr(f"connector_bench.preservation.{room}.CONTROL_TEST_IMAGES", CONTROLS)


def drawn(n: int = N) -> PooledVectors:
    rng = np.random.default_rng(0)
    pre = rng.normal(size=(n, 12)).astype(np.float32)
    post, first, second = ((pre @ rng.normal(size=(12, 20))).astype(np.float32) for _ in range(3))
    return PooledVectors(tuple(f"image{i:03}" for i in range(n)), pre, post, (None,) * n, (first, second))


def figures_of(v: PooledVectors, options: PreservationOptions = OPTIONS) -> PreservationFigures:
    """Of vectors that are the only token of their picture; some tokens are kept of pictures that have controls."""
    wanted = for_controls(v.images, CONTROLS)
    copies = {row: [side[place] for side in v.untrained] for place, row in enumerate(v.with_untrained)}
    kept = {
        image: tuple(side[None] for side in (v.pre[row], v.post[row], *copies.get(row, ())))
        for row, image in enumerate(v.images)
        if image in wanted
    }
    rows, sample = sample_of(v.images, kept)
    return preservation_figures(
        v.images,
        v.pre,
        v.post,
        options,
        None,
        v.untrained,
        untrained_rows=v.untrained_rows,
        tokens=None if sample is None else SampledTokens(rows, sample, None),
    )


def streamed(
    v: PooledVectors, order: np.ndarray, options: PreservationOptions = OPTIONS
) -> PreservationFigures:
    """As a run does it: copies run for the pictures for which they are wanted, in batches of their own."""
    measured = PooledPreservation(options)
    measured.begin({image: [row] for row, image in enumerate(v.images)})
    for copies in (True, False):
        for row in order:
            if measured.wants_untrained(v.images[row]) != copies:
                continue
            made = tuple(torch.tensor(side[row])[None] for side in v.untrained if copies)
            pair = TokenPair(
                *(torch.tensor(side[row])[None] for side in (v.pre, v.post)), ONE_TOKEN, untrained=made
            )
            measured.update(TokenBatch.of([v.images[row]], [pair]))
    return measured.finish()


def test_controls_are_those_of_their_images_alone() -> None:
    v = drawn()
    figures = figures_of(v)
    rows = [row for row, image in enumerate(v.images) if image in for_controls(v.images, CONTROLS)]
    alone = figures_of(v.take(rows))
    assert figures.summary["control_images"] == CONTROLS
    for name, score in alone.summary["scores"].items():
        if "knor" in name and "_knor" in name:
            assert figures.summary["scores"][name] == score, name
            assert score["n"] == CONTROLS
    beside = figures.summary["at_control_gallery"]
    assert beside["n_images"] == CONTROLS
    assert beside["images_sha256"] == alone.summary["images_sha256"]
    for name in ("knor_1", "knor_10", "knor_adj_10"):
        own = {key: value for key, value in alone.summary["scores"][name].items() if key != "halving_gaps"}
        assert beside["scores"][name] == own
        assert figures.summary["scores"][name]["n"] == N
    with_controls = {image for image, row in figures.per_image.items() if "untrained_knor_10" in row}
    assert with_controls == {v.images[row] for row in rows}


def test_a_set_no_larger_than_that_is_measured_whole() -> None:
    figures = figures_of(drawn(CONTROLS))
    assert "at_control_gallery" not in figures.summary
    assert figures.summary["scores"]["untrained_knor_10"]["n"] == CONTROLS


def test_what_a_run_streams_is_what_all_vectors_give() -> None:
    v = drawn()
    whole = figures_of(v)
    for order in (np.arange(N), np.random.default_rng(1).permutation(N)):
        assert streamed(v, order) == whole


def test_ranks_hold_what_they_hold() -> None:
    v = drawn()
    wanted = for_controls(v.images, CONTROLS)
    held = np.array([row for row, image in enumerate(v.images) if image in wanted])
    part = PooledVectors(
        v.images, v.pre, v.post, v.labels, tuple(side[held] for side in v.untrained), None, held
    )
    order = np.random.default_rng(2).permutation(N)
    without = [row for row in range(N) if row not in held][:5]
    ranks = [
        part.take(without),
        part.take(order[:40]),
        part.take([]),
        part.take(order[40:]),
        part.take(order[:9]),
    ]
    together = merge(ranks)
    np.testing.assert_array_equal(together.with_untrained, held)
    for side, kept in zip(together.untrained, v.untrained, strict=True):
        np.testing.assert_array_equal(side, kept[held])
    assert figures_of(together) == figures_of(v)


@pytest.mark.parametrize("size", [40, 100])
def test_of_a_drawn_gallery_controls_are_drawn_again(size: int) -> None:
    v = drawn()
    options = PreservationOptions(ks=(1, 10), gallery=size, seed=3)
    figures = streamed(v, np.arange(N), options)
    gallery = draw_gallery(v, options)
    expected = figures_of(gallery, options).summary["scores"]
    assert figures.summary["scores"] == expected
    assert expected["untrained_knor_10"]["n"] == min(size, CONTROLS)


def test_a_k_that_the_control_images_do_not_allow_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    v = drawn()
    options = PreservationOptions(ks=(10, 80))
    figures = preservation_figures(v.images, v.pre, v.post, options)
    assert "controls are measured on 60 images, too few for k = 80" in figures.warnings
    assert "identity_knor_10" in figures.summary["scores"]
    monkeypatch.setattr(control_figures, "CONTROL_TEST_IMAGES", 5)
    figures = preservation_figures(v.images, v.pre, v.post, options)
    assert "controls are measured on 5 images, too few for k = 10, 80" in figures.warnings


def test_the_published_procedure_runs_no_copies() -> None:
    measured = PooledPreservation(PreservationOptions(protocol="paper"))
    measured.begin({"a": [0]})
    assert not measured.wants_untrained("a")
