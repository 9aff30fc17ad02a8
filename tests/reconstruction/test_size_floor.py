"""`lost_floor`, `excess` and `lost_average`: a PCA bottleneck has none, and scikit-learn finds the same numbers."""

import math

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression

import connector_bench as cb
from connector_bench.reconstruction.probes.training_loop import Schedule

IMAGES, TESTED, SIDE, WIDTH = 520, 60, 4, 12
SMALL: dict = {
    **{"mlp_width": 16, "patch_pairs": 3000, "control_pairs": 500, "attention_width": 16},
    **{"curve": False, "untrained_seeds": 0, "schedule": Schedule(epochs=1)},
}


def pictures(seed: int = 0) -> torch.Tensor:
    """Patches whose directions differ in variance, of images that differ in brightness; neighbours alike.

    Gaussian, so that no probe finds in some directions what a linear one does not.
    """
    rng = np.random.default_rng(seed)
    mixed = rng.normal(size=(WIDTH, WIDTH)) * np.geomspace(1, 0.05, WIDTH)[:, None]
    of_image = rng.normal(size=(IMAGES, 1, 1, WIDTH))
    fine = rng.normal(size=(IMAGES, SIDE, SIDE, WIDTH))
    coarse = np.repeat(np.repeat(rng.normal(size=(IMAGES, 2, 2, WIDTH)), 2, 1), 2, 2)
    return torch.from_numpy((0.5 * of_image + fine + coarse) @ mixed + 3.0).flatten(1, 2).float()


def blocks(pre: torch.Tensor) -> torch.Tensor:
    """The patches of each 2 x 2 cell, end to end, in the order of cells."""
    grid = pre.unflatten(1, (2, 2, 2, 2))
    return grid.transpose(2, 3).reshape(len(pre), 4, 4 * pre.shape[-1])


def measured(pre: torch.Tensor, post: torch.Tensor, grid: object) -> cb.Result:
    train, test = (slice(0, IMAGES - TESTED), slice(IMAGES - TESTED, IMAGES))
    return cb.reconstruct(
        (pre[train], post[train]), (pre[test], post[test]), grid=grid, probes=cb.ReconstructionConfig(**SMALL)
    )


def components(rows: torch.Tensor) -> PCA:
    """Of the cells of the training images."""
    return PCA().fit(rows[: IMAGES - TESTED].flatten(0, 1).double().numpy())


@pytest.mark.parametrize("rank", [1, 2, 4, 8, 12])
def test_a_pca_bottleneck_has_no_excess(rank: int) -> None:
    pre = pictures()
    pca = components(pre)
    post = torch.from_numpy((pre.double().numpy() - pca.mean_) @ pca.components_[:rank].T).float()
    scores = measured(pre, post, (SIDE, SIDE)).scores
    assert abs(scores["excess"].value) <= 0.005
    assert scores["excess"].low - 0.003 <= 0 <= scores["excess"].high + 0.003
    tested = pre[IMAGES - TESTED :].flatten(0, 1).double().numpy() - pca.mean_
    left = np.square(tested @ pca.components_[rank:].T).sum() / np.square(tested).sum()
    assert scores["lost_floor"].value == pytest.approx(left, abs=0.002)


@pytest.mark.parametrize("rank", [3, 12, 30, 48])
def test_cells_of_four_patches(rank: int) -> None:
    pre = pictures(1)
    pca = components(blocks(pre))
    post = torch.from_numpy((blocks(pre).double().numpy() - pca.mean_) @ pca.components_[:rank].T).float()
    result = measured(pre, post, ((SIDE, SIDE), (2, 2)))
    scores = result.scores
    assert abs(scores["excess"].value) <= 0.005
    own = result["patch_reconstruction"].record["floor"]
    assert own["closed_form"] == pytest.approx(scores["lost_floor"].value, abs=0.01)
    by_eigenvalues = pca.explained_variance_[rank:].sum() / pca.explained_variance_.sum()
    assert own["closed_form"] == pytest.approx(by_eigenvalues, abs=0.01)


def test_average_pooling_is_a_regression_on_the_mean_patch() -> None:
    pre = pictures(2)
    cells = blocks(pre).double().numpy()
    means = cells.reshape(IMAGES, 4, 4, WIDTH).mean(2)
    train, test = slice(0, IMAGES - TESTED), slice(IMAGES - TESTED, IMAGES)
    fitted = LinearRegression().fit(means[train].reshape(-1, WIDTH), cells[train].reshape(-1, 4 * WIDTH))
    error = np.square(
        cells[test].reshape(-1, 4 * WIDTH) - fitted.predict(means[test].reshape(-1, WIDTH))
    ).sum()
    mean = pre[train].flatten(0, 1).double().numpy().mean(0)
    total = np.square(pre[test].flatten(0, 1).double().numpy() - mean).sum()
    result = measured(pre, torch.from_numpy(means).float(), ((SIDE, SIDE), (2, 2)))
    scores = result.scores
    assert scores["lost_average"].value == pytest.approx(error / total, abs=0.003)
    assert scores["lost"].value <= scores["lost_average"].value + 0.003
    assert scores["lost_floor"].value < scores["lost_average"].value - 0.01
    assert scores["excess"].value == pytest.approx(scores["lost"].value - scores["lost_floor"].value)
    assert "bottleneck of the training images held fixed" in scores["excess"].method


def test_without_places_every_patch_has_its_share() -> None:
    """Three tokens of 10 numbers for 16 patches are 1.875 numbers a patch: the second component counts in part."""
    pre = pictures(3)
    pca = components(pre)
    post = torch.from_numpy(np.random.default_rng(0).normal(size=(IMAGES, 3, 10))).float()
    scores = measured(pre, post, ((SIDE, SIDE), None)).scores
    tested = pre[IMAGES - TESTED :].flatten(0, 1).double().numpy() - pca.mean_
    energy = np.square(tested @ pca.components_.T).sum(0)
    kept = np.clip(1.875 - np.arange(WIDTH), 0, 1)
    assert scores["lost_floor"].value == pytest.approx(1 - (energy * kept).sum() / energy.sum(), abs=0.002)
    assert scores["lost"].value > 0.9
    assert scores["excess"].low > 0.3


def test_room_for_all_has_floor_zero_and_few_images_no_interval() -> None:
    pre = pictures(4)[:120]
    post = torch.cat([pre, pre.square()], dim=2)
    result = cb.reconstruct(
        (pre[:105], post[:105]),
        (pre[105:], post[105:]),
        grid=(SIDE, SIDE),
        probes=cb.ReconstructionConfig(**SMALL),
    )
    scores = result.scores
    assert scores["lost_floor"].value == 0
    assert scores["lost_average"].value == 0
    assert scores["excess"].value == pytest.approx(scores["lost"].value)
    assert math.isnan(scores["excess"].low)
    assert scores["excess"].method.startswith("no interval: 15 images")
