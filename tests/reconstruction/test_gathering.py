"""One pass, in any order, by any number of processes, and back from disk: the same figures."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load, save
from scipy import stats

from connector_bench.reconstruction.config import ReconstructionConfig, paper_config
from connector_bench.reconstruction.probes import fitted as fitted_probes
from connector_bench.reconstruction.probes import sample as sample_of_probes
from connector_bench.reconstruction.probes.cell_fit import CurvePoint
from connector_bench.reconstruction.probes.gains import ImageGains
from connector_bench.reconstruction.probes.learning_curve import learning_curve
from connector_bench.reconstruction.probes.sample import ProbeSample
from connector_bench.reconstruction.probes.training_loop import Schedule
from connector_bench.types import Tile, TokenLayout, TokenPair

from .planted import WIDTH, board_of, fit, images, learn, small_config, values


def bent(pair: TokenPair) -> TokenPair:
    """A connector that no linear probe undoes."""
    matrix = torch.randn(WIDTH, 20, generator=torch.Generator().manual_seed(5))
    centred = (pair.pre - pair.pre.mean(0)) / 4
    return replace(pair, post=torch.tanh(centred @ matrix))


def gather(pairs, config: ReconstructionConfig | None = None) -> ProbeSample:
    sample = ProbeSample(config or small_config(attention="always"))
    for image_id, pair in pairs:
        learn(sample, image_id, pair)
    return sample


@pytest.fixture(scope="module")
def pairs():
    return [(image_id, bent(pair)) for image_id, pair in images(90)]


@pytest.fixture(scope="module")
def test_pairs():
    return [(image_id, bent(pair)) for image_id, pair in images(20, start=10_000)]


@pytest.fixture(scope="module")
def expected(pairs, test_pairs):
    return values(board_of(gather(pairs).fit(), test_pairs))


def test_two_processes_in_another_order_give_the_same_figures(pairs, test_pairs, expected) -> None:
    parts = [gather(pairs[::-2]), gather(pairs[-2::-2])]
    parts[0].absorb(parts[1])
    assert values(board_of(parts[0].fit(), test_pairs)) == pytest.approx(expected, abs=1e-6)


def test_a_state_on_disk_goes_on_where_it_stopped(pairs, test_pairs, expected) -> None:
    tensors, meta = gather(pairs[:40]).state()
    sample = ProbeSample.from_state(load(save(tensors)), meta)
    assert not learn(sample, *pairs[3])
    for image_id, pair in pairs[40:]:
        assert learn(sample, image_id, pair)
    assert values(board_of(sample.fit(), test_pairs)) == pytest.approx(expected, abs=1e-6)


def test_the_same_run_twice_is_the_same_to_the_bit(pairs, test_pairs, expected) -> None:
    torch.manual_seed(99)
    assert values(board_of(gather(pairs).fit(), test_pairs)) == expected


def test_the_callers_random_numbers_are_left_alone(pairs) -> None:
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    gather(pairs[:40]).fit()
    assert torch.equal(before, torch.random.get_rng_state())


def test_another_seed_gives_another_mlp_and_the_same_ridge(pairs, test_pairs, expected) -> None:
    found = values(board_of(gather(pairs, small_config(attention="always", seed=1)).fit(), test_pairs))
    assert found["r2_ridge"] == expected["r2_ridge"]
    assert found["r2_mlp"] != expected["r2_mlp"]


def test_images_seen_by_two_processes_are_refused(pairs) -> None:
    with pytest.raises(ValueError, match="1 images were seen by both"):
        gather(pairs[:3]).absorb(gather(pairs[2:4]))


def test_states_of_other_options_do_not_add_up(pairs) -> None:
    with pytest.raises(ValueError, match="different options"):
        gather(pairs[:2]).absorb(gather(pairs[2:3], small_config(seed=3)))


def test_memory_does_not_depend_on_the_number_of_images() -> None:
    def size(count: int) -> int:
        tensors = gather(images(count), small_config(patch_pairs=200, validation_pairs=50)).state()[0]
        waiting = {name: tensor for name, tensor in tensors.items() if ".waiting_" in name}
        assert all(len(tensor) < small_config().chunk_rows for tensor in waiting.values())
        return sum(tensor.nbytes for name, tensor in tensors.items() if name not in {"seen", *waiting})

    assert size(120) == size(60)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pre": torch.zeros(35, WIDTH)}, "35 -> 36 tokens, its layout says"),
        ({"post": torch.full((36, WIDTH), torch.nan)}, "NaN or infinity"),
        ({"post": torch.zeros(36, 3)}, "widths"),
        ({"layout": TokenLayout((Tile((6, 6), None),), 36)}, "cannot be mixed"),
    ],
)
def test_pairs_that_do_not_fit_are_refused_by_name(change, message) -> None:
    sample = gather(images(1))
    with pytest.raises(ValueError, match=message):
        learn(sample, "odd", replace(next(images(1))[1], **change))
    assert "odd" not in sample.seen


def test_too_few_images_are_refused() -> None:
    with pytest.raises(ValueError, match="both are needed"):
        gather(images(1)).fit()


def test_the_target_can_be_the_tokens_after_the_connectors_own_norm() -> None:
    pair = next(images(1))[1]
    normed = replace(pair, pre_normed=pair.pre / pair.pre.norm(dim=1, keepdim=True))
    from connector_bench.reconstruction.config import target_of

    config = small_config(tap="pre_normed")
    assert target_of(normed, config) is normed.pre_normed
    assert target_of(pair, config) is pair.pre


def test_the_mlp_recovers_what_ridge_cannot() -> None:
    config = small_config(schedule=Schedule(epochs=20, batch_size=64, learning_rate=3e-3), mlp_width=64)
    bend = [
        (image_id, replace(pair, post=pair.pre.sign() * pair.pre.square())) for image_id, pair in images(90)
    ]
    probes = fit(iter(bend[:70]), config)
    found = values(board_of(probes, iter(bend[70:])))
    assert found["nonlinear"] > 0.01
    assert probes.learning_curve.best == "mlp"


def test_the_learning_curve_says_when_more_data_helps() -> None:
    few = fit(images(24), small_config(curve=True, validation=0.3))
    assert few.learning_curve.fractions[-1] == 1.0
    noise = torch.Generator().manual_seed(0)

    def hidden(count: int):
        """Patches in 100 noisy numbers each: a map that takes many images to learn."""
        matrix = torch.randn(WIDTH, 100, generator=torch.Generator().manual_seed(2))
        for image_id, pair in images(count):
            post = (pair.pre - pair.pre.mean(0)) @ matrix + 2 * torch.randn(36, 100, generator=noise)
            yield image_id, replace(pair, post=post)

    config = small_config(curve=True, schedule=Schedule(epochs=0))
    assert fit(hidden(30), replace(config, validation=0.3)).learning_curve.more_data_helps is True
    curve = fit(images(150), config).learning_curve
    assert curve.more_data_helps is False
    assert curve.fractions == (0.25, 0.5, 1.0)
    assert curve.patches == tuple(sorted(curve.patches))


def test_the_papers_protocol_is_labelled_and_documented() -> None:
    config = paper_config()
    assert config.protocol == "paper"
    assert (config.schedule.epochs, config.schedule.learning_rate, config.schedule.seed) == (30, 1e-4, 42)
    assert (config.mlp_width, config.mlp_layers, config.linear_path) == (3072, 3, False)
    small = paper_config(
        mlp_width=64, patch_pairs=2000, validation_pairs=300, validation=0.2, schedule=Schedule(epochs=4)
    )
    probes = fit(images(80), small)
    found = board_of(probes, images(10, start=10_000)).scores()
    assert found["mse_standardized_mlp"].value < 1
    assert found["mse_standardized_mlp"].chance == 1
    assert probes.description()["config"]["protocol"] == "paper"


def test_config_goes_through_json() -> None:
    config = paper_config(seed=3)
    assert ReconstructionConfig.from_json(config.as_json()) == config
    with pytest.raises(ValueError, match="protocol version"):
        ReconstructionConfig.from_json({**config.as_json(), "protocol_version": 0})
    with pytest.raises(ValueError, match="unknown options: wdith"):
        ReconstructionConfig.from_json({**config.as_json(), "wdith": 0})


@pytest.mark.parametrize("seed", [1, 3, 5])
def test_a_trained_probe_is_the_best_only_where_it_beats_its_start_beyond_noise(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A linear truth and two to four validation images, on which training stopped at what suits them by luck.

    So few choose nothing of themselves; they show the rule where luck is largest.
    """
    for module in (sample_of_probes, fitted_probes):
        monkeypatch.setattr(module, "LEAST_VALIDATION_IMAGES", 2)
    matrix = torch.randn(WIDTH, 24, generator=torch.Generator().manual_seed(2))

    def noisy(seed: int, count: int):
        noise = torch.Generator().manual_seed(seed)
        for image_id, pair in images(count, start=1000 * seed):
            post = (pair.pre - pair.pre.mean(0)) @ matrix + 1.5 * torch.randn(36, 24, generator=noise)
            yield image_id, replace(pair, post=post)

    schedule = Schedule(epochs=12, batch_size=32, learning_rate=1e-2)
    probes = fit(noisy(seed, 20), small_config(schedule=schedule, mlp_width=64, validation=0.15))
    curve = probes.learning_curve
    assert curve.r2["mlp"][-1] > curve.r2["ridge"][-1], "on the fold that stopped it the MLP looks better"
    found = values(board_of(probes, noisy(100 + seed, 30)))
    assert found["r2_mlp"] < found["r2_ridge"], "on others it is not"
    assert curve.best == "ridge"
    assert found["lost"] == pytest.approx(1 - found["r2_ridge"], abs=1e-12)


