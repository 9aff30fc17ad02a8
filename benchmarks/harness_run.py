"""One run of lmms-eval's command line in a process of its own, and the rates of its progress bars."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from benchmarks.findings import processor_time
from connector_bench import tasks
from connector_bench.results.harness_files import UnusableResult, result_files

KNN, RECONSTRUCTION = "knn_preservation_benchmark", "patch_reconstruction_imagefolder"
TRAINING_BAR, TEST_BAR = "Training images", "Vision tower and connector"
_KNN_YAML = f"""task: {KNN}
class: !function functions.KnnPreservation
dataset_path: json
dataset_kwargs: {{data_files: {{test: INDEX}}}}
test_split: test
process_docs: !function functions.image_folder_test
doc_to_visual: !function functions.picture
doc_to_text: ""
doc_to_target: ""
metadata: {{version: 1}}
"""
_FUNCTIONS = """from connector_bench.tasks.functions import KnnPreservation, picture
from connector_bench.tasks.picture_folder import image_folder_test
"""


@dataclass
class Bar:
    """When a progress bar was seen first, first with work done, and last, in seconds of the run's clock."""

    begun: float
    count: int = 0
    ended: float = 0.0
    steady_from: tuple[float, int] | None = None

    def seen(self, now: float, count: int) -> None:
        if count and self.steady_from is None:
            self.steady_from = now, count
        self.count, self.ended = count, now

    @property
    def rate(self) -> float:
        """Items a second, start and warm-up with them."""
        return self.count / max(self.ended - self.begun, 1e-9)

    @property
    def steady_rate(self) -> float:
        """The same after the first batch; that of all where there was one alone."""
        since, done = self.steady_from or (self.begun, 0)
        return (self.count - done) / (self.ended - since) if self.ended > since else self.rate


@dataclass
class HarnessRun:
    """What was seen of a run, and the records that it left."""

    seconds: float = 0.0
    ended: bool = False
    """Whether it left results with figures for every task."""
    problem: str = ""
    bars: dict[str, Bar] = field(default_factory=dict)
    records: dict[str, dict[str, object]] = field(default_factory=dict)
    scores: dict[str, dict[str, object]] = field(default_factory=dict)
    """By task, the metrics of the result file without their filter's name."""
    of_memory: list[str] = field(default_factory=list)
    """What it said of memory."""

    def saw(self, title: str, count: int, now: float) -> None:
        """A bar stood at this count, so many seconds after the start."""
        self.bars.setdefault(title, Bar(now)).seen(now, count)


def write_knn_task(folder: Path) -> None:
    """k-NN preservation of the test fifth alone; the plugin's task of a folder takes all of its pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    index = folder / "image_folder.json"
    (own,) = tasks.__path__
    shutil.copy(Path(own) / index.name, index)
    (folder / f"{KNN}.yaml").write_text(_KNN_YAML.replace("INDEX", str(index)), encoding="utf-8")
    (folder / "functions.py").write_text(_FUNCTIONS, encoding="utf-8")


def run(
    wrapper: str,
    checkpoint: Path,
    pictures: Path,
    names: list[str],
    device: str,
    limit: float,
    batch_size: int = 1,
) -> HarnessRun:
    """Run these tasks, a batch size of 1 leaving it to the run; ended after `limit` seconds, with what was seen until
    then."""
    work = checkpoint.parent
    write_knn_task(work / "tasks")
    output = work / f"out-{time.monotonic_ns()}"
    place = "device=cpu,device_map=cpu" if device == "cpu" else f"device_map={device}"
    command = [sys.executable, "-m", "lmms_eval", "--model", wrapper, "--tasks", ",".join(names)]
    command += ["--model_args", f"pretrained={checkpoint},{place}", "--include_path", str(work / "tasks")]
    command += ["--batch_size", str(batch_size), "--output_path", str(output), "--log_samples"]
    environment = os.environ | {"CONNECTOR_BENCH_IMAGE_FOLDER": str(pictures), "HF_HUB_OFFLINE": "1"}
    found, begun = HarnessRun(), time.perf_counter()
    process = subprocess.Popen(
        command, env=environment | {"PYTHONUNBUFFERED": "1"}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    timer = threading.Timer(limit, process.kill)
    timer.start()
    tail: list[str] = []
    for line in said(process):
        if bar := bar_in(line):
            found.saw(
                *bar, processor_seconds(process.pid) if processor_time() else time.perf_counter() - begun
            )
        else:
            tail = [*tail[-4:], line[-300:]]
            if "memory" in line:
                found.of_memory.append(line[:300])
    process.wait()
    timer.cancel()
    found.seconds = time.perf_counter() - begun
    files: list[Path] = []
    with suppress(UnusableResult):  # it was ended before it wrote any
        files = list(result_files([output])) if output.exists() else []
    if files:
        written = json.loads(files[0].read_text(encoding="utf-8"))
        configs = written["configs"]
        found.records = {name: configs[name]["metadata"]["connector_bench"] for name in names}
        found.scores = {
            name: {key.removesuffix(",none"): value for key, value in written["results"][name].items()}
            for name in names
        }
    errors = [str(record["error"]) for record in found.records.values() if "error" in record]
    found.ended = bool(files) and not errors
    if not found.ended:
        late = f"not finished after {limit:.0f} s" if found.seconds >= limit else " / ".join(tail)
        found.problem = "; ".join(errors) or late
    shutil.rmtree(output, ignore_errors=True)
    return found


def processor_seconds(pid: int) -> float:
    """What a process and all that it has started have had of the processors; 0 once it is gone."""
    with suppress(psutil.NoSuchProcess):
        own = psutil.Process(pid)
        times = [one.cpu_times() for one in (own, *own.children(recursive=True))]
        ended = times[0].children_user + times[0].children_system
        return sum(one.user + one.system for one in times) + ended
    return 0.0


def said(process: subprocess.Popen[bytes]) -> Iterator[str]:
    """What a process says, line by line as it comes; every state of a progress bar is a line."""
    assert process.stdout is not None
    rest = b""
    while chunk := os.read(process.stdout.fileno(), 65536):
        *lines, rest = re.split(rb"[\r\n]+", rest + chunk)
        yield from (line for raw in lines if (line := raw.decode(errors="replace").strip()))


def bar_in(line: str) -> tuple[str, int] | None:
    """Title and count of the progress bar that a line shows; None for any other line."""
    bar = re.match(r"(.+?):\s+\d+%\|.*?\| *(\d+)/\d+", line)
    return (bar[1], int(bar[2])) if bar else None
