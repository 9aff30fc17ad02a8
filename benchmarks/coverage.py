"""How often 95 % intervals cover the truth: the table of docs/AGREEMENT.md.

    python -m benchmarks.coverage [--simulations 500] [--images 400]

Each simulation draws other images from the same distribution. The truth is chance where both sides are independent,
else the mean over all simulations. A coverage's own standard error is 0.01 for 500 simulations of 95 %.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from tabulate import tabulate
from tqdm import tqdm

from connector_bench.preservation import geometry, influence, knn
from connector_bench.preservation.design_effect import design_effects
from connector_bench.preservation.overlap_interval import depth, overlap_scores
from connector_bench.preservation.principal import Principal
from connector_bench.preservation.retrieval import retrieval
from connector_bench.preservation.side import RANKED, both_sides
from connector_bench.stats.intervals import Score

KS = (1, 10, 50, 100)
CLASSES = 16
Sides = tuple[np.ndarray, np.ndarray]
Draw = Callable[[np.random.Generator, int], Sides]
Measure = Callable[[Sides, int], Mapping[str, Score]]


def related(noise: float) -> Draw:
    """The second side is a bent copy of the first with noise."""

    def draw(rng: np.random.Generator, n: int) -> Sides:
        pre = rng.normal(size=(n, 12)) * np.arange(1, 13) ** -0.5
        post = np.tanh(pre) + noise * rng.normal(size=(n, 12)) * np.arange(1, 13) ** -0.5
        return pre.astype(np.float32), post.astype(np.float32)

    return draw


def independent(d: int) -> Draw:
    """The sides have nothing in common."""

    def draw(rng: np.random.Generator, n: int) -> Sides:
        return rng.normal(size=(n, d)).astype(np.float32), rng.normal(size=(n, d)).astype(np.float32)

    return draw


def overlaps(sides: Sides, seed: int) -> Mapping[str, Score]:
    n = len(sides[0])
    ks = [k for k in KS if k + 1 < n // 2]
    lists = (knn.neighbours(side, depth(max(ks), n)) for side in sides)
    return {f"knor_{k}": score for k, score in overlap_scores(*lists, ks, seed=seed).items()}


def ranks(sides: Sides, seed: int) -> Mapping[str, Score]:
    pre, post = both_sides(*sides, RANKED, seed=seed)
    effects = design_effects(pre.sample, post.sample, [geometry.rank_geometry_in_halves], seed=seed)
    return geometry.rank_geometry(pre, post, effects)[1]


def spectra(sides: Sides, seed: int) -> Mapping[str, Score]:
    pre, post = (Principal.of(side) for side in sides)
    found = {"cka": influence.debiased_cka(pre, post), "procrustes": influence.procrustes(pre, post)}
    return found | {f"{name}_post": score for name, score in influence.spectral(post).items()}


def labelled(sides: Sides, seed: int) -> Mapping[str, Score]:
    """Classes lie apart on both sides."""
    labels = np.random.default_rng(seed + 10**6).integers(0, CLASSES, len(sides[0]))
    centres = np.random.default_rng(0).normal(size=(CLASSES, sides[0].shape[1])).astype(np.float32)
    return retrieval(sides[0] + centres[labels], sides[1] + centres[labels], labels, seed=seed).scores


@dataclass(frozen=True)
class Setting:
    """What is simulated."""

    name: str
    draw: Draw
    measure: Measure
    independent: bool = False


SETTINGS = (
    Setting("related, noise 0.3", related(0.3), overlaps),
    Setting("related, noise 1", related(1.0), overlaps),
    Setting("independent, 3 dimensions", independent(3), overlaps, independent=True),
    Setting("independent, 48 dimensions", independent(48), overlaps, independent=True),
    Setting("related, noise 0.3", related(0.3), ranks),
    Setting("related, noise 1", related(1.0), ranks),
    Setting("related, noise 0.3", related(0.3), spectra),
    Setting("related, noise 1", related(1.0), spectra),
    Setting("16 classes, noise 1", related(1.0), labelled),
)


def covered(setting: Setting, simulations: int, images: int) -> dict[str, float]:
    """Share of simulations whose interval holds the truth, by figure."""
    rng = np.random.default_rng(5)
    steps = tqdm(range(simulations), desc=f"{setting.measure.__name__}: {setting.name}", unit="simulation")
    found = [setting.measure(setting.draw(rng, images), seed) for seed in steps]
    shares = {}
    for name in found[0]:
        scores = [scores[name] for scores in found]
        truth = scores[0].chance if setting.independent else np.mean([score.value for score in scores])
        assert truth is not None
        shares[name] = float(np.mean([score.low <= truth <= score.high for score in scores]))
    return shares


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--simulations", type=int, default=500)
    parser.add_argument("--images", type=int, default=400)
    options = parser.parse_args()
    rows = [
        [name, setting.name, share]
        for setting in SETTINGS
        for name, share in covered(setting, options.simulations, options.images).items()
    ]
    print(f"{options.simulations} simulations of {options.images} images each\n")
    print(tabulate(rows, headers=["interval", "simulated", "covers"], floatfmt=".3f", tablefmt="github"))


if __name__ == "__main__":
    main()