def test_gains_are_summed_by_image_and_tested_over_images() -> None:
    images_of_rows = torch.tensor([7, 9, 7, 9, 8])
    parts = [
        ImageGains.of(images_of_rows, torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0])),
        ImageGains.of(torch.tensor([8]), torch.tensor([-1.0])),
    ]
    together = ImageGains.together(parts)
    assert together.images.tolist() == [7, 8, 9]
    assert together.gains.tolist() == [4.0, 4.0, 6.0]
    p = stats.ttest_1samp(together.gains, 0, alternative="greater").pvalue
    assert together.beyond_noise
    assert p < 0.025
    rng = np.random.default_rng(0)
    wrong = [ImageGains(np.arange(8), rng.normal(size=8)).beyond_noise for _ in range(2000)]
    assert 0.015 < np.mean(wrong) < 0.035, "of gains that are noise one in forty passes"
    assert not ImageGains(np.arange(1), np.ones(1)).beyond_noise
    assert not ImageGains(np.arange(9), np.zeros(9)).beyond_noise


@pytest.mark.parametrize(
    ("mlp", "helps"),
    [((0.2, 0.5), True), ((0.2, 0.35), False), ((0.499, 0.5), False)],
    ids=["it would pass the best", "it would not", "it has come to rest"],
)
def test_a_probe_that_is_about_to_pass_the_best_makes_the_figure_a_bound(
    mlp: tuple[float, float], helps: bool
) -> None:
    """The ridge is the best, as the MLP is not beyond its noise, and has come to rest."""
    points = tuple(
        CurvePoint(share, 100, {"ridge": 1 - 0.6, "mlp": 1 - r2}, 1.0)
        for share, r2 in zip((0.5, 1.0), mlp, strict=True)
    )
    found = learning_curve([points], replace(small_config(), curve=True), beyond=())
    assert (found.best, found.more_data_helps) == ("ridge", helps)
