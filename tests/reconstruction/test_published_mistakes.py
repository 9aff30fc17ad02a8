"""The mistakes of the published code that concern reconstruction (PROTOCOL section 6), one test each."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from connector_bench.reconstruction.folds import LeakError, Ledger, fold_of
from connector_bench.reconstruction.gathered_so_far import ResumableSample
from connector_bench.reconstruction.probes.attention_probe import AttentionProbe, AttentionShape, TokenPlaces
from connector_bench.reconstruction.probes.fitted import FittedProbes
from connector_bench.reconstruction.probes.mlp import MLPProbe, MLPShape
from connector_bench.reconstruction.probes.sample import ProbeSample
from connector_bench.reconstruction.probes.training_loop import Schedule, train
from connector_bench.reconstruction.scores import ScoreBoard
from connector_bench.reconstruction.store import RunStore, StateMismatch
from connector_bench.types import Tile, TokenBatch, TokenLayout, TokenPair

from .planted import (
    LAYOUT,
    WIDTH,
    board_of,
    fit,
    images,
    kept,
    learn,
    predict,
    put,
    score,
    small_config,
    values,
)


class Line:
    """y = 3 x, learned by one weight; counts what happens."""

    device = torch.device("cpu")

    def __init__(self, rows: int = 64, losses: list[float] | None = None) -> None:
        self.x = torch.linspace(-1, 1, rows)[:, None]
        self.scripted = losses
        self.evaluated: list[dict[str, torch.Tensor]] = []

    @property
    def examples(self) -> int:
        return len(self.x)

    def loss(self, network: nn.Module, index: torch.Tensor) -> torch.Tensor:
        return (network(self.x[index]) - 3 * self.x[index]).square().mean()

    def validation_loss(self, network: nn.Module) -> float:
        self.evaluated.append({name: value.clone() for name, value in network.state_dict().items()})
        if self.scripted is not None:
            return self.scripted[len(self.evaluated) - 1]
        return float(self.loss(network, torch.arange(len(self.x))))


def test_statistics_of_the_test_set_are_not_used() -> None:
    """A test set with another mean and scale is measured about the training mean, in training units."""
    probes = fit(images(60))
    before = probes.statistics.mean.clone()

    def shifted(pair: TokenPair) -> TokenPair:
        return replace(pair, pre=10 * pair.pre + 5)

    scored = score(probes, "other", shifted(next(images(1))[1]))
    truth = (10 * next(images(1))[1].pre + 5).double()
    assert torch.equal(probes.statistics.mean, before)
    torch.testing.assert_close(scored.squared_total, (truth - before).square().sum(1))
    (alone,) = kept(score(probes, "x", next(images(1, start=7000))[1]))
    with_others = board_of(probes, images(5, start=7000))
    assert with_others.state()[1]["sums"]["image-7000"]["sse_ridge"] == alone.sums["sse_ridge"]


def test_statistics_of_the_validation_fold_are_not_used_either() -> None:
    training = [pair.pre for image_id, pair in images(60) if fold_of(image_id, 0.2) != "validation"]
    torch.testing.assert_close(fit(images(60)).statistics.mean, torch.cat(training).double().mean(0))


def test_patches_of_one_image_are_never_split_between_folds() -> None:
    """Patches that name their image: 'predicted' when split at random, not when split by image."""

    def signed(count: int, start: int = 0):
        for number in range(start, start + count):
            generator = torch.Generator().manual_seed(number)
            own = torch.randn(1, WIDTH, generator=generator).expand(36, WIDTH)
            badge = torch.nn.functional.one_hot(torch.tensor(number % 100), 100).float().expand(36, 100)
            yield f"image-{number}", TokenPair(own.clone(), badge + 0, LAYOUT)

    probes = fit(signed(60))
    learned = max(probes.learning_curve.r2["ridge"])
    assert learned < 0.01, "the validation fold shares images with the training folds"
    assert values(board_of(probes, signed(30, start=60)))["r2_best"] <= 0.01


def test_the_best_checkpoint_is_a_copy_and_not_a_live_reference() -> None:
    network, problem = nn.Linear(1, 1), Line(losses=[9.0, 1.0, 5.0, 6.0, 7.0])
    record = train(network, problem, Schedule(epochs=4, batch_size=8, learning_rate=0.1))
    assert (record.best_step, record.best_loss) == (8, 1.0)
    assert all(torch.equal(network.state_dict()[name], value) for name, value in problem.evaluated[1].items())
    assert not torch.equal(network.weight, problem.evaluated[4]["weight"])


def test_training_that_only_makes_it_worse_leaves_the_start() -> None:
    network, problem = nn.Linear(1, 1), Line(losses=[1.0, 2.0, 3.0])
    record = train(network, problem, Schedule(epochs=9, batch_size=8, learning_rate=0.1, patience=2))
    assert (record.best_step, record.stopped, record.steps) == (0, "patience", 16)
    assert torch.equal(network.weight, problem.evaluated[0]["weight"])


def test_the_number_of_heads_is_saved_and_not_an_argument_of_evaluation(tmp_path) -> None:
    """24 and 16 heads share their parameters' shapes, so nothing else would tell them apart."""
    layout = TokenLayout((Tile((3, 3), None),), 5)
    shape = AttentionShape(4, 3, max_tokens=5, width=48, heads=24, layers=1, linear_path=False)
    torch.manual_seed(0)
    trained = AttentionProbe(shape).eval()
    wrong = AttentionProbe(replace(shape, heads=16)).eval()
    wrong.load_state_dict(trained.state_dict())
    given = torch.randn(1, 5, 4), TokenPlaces.of(layout), torch.rand(1, 9, 4)
    assert not torch.allclose(trained(*given), wrong(*given))

    bare = ((name, replace(pair, layout=TokenLayout((Tile((6, 6), None),), 36))) for name, pair in images(40))
    probes = fit(bare, small_config(attention_width=48, attention_heads=24))
    probes.save(tmp_path)
    again = FittedProbes.load(tmp_path)
    assert again.attention is not None
    assert again.attention.probe.shape.heads == 24


