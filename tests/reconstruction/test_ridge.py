import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from connector_bench.reconstruction.probes.moments import Moments
from connector_bench.reconstruction.probes.ridge import (
    Affine,
    best_linear_r2,
    choose,
    pooled_r2,
    solve,
    squared_error,
)


def sample(rows: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = (
        torch.randn(rows, 8, generator=generator, dtype=torch.float64)
        @ torch.randn(8, 8, generator=generator).double()
    )
    x = x * torch.tensor([1, 1, 1, 1, 1, 1, 1, 200.0]) + 50
    y = x @ torch.randn(8, 5, generator=torch.Generator().manual_seed(99)).double()
    return x, y + 3 * torch.randn(rows, 5, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("alpha", [1e-3, 1.0, 300.0])
@pytest.mark.parametrize("standardize", [False, True])
def test_ridge_equals_scikit_learn(alpha: float, standardize: bool) -> None:
    x, y = sample(400)
    ours = solve(Moments.of(x, y), alpha, standardize=standardize)
    theirs = Ridge(alpha, solver="cholesky")
    model = make_pipeline(StandardScaler(), theirs) if standardize else theirs
    model.fit(x.numpy(), y.numpy())
    test = sample(50, seed=1)[0]
    np.testing.assert_allclose(ours(test), model.predict(test.numpy()), rtol=1e-6, atol=1e-6)


def test_error_from_moments_equals_error_from_rows() -> None:
    affine = solve(Moments.of(*sample(200)), 1.0)
    x, y = sample(300, seed=5)
    moments = Moments.of(x, y)
    torch.testing.assert_close(
        squared_error(affine, moments), (affine(x) - y).square().sum(0), rtol=1e-9, atol=1e-6
    )
    expected = r2_score(y.numpy(), affine(x).numpy(), multioutput="variance_weighted")
    assert pooled_r2(affine, moments, moments.mean_y) == pytest.approx(expected, abs=1e-9)


def test_the_penalty_is_the_best_one_on_the_validation_fold() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(60, 40, generator=generator, dtype=torch.float64)
    y = x[:, :1] + 4 * torch.randn(60, 1, generator=generator, dtype=torch.float64)
    xv = torch.randn(500, 40, generator=generator, dtype=torch.float64)
    yv = xv[:, :1] + 4 * torch.randn(500, 1, generator=generator, dtype=torch.float64)
    fit = choose(Moments.of(x, y), Moments.of(xv, yv))
    assert fit.validation_r2[fit.penalty] == max(fit.validation_r2.values())
    assert fit.penalty > 1e-3
    by_rows = {a: r2_score(yv, solve(Moments.of(x, y), a * 60)(xv)) for a in (1e-8, 1.0)}
    assert fit.validation_r2[1e-8] < fit.validation_r2[fit.penalty]
    assert by_rows[1e-8] < by_rows[1.0]


def test_a_constant_input_and_duplicate_inputs_do_no_harm() -> None:
    x, y = sample(300)
    wide = torch.cat([x, x[:, :2], torch.full((300, 1), 7.0)], 1)
    plain, padded = solve(Moments.of(x, y), 1e-6), solve(Moments.of(wide, y), 1e-6)
    torch.testing.assert_close(plain(x), padded(wide), rtol=1e-5, atol=1e-4)


def test_no_rows_is_an_error() -> None:
    with pytest.raises(ValueError, match="needs rows"):
        solve(Moments.zeros(2, 2), 1.0)


def test_closed_form_of_a_projection_equals_the_population_regression() -> None:
    generator = torch.Generator().manual_seed(3)
    root = torch.randn(6, 6, generator=generator, dtype=torch.float64)
    covariance, projection = root @ root.T, torch.randn(6, 2, generator=generator, dtype=torch.float64)
    weight = torch.linalg.solve(projection.T @ covariance @ projection, projection.T @ covariance)
    residual = torch.eye(6) - projection @ weight
    lost = (residual.T @ covariance @ residual).trace() / covariance.trace()
    assert best_linear_r2(covariance, projection) == pytest.approx(1 - float(lost), abs=1e-12)
    assert best_linear_r2(covariance, torch.eye(6)) == pytest.approx(1.0)


def test_affine_predicts_in_float64() -> None:
    assert Affine(torch.eye(2).double(), torch.zeros(2).double())(torch.ones(1, 2)).dtype == torch.float64
