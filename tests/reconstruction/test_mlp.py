"""The MLP's inputs are whitened, so that what a connector ends in costs no training."""

from dataclasses import replace

import pytest
import torch

from connector_bench.reconstruction.probes.mlp import Rows, fit_rows, whitening
from connector_bench.reconstruction.probes.moments import Moments
from connector_bench.reconstruction.probes.training_loop import Schedule

from .planted import small_config


def rows(count: int, seed: int, ill: float = 1.0) -> Rows:
    """`y` bends `x`; `x` then passes an invertible map whose directions differ in scale by a factor of `ill`."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 6, generator=generator)
    mixing = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(1)))[0]
    scales = torch.logspace(0, -torch.log10(torch.tensor(ill)).item(), 6)
    return Rows((x * scales) @ mixing + 3.0, torch.cat([x, x.square()], dim=1))


def test_whitened_inputs_have_unit_covariance() -> None:
    sample = rows(4000, 0, ill=300.0)
    moments = Moments.of(sample.x, sample.y)
    z = (sample.x - moments.mean_x) / (moments.xx.diagonal() / moments.n).sqrt()
    w = z @ whitening(moments)
    torch.testing.assert_close(w.T @ w / len(w), torch.eye(6).double(), atol=1e-4, rtol=0)


def test_directions_that_float32_cannot_tell_from_rounding_are_left_out() -> None:
    sample = rows(1000, 0)
    twice = Rows(torch.cat([sample.x, 2 * sample.x, torch.ones(1000, 1)], dim=1), sample.y)
    assert whitening(twice.moments(small_config())).shape == (13, 6)
    fitted = fit_rows(twice, Rows(twice.x[:100], twice.y[:100]), small_config())
    assert fitted.mlp.shape.directions == 6
    assert torch.isfinite(fitted.mlp.predict(twice.x)).all()


def test_an_invertible_map_behind_the_connector_changes_nothing() -> None:
    config = small_config(mlp_width=64, schedule=Schedule(epochs=12, batch_size=64, learning_rate=3e-3))
    losses = {
        (ill, whiten): fit_rows(
            rows(2000, 0, ill), rows(400, 1, ill), replace(config, whiten=whiten)
        ).training.best_loss
        for ill in (1.0, 300.0)
        for whiten in (True, False)
    }
    assert losses[300.0, True] == pytest.approx(losses[1.0, True], rel=0.2)
    assert losses[300.0, False] > 5 * losses[300.0, True]


def test_before_training_the_probe_is_the_ridge_of_its_rows() -> None:
    sample = rows(2000, 0, ill=30.0)
    fitted = fit_rows(sample, rows(200, 1, ill=30.0), small_config(schedule=Schedule(epochs=0)))
    torch.testing.assert_close(
        fitted.mlp.predict(sample.x), fitted.ridge.affine(sample.x), atol=1e-4, rtol=1e-4
    )


def test_nothing_is_left_to_learn_where_the_ridge_is_exact() -> None:
    sample = rows(1000, 0)
    fitted = fit_rows(Rows(sample.x, sample.x), Rows(sample.x[:100], sample.x[:100]), small_config())
    assert fitted.training.stopped == "solved"
    assert fitted.training.steps == 0


def test_no_rows() -> None:
    with pytest.raises(ValueError, match="no row"):
        fit_rows(rows(0, 0), rows(3, 0), small_config())
