"""What a run costs on a GPU beside the bare vision tower and connector, as ratios in one run.

    python -m benchmarks.gpu --only bare,pass --geometry llava qwen2_5_vl --pictures 2500 --json found.json
    python -m benchmarks.gpu --tiny          # the same code on a CPU in a minute or two

Sections: `bare` (tower and connector in batches of 8, 32 and 64, decoding, preparing), `pass` (both tasks alone
through lmms-eval), `fit` (230,400 patches of 400 pictures with everything in it), `search` (118,000 x 1024, k = 100,
beside plain cdist and topk) and `whole` (both tasks in one run). Four fifths of `--pictures` train. Every time of
the device is taken after it has been waited for, the median of rounds after a warm-up. A section that fails prints
why, and the rest goes on.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

from benchmarks import harness_run, released
from benchmarks.findings import Finding, machine, table
from benchmarks.stages import Bench, fit, say, search
from connector_bench.connectors.transformers_adapter import get_image_features

BATCHES = (8, 32, 64)
LEAST_OF_BARE = {"knn": 0.8, "training": 0.6, "scoring": 0.6}
MOST_OVER_BARE = {"knn": 1.1, "training": 1.5}


def decoded(path: Path) -> Image.Image:
    return Image.open(path).convert("RGB")


def bare(bench: Bench, name: str) -> None:
    """Tower and connector alone, and what comes before them."""
    path = bench.checkpoint(name)
    model = AutoModelForImageTextToText.from_pretrained(path, dtype="auto").to(bench.device).eval()
    prepare = AutoProcessor.from_pretrained(path).image_processor
    files = bench.files[:256]
    pictures = [decoded(file) for file in files]
    one = bench.seconds(lambda: [decoded(file) for file in files], rounds=1, warm_up=0)
    with ThreadPoolExecutor() as threads:
        many = bench.seconds(lambda: list(threads.map(decoded, files)), rounds=3, warm_up=1)
    bench.note(Finding(f"{name}: decoding, one thread", len(files) / one, "images/s"))
    bench.note(Finding(f"{name}: decoding, all threads", len(files) / many, "images/s"))
    sizes = BATCHES if bench.device != "cpu" else BATCHES[:1]
    bench.bare[name] = max(rate_of_forward(bench, model, prepare, pictures[:size], name) for size in sizes)
    some = pictures[:32]
    for place in dict.fromkeys(["cpu", bench.device]):
        taken = bench.seconds(partial(prepare, images=some, return_tensors="pt", device=place), 5, 1)
        bench.note(Finding(f"{name}: preparing on {place}, batches of 32", len(some) / taken, "images/s"))


def rate_of_forward(bench: Bench, model: Any, prepare: Any, pictures: list[Image.Image], name: str) -> float:
    """Images a second; on a CPU with preparing, which the model waits for there."""
    on_cpu = bench.device == "cpu"

    def prepared() -> Any:
        inputs = prepare(images=pictures, return_tensors="pt").to(bench.device)
        return inputs.to(model.dtype)  # floating tensors alone

    ready = prepared()

    def forward() -> None:
        with torch.inference_mode():
            get_image_features(model, prepared() if on_cpu else ready)

    rate = len(pictures) / bench.seconds(forward)
    what = "processor, tower and connector" if on_cpu else "bare tower and connector"
    bench.note(Finding(f"{name}: {what}, batches of {len(pictures)}", rate, "images/s"))
    return rate


def passes(bench: Bench, name: str) -> None:
    """Each task alone through lmms-eval; the bars of its passes over the bare tower and connector."""
    count = len(bench.files)
    for kind, tasks in (("knn", [harness_run.KNN]), ("reconstruction", [harness_run.RECONSTRUCTION])):
        ran = through_harness(bench, name, tasks)
        bars = {"knn": harness_run.TEST_BAR}
        if kind == "reconstruction":
            bars = {"training": harness_run.TRAINING_BAR, "scoring": harness_run.TEST_BAR}
        for what, title in bars.items():
            if title not in ran.bars or name not in bench.bare:
                say(
                    f"{name}, {what}: not measured ({'no bar ' + title if name in bench.bare else 'no bare rate'})"
                )
                continue
            bar = ran.bars[title]
            words = f"{bar.rate:.0f} images/s over {bar.count} of {count}, {bar.steady_rate:.0f} after the first batch"
            share, target = bar.rate / bench.bare[name], LEAST_OF_BARE[what]
            if bench.device == "cpu":
                limit = None if bench.tiny else MOST_OVER_BARE.get(what)
                bench.note(Finding(f"{name}: {what} pass, time over bare", 1 / share, most=limit, note=words))
            else:
                bench.note(Finding(f"{name}: {what} pass over bare", share, least=target, note=words))


def through_harness(bench: Bench, name: str, tasks: list[str]) -> harness_run.HarnessRun:
    """A run, told: every bar, where the record says that time went, and what went wrong."""
    path, pictures = bench.checkpoint(name), bench.folder / "pictures"
    _ = bench.files
    if bench.device != "cpu":
        torch.cuda.empty_cache()
    wrapper = released.GEOMETRIES[name].wrapper
    ran = harness_run.run(wrapper, path, pictures, tasks, bench.device, bench.limit)
    say(f"{name}, {', '.join(tasks)}: {ran.seconds:.1f} s {ran.problem}")
    for title, bar in ran.bars.items():
        print(
            f"    {bar.begun:6.1f} to {bar.ended:6.1f} s  {title}: {bar.count}, {bar.rate:.1f}/s", flush=True
        )
    for task, record in ran.records.items():
        print(f"    {task}: timing {json.dumps(record.get('ran'))}", flush=True)
    return ran


def whole(bench: Bench, name: str) -> None:
    """Both tasks in one run; loading is what precedes the first bar that is not its own."""
    ran = through_harness(bench, name, [harness_run.KNN, harness_run.RECONSTRUCTION])
    passed = [bar.begun for title, bar in ran.bars.items() if not title.startswith("Loading")]
    begun = min(passed, default=0.0)
    seconds = ran.seconds - begun if ran.ended else float("nan")
    targets = {
        harness_run.TRAINING_BAR: ("training pass", LEAST_OF_BARE["training"]),
        harness_run.TEST_BAR: ("test pass, both tasks", None),
    }
    for title, (words, least) in targets.items():
        if title in ran.bars and name in bench.bare:
            bar = ran.bars[title]
            share = bar.rate / bench.bare[name]
            note = f"{bar.rate:.0f} images/s over {bar.count}"
            bench.note(Finding(f"{name}: {words}, over bare", share, least=least, note=note))
    note = f"of {ran.seconds:.0f} s with loading; {ran.problem}".removesuffix("; ")
    what = f"{name}: both tasks in one run, {len(bench.files)} pictures, four fifths of them for training"
    bench.note(Finding(what, seconds, "s", most=150 if len(bench.files) == 25_000 else None, note=note))


FOR_EACH: dict[str, Callable[[Bench, str], None]] = {"bare": bare, "pass": passes, "whole": whole}
ONCE: dict[str, Callable[[Bench], None]] = {"fit": fit, "search": search}


def attempt(work: Callable[..., None], *arguments: object) -> None:
    """An error is printed, and the rest goes on."""
    try:
        work(*arguments)
    except Exception:
        say(f"{getattr(work, '__name__', work)} FAILED\n{traceback.format_exc(limit=-4)}")
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def run_sections(bench: Bench, sections: Sequence[str], geometries: Sequence[str]) -> list[Finding]:
    """In the order given; a geometry's sections follow one another, so that ratios meet the same card."""
    for section in (one for one in sections if one in ONCE):
        attempt(ONCE[section], bench)
    for name in geometries:
        for section in (one for one in sections if one in FOR_EACH):
            attempt(FOR_EACH[section], bench, name)
    return bench.found


