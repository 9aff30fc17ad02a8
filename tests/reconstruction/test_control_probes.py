"""Controls that cost no second pass: from moments, from the sample, and back from the disk."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load, save
from sklearn.linear_model import Ridge

from connector_bench.reconstruction.probes.control_probes import ControlSample
from connector_bench.reconstruction.probes.fitted_controls import ControlProbes, linear_controls
from connector_bench.reconstruction.probes.linear import LinearSample, mapped, projection
from connector_bench.reconstruction.probes.moments import Moments
from connector_bench.reconstruction.probes.ridge import best_linear_r2, solve
from connector_bench.reconstruction.probes.sample import ProbeSample
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
        for name, error in controls.squared_errors(alone(connector(pair))).items():
            errors[name] = errors.get(name, 0.0) + float(error)
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
    assert found["shuffled_r2_ridge"] <= 0.01
    assert found["shuffled_r2_mlp"] <= 0.01
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
        errors += float(fitted.squared_errors(alone(pair))["shuffled_r2_ridge"])
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
