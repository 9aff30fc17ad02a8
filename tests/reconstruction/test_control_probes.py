"""Controls that cost no second pass: from moments, from the sample, and back from the disk."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load, save
from sklearn.linear_model import Ridge

from connector_bench.reconstruction.probes.control_fit import PAIRINGS, fit_shuffled, random_pairing
from connector_bench.reconstruction.probes.control_probes import ControlSample
from connector_bench.reconstruction.probes.fitted_controls import BY_PLACES, ControlProbes, linear_controls
from connector_bench.reconstruction.probes.linear import LinearSample, mapped, projection
from connector_bench.reconstruction.probes.moments import Moments
from connector_bench.reconstruction.probes.ridge import best_linear_r2, solve
from connector_bench.reconstruction.probes.sample import ProbeSample
from connector_bench.reconstruction.scored_images import averaged_controls
from connector_bench.reconstruction.scores import over_pairings, p_of_one_pairing
from connector_bench.stats.oracles import RATE, Recorded, as_it_must_be
from connector_bench.types import Tile, TokenBatch, TokenLayout

from .planted import WIDTH, images, learn, patches, score, shuffled, small_config

UNPLACED = TokenLayout((Tile((6, 6), None),), 5)


def narrow(pair):
    """8 of 16 dimensions, and two untrained copies that keep 8 others."""
    return replace(pair, post=pair.pre[:, :8], untrained=(pair.pre[:, 8:], pair.pre[:, 4:12]))


def alone(pair):
    return TokenBatch.of(["image"], [pair])


def without_places(pair):
    return replace(pair, post=pair.pre[:5, :8], layout=UNPLACED, untrained=(pair.pre[5:10, :8],))


def gathered(connector, numbers=range(60), config=None):
    config = config or small_config()
    sample, controls = ProbeSample(config), ControlSample(config)
    for name, pair in images(max(numbers) + 1):
        if int(name.split("-")[1]) in numbers:
            learn(sample, name, connector(pair))
            controls.update(TokenBatch.of([name], [connector(pair)]), [sample.fold_of(name)])
    return sample, controls


def r2(controls: ControlProbes, connector, count: int = 30) -> dict[str, float]:
    errors: dict[str, float] = {}
    total = 0.0
    for _, pair in images(count, start=10_000):
        total += float((pair.pre.double() - controls.mean).square().sum())
        found = {
            name: float(error) for name, error in controls.squared_errors(alone(connector(pair))).items()
        }
        for name, error in averaged_controls(found).items():
            errors[name] = errors.get(name, 0.0) + error
    return {name: 1 - error / total for name, error in errors.items()}


def test_moments_of_a_linear_map_follow_from_those_of_the_patches() -> None:
    rows = torch.cat([patches(number) for number in range(20)])
    matrix = projection(WIDTH, 5).matrix
    found, direct = mapped(Moments.of(rows, rows[:, :0]), matrix), Moments.of(rows.double() @ matrix, rows)
    for name in ("mean_x", "mean_y", "xx", "xy", "yy"):
        torch.testing.assert_close(getattr(found, name), getattr(direct, name), rtol=1e-9, atol=1e-9)
    ridge = Ridge(alpha=3.0).fit(rows.double() @ matrix, rows.double())
    np.testing.assert_allclose(solve(found, 3.0, standardize=False).weight.T, ridge.coef_, atol=1e-8)


def test_controls_are_what_they_must_be() -> None:
    sample, controls = gathered(narrow, range(150))
    fitted = controls.fit(sample)
    found = r2(fitted, narrow, 150)
    for name in ("identity_r2_ridge", "identity_r2_mlp", "rotation_r2_ridge", "rotation_r2_mlp"):
        assert found[name] >= 0.999
    assert over_pairings([found[f"shuffled_r2_ridge.{number}"] for number in range(PAIRINGS)])["p"] > 0.001
    assert abs(found["shuffled_r2_ridge"]) <= 0.03, "3,000 pairs"
    ridges = [found[f"shuffled_r2_ridge.{number}"] for number in range(PAIRINGS)]
    assert p_of_one_pairing(found["shuffled_r2_mlp"], ridges, fewer=1.0) > 0.001
    assert p_of_one_pairing(0.3, ridges, fewer=1.0) < 1e-6
    seen = torch.cat([pair.pre for _, pair in images(150, start=10_000)]).double().T.cov()
    matrix = linear_controls(WIDTH, small_config())[2].matrix
    assert found["rank8_r2_ridge"] == pytest.approx(best_linear_r2(seen, matrix), abs=0.005)
    assert fitted.closed_form["identity"] == pytest.approx(1)


def test_an_untrained_copy_is_measured_as_a_connector_would_be() -> None:
    sample, controls = gathered(narrow)
    found = r2(controls.fit(sample), narrow)
    sample = LinearSample(small_config())
    probes, _ = gathered(lambda pair: replace(narrow(pair), post=pair.pre[:, 8:], untrained=()))
    fitted = probes.fit()
    errors = total = 0.0
    for name, pair in images(30, start=10_000):
        image = score(fitted, name, replace(pair, post=pair.pre[:, 8:]))
        errors += float(image.errors["ridge"].squared.sum())
        total += float(image.squared_total.sum())
    assert found["untrained_r2_ridge.0"] == pytest.approx(1 - errors / total, abs=1e-6)
    assert found["untrained_r2_ridge.0"] != found["untrained_r2_ridge.1"]
    assert sample.fit(torch.device("cpu")).maps == {}


def test_without_places_untrained_and_shuffled_use_mean_tokens() -> None:
    sample, controls = gathered(without_places)
    found = r2(controls.fit(sample), without_places)
    assert {"untrained_r2_pooled.0", "shuffled_r2_pooled", "identity_r2_mlp"} <= set(found)
    assert not {"shuffled_r2_mlp", "shuffled_r2_ridge"} & set(found)
    assert found["identity_r2_mlp"] >= 0.999
    assert found["shuffled_r2_pooled"] <= 0.02


def test_what_shuffled_pairs_teach_is_worth_nothing_on_shuffled_pairs_either() -> None:
    """The control asks about true pairs; controls.shuffled breaks both sides."""
    sample, controls = gathered(narrow)
    fitted = controls.fit(sample)
    errors = total = 0.0
    for _, pair in shuffled((name, narrow(pair)) for name, pair in images(30, start=10_000)):
        total += float((pair.pre.double() - fitted.mean).square().sum())
        errors += float(fitted.squared_errors(alone(pair))["shuffled_r2_ridge.0"])
    assert 1 - errors / total <= 0.01


def test_two_processes_give_the_same_controls() -> None:
    whole, controls = gathered(narrow)
    expected = r2(controls.fit(whole), narrow)
    parts = [gathered(narrow, range(first, 60, 2)) for first in (1, 0)]
    merged, merged_controls = parts[0]
    merged.absorb(parts[1][0])
    merged_controls.absorb(parts[1][1])
    assert r2(merged_controls.fit(merged), narrow) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("connector", [narrow, without_places])
def test_state_and_fitted_controls_come_back_from_disk(connector) -> None:
    sample, controls = gathered(connector)
    fitted = controls.fit(sample)
    expected = r2(fitted, connector, 5)
    again = ControlSample.from_tensors(load(save(controls.tensors())), small_config())
    assert r2(again.fit(sample), connector, 5) == pytest.approx(expected, abs=1e-9)
    tensors, meta = fitted.state()
    stored = {name: tensor.contiguous() for name, tensor in tensors.items()}
    assert r2(ControlProbes.from_state(load(save(stored)), meta), connector, 5) == expected


LARGE = TokenLayout((Tile((48, 48), (48, 48)),), 48 * 48)
LEAK = 0.01


@pytest.fixture(scope="module")
def many_pairs() -> tuple[ProbeSample, ControlSample]:
    """As many pairs as a run has, 100,000 of them, from images of 48 x 48 patches."""
    config = small_config(patch_pairs=100_000, validation_pairs=10_000, control_pairs=2000)
    sample, controls = ProbeSample(config), ControlSample(config)
    for name, pair in images(60, layout=LARGE):
        learn(sample, name, narrow(pair))
        controls.update(TokenBatch.of([name], [narrow(pair)]), [sample.fold_of(name)])
    return sample, controls


def of_shuffled(many_pairs: tuple[ProbeSample, ControlSample]) -> tuple[dict[str, float], bool | None]:
    found = r2(many_pairs[1].fit(many_pairs[0]), narrow)
    score = over_pairings([found[f"shuffled_r2_ridge.{number}"] for number in range(PAIRINGS)])
    return score, as_it_must_be("shuffled_r2_ridge", Recorded(score | {"chance": 0.0}), score["p"])


def test_noise_of_shuffled_pairs_is_no_alarm_and_one_pair_in_a_hundred_unshuffled_is(
    many_pairs: tuple[ProbeSample, ControlSample], monkeypatch: pytest.MonkeyPatch
) -> None:
    clean, fine = of_shuffled(many_pairs)
    assert fine
    assert abs(clean["value"]) < 0.003

    def leaking(n: int, *arguments: object) -> torch.Tensor:
        order = random_pairing(n, *arguments)
        order[: round(LEAK * n)] = torch.arange(round(LEAK * n))
        return order

    monkeypatch.setattr("connector_bench.reconstruction.probes.control_fit.random_pairing", leaking)
    planted, fine = of_shuffled(many_pairs)
    assert fine is False, planted
    assert planted["low"] > clean["high"]


def joined(pair):
    """One token for nine patches, the mean of eight of their dimensions; patches have a mean of their own by row."""
    rows = torch.linspace(-2, 2, 3).repeat(2).repeat_interleave(6)
    pre = pair.pre.clone()
    pre[:, 1] += rows.to(pre.dtype)
    tokens = pre.reshape(2, 3, 2, 3, -1).mean(dim=(1, 3)).reshape(4, -1)[:, :8]
    layout = TokenLayout((Tile((6, 6), (2, 2)),), 4)
    return replace(pair, pre=pre, post=tokens, layout=layout, untrained=())


def test_what_places_alone_tell_is_chance_and_no_alarm_of_shuffled_pairs() -> None:
    sample, controls = gathered(joined, range(150))
    fitted = controls.fit(sample)
    assert (3, 3) in fitted.linear["places"].maps
    total, by_hand = 0.0, 0.0
    means = torch.stack([joined(pair).pre for _, pair in images(150)]).double()
    places = means.reshape(-1, 2, 3, 2, 3, WIDTH).mean(dim=(0, 1, 3))
    found: list[dict[str, float]] = []
    for _, pair in images(60, start=10_000):
        held = joined(pair)
        found.append({name: float(e) for name, e in fitted.squared_errors(alone(held)).items()})
        pre = held.pre.double()
        total += float((pre - fitted.mean).square().sum())
        by_hand += float((pre.reshape(2, 3, 2, 3, WIDTH) - places[None, :, None]).square().sum())
    r2_of = {name: 1 - sum(one[name] for one in found) / total for name in found[0]}
    chance = r2_of[BY_PLACES]
    assert chance > 0.005
    assert chance == pytest.approx(1 - by_hand / total, abs=0.003)
    assert BY_PLACES.split(".")[0] not in averaged_controls(found[0])
    pairings = [r2_of[f"shuffled_r2_ridge.{number}"] for number in range(PAIRINGS)]
    against_0, against_places = over_pairings(pairings), over_pairings(pairings, chance)
    assert against_0["p"] < RATE
    assert against_places["chance"] == chance
    for judged, fine in ((against_0, False), (against_places, True)):
        assert as_it_must_be("shuffled_r2_ridge", Recorded(judged), judged["p"]) is fine


def test_pairings_are_random_orders_and_their_ridges_those_of_scikit_learn() -> None:
    sample, _ = gathered(narrow, range(20), small_config(penalties=(1e-8,)))
    probes, _ = fit_shuffled(sample, sample.config, torch.device("cpu"))
    rows = sample.cells[(1, 1)].rows_up_to("full")
    orders = [
        random_pairing(len(rows), sample.config.seed, number, torch.device("cpu"))
        for number in range(PAIRINGS)
    ]
    assert len({tuple(order.tolist()) for order in orders}) == PAIRINGS
    for probe, order in zip(probes, orders, strict=True):
        assert sorted(order.tolist()) == list(range(len(rows)))
        expected = Ridge(alpha=1e-8).fit(rows.x.double(), rows.y[order].double())
        np.testing.assert_allclose(probe.maps[(1, 1)].weight.T, expected.coef_, atol=1e-6)


def test_a_mean_over_pairings_is_tested_from_above_alone() -> None:
    noise = np.random.default_rng(0).normal(scale=1e-3, size=(2000, PAIRINGS))
    p = np.array([over_pairings(row.tolist())["p"] for row in noise])
    assert 0.035 < np.mean(p < 0.05) < 0.065
    assert over_pairings([0.01 + value for value in noise[0]])["p"] < RATE
    assert over_pairings([-0.01 + value for value in noise[0]])["p"] > 0.999
    assert over_pairings([0.0] * PAIRINGS)["p"] == 1.0
