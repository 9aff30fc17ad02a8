"""Geometry of image vectors before and after a connector, beside neighbour overlap: what is kept globally,
and how.

All measures take one vector per image, row i of both sides being the same image, and compute in float64; those of the
whole set read both sides along their principal axes.
Measures that are means over images return one value per image, and get their intervals here; the others return
a number whose interval comes from `influence`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float64, Int
from scipy import linalg, stats

from connector_bench.preservation.design_effect import Effect, Kind, mean_score
from connector_bench.preservation.neighbours.ranking import Halved
from connector_bench.preservation.principal import Principal, same_images
from connector_bench.preservation.side import RANKED, Side
from connector_bench.stats.intervals import Score

RANK_GEOMETRY: dict[str, Kind] = {
    "imbalance_pre_post": "positive",
    "imbalance_post_pre": "positive",
    "trustworthiness": "close to 1",
    "continuity": "close to 1",
}
"""Means over ranks, and which interval each gets."""


def rank_geometry(
    pre: Side, post: Side, effects: Mapping[str, Effect]
) -> tuple[dict[str, Float64[np.ndarray, " n"]], dict[str, Score]]:
    """Imbalance, and where 2 `RANKED` + 1 images allow them trustworthiness and continuity: values per image, and
    means with intervals from design `effects` (see `rank_geometry_in_halves`).

    Imbalance from a to b is `2/n x rank in b of a's nearest neighbour` (Glielmo et al., PNAS Nexus 1 (2022) pgac039):
    2/n where the nearest neighbours agree, about 1 where a says nothing of b, and not symmetric. Trustworthiness is
    `1 - 2 / (k (2n - 3k - 1)) sum_{j in N_post(i, k)} max(0, r_pre(i, j) - k)` (Venna and Kaski, ICANN 2001): intruders
    count by how far away they come from. Its mean lies in 0..1, identity gives 1, independent sides about .5; a
    single image can lie below 0. Continuity is the same with the sides exchanged.
    """
    n = len(pre)
    values = {
        "imbalance_pre_post": 2 / n * post.ranks[:, 0],
        "imbalance_post_pre": 2 / n * pre.ranks[:, 0],
    }
    if n > 2 * RANKED:
        values |= {"trustworthiness": _share_near(pre.ranks, n), "continuity": _share_near(post.ranks, n)}
    scores = {
        name: mean_score(
            column,
            effects.get(name),
            kind=RANK_GEOMETRY[name],
            drawn=pre.drawn.take(pre.queries),
            drawn_from=n,
        )
        for name, column in values.items()
    }
    return {name: pre.spread(column) for name, column in values.items()}, scores


def rank_geometry_in_halves(before: Halved, after: Halved) -> dict[str, Float64[np.ndarray, " n"]]:
    """Every image's values in its half, up to factors that are the same for all images; none for too few of them."""
    if len(before.mine) // 2 <= 2 * RANKED:
        return {}
    pre_lists, post_lists = before.nearest(RANKED), after.nearest(RANKED)
    pre_ranks, post_ranks = before.rank_of(post_lists), after.rank_of(pre_lists)
    return {
        "imbalance_pre_post": post_ranks[:, 0].astype(np.float64),
        "imbalance_post_pre": pre_ranks[:, 0].astype(np.float64),
        "trustworthiness": -np.maximum(pre_ranks - RANKED, 0).sum(axis=1).astype(np.float64),
        "continuity": -np.maximum(post_ranks - RANKED, 0).sum(axis=1).astype(np.float64),
    }


