"""How often what is printed holds: 95 % intervals of the truth, and tests at .05 where there is no effect.

    python -m benchmarks.coverage [--simulations 500] [--only lost]

The table of docs/AGREEMENT.md. Each simulation draws other images, or connectors, from the same distribution. `given`
is the share of simulations that are above the floors of `connector_bench.stats.floors`. The truth is known, or the
figure of very many images; where images are each other's gallery, or answers go with losses, it is the mean over all
simulations, or chance for independent sides. A coverage's own standard error is .01 for 500 simulations of 95 %, and
.005 where simulations are cheap and four times as many.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from scipy import special
from tabulate import tabulate
from tqdm import tqdm

from connector_bench.association.across import correlate
from connector_bench.association.pairs import pairs_of
from connector_bench.association.values import JoinedTable, Pair, Point, SeedValue, Settings, Tested
from connector_bench.preservation import geometry, influence, knn
from connector_bench.preservation.design_effect import design_effects
from connector_bench.preservation.overlap import CommonNeighbours
from connector_bench.preservation.overlap_interval import Halvings, depth, overlap_scores
from connector_bench.preservation.principal import Principal
from connector_bench.preservation.retrieval import retrieval
from connector_bench.preservation.side import RANKED, both_sides
from connector_bench.reconstruction.scores import ratio_score
from connector_bench.stats.intervals import Score
from connector_bench.stats.paired import Sums, difference, halved_difference

KS = (1, 10, 50)
CLASSES = 16
MANY = 1_000_000
Sides = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Outcome:
    """One figure of one simulation."""

    value: float
    low: float
    high: float
    p: float | None = None

    @classmethod
    def of(cls, found: Score | Tested) -> Outcome:
        if isinstance(found, Score):
            return cls(found.value, found.low, found.high)
        return cls(found.score.value, found.score.low, found.score.high, found.p)


@dataclass(frozen=True)
class Setting:
    """What is simulated, and what is measured of it."""

    family: str
    name: str
    draw: Callable[[np.random.Generator, int], Mapping[str, Outcome]]
    truth: Callable[[], Mapping[str, float]] | None = None
    """None: the mean over the simulations."""
    null: bool = False
    """Whether there is no effect, so that p-values are to be uniform."""


def images_lost(rng: np.random.Generator, n: int, spread: float, leaning: float) -> Sides:
    """Squared errors and totals by image: totals log-normal, and the share lost leaning on them."""
    totals = rng.lognormal(0, spread, n)
    lost = special.expit(-1 + leaning * np.log(totals) + 0.7 * rng.normal(size=n))
    return totals * lost, totals


def of_lost(n: int, spread: float, leaning: float, name: str) -> Setting:
    def draw(rng: np.random.Generator, _: int) -> Mapping[str, Outcome]:
        errors, totals = images_lost(rng, n, spread, leaning)
        return {"lost": Outcome.of(ratio_score(errors.tolist(), totals.tolist(), chance=1.0))}

    def truth() -> Mapping[str, float]:
        errors, totals = images_lost(np.random.default_rng(99), 10 * MANY, spread, leaning)
        return {"lost": float(errors.sum() / totals.sum())}

    return Setting("lost", f"{name}, N = {n}", draw, truth)


def of_paired(n: int, spread: float, leaning: float, name: str) -> Setting:
    def draw(rng: np.random.Generator, _: int) -> Mapping[str, Outcome]:
        totals = rng.lognormal(0, spread, n)
        shared = leaning * np.log(totals) + 0.7 * rng.normal(size=n)
        both = [totals * special.expit(-1 + shared + 0.3 * rng.normal(size=n)) for _ in range(2)]
        found = difference(*(Sums(errors, totals) for errors in both))
        return {"difference of lost": Outcome(found.value, found.low, found.high, found.p)}

    return Setting("paired", f"{name}, N = {n}", draw, lambda: {"difference of lost": 0.0}, null=True)


def of_accuracy(n: int, apart: float) -> Setting:
    def draw(rng: np.random.Generator, _: int) -> Mapping[str, Outcome]:
        chosen = rng.random(n)
        first, second = (chosen < 0.6).astype(float), ((chosen + apart) % 1 < 0.6).astype(float)
        found = difference(Sums(first, np.ones(n)), Sums(second, np.ones(n)))
        return {"difference of accuracy": Outcome(found.value, found.low, found.high, found.p)}

    name = f"{2 * apart:.0%} of answers differ, N = {n}"
    return Setting("paired", name, draw, lambda: {"difference of accuracy": 0.0}, null=True)


def related(rng: np.random.Generator, n: int, *noises: float) -> list[np.ndarray]:
    """A side, and bent copies of it with noise."""
    scale = np.arange(1, 13) ** -0.5
    first = rng.normal(size=(n, 12)) * scale
    copies = [np.tanh(first) + noise * rng.normal(size=(n, 12)) * scale for noise in noises]
    return [side.astype(np.float32) for side in (first, *copies)]


def independent(rng: np.random.Generator, n: int, d: int) -> list[np.ndarray]:
    return [rng.normal(size=(n, d)).astype(np.float32) for _ in range(2)]


def of_overlap(n: int, noise: float | None) -> Setting:
    """Related sides, or with no noise named, independent ones."""
    ks = [k for k in KS if k + 1 < n // 2]

    def draw(rng: np.random.Generator, seed: int) -> Mapping[str, Outcome]:
        sides = independent(rng, n, 48) if noise is None else related(rng, n, noise)
        lists = (knn.neighbours(side, depth(max(ks), n)) for side in sides)
        return {f"knor_{k}": Outcome.of(s) for k, s in overlap_scores(*lists, ks, seed=seed).items()}

    def chance() -> Mapping[str, float]:
        return {f"knor_{k}": knn.chance(k, n) for k in ks}

    name = "independent sides" if noise is None else f"noise {noise:g}"
    return Setting("overlap", f"{name}, N = {n}", draw, None if noise is not None else chance)


def of_two_overlaps(n: int, k: int) -> Setting:
    def draw(rng: np.random.Generator, seed: int) -> Mapping[str, Outcome]:
        before, *after = (knn.neighbours(side, depth(k, n)) for side in related(rng, n, 0.5, 0.5))
        common = [CommonNeighbours.of(before, lists) for lists in after]
        halvings = Halvings.of(before, [k], seed=seed)
        gaps = [halvings.gaps(one)[:, 0] for one in common]
        values = [float(one.overlap(k).mean()) for one in common]
        found = halved_difference(*values, *gaps, images=n, k=k)
        return {f"difference of knor_{k}": Outcome(found.value, found.low, found.high, found.p)}

    return Setting(
        "paired", f"two connectors alike, N = {n}", draw, lambda: {f"difference of knor_{k}": 0.0}, null=True
    )


def of_geometry(n: int, noise: float) -> Setting:
    def draw(rng: np.random.Generator, seed: int) -> Mapping[str, Outcome]:
        sides = related(rng, n, noise)
        pre, post = both_sides(*sides, RANKED, seed=seed)
        effects = design_effects(pre.sample, post.sample, [geometry.rank_geometry_in_halves], seed=seed)
        found = geometry.rank_geometry(pre, post, effects)[1]
        axes = [Principal.of(side) for side in sides]
        found |= {"cka": influence.debiased_cka(*axes), "procrustes": influence.procrustes(*axes)}
        found |= {f"{name}_post": score for name, score in influence.spectral(axes[1]).items()}
        return {name: Outcome.of(score) for name, score in found.items()}

    return Setting("geometry", f"noise {noise:g}, N = {n}", draw)


def of_retrieval(n: int) -> Setting:
    """Classes lie apart on both sides."""
    centres = 0.7 * np.random.default_rng(0).normal(size=(CLASSES, 12)).astype(np.float32)

    def draw(rng: np.random.Generator, seed: int) -> Mapping[str, Outcome]:
        labels = rng.integers(0, CLASSES, n)
        sides = [side + centres[labels] for side in related(rng, n, 1.0)]
        return {
            name: Outcome.of(score) for name, score in retrieval(*sides, labels, seed=seed).scores.items()
        }

    return Setting("retrieval", f"{CLASSES} classes, noise 1, N = {n}", draw)


def pair_of(rng: np.random.Generator, n: int, failing: float, effect: float, questions: int) -> Pair | None:
    """Answers that fail the more their image loses; a share of `failing` fails, exactly so without an effect."""
    loss = rng.normal(size=n).repeat(questions)
    hard = rng.normal(size=n).repeat(questions) + (questions > 1) * rng.normal(size=n * questions)
    hard = effect * loss + math.sqrt(1 - effect**2) * hard / math.sqrt(1 + (questions > 1))
    failed = hard > (np.quantile(hard, 1 - failing) if effect == 0 else special.ndtri(1 - failing))
    table = JoinedTable(
        model="m",
        connector_task="c",
        score_task="s",
        identity="number",
        documents=tuple(range(len(loss))),
        images=tuple(map(str, np.arange(n).repeat(questions))),
        losses={"lost": loss},
        baselines={"entropy": 0.5 * loss + 0.9 * rng.normal(size=n).repeat(questions)},
        scores={"accuracy": 1.0 - failed},
        higher_is_better={"accuracy": True},
    )
    pairs, _ = pairs_of(table, Settings())
    return pairs[0] if pairs else None


def figures_of(pair: Pair | None) -> dict[str, Outcome]:
    if pair is None:
        return {}
    found = {"Spearman": pair.spearman}
    if pair.partial:
        found["partial Spearman"] = pair.partial.correlation
    if pair.quartiles:
        found["quartiles' difference"] = pair.quartiles.difference
    if pair.prediction:
        found["AUROC"] = pair.prediction.auroc
    return {name: Outcome.of(one) for name, one in found.items()}


def of_failures(n: int, failing: float, effect: float = 0.0, questions: int = 1) -> Setting:
    def draw(rng: np.random.Generator, _: int) -> Mapping[str, Outcome]:
        return figures_of(pair_of(rng, n, failing, effect, questions))

    def nothing() -> Mapping[str, float]:
        return {"Spearman": 0, "partial Spearman": 0, "quartiles' difference": 0, "AUROC": 0.5}

    asked = f", {questions} questions an image" if questions > 1 else ""
    name = f"{failing:.0%} of N = {n} fail{asked}" + (f", effect {effect:g}" if effect else "")
    return Setting("ranks", name, draw, None if effect else nothing, null=effect == 0)


def of_connectors(n: int, rho: float) -> Setting:
    """The scatter of three seeds weakens the correlation of their means."""

    def draw(rng: np.random.Generator, seed: int) -> Mapping[str, Outcome]:
        true = rng.multivariate_normal([0, 0], [[1, rho], [rho, 1]], n)
        values = true[:, None] + 0.3 * rng.normal(size=(n, 3, 2))
        points = tuple(
            Point(str(i), "trained", tuple(SeedValue(str(s), *v) for s, v in enumerate(held)), *held.mean(0))
            for i, held in enumerate(values)
        )
        return {"Spearman across": Outcome.of(correlate(points, Settings(seed=seed)))}

    def truth() -> Mapping[str, float]:
        return {"Spearman across": 6 / np.pi * np.arcsin(rho / (1 + 0.3**2 / 3) / 2)}

    return Setting("across", f"{n} connectors, correlation {rho:g}", draw, truth, null=rho == 0)


SETTINGS = (
    of_lost(60, 1.5, -0.5, "heavy tails that lose less"),
    of_lost(60, 1.0, 0.0, "heavy tails"),
    of_lost(60, 2.0, 0.0, "heavier tails"),
    *(of_lost(n, 0.4, 0.0, "ordinary") for n in (20, 60, 150, 300)),
    of_paired(60, 1.5, -0.5, "heavy tails"),
    *(of_paired(n, 0.4, 0.0, "ordinary") for n in (20, 60, 300)),
    *(of_accuracy(n, apart) for n, apart in ((60, 0.1), (150, 0.05), (300, 0.1))),
    *(of_two_overlaps(n, 10) for n in (100, 150)),
    *(of_overlap(n, noise) for n in (60, 150, 400) for noise in (0.3, 1.0, None)),
    *(of_geometry(n, noise) for n in (100, 300) for noise in (0.3, 1.0)),
    *(of_retrieval(n) for n in (150, 400)),
    *(of_failures(*given) for given in ((60, 0.1), (60, 0.2), (60, 0.5), (150, 0.1), (20, 0.5))),
    of_failures(60, 0.2, questions=3),
    *(of_failures(*given, effect=0.5) for given in ((60, 0.2), (150, 0.1), (300, 0.5))),
    *(of_connectors(n, rho) for n in (8, 9, 10, 13) for rho in (0.0, -0.5, -0.8, -0.95)),
)
"""Below the floors nothing is given: 4 to 7 connectors, 5 failures, knor_10 of two connectors on 60 images."""

CHEAP = ("lost", "across")
COLUMNS = ("setting", "figure", "given", "coverage", "type I", "half-width")


def simulate(setting: Setting, simulations: int) -> Iterator[list[object]]:
    """A row of the table for every figure of a setting."""
    rng = np.random.default_rng(5)
    if setting.family in CHEAP:
        simulations *= 4
    steps = tqdm(
        range(simulations), desc=f"{setting.family}: {setting.name}", unit="simulation", disable=None
    )
    found = [setting.draw(rng, seed) for seed in steps]
    truths = setting.truth() if setting.truth else None
    for name in dict.fromkeys(name for one in found for name in one):
        having = [one[name] for one in found if name in one]
        given = [one for one in having if math.isfinite(one.low)]
        if not given:
            yield [setting.name, name, 0.0, None, None, None]
            continue
        truth = truths[name] if truths else float(np.mean([one.value for one in having]))
        tested = [one.p for one in given if one.p is not None]
        yield [
            setting.name,
            name,
            len(given) / simulations,
            float(np.mean([one.low <= truth <= one.high for one in given])),
            float(np.mean(np.array(tested) <= 0.05)) if setting.null and tested else None,
            float(np.mean([one.high - one.low for one in given])) / 2,
        ]


def rows(settings: Iterable[Setting], simulations: int) -> list[list[object]]:
    """The table's rows."""
    return [row for setting in settings for row in simulate(setting, simulations)]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--simulations", type=int, default=500)
    families = list(dict.fromkeys(setting.family for setting in SETTINGS))
    parser.add_argument("--only", choices=families, help="one family of settings")
    options = parser.parse_args()
    chosen = [setting for setting in SETTINGS if options.only in (None, setting.family)]
    print(f"{options.simulations} simulations each\n")
    table = rows(chosen, options.simulations)
    print(tabulate(table, headers=COLUMNS, floatfmt=("", "", ".2f", ".3f", ".3f", ".4f"), tablefmt="github"))


if __name__ == "__main__":
    main()
