"""Geometry of vectors: scikit-learn, scipy, dadapy and dcor as oracles, limits, symmetries."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import linalg
from scipy import stats as scipy_stats
from sklearn.decomposition import PCA
from sklearn.manifold import trustworthiness as sklearn_trustworthiness

from connector_bench.preservation import controls, geometry, influence, knn
from connector_bench.preservation.figures import preservation_figures
from connector_bench.preservation.neighbours.ranking import ranks_of, read_rankings
from connector_bench.preservation.options import PreservationOptions
from connector_bench.preservation.principal import Principal
from connector_bench.preservation.side import RANKED, both_sides
from tests.oracles import effective_rank, procrustes_similarity, top1_energy

seeds = st.integers(0, 2**32 - 1)
quick = settings(max_examples=15, deadline=None)


def pair(n: int, d_pre: int, d_post: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    pre = rng.normal(size=(n, d_pre)).astype(np.float32)
    post = pre @ rng.normal(size=(d_pre, d_post)) + rng.normal(size=(n, d_post)) + 2
    return pre, post.astype(np.float32)


def cka(pre: np.ndarray, post: np.ndarray) -> float:
    return geometry.debiased_cka(Principal.of(pre), Principal.of(post))


def procrustes(pre: np.ndarray, post: np.ndarray) -> float:
    return influence.procrustes(Principal.of(pre), Principal.of(post)).value


def paper_residual(pre: np.ndarray, post: np.ndarray) -> float:
    return geometry.paper_procrustes_residual(Principal.of(pre), Principal.of(post))


def all_ranks(vectors: np.ndarray) -> np.ndarray:
    points = vectors.astype(np.float64)
    away = np.square(points[:, None] - points[None]).sum(axis=2)
    np.fill_diagonal(away, np.inf)
    order = np.argsort(away, axis=1, kind="stable")
    found = np.empty_like(order)
    np.put_along_axis(found, order, np.arange(1, len(vectors) + 1)[None], axis=1)
    return found


@pytest.mark.parametrize("kind", ["gaussian", "ties", "duplicates"])
def test_ranks_and_rankings_agree_with_brute_force(kind: str) -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(300, 5)).astype(np.float32)
    if kind == "ties":
        vectors = rng.integers(-1, 2, size=(300, 5)).astype(np.float32)
    if kind == "duplicates":
        vectors = vectors[rng.integers(0, 40, 300)]
    expected = all_ranks(vectors)
    partners = np.array([rng.permutation(np.delete(np.arange(300), i))[:20] for i in range(300)])
    ranks, order = read_rankings(vectors, "l2", ranks_of(partners), lambda _, order: order)
    np.testing.assert_array_equal(ranks, np.take_along_axis(expected, partners, axis=1))
    np.testing.assert_array_equal(order, np.argsort(expected, axis=1)[:, :-1])
    np.testing.assert_array_equal(order[:, :50], knn.neighbours(vectors, 50))


def test_ranks_refuse_the_image_itself() -> None:
    with pytest.raises(ValueError, match="never the image itself"):
        ranks_of(np.array([[0], [2], [1]]))


def rank_values(pre: np.ndarray, post: np.ndarray) -> dict[str, np.ndarray]:
    """By measure of ranks, a value per image."""
    return geometry.rank_geometry(*both_sides(pre, post, RANKED), {})[0]


@pytest.mark.parametrize("n", [21, 60, 150])
def test_trustworthiness_and_continuity_agree_with_scikit_learn(n: int) -> None:
    pre, post = pair(n, 8, 3)
    theirs = [
        sklearn_trustworthiness(a.astype(float), b.astype(float), n_neighbors=RANKED)
        for a, b in ((pre, post), (post, pre))
    ]
    found = rank_values(pre, post)
    assert found["trustworthiness"].mean() == pytest.approx(theirs[0], abs=1e-12)
    assert found["continuity"].mean() == pytest.approx(theirs[1], abs=1e-12)


def test_information_imbalance_is_the_scaled_mean_rank() -> None:
    pre, post = pair(120, 6, 2)
    ranks_pre, ranks_post = all_ranks(pre), all_ranks(post)
    found = rank_values(pre, post)
    for name, first, second in (("pre_post", ranks_pre, ranks_post), ("post_pre", ranks_post, ranks_pre)):
        expected = 2 / 120 * second[np.arange(120), first.argmin(axis=1)]
        np.testing.assert_allclose(found[f"imbalance_{name}"], expected, rtol=0, atol=1e-15)


def test_information_imbalance_agrees_with_dadapy() -> None:
    dadapy = pytest.importorskip(
        "dadapy", reason="needs numpy < 2, see docs/AGREEMENT.md", exc_type=ImportError
    )
    pre, post = pair(150, 6, 2)
    both = dadapy.MetricComparisons(np.hstack([pre, post]).astype(float), maxk=149)
    theirs = both.return_inf_imb_two_selected_coords(list(range(6)), [6, 7])
    found = rank_values(pre, post)
    ours = [found["imbalance_pre_post"].mean(), found["imbalance_post_pre"].mean()]
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-12)


def u_centred(gram: np.ndarray) -> np.ndarray:
    """Szekely and Rizzo's U-centring: the other way to the unbiased HSIC."""
    n = len(gram)
    gram = gram - np.diag(np.diag(gram))
    rows = gram.sum(axis=1)
    centred = gram - rows[:, None] / (n - 2) - rows[None] / (n - 2) + rows.sum() / ((n - 1) * (n - 2))
    np.fill_diagonal(centred, 0)
    return centred


