"""Batches score as their images do alone; controls are measured on the images that were drawn; devices agree."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from connector_bench.pictures import for_controls
from connector_bench.reconstruction import end_to_end, measured, precision
from connector_bench.reconstruction.learning import ProbeLadder, ProbeLearner
from connector_bench.reconstruction.measured import MeasuredReconstruction
from connector_bench.reconstruction.probes.control_probes import ControlSample
from connector_bench.reconstruction.probes.folded_mlp import FoldedMLP
from connector_bench.reconstruction.probes.mlp import Rows, fit_rows
from connector_bench.reconstruction.probes.sample import ProbeSample
from connector_bench.types import Tile, TokenBatch, TokenLayout, TokenPair

from .planted import GRID, LAYOUT, images, learn, patches, small_config

MERGED = TokenLayout((Tile(GRID, (3, 3)),), 9)
ODD = TokenLayout((Tile((2, 6), (1, 1)),), 1)
"""A cell of 2 x 6 patches, which no training image has."""


def merged(layout: TokenLayout, number: int) -> TokenPair:
    """Tokens that hold something of their cells, in bfloat16, with two untrained copies."""
    pre = patches(number, layout).bfloat16()
    post = pre.unflatten(0, (layout.n_post, -1)).mean(1)
    return TokenPair(pre, post, layout, untrained=(post.flip(1), post.roll(3, 1)))


def placed(count: int, start: int = 0, mixed: bool = False) -> list[tuple[str, TokenPair]]:
    layouts = [LAYOUT, MERGED, LAYOUT, ODD] if mixed else [LAYOUT]
    numbers = range(start, start + count)
    return [(f"image-{number}", merged(layouts[number % len(layouts)], number)) for number in numbers]


def unplaced(count: int, start: int = 0) -> list[tuple[str, TokenPair]]:
    """Of 5 tokens or of 4, in turn."""
    found = []
    for number in range(start, start + count):
        pre, tokens = patches(number), 5 - number % 2
        layout = TokenLayout((Tile(GRID, None),), tokens)
        found.append(
            (f"image-{number}", TokenPair(pre, pre[:tokens], layout, untrained=(pre[5 : 5 + tokens],)))
        )
    return found


def ladder_of(training: list[tuple[str, TokenPair]], **changes: object) -> ProbeLadder:
    config = small_config(**changes)
    sample, controls = ProbeSample(config), ControlSample(config)
    for name, pair in training:
        plain = replace(pair, pre=pair.pre.float(), post=pair.post.float())
        learn(sample, name, plain)
        controls.update(TokenBatch.of([name], [plain]), [sample.fold_of(name)])
    return ProbeLadder(sample.fit(), controls.fit(sample))


@pytest.fixture(scope="module")
def places() -> ProbeLadder:
    return ladder_of([*placed(60), *((f"merged-{n}", merged(MERGED, n)) for n in range(100, 160))])


@pytest.fixture(scope="module")
def resampled() -> ProbeLadder:
    return ladder_of(unplaced(60))


def scoring(
    ladder: ProbeLadder,
    pairs: list[tuple[str, TokenPair]],
    size: int,
    device: str = "cpu",
    folder: Path | None = None,
) -> MeasuredReconstruction:
    """These images in batches of so many."""
    learner = ProbeLearner(replace(ladder.probes.config, device="auto"))
    learner.ladder = ladder
    measure = MeasuredReconstruction(learner, picture_of=lambda _: None, folder=folder, every=4)  # type: ignore[arg-type,return-value]
    measure.begin({name: [number] for number, (name, _) in enumerate(pairs)})
    for first in range(0, len(pairs), size):
        part = [one for one in pairs[first : first + size] if measure.wants(one[0])]
        if not part:
            continue
        batch = TokenBatch.of(*zip(*part, strict=True))
        measure.update(batch.mapped(lambda tokens: tokens.to(device)))
    return measure


def figures(measure: MeasuredReconstruction):
    found = measure.finish()
    return found.per_image, found.summary["scores"]


@pytest.mark.parametrize("kind", ["places", "resampled"])
def test_figures_are_the_same_bits_for_any_batch_size(kind: str, request: pytest.FixtureRequest) -> None:
    ladder = request.getfixturevalue(kind)
    pairs = placed(24, 5000, mixed=True) if kind == "places" else unplaced(24, 5000)
    alone = figures(scoring(ladder, pairs, 1))
    assert {"r2_best", "untrained_r2_ridge" if kind == "places" else "untrained_r2_pooled"} <= set(alone[1])
    for size in (7, 64):
        assert figures(scoring(ladder, pairs, size)) == alone


@pytest.mark.parametrize("kind", ["places", "resampled"])
def test_what_a_device_does_with_a_batch_is_what_is_done_with_its_images(
    kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    ladder = request.getfixturevalue(kind)
    pairs = placed(24, 5000, mixed=True) if kind == "places" else unplaced(24, 5000)
    alone, _ = figures(scoring(ladder, pairs, 1))
    monkeypatch.setattr(measured, "parts", lambda batch: [batch])
    together, _ = figures(scoring(ladder, pairs, 64))
    for image, row in alone.items():
        assert together[image] == pytest.approx(row, rel=1e-6, abs=1e-6)


def test_a_cell_that_no_training_image_had_is_counted_in_a_batch(places: ProbeLadder) -> None:
    pairs = placed(8, 5000, mixed=True)
    board = scoring(places, pairs, 8)._scored.board
    assert board.unfitted_patches == 2 * ODD.n_pre


@pytest.mark.parametrize("size", [1, 8])
def test_controls_are_measured_on_the_images_that_are_drawn(
    places: ProbeLadder, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    pairs = placed(24, 5000)
    everything = figures(scoring(places, pairs, size))
    monkeypatch.setattr(measured, "CONTROL_TEST_IMAGES", 6)
    measure = scoring(places, pairs, size)
    drawn = for_controls([name for name, _ in pairs], 6)
    assert {name for name, _ in pairs if measure.wants_untrained(name)} == drawn
    found = measure.finish()
    assert found.summary["control_images"] == 6
    controls = {
        name for name in everything[0]["image-5000"] if name.startswith(("identity", "untrained", "shuffled"))
    }
    for name, row in found.per_image.items():
        whole = everything[0][name] | {"n_images": 24}
        assert row == {key: value for key, value in whole.items() if name in drawn or key in row}
        assert controls <= row.keys() if name in drawn else not controls & row.keys()
    scores = found.summary["scores"]
    few = [(name, pair) for name, pair in pairs if name in drawn]
    _, alone = figures(scoring(places, few, size))
    for name, score in scores.items():
        assert (
            score
            == (
                alone
                if name.split("_r2_")[0] in {"identity", "rotation", "rank8", "untrained", "shuffled"}
                else everything[1]
            )[name]
        )


def test_a_resumed_run_is_the_run(places: ProbeLadder, tmp_path: Path) -> None:
    pairs = placed(24, 5000)
    everything = scoring(places, pairs, 24).finish()
    first = scoring(places, pairs, 24, folder=tmp_path / "a")
    del first  # 24 images in six shards
    again = scoring(places, pairs, 24, folder=tmp_path / "a")
    assert not any(again.wants(name) for name, _ in pairs)
    assert again._scored.rows.keys() == everything.per_image.keys()
    assert again._scored.board.scores() == scoring(places, pairs, 5)._scored.board.scores()


def test_tokens_that_are_not_finite_are_refused_with_their_image(places: ProbeLadder) -> None:
    pairs = placed(3, 5000)
    pairs[1][1].post[4, 2] = torch.inf
    with pytest.raises(ValueError, match=r"image-5001 at post .*NaN or infinity; bfloat16 hardly"):
        scoring(places, pairs, 3)


def nasty(rows: int, width: int, seed: int) -> torch.Tensor:
    """A mean 1,000 times the deviation, and one massive dimension."""
    x = torch.randn(rows, width, generator=torch.Generator().manual_seed(seed))
    x[:, 3] *= 3e4
    return x + 1000 * torch.linspace(-1, 1, width)


def test_products_without_fast_float64_keep_their_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    x = nasty(500, 96, 0)
    weight = torch.randn(96, 40, generator=torch.Generator().manual_seed(1)).double()
    weight[3] /= 3e4
    bias = -(x.double().mean(0) @ weight)
    exact = x.double() @ weight + bias
    monkeypatch.setattr(precision, "float64_is_fast", lambda _: False)
    found = precision.affine(x, weight, bias)
    bound = (96 + 3) * 2.0**-24 * ((x.double() - x.double().mean(0)).abs() @ weight.abs())
    assert ((found - exact).abs() <= bound + 1e-9).all()
    assert (found - exact).abs().max() < 1e-3 * (
        x.float() @ weight.float() + bias.float() - exact
    ).abs().max() + 1e-4


def test_a_folded_mlp_is_the_mlp() -> None:
    x = nasty(3000, 24, 2)
    y = torch.tanh(x[:, :8] - 1000 * torch.linspace(-1, 1, 24)[:8]) @ torch.randn(
        8, 12, generator=torch.Generator().manual_seed(3)
    )
    config = small_config()
    mlp = fit_rows(Rows(x[:2500], y[:2500]), Rows(x[2500:], y[2500:]), config).mlp
    folded, plain = FoldedMLP(mlp).predict(x), mlp.predict(x)
    torch.testing.assert_close(folded, plain, rtol=0, atol=2e-5 * float(y.std()))
    config = small_config(linear_path=False, whiten=False)
    mlp = fit_rows(Rows(x[:2500], y[:2500]), Rows(x[2500:], y[2500:]), config).mlp
    torch.testing.assert_close(FoldedMLP(mlp).predict(x), mlp.predict(x), rtol=0, atol=2e-5 * float(y.std()))


def test_a_device_takes_as_many_images_as_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(end_to_end, "ROWS_AT_ONCE", 80)
    batch = TokenBatch.of(*zip(*placed(7, mixed=True), strict=True))
    on_meta = batch.mapped(lambda tokens: tokens.to("meta"))
    assert [part.images for part in end_to_end.parts(on_meta)] == [
        batch.images[:2],
        batch.images[2:4],
        batch.images[4:6],
        batch.images[6:],
    ]
    assert [len(part) for part in end_to_end.parts(batch)] == [1] * 7


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("kind", ["places", "resampled"])
def test_a_device_agrees_with_the_cpu(kind: str, fast: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures within 1e-5, with fast float64 and without; ridge figures within 1e-9 with it."""
    pairs = placed(24, 5000, mixed=True) if kind == "places" else unplaced(24, 5000)
    training = [*placed(60), *((f"merged-{n}", merged(MERGED, n)) for n in range(100, 160))]
    ladder = ladder_of(training if kind == "places" else unplaced(60))
    rows, scores = figures(scoring(ladder, pairs, 1))
    monkeypatch.setattr(precision, "float64_is_fast", lambda _: fast)
    found, others = figures(scoring(ladder, pairs, 8, "cuda"))
    for image, row in rows.items():
        assert found[image] == pytest.approx(row, rel=1e-5, abs=1e-5)
        for name in {"r2_ridge", "r2_pooled", "sst"} & row.keys() if fast else ():
            assert found[image][name] == pytest.approx(row[name], rel=1e-9, abs=1e-9)
    for name, score in scores.items():
        assert others[name]["value"] == pytest.approx(score["value"], abs=1e-5)


def test_images_of_the_same_layout_share_their_indices(places: ProbeLadder) -> None:
    layouts = (LAYOUT, LAYOUT)
    assert end_to_end.cells_of_all(layouts, torch.device("cpu")) is end_to_end.cells_of_all(
        layouts, torch.device("cpu")
    )
    names, pairs = zip(*images(2, 5000), strict=True)
    assert places.probes.score(TokenBatch.of(names, pairs)).squared_total.shape == (72,)
