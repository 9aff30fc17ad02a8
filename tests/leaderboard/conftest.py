"""Result files that the real command line wrote: five families and the zoo, on pictures drawn here."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests import tiny_vlms
from tests.harness import run_here

CPU = "device=cpu,device_map=cpu"
FAMILIES = {
    "llava": ("llava_hf", "device=cpu", 1),
    "qwen2_vl": ("qwen2_vl", f"{CPU},min_pixels=3136,max_pixels=12544", 2),
    "internvl": ("internvl_hf", "device=cpu,max_patches=4", 1),
    "idefics2": ("idefics2", "device=cpu", 2),
    "gemma3": ("gemma3", CPU, 2),
}
"""Checkpoint: lmms-eval's wrapper, model arguments and batch size."""

MEASURED, ANSWERED = "knn_preservation_imagefolder", "folder_vqa"
PICTURES = 24
VQA_TASK = """task: folder_vqa
dataset_path: json
dataset_kwargs:
  data_files:
    test: {index}
test_split: test
doc_to_visual: !function functions.picture
doc_to_text: !function functions.question
doc_to_target: "yes"
process_results: !function functions.right
generation_kwargs: {{max_new_tokens: 2, do_sample: false}}
metric_list:
  - {{metric: accuracy, aggregation: mean, higher_is_better: true}}
metadata: {{version: 1}}
"""
VQA_FUNCTIONS = """from PIL import Image
def picture(doc):
    return [Image.open(doc["path"]).convert("RGB")]
def question(doc, lmms_eval_specific_kwargs=None):
    return "can you see the drum?"
def right(doc, results):
    return {"accuracy": float(results[0].strip().lower() == "yes")}
"""


@pytest.fixture(scope="session")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of pictures, and a folder with a task that asks about them."""
    folder = tmp_path_factory.mktemp("inputs")
    (folder / "pictures").mkdir()
    (folder / "tasks").mkdir()
    rng = np.random.default_rng(0)
    for number in range(PICTURES):
        colours = rng.integers(0, 255, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(colours).resize((80, 64)).save(folder / "pictures" / f"{number:02}.png")
    rows = [{"path": str(path)} for path in sorted((folder / "pictures").iterdir())]
    (folder / "index.json").write_text(json.dumps(rows))
    (folder / "tasks" / "folder_vqa.yaml").write_text(VQA_TASK.format(index=folder / "index.json"))
    (folder / "tasks" / "functions.py").write_text(VQA_FUNCTIONS)
    return folder


@pytest.fixture(scope="session")
def measure(inputs: Path) -> Callable[..., Path]:
    """Run lmms-eval on a model and tasks over the pictures; gives the output folder."""

    def run(output: Path, model: str, arguments: str, tasks: str, batch_size: int = 2) -> Path:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("CONNECTOR_BENCH_IMAGE_FOLDER", str(inputs / "pictures"))
            patch.setenv("HF_DATASETS_CACHE", str(inputs / "cache"))
            run_here(
                output,
                *("--model", model, "--model_args", arguments, "--batch_size", str(batch_size)),
                *("--tasks", tasks, "--include_path", str(inputs / "tasks")),
            )
        assert list(output.rglob("*_results.json")), f"{model} left no result file"
        return output

    return run


@pytest.fixture(scope="session")
def real_runs(measure: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Output folders: every family of `FAMILIES` in one run of both tasks, the zoo's `mlp` in one run a task."""
    pytest.importorskip("lmms_eval.models")
    root = tmp_path_factory.mktemp("runs")
    folders = {}
    for name, (wrapper, arguments, batch_size) in FAMILIES.items():
        checkpoint = tiny_vlms.save(name, root / "checkpoints")
        folders[name] = measure(
            root / name, wrapper, f"pretrained={checkpoint},{arguments}", f"{MEASURED},{ANSWERED}", batch_size
        )
        shutil.rmtree(checkpoint)
    for task in (MEASURED, ANSWERED):
        folders["mlp"] = measure(root / "mlp", "connector_zoo", "connector=mlp,seed=0", task)
    return folders
