"""How the connector's tokens lie beside the words that the language model knows, by its input embeddings alone.

The language model never runs. Tokens are a sample: a few of each image, at places that a hash of the image decides.
Words are a sample of the vocabulary, drawn by the seed; what is said is said of it. Intervals leave images out and
hold the words fixed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Float64, Int
from scipy import linalg, stats
from scipy.spatial.distance import pdist

from connector_bench.preservation.drawn_together import Drawn
from connector_bench.preservation.influence import clustered, spectral_influences
from connector_bench.preservation.principal import Principal
from connector_bench.preservation.searched_gallery import Columns, Scores
from connector_bench.stats import jackknife
from connector_bench.stats.floors import LEAST_IMAGES
from connector_bench.stats.intervals import Score, plain

TOKENS = 2000
"""That are sampled, of all images together, or a few more."""
MOST_OF_AN_IMAGE = 64
WORDS = 8192
"""Of the vocabulary at most."""
SET = 1000
"""Tokens, and words, between which a Frechet distance is taken: as many on either side, here and for its floor."""
PAIRED = 1000
"""Words whose distances from one another have the median that tokens are held against."""
GROUPS = 10
_BLOCK = 256

WordsOf = Callable[[int, int], "Float[np.ndarray, 'v d'] | None"]
"""Input embeddings of at most so many words, drawn by a seed; None where there are none."""


def tokens_of_each(images: int) -> int:
    """How many tokens of an image are sampled, of so many images."""
    return min(MOST_OF_AN_IMAGE, max(2, math.ceil(TOKENS / max(images, 1))))


def sampled_places(image: str, count: int, of: int) -> Int[np.ndarray, " c"]:
    """Which of an image's tokens are sampled, in rising order; they depend on the image and the numbers alone."""
    rng = np.random.default_rng(list(image.encode()))
    return np.sort(rng.choice(of, min(count, of), replace=False))


@dataclass(frozen=True, eq=False)
class TokenSample:
    """Some tokens of each image, those of an image together."""

    pre: tuple[Float[np.ndarray, "t d_pre"], ...]
    post: tuple[Float[np.ndarray, "t d_post"], ...]
    untrained: tuple[tuple[Float[np.ndarray, "t d_post"], ...], ...] = ()
    """The same as `post` of each untrained copy."""

    def __len__(self) -> int:
        return len(self.pre)