@pytest.mark.parametrize("accumulate", [1, 4])
def test_the_schedule_counts_optimiser_steps_and_ends_at_zero(accumulate: int) -> None:
    rates: list[float] = []

    class Watched(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x)

    schedule = Schedule(epochs=5, batch_size=8, accumulate=accumulate, learning_rate=0.1, patience=9)
    network, problem = Watched(1, 1), Line(rows=60)
    step = torch.optim.AdamW.step

    def watched(self, *args) -> None:
        rates.append(self.param_groups[0]["lr"])
        step(self, *args)

    torch.optim.AdamW.step = watched
    try:
        record = train(network, problem, schedule)
    finally:
        torch.optim.AdamW.step = step
    steps = 5 * math.ceil(8 / accumulate)
    assert record.planned_steps == record.steps == steps
    assert len(rates) == steps
    falling = steps - max(1, round(schedule.warmup * steps))
    assert rates[-1] == pytest.approx(0.1 * (1 - math.cos(math.pi / falling)) / 2), "one step from zero"
    assert max(rates) == pytest.approx(0.1, rel=0.02)


def test_accumulated_batches_step_like_one_large_batch() -> None:
    results = []
    for batch_size, accumulate in ((60, 1), (16, 4)):
        torch.manual_seed(0)
        network = nn.Linear(1, 1)
        train(
            network,
            Line(rows=60),
            Schedule(epochs=3, batch_size=batch_size, accumulate=accumulate, learning_rate=0.05, patience=9),
        )
        results.append(network.weight.item())
    assert results[0] == pytest.approx(results[1], abs=1e-5)


def test_a_loss_is_a_mean_over_patches_whatever_the_number_of_images() -> None:
    """Two images of 36 and 4 patches: 40 patches weigh the same, not 2 images, and no sum is over images."""
    probes = fit(images(60))
    small = TokenLayout((Tile((2, 2), (2, 2)),), 4)
    board = ScoreBoard()
    scored = [score(probes, *next(images(1, start=8000))), score(probes, *next(images(1, 8001, small)))]
    for image in scored:
        put(board, image)
    found = board.scores()
    everything = torch.cat([image.loss_map for image in scored])
    assert everything.shape == (40,)
    assert found["nmse"].value == pytest.approx(float(everything.mean()), rel=1e-12)
    sse = sum(float(image.errors["ridge"].squared.sum()) for image in scored)
    sst = sum(float(image.squared_total.sum()) for image in scored)
    assert found["r2_ridge"].value == pytest.approx(1 - sse / sst, abs=1e-12)
    assert found["r2_mean"].value == 0


