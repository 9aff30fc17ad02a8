"""Bare modules, the model made of them, and the task through lmms-eval: the same figures, key for key."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

import connector_bench as cb
from connector_bench import zoo
from connector_bench.connectors.model_class import processor_of_checkpoint
from connector_bench.reconstruction.config import reconstruction_config
from tests.captured.conftest import CapturedFolder, without_words
from tests.harness import Outcome, run_here
from tests.reconstruction.small_task import OPTIONS

TASKS = {"knn_preservation": "knn_preservation_imagefolder", "patch_reconstruction": "by_model"}
OF_THE_RUN = {"ran", "artefacts"}
OF_THE_MODEL = {"connector"}
NUMBERED = {"unreadable", "train_unreadable"}
"""By number among the task's documents, from Python among all pictures that were given."""
PROBES = reconstruction_config(OPTIONS)
Made = dict[str, cb.Result]


@pytest.fixture(scope="module")
def from_python(made: CapturedFolder) -> Made:
    """The model, the modules taken out of it, and what was captured of these, on the same folder."""
    model = transformers.LlavaForConditionalGeneration.from_pretrained(made.checkpoint).eval()
    processor = processor_of_checkpoint(str(made.checkpoint))
    tower = model.model.vision_tower

    def encoder(pixel_values: torch.Tensor) -> torch.Tensor:
        found = tower(pixel_values, output_hidden_states=True).hidden_states
        return found[model.config.vision_feature_layer][:, 1:]

    bare = (encoder, model.model.multi_modal_projector)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tokens = cb.capture(bare, made.pictures, processor, grid=(4, 4), untrained=True)
        return {
            "model": cb.measure(model, made.pictures, processor, probes=PROBES),
            "bare modules": cb.measure(bare, made.pictures, processor, grid=(4, 4), probes=PROBES),
            "captured tokens": cb.measure(tokens, probes=PROBES),
            "tokens from the disk": cb.measure(cb.Tokens.load(made.capture), probes=PROBES),
        }


WAYS = ("model", "bare modules", "captured tokens", "tokens from the disk")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("measure", TASKS)
def test_figures_are_those_of_the_task(
    way: str, measure: str, made: CapturedFolder, from_python: Made
) -> None:
    part, task = from_python[way][measure], TASKS[measure]
    assert_same(
        part,
        made.by_model,
        task,
        of_the_model=() if way in ("model", "tokens from the disk") else OF_THE_MODEL,
        words=way == "model",
    )
    assert len(part.figures) > 14


def test_a_model_of_the_zoo(made: CapturedFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONNECTOR_BENCH_IMAGE_FOLDER", str(made.pictures))
    named = ("--model", "connector_zoo", "--model_args", "connector=pixel_shuffle")
    small = ("--include_path", str(made.pictures.parent / "tasks"), "--tasks", ",".join(TASKS.values()))
    outcome = run_here(tmp_path, *named, *small)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = cb.measure(zoo.load("pixel_shuffle"), made.pictures, probes=PROBES)
    for measure, task in TASKS.items():
        assert_same(result[measure], outcome, task, ())


def assert_same(part: Any, outcome: Outcome, task: str, of_the_model: Any, words: bool = True) -> None:
    """Key for key; without a language model no figure beside its words."""
    told: Callable[[Any], Any] = (lambda found: found) if words else without_words
    figures = told(outcome.figures(task))
    reported = {
        name: value
        for name, value in figures.items()
        if isinstance(value, int | float) and "_stderr" not in name
    }
    assert part.figures == reported
    assert part.stderrs == {
        name.removesuffix("_stderr"): value
        for name, value in figures.items()
        if name.endswith("_stderr") and isinstance(value, float)
    }
    record = told(outcome.record(task))
    assert part.record.keys() == record.keys()
    for name in record.keys() - OF_THE_RUN - set(of_the_model) - NUMBERED:
        assert part.record[name] == record[name], name
    for name in record.keys() & NUMBERED:
        assert list(part.record[name].values()) == list(record[name].values())
    rows = told([json.loads(row["filtered_resps"]) for row in outcome.samples(task)])
    found = list(part.answers.values())
    assert len(rows) == len(found)
    for row, answer in zip(rows, found, strict=True):
        numbered = {
            "same_image_as"
        }  # by number among the task's documents, or among the pictures that were given
        assert {k: v for k, v in row.items() if k not in numbered} == {
            k: v for k, v in answer.items() if k not in numbered
        }


def test_two_captures(made: CapturedFolder, from_python: Made, tmp_path: Path) -> None:
    """Probes that learn from one capture and are tested on another, by file names and by tokens."""
    files = sorted(made.pictures.rglob("[0-9]*.png"))
    model = transformers.LlavaForConditionalGeneration.from_pretrained(made.checkpoint).eval()
    processor = processor_of_checkpoint(str(made.checkpoint))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        parts = [cb.capture(model, part, processor) for part in (files[:30], files[30:])]
        rebuilt = cb.reconstruct(*parts, probes=PROBES)
        measured = cb.measure(
            model, files[30:], processor, train=files[:30], probes=PROBES, measures=["patch_reconstruction"]
        )
        measured_tokens = cb.measure(
            parts[1], train=parts[0], probes=PROBES, measures=["patch_reconstruction"]
        )
    scores = [one["patch_reconstruction"].record["scores"] for one in (rebuilt, measured, measured_tokens)]
    plain = [{k: v for k, v in one.items() if not k.startswith("untrained_")} for one in scores]
    assert plain[0] == plain[1] == plain[2]


def test_the_task_reads_saved_tokens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_captured: Callable[[Path], tuple[str, ...]]
) -> None:
    """Tokens of pictures in memory, which have no files to be parted by: the same four fifths and one."""
    draw = torch.Generator().manual_seed(0)
    pre = torch.randn(60, 16, 8, generator=draw)
    tokens = cb.Tokens.of(pre, pre @ torch.randn(8, 6, generator=draw), grid=(4, 4), name="drawn")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = cb.measure(tokens, probes=PROBES)
    monkeypatch.setenv("CONNECTOR_BENCH_CAPTURED", str(tokens.save(tmp_path / "tokens")))
    outcome = run_here(tmp_path / "out", "--model", "connector_capture", *small_captured(tmp_path))
    for measure, task in (
        ("knn_preservation", "knn_preservation_captured"),
        ("patch_reconstruction", "captured"),
    ):
        figures = outcome.figures(task)
        part = result[measure]
        assert part.figures == {name: figures[name] for name in part.figures}
        assert part.record["scores"] == outcome.record(task)["scores"]
        assert (
            part.record["train_sha256" if "train_sha256" in part.record else "images_sha256"]
            == outcome.record(task)["train_sha256" if "train_sha256" in part.record else "images_sha256"]
        )


@pytest.fixture
def small_captured() -> Callable[[Path], tuple[str, ...]]:
    from tests.captured.conftest import small_reconstruction

    def write(folder: Path) -> tuple[str, ...]:
        captured = "captured_tokens."
        small_reconstruction(
            folder,
            "captured",
            "patch_reconstruction_captured.yaml",
            captured + "captured_train",
            captured + "captured_picture",
        )
        return ("--include_path", str(folder), "--tasks", "knn_preservation_captured,captured")

    return write
