"""What a larger budget of the probe ladder gains: scenes x steps x width, and other probes, for every zoo connector.

    python -m benchmarks.budget --device cuda --scenes 9600 --json budget.json

Training scenes continue the committed ones (their split `probe`, of which the first are the same), 400 more choose the
weights, and the committed test scenes test. Scenes are made by as many processes as there are processors and encoded
once; then one connector after the other is fitted, its fits in order of what they tell, within its share of
`--minutes`. Every fit is printed and written as it ends. `today` is the ladder with the budget of protocol 1 on its
committed scenes; the others change one thing at a time against `base`. Seconds are of training, with its evaluations.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.budget_data import Connected, encoded
from benchmarks.budget_fit import Candidate, Problem, fitted, problem_of
from benchmarks.budget_summary import summary
from benchmarks.findings import machine
from connector_bench.atomic_files import write_atomically
from connector_bench.zoo.named_connectors import CONNECTORS, NOTHING_TO_TRAIN

VALIDATION = 400
COMMITTED = 1080
"""Scenes that today's ladder learns from; the other 120 of its 1,200 choose."""
ORDER = (
    "mlp",
    "c_abstractor",
    "avg_pool",
    "resampler",
    "rank32",
    "pixel_shuffle",
    "patch_merger",
    "rank8",
    "rank2",
)
Fit = tuple[int, Candidate]


