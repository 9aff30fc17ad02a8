"""Reference maps from pre to post vectors, measured on the same images as a connector so that its figures can
be read.

Each takes pooled vectors. That suffices: a linear map applied to every token commutes with the mean over
tokens. An untrained connector of the model's own architecture does not, and comes from its adapter instead.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from jaxtyping import Float, Float32
from scipy import stats

from connector_bench.preservation.neighbours.space import as_vectors


def identity(pre: Float[np.ndarray, "n d"]) -> Float32[np.ndarray, "n d"]:
    """The vectors themselves, as a copy: every measure must show nothing lost."""
    return as_vectors(pre, "pre").copy()


def rotation(pre: Float[np.ndarray, "n d"], *, seed: int = 0) -> Float32[np.ndarray, "n d"]:
    """The vectors turned by one random orthogonal matrix (Haar): under l2 and cosine nothing is lost.

    The result is fp32 again, so two neighbours that lie equally far to 6 digits may change places. Under
    l2_standardized a rotation does change neighbours, since that distance depends on the axes.
    """
    vectors = as_vectors(pre, "pre")
    matrix = stats.ortho_group.rvs(vectors.shape[1], random_state=np.random.default_rng(seed))
    return (vectors @ np.atleast_2d(matrix)).astype(np.float32)


def random_linear(pre: Float[np.ndarray, "n d"], width: int, *, seed: int = 0) -> Float32[np.ndarray, "n w"]:
    """The vectors through a Gaussian matrix of the connector's shape, entries of variance 1/width: lengths
    are kept on average.

    What no training at all gives: neighbours survive to a large part (Johnson and Lindenstrauss).

    Raises:
        ValueError: a width below 1.
    """
    vectors = as_vectors(pre, "pre")
    if width < 1:
        raise ValueError(f"a connector has at least 1 output dimension, got {width}")
    matrix = np.random.default_rng(seed).normal(scale=width**-0.5, size=(vectors.shape[1], width))
    return (vectors @ matrix).astype(np.float32)


def shuffled(post: Float[np.ndarray, "n w"], *, seed: int = 0) -> Float32[np.ndarray, "n w"]:
    """The connector's own outputs, each moved to another image: every measure must fall to chance.

    A random cyclic order, so no image keeps its own (Sattolo).

    Raises:
        ValueError: fewer than 2 images.
    """
    vectors = as_vectors(post, "post")
    if len(vectors) < 2:
        raise ValueError(f"shuffling needs at least 2 images, got {len(vectors)}")
    order = np.random.default_rng(seed).permutation(len(vectors))
    moved = np.empty_like(vectors)
    moved[order] = vectors[np.roll(order, 1)]
    return moved


def linear_controls(width: int, *, seed: int = 0) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """The maps that need pre vectors alone, by name: `identity`, `rotation`, `random_linear` with `width`
    outputs."""
    return {
        "identity": identity,
        "rotation": partial(rotation, seed=seed),
        "random_linear": partial(random_linear, width=width, seed=seed),
    }
