"""For tasks that are not ours the plugin changes nothing: answers and scores are the same bytes with and without it."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.harness import Outcome, run_command
from tests.tiny_vlms import save

TASK = """
task: ordinary_vqa
dataset_path: json
dataset_kwargs:
  data_files:
    test: questions.json
test_split: test
output_type: generate_until
doc_to_visual: !function pictures.of
doc_to_text: question
doc_to_target: answer
generation_kwargs:
  max_new_tokens: 8
metric_list:
  - metric: exact_match
    aggregation: mean
    higher_is_better: true
metadata:
  version: 1
"""

PICTURES = """
from pathlib import Path

from PIL import Image


def of(doc):
    return [Image.open(Path(__file__).parent / doc["image"]).convert("RGB")]
"""

WITHOUT_PLUGIN = """
import importlib.metadata as metadata, sys

everything = metadata.distributions
metadata.distributions = lambda **wanted: (
    found for found in everything(**wanted) if found.metadata["Name"] != "connector-bench"
)
from lmms_eval.cli.dispatch import main

main()
assert not [name for name in sys.modules if name.startswith("connector_bench")]
print("the plugin was never loaded")
"""


@pytest.fixture(scope="module")
def vqa(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vqa")
    (folder / "ordinary_vqa.yaml").write_text(TASK)
    (folder / "pictures.py").write_text(PICTURES)
    rng = np.random.default_rng(0)
    rows = []
    for number in range(6):
        Image.fromarray(rng.integers(0, 255, (60, 80, 3), dtype=np.uint8)).save(folder / f"{number}.png")
        rows.append(
            {"image": f"{number}.png", "question": f"what is number {number}?", "answer": "a picture"}
        )
    (folder / "questions.json").write_text("\n".join(json.dumps(row) for row in rows))
    return folder


def answers(outcome: Outcome) -> bytes:
    (path,) = outcome.folder.rglob("*_samples_ordinary_vqa.jsonl")
    return path.read_bytes()


def test_answers_and_scores_are_the_same_bytes(vqa: Path, tmp_path: Path) -> None:
    checkpoint = save("llava", tmp_path)
    arguments = (  # with a device map, since without ours the wrapper does not start otherwise
        *("--model", "llava_hf", "--model_args", f"pretrained={checkpoint},device=cpu,device_map=cpu"),
        *("--include_path", str(vqa), "--tasks", "ordinary_vqa", "--batch_size", "1"),
    )
    with_it, said = run_command(tmp_path / "with", [sys.executable, "-m", "lmms_eval"], *arguments)
    without, said_too = run_command(tmp_path / "without", [sys.executable, "-c", WITHOUT_PLUGIN], *arguments)
    assert "the plugin was never loaded" in said_too, said_too
    assert len(answers(with_it).splitlines()) == 6, said
    assert answers(with_it) == answers(without)
    for part in ("results", "versions", "n-shot", "higher_is_better", "n-samples", "configs"):
        one, other = (json.dumps(outcome.content[part]) for outcome in (with_it, without))
        assert without_addresses(one) == without_addresses(other)


def without_addresses(text: str) -> str:
    """The configuration prints functions with their address in memory."""
    return re.sub(r"0x[0-9a-f]+", "0x", text)