def debiased_cka(pre: Principal, post: Principal) -> float:
    """Linear CKA with the unbiased estimate of HSIC: similarity of the two sides' inner products over images.

    `HSIC_u(K, L) / sqrt(HSIC_u(K, K) HSIC_u(L, L))` with `K = X X'` (Kornblith et al., ICML 2019; HSIC_u of
    Song et al., JMLR 13 (2012) 1393). At most 1 up to rounding, 0 expected for independent sides (it can be
    slightly negative), 1 for a rotation, an isotropic scaling, a shift. NaN where one side does not vary, or where its
    own estimate is not above 0, as can happen among few images or equal ones.

    Raises:
        ValueError: different numbers of images, or fewer than 4.
    """
    if same_images(pre, post) < 4:
        raise ValueError(f"debiased CKA needs at least 4 images, got {len(pre)}")
    if not (pre.varying.any() and post.varying.any()):
        return float("nan")
    x, y = (side.coordinates / linalg.norm(side.singular) for side in (pre, post))
    own = _hsic(x, x), _hsic(y, y)
    return float(_hsic(x, y) / np.sqrt(own[0] * own[1])) if min(own) > 0 else float("nan")


def paper_procrustes_residual(pre: Principal, post: Principal) -> float:
    """The paper's variant, `protocol=paper`: post is first reduced by PCA to d_pre, then rotated onto pre.

    `min_R ||X - Z R||_F / sqrt(n)` over orthogonal R, X centred and Z the first d_pre principal components of
    post (zero-padded where there are fewer): the root mean square distance of an image, in the units of pre.
    0 for a rotation; no upper bound, and larger for vectors of larger norm, so it ranks no models. The
    published code holds no Procrustes step and the paper does not state its normalisation: compare with its
    table 5 by order only.

    Raises:
        ValueError: different numbers of images.
    """
    n = same_images(pre, post)
    z = post.coordinates[:, : pre.width]
    overlap = linalg.svdvals(pre.coordinates.T @ z).sum()
    return float(np.sqrt(max(0.0, (pre.sizes.sum() + np.square(z).sum() - 2 * overlap) / n)))


def effective_rank(singular_values: Float64[np.ndarray, " r"]) -> float:
    """Effective rank of Roy and Vetterli (EUSIPCO 2007): `exp(-sum p log p)`, `p_i = s_i / sum s` of the
    singular values.

    1 (one direction) to min(n - 1, d) of centred vectors. Note the normalised singular values, not their squares. NaN
    where nothing varies.
    """
    return float(np.exp(stats.entropy(singular_values))) if singular_values.any() else float("nan")


def top1_energy(singular_values: Float64[np.ndarray, " r"]) -> float:
    """Share of the sum of squares along the first principal direction, `s_1^2 / sum s^2`: 1/min(n - 1, d) to
    1.

    Near 1, one massive direction decides every L2 distance. NaN where nothing varies.
    """
    energy = np.square(singular_values)
    return float(energy[0] / energy.sum()) if energy.any() else float("nan")


def hubness(found: Int[np.ndarray, "n k"]) -> float:
    """Skewness of the k-occurrence (Radovanovic et al., JMLR 11 (2010) 2487): 0 where all images are
    neighbours equally often, large where a few hubs are everyone's neighbour. 0 where the k-occurrence is
    constant.

    It comes without an interval: it rests on few hubs, and 95 % intervals from half galleries and from the delete-one
    jackknife covered 70 to 90 % and 87 to 100 % of simulated sets.
    """
    counts = np.bincount(found.ravel(), minlength=len(found))
    return float(stats.skew(counts)) if np.ptp(counts) else 0.0


def _share_near(ranks: Int[np.ndarray, "q k"], n: int) -> Float64[np.ndarray, " q"]:
    k = ranks.shape[1]
    return 1 - 2 * np.maximum(ranks - k, 0).sum(axis=1) / (k * (2 * n - 3 * k - 1))


def _hsic(x: Float64[np.ndarray, "n d_x"], y: Float64[np.ndarray, "n d_y"]) -> float:
    """Unbiased HSIC of `x x'` and `y y'` times n (n - 3), for centred columns of at most n dimensions."""
    n = len(x)
    diagonal_x, diagonal_y = (np.square(side).sum(axis=1) for side in (x, y))
    trace = np.square(x.T @ y).sum() - diagonal_x @ diagonal_y
    # the columns are centred, so K's rows sum to 0 and, with the diagonal taken out, to minus the diagonal
    totals = diagonal_x.sum() * diagonal_y.sum()
    return trace + totals / ((n - 1) * (n - 2)) - 2 / (n - 2) * (diagonal_x @ diagonal_y)
