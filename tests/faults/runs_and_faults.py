"""Asks for runs that faults come to, and reads what they said and left."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonlines

from tests.reconstruction.small_task import write_small_task

ROOT = Path(__file__).parents[2]
PATCHES = "patch_reconstruction_small"
TASKS = ("knn_preservation", PATCHES)
IMAGES = 16
BUDGET: dict[str, Any] = {
    "patch_pairs": 1500,
    "validation_pairs": 500,
    "schedule": {"epochs": 2},
    "attention_schedule": {"epochs": 2, "batch_size": 16},
}
"""Little, since what is compared are a run's bits, not what they are worth."""
OWN_NAMESPACE = ("unshare", "--user", "--map-root-user", "--mount")
"""Lets anybody mount small file systems that nobody else sees, where the machine allows it."""
MAY_MOUNT = (
    shutil.which("unshare") is not None
    and subprocess.run([*OWN_NAMESPACE, "true"], capture_output=True, check=False).returncode == 0
)


@dataclass(frozen=True)
class Ended:
    """One run that has ended, whatever came to it."""

    status: int
    """128 + n or -n for a signal."""
    said: str
    steps: list[str]
    """Changes of the file system below the output folder; empty where the run was killed."""
    seconds: float
    left: list[str]
    """All files below the output folder, and hidden folders."""

    @property
    def table(self) -> list[str]:
        """The figures that lmms-eval printed."""
        return [line for line in self.said.splitlines() if line.startswith("|")]

    @property
    def sentences(self) -> list[str]:
        """What our package warned of or complained about."""
        plain = re.sub(r"\x1b\[[0-9;]*m", "", self.said)
        return re.findall(r"\| (?:WARNING|ERROR) +\| connector_bench[^ ]* - (.*)", plain)

    @property
    def traceback(self) -> bool:
        return "Traceback (most recent call last)" in self.said


@dataclass(frozen=True)
class Asked:
    """The process that everything was imported in, and README's default pair on few pictures."""

    process: subprocess.Popen[str]
    arguments: tuple[str, ...]

    def run(self, folder: Path, **request: Any) -> Ended:
        """One run into this folder; what may be requested is in `faulty_runs`."""
        (ended,) = self.together(folder, request)
        return ended

    def struck(self, folder: Path, kind: str, step: int, untouched: Ended, **options: Any) -> Ended:
        """One run that a fault comes to at a step of the untouched one.

        A slow disk has the training state written less often, so that a run may end before it has made so many steps;
        then the fault comes as far from the end.
        """
        ended = self.run(folder, fault=kind, step=step, **options)
        if ended.status == 0 and len(ended.steps) < step:
            shutil.rmtree(folder)
            step -= len(untouched.steps) - len(ended.steps)
            ended = self.run(folder, fault=kind, step=step, **options)
        return ended

    def together(self, folder: Path, *requests: dict[str, Any]) -> list[Ended]:
        """Several runs into one folder at once."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        base = {"folder": str(folder), "arguments": self.arguments}
        self.process.stdin.write(json.dumps([base | request for request in requests]) + "\n")
        self.process.stdin.flush()
        found = json.loads(self.process.stdout.readline())
        if found is None:
            raise RuntimeError(f"no file system could be mounted on {folder}")
        return [Ended(**one) for one in found]


@contextmanager
def asking(folder: Path) -> Iterator[Asked]:
    """A process that runs are asked from, which ends with the block."""
    include = write_small_task(folder / "tasks", PATCHES, images=IMAGES, shard=6, **BUDGET)[:2]
    zoo = ("--model", "connector_zoo", "--model_args", "connector=rank8", "--batch_size", "8")
    arguments = (*zoo, *include, "--tasks", ",".join(TASKS), "--limit", str(IMAGES))
    command = [sys.executable, "-m", "tests.faults.faulty_runs"]
    with subprocess.Popen(
        [*OWN_NAMESPACE, *command] if MAY_MOUNT else command,
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield Asked(process, arguments)
        process.communicate("")


def figures_in(folder: Path) -> dict[str, Any]:
    """All that the newest whole result file of a folder says of figures, and the rows of its sample files."""
    for path in sorted(folder.glob("*_results.json"), reverse=True):
        try:
            content = json.loads(path.read_text())
        except ValueError:  # lmms-eval's own, cut by a kill
            continue
        found: dict[str, Any] = {"results": content["results"]}
        for task in TASKS:
            record = content["configs"][task]["metadata"]["connector_bench"]
            found[task] = {key: value for key, value in record.items() if key != "ran"}
            with jsonlines.open(
                path.with_name(path.name.replace("_results.json", f"_samples_{task}.jsonl"))
            ) as rows:
                found[f"rows of {task}"] = {row["doc_id"]: row["filtered_resps"] for row in rows}
        return found
    return {}


def ours(left: list[str]) -> list[str]:
    """Files that are not lmms-eval's own."""
    return [name for name in left if not re.fullmatch(r"[^/]*_(results\.json|samples_\w+\.jsonl)", name)]


def differences(found: dict[str, Any], expected: dict[str, Any], where: str = "") -> list[str]:
    """Places where two outcomes differ."""
    if isinstance(found, dict) and isinstance(expected, dict):
        return [
            line
            for key in sorted(found.keys() | expected.keys(), key=str)
            for line in differences(found.get(key), expected.get(key), f"{where}/{key}")
        ]
    return [] if found == expected else [f"{where}: {found!r:.80}, not {expected!r:.80}"]
