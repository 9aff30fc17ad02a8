"""A long run through lmms-eval's command line: resident memory and pictures a second, thousand by thousand.

    python -m benchmarks soak --pictures 20000 --training 4000 --processes 2

Both tasks measure all `--pictures`, JPEGs of unequal sizes; probes learn from `--training` others. The model is a
tiny LLaVA with Pixtral's tower, whose images have unequal numbers of tokens: what is to be seen is what a run keeps of
every picture, not how fast a tower is. Memory of every process is read whenever the bar of a pass has come a step
further, and every silence of more than two seconds is noted with what was said last.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import psutil
from PIL import Image
from tabulate import tabulate

from benchmarks.findings import Finding, machine, table
from benchmarks.harness_run import TEST_BAR, TRAINING_BAR, bar_in, said
from connector_bench import tasks
from connector_bench.results.harness_files import result_files
from tests import tiny_vlms

KNN, RECONSTRUCTION = "soak_preservation", "soak_reconstruction"
TRAINING, TEST = "training", "test"
READING_BAR = "Reading pictures"
STEP = 1000
"""Pictures of all processes between two rows."""
SETTLED = 0.25
"""Share of a pass after which its memory should be flat: libraries have started and caches have filled."""
MOST_GROWTH = 1.0
"""MiB of a process for every thousand pictures that it passes: what is kept of each, figures and two pooled vectors."""
MOST_SLOWDOWN = 1.15
SILENCE = 2.5
"""Seconds without a word that are noted; bars are due after two."""
MOST_SILENCE = 5.0
BUDGET = {
    "patch_pairs": 20_000,
    "validation_pairs": 5_000,
    "mlp_width": 64,
    "schedule": {"epochs": 2},
    "attention_width": 32,
    "attention_heads": 4,
    "attention_schedule": {"epochs": 2, "batch_size": 32},
}
_FUNCTIONS = f"""from connector_bench.tasks.functions import picture
from connector_bench.tasks.picture_folder import image_folder


def _below(folder, index):
    rows = image_folder(index)
    return rows.select([n for n, name in enumerate(rows["image_id"]) if name.startswith(folder + "/")])


def tested(index):
    return _below("{TEST}", index)


def training():
    return _below("{TRAINING}", None)
