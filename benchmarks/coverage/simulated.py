"""A setting simulated many times: how often intervals hold the truth, and tests reject where there is nothing."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from benchmarks.coverage.setting import Outcome, Setting

COVERED = (0.93, 0.97)
"""Allowed of 95 % intervals."""
REJECTED = (0.03, 0.07)
"""Allowed of tests at .05 where there is nothing."""
LEVEL = 0.05


@dataclass(frozen=True)
class Share:
    """How often something happened, of so many times that it could."""

    value: float
    of: int

    @property
    def error(self) -> float:
        """Standard error, of at least one case and one other."""
        held = min(max(self.value, 1 / self.of), 1 - 1 / self.of)
        return math.sqrt(held * (1 - held) / self.of)

    def beyond(self, allowed: tuple[float, float]) -> int:
        """-1 below what is allowed by more than two standard errors, 1 above it, else 0."""
        return int(self.value - 2 * self.error > allowed[1]) - int(self.value + 2 * self.error < allowed[0])

    def __str__(self) -> str:
        return f"{self.value:.3f} ± {self.error:.3f}".replace("0.", ".")


@dataclass(frozen=True)
class Row:
    """One figure of a setting."""

    family: str
    setting: str
    figure: str
    simulations: int
    seed: int
    given: float
    """Share of the simulations that are above the floors."""
    coverage: Share | None
    rejected: Share | None
    half_width: float | None

    @property
    def verdict(self) -> str:
        """Whether coverage and type-I error are as stated, as far as so many simulations can tell."""
        if self.coverage is None:
            return "refused"
        wrong = [
            {-1: "covers too rarely", 1: "covers too often", 0: ""}[self.coverage.beyond(COVERED)],
            {-1: "rejects too rarely", 1: "rejects too often", 0: ""}[
                self.rejected.beyond(REJECTED) if self.rejected else 0
            ],
        ]
        return ", ".join(filter(None, wrong)) or "holds"

    @property
    def bold(self) -> bool:
        """Whether more is claimed than holds."""
        return "covers too rarely" in self.verdict or "rejects too often" in self.verdict


def simulate(setting: Setting, simulations: int, seed: int = 0) -> Iterator[Row]:
    """A row for every figure of a setting. Its draws depend on the seed and the setting's name alone."""
    rng = np.random.default_rng([seed, zlib.crc32(f"{setting.family}: {setting.name}".encode())])
    count = simulations * setting.more
    steps = tqdm(range(count), desc=f"{setting.family}: {setting.name}", unit="simulation", disable=None)
    found = [setting.draw(rng, number) for number in steps]
    names = dict.fromkeys(name for one in found for name in one)
    if not names:
        yield _row(setting, "all", count, seed, [], math.nan)
    truths = dict(setting.truth()) if setting.truth else {}
    for name in names:
        outcomes = [one[name] for one in found if name in one]
        truth = truths.get(name, float(np.mean([one.value for one in outcomes])))
        yield _row(setting, name, count, seed, outcomes, truth)


def _row(
    setting: Setting, name: str, count: int, seed: int, outcomes: Sequence[Outcome], truth: float
) -> Row:
    given = [one for one in outcomes if math.isfinite(one.low)]
    p = [one.p for one in outcomes if math.isfinite(one.p)] if setting.null else []
    where = (setting.family, setting.name, name, count, seed, len(given) / count)
    if not given:
        return Row(*where, None, None, None)
    covered = Share(float(np.mean([one.low <= truth <= one.high for one in given])), len(given))
    rejected = Share(float(np.mean(np.array(p) <= LEVEL)), len(p)) if p else None
    return Row(*where, covered, rejected, float(np.mean([one.high - one.low for one in given])) / 2)