def where(device: str) -> str:
    return f"{machine()}; {torch.cuda.get_device_name() if device != 'cpu' else 'no GPU'}, torch {torch.__version__}"


def parser(description: str | None) -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--only", default="bare,pass,fit,search,whole", help="sections, with commas")
    made.add_argument(
        "--geometry", nargs="+", choices=released.GEOMETRIES, default=list(released.GEOMETRIES)[:3]
    )
    made.add_argument("--pictures", type=int, default=2500, help="four fifths of them train")
    made.add_argument("--limit-s", type=float, default=300, help="after which one run of lmms-eval is ended")
    made.add_argument("--json", type=Path, help="where to write the findings")
    made.add_argument("--tiny", action="store_true", help="tiny sizes on the CPU: shows that all runs")
    return made


def main(description: str | None = __doc__, **defaults: Any) -> None:
    making = parser(description)
    making.set_defaults(**defaults)
    options = making.parse_args()
    device = "cpu" if options.tiny or defaults.get("device") == "cpu" else "cuda"
    sections = options.only.split(",")
    if unknown := set(sections) - FOR_EACH.keys() - ONCE.keys():
        making.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join([*FOR_EACH, *ONCE])}")
    pictures = min(options.pictures, 150) if options.tiny else options.pictures
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(device, options.tiny, pictures, options.limit_s, Path(folder))
        found = run_sections(bench, sections, options.geometry)
    print(f"\n{where(device)}\n\n{table(found)}", flush=True)
    if options.json:
        rows = [asdict(finding) | {"verdict": finding.verdict} for finding in found]
        options.json.write_text(json.dumps({"machine": where(device), "findings": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