def fits_of_cells(scenes: int, steps: int, cells: int) -> Iterator[Fit]:
    """Fits of a connector whose tokens have places, `cells` an image; those that tell most come first."""
    base = Candidate("base", steps)
    few = min(COMMITTED, scenes)
    rows = 80_000
    today = 5 * math.ceil(min(rows, few * cells) / 256)
    yield few, Candidate("today", today, width=512, batch=256, rows=rows)
    for part in (1, 2, 4, 8, 16):
        yield scenes // part, base
    context = replace(base, name="3x3 tokens", context=True)
    yield scenes, context
    yield scenes // 2, context
    yield scenes, replace(base, name="steps x4", steps=4 * steps)
    yield scenes, replace(base, name="width 2048", width=2048)
    yield scenes, replace(base, name="width 512", width=512)
    yield scenes, replace(base, name="steps /4", steps=steps // 4)
    yield scenes, replace(base, name="another seed", seed=1)
    for part in (16, 8, 4):
        yield scenes // part, replace(base, name="steps /4", steps=steps // 4)
    yield scenes // 4, context
    yield from trainings(scenes // 4, base)
    yield scenes // 2, replace(base, name="steps x4", steps=4 * steps)
    yield scenes, replace(context, name="3x3 tokens, width 2048, steps x4", width=2048, steps=4 * steps)
    yield scenes, replace(base, name="width 2048, steps x4", width=2048, steps=4 * steps)


def trainings(scenes: int, base: Candidate) -> Iterator[Fit]:
    """The same probe, trained otherwise."""
    yield scenes, replace(base, name="rate 1e-3", rate=1e-3)
    yield scenes, replace(base, name="rate 1e-2", rate=1e-2)
    yield scenes, replace(base, name="batch 512", batch=512)
    yield scenes, replace(base, name="batch 16384", batch=16_384)
    yield scenes, replace(base, name="averaged weights", averaged=True)
    yield scenes, replace(base, name="four layers", layers=4)


def fits_of_images(scenes: int, steps: int) -> Iterator[Fit]:
    """The same of a connector whose tokens have no place."""
    base = Candidate("base", steps // 2, width=256, batch=64, rate=1e-3)
    few = min(COMMITTED, scenes)
    yield few, Candidate("today", 10 * math.ceil(few / 16), width=128, batch=16, rate=2e-3)
    for part in (1, 2, 4, 8, 16):
        yield scenes // part, base
    yield scenes, replace(base, name="steps x4", steps=2 * steps)
    yield scenes, replace(base, name="width 512", width=512)
    yield scenes, replace(base, name="steps /4", steps=steps // 8)
    yield scenes, replace(base, name="rate 2e-3", rate=2e-3)
    yield scenes, replace(base, name="196 patches", patches=196)
    yield scenes, replace(base, name="width 128", width=128)
    yield scenes // 16, replace(base, name="steps /4", steps=steps // 8)
    yield scenes // 2, replace(base, name="steps x4", steps=2 * steps)


@dataclass(frozen=True)
class Study:
    """What is asked, and where the answer goes."""

    scenes: int
    steps: int
    seed: int
    end: float
    """By `time.monotonic`, when the last fit may begin."""
    write: Callable[[dict[str, Any]], None]


def studied(study: Study, names: list[str], pre: dict[str, torch.Tensor], found: dict[str, Any]) -> None:
    """Fit all connectors; each has an equal share of the time that the ones before it have left."""
    for number, name in enumerate(names):
        began = time.monotonic()
        share = (study.end - began) / (len(names) - number)
        data = Connected.of(name, study.seed, pre, VALIDATION if study.scenes >= VALIDATION else 40)
        own: dict[str, Any] = {
            "tokens": data.layout.tokens,
            "placed": data.layout.grid is not None,
            "fits": [],
        }
        found["connectors"][name] = own
        fit_all(study, data, began + share, own["fits"], lambda: study.write(found))
        if pre["test"].is_cuda:
            torch.cuda.empty_cache()


def fit_all(
    study: Study, data: Connected, until: float, fits: list[dict[str, Any]], write: Callable[[], None]
) -> None:
    """One connector's fits, as many as there is time for."""
    problems: dict[tuple[Any, ...], Problem] = {}
    placed = data.layout.grid is not None
    plan = (
        fits_of_cells(study.scenes, study.steps, data.layout.tokens)
        if placed
        else fits_of_images(study.scenes, study.steps)
    )
    pace = 0.0
    for scenes, candidate in plan:
        if fits and time.monotonic() + pace * candidate.steps > until:
            continue
        key = (scenes, candidate.context, candidate.rows, candidate.patches)
        began = time.monotonic()
        if key not in problems:
            problems[key] = problem_of(data, scenes, candidate)
        preparing = time.monotonic() - began
        fit = {
            "scenes": scenes,
            **asdict(candidate),
            **fitted(problems[key], candidate),
            "preparing": preparing,
        }
        pace = fit["seconds"] / candidate.steps
        fits.append(fit)
        write()
        print(
            f"{data.name:14} {candidate.name:34} {scenes:6} scenes {candidate.steps:6} steps: lost "
            f"{1 - fit['test_r2']:.4f} (ridge {1 - fit['ridge_r2']:.4f}), best at {fit['best_step']}, "
            f"{fit['seconds']:.1f} s, prepared in {preparing:.1f} s",
            flush=True,
        )
        if fit["best_step"] == 0 and fit["validation_r2"][0][1] > 1 - 1e-5:
            return  # the ridge is exact, and nothing else can be learnt of this connector


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    trained = [*ORDER, *(name for name in CONNECTORS if name not in (*ORDER, *NOTHING_TO_TRAIN))]
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--scenes", type=int, default=9600, help="to learn from at most, a multiple of 16")
    parser.add_argument("--test", type=int, default=1000, help="committed test scenes")
    parser.add_argument("--steps", type=int, default=4000, help="of the base candidate")
    parser.add_argument("--seed", type=int, default=0, help="of the connectors")
    parser.add_argument("--connectors", nargs="*", default=trained, choices=trained)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--minutes", type=float, default=5.5, help="after which no fit begins")
    parser.add_argument("--json", type=Path, help="where to write what is found, after every fit")
    options = parser.parse_args()
    began, device = time.monotonic(), torch.device(options.device)

    def write(found: dict[str, Any]) -> None:
        if options.json is not None:
            write_atomically(options.json, json.dumps(found, indent=1).encode())

    validation = VALIDATION if options.scenes >= VALIDATION else 40
    card = torch.cuda.get_device_name(device) if device.type == "cuda" else "none"
    print(f"{machine()}; card {card}; torch {torch.__version__}", flush=True)
    pre = encoded({"probe": options.scenes + validation, "test": options.test}, device, options.workers)
    print(
        f"{options.scenes + validation + options.test} scenes encoded after {time.monotonic() - began:.0f} s",
        flush=True,
    )
    found: dict[str, Any] = {
        "machine": machine(),
        "card": card,
        "torch": torch.__version__,
        "scenes": options.scenes,
        "validation_scenes": validation,
        "test_scenes": options.test,
        "seed": options.seed,
        "connectors": {},
    }
    end = began + 60 * options.minutes
    studied(Study(options.scenes, options.steps, options.seed, end, write), options.connectors, pre, found)
    print(f"\n{summary(found)}\n{time.monotonic() - began:.0f} s in all")


if __name__ == "__main__":
    main()