@pytest.mark.parametrize(("n", "d_pre", "d_post"), [(60, 5, 9), (12, 40, 9), (12, 40, 70)])
def test_debiased_cka_agrees_with_u_centred_gram_matrices(n: int, d_pre: int, d_post: int) -> None:
    pre, post = pair(n, d_pre, d_post)
    a, b = (u_centred(side.astype(float) @ side.astype(float).T) for side in (pre, post))
    expected = (a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum())
    assert cka(pre, post) == pytest.approx(expected, abs=1e-10)


def test_debiased_cka_agrees_with_dcor() -> None:
    dcor = pytest.importorskip("dcor", reason="needs numba, see docs/AGREEMENT.md", exc_type=ImportError)
    pre, post = pair(70, 12, 30)
    grams = [side.astype(float) @ side.astype(float).T for side in (pre, post)]
    a, b = (
        dcor.u_centered(gram - np.diag(np.diag(gram))) for gram in grams
    )  # dcor expects zeros on the diagonal
    expected = dcor.u_product(a, b) / np.sqrt(dcor.u_product(a, a) * dcor.u_product(b, b))
    assert cka(pre, post) == pytest.approx(expected, abs=1e-10)


def test_debiased_cka_of_independent_sides_is_zero_on_average() -> None:
    """The biased estimate would be near d / n and more: .7 here."""
    values = [cka(pair(20, 50, 2, seed)[0], pair(20, 50, 2, 1000 + seed)[0]) for seed in range(200)]
    assert abs(np.mean(values)) < 3 * scipy_stats.sem(values)


@pytest.mark.parametrize(("n", "d_pre", "d_post"), [(60, 5, 9), (60, 9, 5), (12, 30, 20)])
def test_procrustes_agrees_with_scipy(n: int, d_pre: int, d_post: int) -> None:
    pre, post = pair(n, d_pre, d_post)
    expected = procrustes_similarity(pre, post)
    assert procrustes(pre, post) == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize(("n", "d_pre", "d_post"), [(60, 5, 9), (60, 9, 5), (30, 20, 50)])
def test_the_papers_residual_agrees_with_scipy_and_scikit_learn(n: int, d_pre: int, d_post: int) -> None:
    pre, post = pair(n, d_pre, d_post)
    x = pre - pre.mean(axis=0, dtype=float)
    reduced = PCA(min(d_pre, d_post), svd_solver="full").fit_transform(post.astype(float))
    reduced = np.pad(reduced, ((0, 0), (0, d_pre - reduced.shape[1])))
    rotation, _ = linalg.orthogonal_procrustes(reduced, x)
    expected = np.linalg.norm(x - reduced @ rotation) / np.sqrt(n)
    assert paper_residual(pre, post) == pytest.approx(expected, rel=1e-10)


def test_limits() -> None:
    pre, _ = pair(80, 6, 4)
    for post in (controls.identity(pre), controls.rotation(pre)):
        ranks = rank_values(pre, post)
        np.testing.assert_array_equal(ranks["trustworthiness"], 1)
        np.testing.assert_array_equal(ranks["continuity"], 1)
        np.testing.assert_allclose(ranks["imbalance_pre_post"], 2 / 80)
        assert cka(pre, post) == pytest.approx(1, abs=1e-6)
        assert procrustes(pre, post) == pytest.approx(1, abs=1e-6)
        assert paper_residual(pre, post) == pytest.approx(0, abs=1e-5)


def test_shuffled_pairs_lose_everything() -> None:
    pre, _ = pair(400, 6, 4)
    post = controls.shuffled(pre)
    ranks = rank_values(pre, post)
    assert ranks["trustworthiness"].mean() == pytest.approx(0.5, abs=0.03)
    assert ranks["imbalance_pre_post"].mean() == pytest.approx(1, abs=0.08)
    assert abs(cka(pre, post)) < 0.05
    assert procrustes(pre, post) < 0.2