"""


@dataclass(frozen=True)
class Reading:
    """What was seen when a bar had come so far."""

    count: int
    """Pictures of rank 0."""
    seconds: float
    resident: tuple[float, ...]
    """MiB, by process."""


@dataclass
class Watch:
    """Readings of every bar of a run, at every `step` pictures of rank 0."""

    launcher: int
    step: int
    readings: dict[str, list[Reading]] = field(default_factory=dict)
    silences: list[tuple[float, str]] = field(default_factory=list)
    """Seconds, once the first picture was read, and the line before them."""
    _last: tuple[float, str] | None = None

    def heard(self, line: str) -> None:
        """This was said now."""
        now = time.perf_counter()
        if self._last is not None and now - self._last[0] > SILENCE:
            self.silences.append((now - self._last[0], self._last[1]))
        bar = bar_in(line)
        if bar is not None:
            self._saw(*bar)
        if self._last is not None or (bar is not None and bar[0] == READING_BAR):
            self._last = now, line

    def _saw(self, title: str, count: int) -> None:
        known = self.readings.setdefault(title, [])
        if not known or count >= (known[-1].count // self.step + 1) * self.step:
            known.append(Reading(count, time.perf_counter(), self._resident()))

    def _resident(self) -> tuple[float, ...]:
        ranks = psutil.Process(self.launcher).children()
        return tuple(rank.memory_info().rss / 2**20 for rank in sorted(ranks, key=lambda one: one.pid))


def write_picture(folder: Path, number: int) -> None:
    """A JPEG with sides of 56 to 224 pixels, smooth and noisy, in one of ten folders, which are its classes."""
    rng = np.random.default_rng(number)
    width, height = (int(side) for side in rng.integers(56, 225, 2))
    coarse = Image.fromarray(rng.integers(0, 255, (6, 8, 3)).astype(np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), dtype=np.float32)
    noisy = smooth + 8 * rng.standard_normal(smooth.shape, dtype=np.float32)
    own = folder / f"class{number % 10}"
    own.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(own / f"{number:07d}.jpg", quality=90)


def write_tasks(folder: Path) -> None:
    """Both tasks on all test pictures, with probes from the training pictures."""
    (own,) = tasks.__path__
    folder.mkdir()
    (folder / "functions.py").write_text(_FUNCTIONS, encoding="utf-8")
    for name, base in ((KNN, "knn_preservation"), (RECONSTRUCTION, "patch_reconstruction")):
        text = f"task: {name}\ninclude: {own}/{base}_imagefolder.yaml\nprocess_docs: !function functions.tested\n"
        if name == RECONSTRUCTION:
            text += "connector_bench:\n  train:\n    documents: !function functions.training\n"
            text += "    doc_to_visual: !function functions.picture\n"
            text += "".join(f"  {key}: {json.dumps(value)}\n" for key, value in BUDGET.items())
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")


def soak(work: Path, pictures: int, training: int, processes: int, step: int) -> tuple[Watch, str]:
    """Make pictures, model and tasks in a folder and run; the readings, and what stands against the figures, if any."""
    with ProcessPoolExecutor() as pool:
        for name, numbers in ((TEST, range(pictures)), (TRAINING, range(pictures, pictures + training))):
            list(pool.map(partial(write_picture, work / "pictures" / name), numbers, chunksize=64))
    checkpoint = tiny_vlms.save("llava_pixtral", work)
    write_tasks(work / "tasks")
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc_per_node",
        str(processes),
    ]
    command += ["-m", "lmms_eval", "--model", "llava_hf", "--batch_size", "1", "--log_samples"]
    command += ["--model_args", f"pretrained={checkpoint},device=cpu,device_map=cpu"]
    command += ["--include_path", str(work / "tasks"), "--tasks", f"{KNN},{RECONSTRUCTION}"]
    command += ["--output_path", str(work / "out")]
    process = subprocess.Popen(
        command,
        env=os.environ
        | {"CONNECTOR_BENCH_IMAGE_FOLDER": str(work / "pictures"), "HF_DATASETS_CACHE": str(work / "cache")}
        | {"HF_HUB_OFFLINE": "1", "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
        | {"PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    seen = Watch(process.pid, max(1, step // processes))
    tail: list[str] = []
    try:
        for line in said(process):
            seen.heard(line)
            tail = [*tail[-9:], line[-300:]]
        process.wait()
    finally:
        process.kill()
    return seen, " / ".join(tail) if process.returncode else _problem(work / "out", pictures)


def _problem(output: Path, pictures: int) -> str:
    (path,) = result_files([output])
    configs = json.loads(path.read_text(encoding="utf-8"))["configs"]
    records = {name: configs[name]["metadata"]["connector_bench"] for name in (KNN, RECONSTRUCTION)}
    wrong = {
        name: record.get("error") or f"{record.get('n_images')} images" for name, record in records.items()
    }
    return "; ".join(
        f"{name}: {wrong[name]}" for name, record in records.items() if record.get("n_images") != pictures
    )


def rows(readings: Sequence[Reading], processes: int) -> list[list[float]]:
    """By step: pictures of all processes, their rate since the step before, MiB of each process."""
    return [
        [
            now.count * processes,
            processes * (now.count - before.count) / max(now.seconds - before.seconds, 1e-9),
            *now.resident,
        ]
        for before, now in pairwise(readings)
    ]


def growth(readings: Sequence[Reading]) -> list[float]:
    """MiB of each process for every thousand pictures of its own, by least squares once the pass has settled."""
    settled = readings[int(SETTLED * len(readings)) :]
    if len(settled) < 3:
        return []
    counts = np.array([one.count for one in settled]) / 1000
    return [float(np.polyfit(counts, side, 1)[0]) for side in np.array([one.resident for one in settled]).T]


def slowdown(readings: Sequence[Reading]) -> float:
    """Seconds a picture in the second half of what follows the settling, over those in the first half."""
    settled = readings[int(SETTLED * len(readings)) :]
    middle = settled[len(settled) // 2]
    first, last = (
        (b.seconds - a.seconds) / max(b.count - a.count, 1)
        for a, b in ((settled[0], middle), (middle, settled[-1]))
    )
    return last / first


def findings(seen: Watch) -> list[Finding]:
    """Growth of memory and of the time for a picture, for both passes; the longest silence."""
    longest, after = max(seen.silences, default=(0.0, ""))
    found = [
        Finding(
            "longest silence", longest, "s", most=MOST_SILENCE, note=f"after {after:.60}" if after else ""
        )
    ]
    readings = seen.readings
    for title in (TRAINING_BAR, TEST_BAR):
        grown = growth(readings.get(title, ()))
        if grown:
            each = ", ".join(f"{value:+.2f}" for value in grown)
            what = f"{title}: memory of a process for every 1,000 pictures that it passes"
            found.append(Finding(what, max(grown), "MiB", most=MOST_GROWTH, note=f"by process {each}"))
            what = f"{title}: seconds a picture, later over earlier"
            found.append(Finding(what, slowdown(readings[title]), most=MOST_SLOWDOWN))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pictures", type=int, default=20_000)
    parser.add_argument("--training", type=int, default=4000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--step", type=int, default=STEP, help="pictures of all processes between two rows")
    options = parser.parse_args()
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        seen, problem = soak(Path(folder), **vars(options))
    ranks = [f"process {rank}, MiB" for rank in range(options.processes)]
    for title, readings in seen.readings.items():
        if len(readings) > 1:
            print(
                f"\n{title}, from second {readings[0].seconds - begun:.0f} to {readings[-1].seconds - begun:.0f}\n"
            )
            shown = rows(readings, options.processes)
            print(
                tabulate(shown, headers=["pictures", "pictures/s", *ranks], floatfmt=".0f", tablefmt="github")
            )
    for seconds, line in seen.silences:
        print(f"silent for {seconds:.1f} s after: {line[-150:]}")
    print(f"\n{machine()}; {time.perf_counter() - begun:.0f} s\n\n{table(findings(seen))}")
    if problem:
        sys.exit(f"the run gave no figures of all pictures: {problem}")


if __name__ == "__main__":
    main()
