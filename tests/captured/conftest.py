"""A folder of pictures as people keep them, a checkpoint, its capture, and what the tasks say of both."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from typer.testing import CliRunner

from connector_bench.captured import token_files
from connector_bench.cli import app
from connector_bench.connectors.coloured import coloured_picture
from tests import tiny_vlms
from tests.harness import Outcome, run_here
from tests.reconstruction.small_task import OPTIONS, TASKS

torch.set_num_threads(1)
FILES = 46
OF_WORDS = ("words", "set")
"""How many words were sampled, and how many were held against as many tokens."""


def say(*arguments: object) -> tuple[int, str]:
    """A command of ours: exit code and everything it wrote."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.output


def without_words(found: Any) -> Any:
    """What tokens alone tell: figures beside the language model's words need its embeddings, which no capture holds."""
    if isinstance(found, list):
        return [without_words(one) for one in found]
    if not isinstance(found, dict):
        return found
    return {
        name: without_words(one)
        for name, one in found.items()
        if not name.removeprefix("untrained_").startswith("text_") and name not in OF_WORDS
    }


def small_reconstruction(folder: Path, name: str, include: str, train: str, visual: str) -> None:
    """A YAML of one of the tasks with a budget of seconds."""
    head = yaml.safe_dump({"task": name, "include": str(TASKS / include)}, sort_keys=False)
    head += "connector_bench:\n  train:\n"
    head += f"    documents: !function connector_bench.tasks.{train}\n"
    head += f"    doc_to_visual: !function connector_bench.tasks.{visual}\n"
    (folder / f"{name}.yaml").write_text(
        head + "".join(f"  {line}\n" for line in yaml.safe_dump(OPTIONS).splitlines())
    )


@dataclass(frozen=True)
class CapturedFolder:
    pictures: Path
    checkpoint: Path
    capture: Path
    said: str
    by_model: Outcome
    by_capture: Outcome


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CapturedFolder]:
    """44 pictures under two labels, one of them twice, and a file that is none."""
    root = tmp_path_factory.mktemp("captured")
    pictures = root / "pictures"
    for number in range(FILES - 2):
        folder = pictures / ("cat" if number % 3 else "dog")
        folder.mkdir(parents=True, exist_ok=True)
        coloured_picture(56 + number, 70, number).save(folder / f"{number:02}.png")
    (pictures / "cat" / "again.png").write_bytes((pictures / "dog" / "00.png").read_bytes())
    (pictures / "cat" / "broken.png").write_bytes(b"no picture")
    checkpoint = tiny_vlms.save("llava", root / "checkpoints")
    tasks = root / "tasks"
    tasks.mkdir()
    folder, captured = "picture_folder.", "captured_tokens."
    small_reconstruction(
        tasks,
        "by_model",
        "patch_reconstruction_imagefolder.yaml",
        folder + "image_folder_train",
        folder + "picture",
    )
    small_reconstruction(
        tasks,
        "by_capture",
        "patch_reconstruction_captured.yaml",
        captured + "captured_train",
        captured + "captured_picture",
    )
    out = root / "capture"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(token_files, "PER_FILE", 16)
        code, said = say("capture", checkpoint, "--images", pictures, "--out", out, "--untrained")
        assert code == 0, said
        patch.setenv("CONNECTOR_BENCH_IMAGE_FOLDER", str(pictures))
        patch.setenv("CONNECTOR_BENCH_CAPTURED", str(out))
        common = ("--include_path", str(tasks), "--tasks")
        by_model = run_here(
            root / "by_model",
            *("--model", "llava_hf", "--model_args", f"pretrained={checkpoint},device=cpu,device_map=cpu"),
            *(*common, "knn_preservation_imagefolder,by_model"),
        )
        by_capture = run_here(
            root / "by_capture",
            *("--model", "connector_capture", *common, "knn_preservation_captured,by_capture"),
        )
        yield CapturedFolder(pictures, checkpoint, out, said, by_model, by_capture)