@quick
@given(seeds)
def test_rotating_scaling_and_shifting_one_side_changes_nothing(seed: int) -> None:
    pre, post = pair(40, 5, 7, seed)
    moved = controls.rotation(post, seed=seed) * np.float32(3) + np.float32(1)
    for measure in (cka, procrustes):
        assert measure(pre, moved) == pytest.approx(measure(pre, post), abs=1e-5)
        assert measure(post, pre) == pytest.approx(measure(pre, post), abs=1e-9)
    assert effective_rank(moved) == pytest.approx(effective_rank(post), rel=1e-5)
    assert top1_energy(moved) == pytest.approx(top1_energy(post), rel=1e-5)


@quick
@given(seeds)
def test_renaming_images_changes_nothing(seed: int) -> None:
    pre, post = pair(50, 5, 3, seed)
    order = np.random.default_rng(seed).permutation(50)
    moved, found = rank_values(pre[order], post[order]), rank_values(pre, post)
    for name, values in found.items():
        np.testing.assert_allclose(moved[name], values[order], err_msg=name)
    assert cka(pre[order], post[order]) == pytest.approx(cka(pre, post), abs=1e-9)


def test_spectra_with_known_answers() -> None:
    rows = np.vstack([np.diag([3.0, 3, 3, 3]), -np.diag([3.0, 3, 3, 3])]).astype(np.float32)
    assert effective_rank(rows) == pytest.approx(4, rel=1e-6)
    assert top1_energy(rows) == pytest.approx(1 / 4, rel=1e-6)
    line = np.outer(np.arange(9), [1, 2, 3]).astype(np.float32)
    assert effective_rank(line) == pytest.approx(1, abs=1e-4)
    assert top1_energy(line) == pytest.approx(1, abs=1e-6)
    far = rows + np.float32(100)
    assert top1_energy(far) == pytest.approx(1 / 4, rel=1e-3)
    values = np.array([4.0, 2.0, 1.0])
    stretched = (np.vstack([np.diag(values), -np.diag(values)])).astype(np.float32)
    shares = values / values.sum()
    assert effective_rank(stretched) == pytest.approx(np.exp(-(shares * np.log(shares)).sum()), rel=1e-6)


def test_sides_that_do_not_vary_have_no_geometry() -> None:
    pre, _ = pair(20, 5, 3)
    still = np.full((20, 3), 0.1, np.float32)
    assert np.isnan(cka(pre, still))
    names = [f"{i:064x}" for i in range(20)]
    scores = preservation_figures(names, pre, still, PreservationOptions(ks=(1,))).summary["scores"]
    assert isinstance(scores, dict)
    assert not {"cka", "procrustes"} & scores.keys()
    with pytest.raises(ValueError, match="the encoder's side is the same for all 20 images"):
        preservation_figures(names, still, pre, PreservationOptions(ks=(1,)))


def test_hubs() -> None:
    star = np.array([[1], [0], [0], [0], [0], [0]])
    assert geometry.hubness(star) == pytest.approx(scipy_stats.skew([5, 1, 0, 0, 0, 0]))
    assert geometry.hubness(np.array([[1], [2], [0]])) == 0
    rng = np.random.default_rng(0)
    few, many = (
        geometry.hubness(knn.neighbours(rng.normal(size=(600, d)).astype(np.float32), 10)) for d in (2, 100)
    )
    assert many > 2 > few  # hubs come with dimensions


def test_what_has_no_value_is_refused() -> None:
    pre, post = pair(20, 5, 3)
    assert set(rank_values(pre, post)) == {"imbalance_pre_post", "imbalance_post_pre"}
    with pytest.raises(ValueError, match="at least 4 images, got 3"):
        cka(pre[:3], post[:3])
    with pytest.raises(ValueError, match="got 10 and 20 vectors"):
        cka(pre[:10], post)


@pytest.mark.parametrize(("n", "d"), [(200, 12), (30, 100)])
def test_principal_axes_keep_inner_products(n: int, d: int) -> None:
    vectors, _ = pair(n, d, 2)
    vectors += np.float32(100)
    side, centred = Principal.of(vectors), vectors.astype(float) - vectors.mean(axis=0, dtype=float)
    np.testing.assert_allclose(side.coordinates @ side.coordinates.T, centred @ centred.T, atol=1e-9)
    np.testing.assert_allclose(side.singular, linalg.svdvals(centred), atol=1e-10)
    products = side.coordinates.T @ side.coordinates
    np.testing.assert_allclose(products, np.diag(np.square(side.singular)), atol=1e-9)
    assert side.varying.sum() == min(n - 1, d)