@dataclass(frozen=True, eq=False)
class KnownWords:
    """Input embeddings of some words, in a random order."""

    vectors: Float64[np.ndarray, "v d"]

    @classmethod
    def of(cls, vectors: Float[np.ndarray, "v d"], width: int) -> KnownWords | None:
        """Those that can be held against tokens of a width; None where they have another one, or there are too few."""
        finite = np.asarray(vectors, dtype=np.float64)
        finite = finite[np.isfinite(finite).all(axis=1) & finite.any(axis=1)]
        return cls(finite) if finite.ndim == 2 and finite.shape[1] == width and len(finite) >= 4 else None

    @property
    def halves(self) -> tuple[Float64[np.ndarray, "h d"], Float64[np.ndarray, "h d"]]:
        """Two sets without a word in common, of at most `SET` words."""
        half = min(SET, len(self.vectors) // 2)
        return self.vectors[:half], self.vectors[half : 2 * half]

    @property
    def spread(self) -> float:
        """Variance summed over dimensions."""
        return float(self.vectors.var(axis=0).sum())


def frechet(x: Float64[np.ndarray, "n d"], y: Float64[np.ndarray, "m d"]) -> float:
    """Squared Frechet distance of the normal distributions with two sets' means and covariances.

    `|m_x - m_y|^2 + tr(C_x + C_y - 2 (C_x C_y)^(1/2))` (Dowson and Landau 1982), the last trace as the sum of the
    singular values of `X Y'` over `(n m)^(1/2)`, X and Y centred: no square root of a matrix, and d may exceed n.
    """
    means = x.mean(axis=0), y.mean(axis=0)
    x, y = x - means[0], y - means[1]
    factors = [linalg.qr(side, mode="r", check_finite=False)[0][: min(side.shape)] for side in (x, y)]
    shared = linalg.svdvals(factors[0] @ factors[1].T, check_finite=False).sum()
    spread = np.square(x).sum() / len(x) + np.square(y).sum() / len(y)
    gap = float(np.square(means[0] - means[1]).sum())
    return max(0.0, gap + float(spread - 2 * shared / np.sqrt(len(x) * len(y))))


def beside_the_words(
    tokens: Sequence[Float[np.ndarray, "t d"]], words: KnownWords, drawn: Drawn | None = None
) -> tuple[Columns, dict[str, Score]]:
    """Figures of one set of tokens: values by image, and scores."""
    drawn = drawn or Drawn.alone(len(tokens))
    usual = float(np.linalg.norm(words.vectors, axis=1).mean())
    median = float(np.median(pdist(words.vectors[:PAIRED])))
    columns: Columns = {
        "text_norm_ratio": np.array(
            [np.linalg.norm(own.astype(np.float64), axis=1).mean() / usual for own in tokens]
        )
    }
    nearest = _nearest(np.concatenate(tokens).astype(np.float64), words.vectors)
    image = np.repeat(np.arange(len(tokens)), [len(own) for own in tokens])
    columns["text_near"] = np.bincount(image, nearest < median, len(tokens)) / np.bincount(
        image, minlength=len(tokens)
    )
    scores = {name: _mean(values, drawn) for name, values in columns.items()}
    scores["text_frechet"] = _frechet_score(tokens, words, drawn)
    return columns, scores


def _mean(values: Float64[np.ndarray, " n"], drawn: Drawn) -> Score:
    found = jackknife.ratio(drawn.sums(values), drawn.sums(np.ones(len(values))), unit=drawn.unit)
    score = replace(found, value=float(values.sum() / len(values)), n=len(values))
    return drawn.floored(score, LEAST_IMAGES)


def _nearest(
    tokens: Float64[np.ndarray, "n d"], words: Float64[np.ndarray, "v d"]
) -> Float64[np.ndarray, " n"]:
    """Distance of every token to its nearest word."""
    sizes = np.square(words).sum(axis=1)
    found = [
        np.min(sizes - 2 * part @ words.T, axis=1) + np.square(part).sum(axis=1)
        for part in (tokens[first : first + _BLOCK] for first in range(0, len(tokens), _BLOCK))
    ]
    return np.asarray(np.sqrt(np.maximum(np.concatenate(found), 0)))


def _frechet_score(tokens: Sequence[Float[np.ndarray, "t d"]], words: KnownWords, drawn: Drawn) -> Score:
    """Over the words' variance, by leaving out a tenth of the images at a time, those drawn together together."""
    first, scale = words.halves[0], words.spread
    n = len(tokens)

    rows = np.concatenate(tokens)
    # chosen once: other tokens in every sample would count as a difference between images
    chosen = np.linspace(0, len(rows) - 1, min(len(first), len(rows))).astype(int)
    seen, image = (
        rows[chosen].astype(np.float64),
        np.repeat(np.arange(n), [len(own) for own in tokens])[chosen],
    )
    value = frechet(seen, first) / scale
    if drawn.worth < max(LEAST_IMAGES, GROUPS):
        return drawn.floored(Score(value, math.nan, math.nan, n, None, ""), LEAST_IMAGES)
    without = np.array(
        [frechet(seen[drawn.group[image] % GROUPS != group], first) / scale for group in range(GROUPS)]
    )
    error = float(np.sqrt((GROUPS - 1) / GROUPS * np.square(without - without.mean()).sum()))
    reach = float(stats.t.ppf(0.975, GROUPS - 1)) * error
    of_what = "images" if drawn.independent else f"the {drawn.unit}"
    method = f"95 % jackknife t interval over {GROUPS} groups of {of_what}, {len(first):,} words held fixed"
    return Score(value, max(0.0, value - reach), value + reach, n, None, method)


def token_figures(
    sample: TokenSample, words: Float[np.ndarray, "v d"] | None, drawn: Drawn | None = None
) -> tuple[Columns, Scores, dict[str, Any]]:
    """Effective ranks of both sides' tokens and, with words, how the tokens lie beside them; what it rests on."""
    columns: Columns = {}
    scores: Scores = {}
    for side, tokens in (("pre", sample.pre), ("post", sample.post)):
        principal = Principal.of(np.concatenate(tokens))
        image = np.repeat(np.arange(len(tokens)), [len(own) for own in tokens])
        if (found := spectral_influences(principal)) is not None:
            scores[f"token_erank_{side}"] = plain(clustered(*found["erank"], image, drawn))
    noted: dict[str, Any] = {"images": len(sample), "tokens": sum(map(len, sample.post))}
    width = sample.post[0].shape[1]
    known = None if words is None else KnownWords.of(words, width)
    if known is None:
        return columns, scores, noted
    found_columns, found_scores = beside_the_words(sample.post, known, drawn)
    columns |= found_columns
    scores |= {name: plain(score) for name, score in found_scores.items()}
    first, second = known.halves
    floor = Score(
        frechet(first, second) / known.spread, math.nan, math.nan, len(first), None, "two halves of the words"
    )
    scores["text_frechet_floor"] = plain(floor)
    copies = [beside_the_words(own, known, drawn) for own in sample.untrained]
    for name in found_scores if copies else ():
        scores[f"untrained_{name}"] = _over_seeds([own[name] for _, own in copies])
        if name in found_columns:
            columns[f"untrained_{name}"] = np.mean([own[name] for own, _ in copies], axis=0)
    return columns, scores, noted | {"words": len(known.vectors), "set": len(first)}


def _over_seeds(scores: Sequence[Score]) -> dict[str, Any]:
    first, values = plain(scores[0]), [score.value for score in scores]
    known = all(math.isfinite(score.low) for score in scores)
    first |= {
        "value": float(np.mean(values)),
        "low": min(score.low for score in scores) if known else None,
        "high": max(score.high for score in scores) if known else None,
    }
    if len(values) > 1:
        first |= {"method": f"{scores[0].method}; span over {len(values)} seeds", "seeds": values}
    return first


def sample_of(
    images: Sequence[str], kept: Mapping[str, tuple[np.ndarray, ...]]
) -> tuple[list[int], TokenSample | None]:
    """The images of a gallery whose tokens were sampled, by their row, and their tokens; those that have untrained
    copies' alone where any has. None for none."""
    rows = [row for row, image in enumerate(images) if image in kept]
    most = max((len(kept[images[row]]) for row in rows), default=0)
    rows = [row for row in rows if len(kept[images[row]]) == most]
    if not rows:
        return [], None
    sides = tuple(zip(*(kept[images[row]] for row in rows), strict=True))
    return rows, TokenSample(sides[0], sides[1], sides[2:])