def test_evaluation_uses_the_trained_weights(tmp_path) -> None:
    """Reloaded probes score as the fitted ones do, and a probe of fresh weights scores otherwise."""
    config = small_config(attention="always", schedule=Schedule(epochs=6, batch_size=64, learning_rate=3e-3))
    bend = [(name, replace(pair, post=(pair.pre / 3).tanh())) for name, pair in images(70)]
    probes = fit(iter(bend[:60]), config)
    probes.save(tmp_path)
    again = FittedProbes.load(tmp_path)
    found = values(board_of(again, iter(bend[60:])))
    assert found == pytest.approx(values(board_of(probes, iter(bend[60:]))), abs=1e-12)
    moved = values(board_of(probes.on(torch.device("cpu")), iter(bend[60:])))
    assert moved == pytest.approx(found, abs=1e-12)
    cells = probes.cells[(1, 1)]
    fresh = {(1, 1): replace(cells, mlp=MLPProbe(cells.mlp.shape).eval())}
    untrained = values(board_of(replace(probes, cells=fresh), iter(bend[60:])))
    assert untrained["r2_mlp"] < 0.1 < values(board_of(probes, iter(bend[60:])))["r2_mlp"]


def test_weights_of_another_run_are_not_taken_for_these(tmp_path) -> None:
    probes = fit(images(40))
    probes.save(tmp_path / "a")
    fit(images(45)).save(tmp_path / "b")
    (tmp_path / "a" / "probes.safetensors").write_bytes((tmp_path / "b" / "probes.safetensors").read_bytes())
    with pytest.raises(ValueError, match=r"is not the file that probes\.json describes"):
        FittedProbes.load(tmp_path / "a")


def test_test_images_among_the_training_images_are_refused(tmp_path) -> None:
    """COCO train2017 contains most of the Karpathy test images."""
    sample = ProbeSample(small_config())
    sample.held_out = Ledger.of(["image-7"])
    for image_id, pair in images(7):
        learn(sample, image_id, pair)
    with pytest.raises(LeakError, match="image-7"):
        learn(sample, "image-7", next(images(1))[1])
    probes = fit(images(60))
    for image_id in ("image-0", "image-59"):
        with pytest.raises(LeakError, match="used to fit"):
            score(probes, image_id, next(images(1))[1])
    names = [image_id for image_id, _ in images(7)]
    before = ResumableSample(small_config(), RunStore(tmp_path, {}))
    before.begin(names, held_out=[])
    before.add(TokenBatch.of(names, [pair for _, pair in images(7)]))
    before.flush()
    with pytest.raises(StateMismatch, match="1 of 7 images"):
        ResumableSample(small_config(), RunStore(tmp_path, {})).begin(names[:-1], held_out=names[-1:])


def test_a_probe_before_its_first_step_is_the_ridge() -> None:
    """Under-training cannot pass for loss."""
    probes = fit(images(60), small_config(schedule=Schedule(epochs=0)))
    predicted = predict(probes, next(images(1, start=5000))[1])
    torch.testing.assert_close(predicted["mlp"], predicted["ridge"], rtol=1e-4, atol=1e-3)
    assert probes.cells[(1, 1)].training.steps == 0


def test_an_mlp_without_a_linear_path_cannot_start_at_the_ridge() -> None:
    probe = MLPProbe(MLPShape(4, 4, 8, linear_path=False))
    with pytest.raises(ValueError, match="no linear path"):
        probe.start_at(fit(images(40)).cells[(1, 1)].ridge.affine)


def test_descriptions_are_json_that_every_reader_knows(tmp_path) -> None:
    """An edge cell that no validation image has leaves NaN, which is not JSON."""
    probes = fit(images(40))
    cells = probes.cells[(1, 1)]
    point = replace(cells.curve[0], squared_total=math.nan)
    odd = replace(probes, cells={(1, 1): replace(cells, curve=(point,))})
    odd.save(tmp_path)
    assert "NaN" not in (tmp_path / "probes.json").read_text()
    assert math.isnan(FittedProbes.load(tmp_path).cells[(1, 1)].curve[0].squared_total)
    assert FittedProbes.load(tmp_path).description() == odd.description()
