"""`patch_reconstruction` on the paper's data sets: real task definitions, on small local copies in their schema."""

import json
from pathlib import Path

import datasets
import numpy as np
import pytest
import yaml
from PIL import Image

from tests.harness import Outcome, run_here
from tests.test_data_sets import TASKS, pictures, rows_of

ZOO = ("--model", "connector_zoo", "--batch_size", "64", "--model_args", "connector=mlp")
TRAINING = 24


@pytest.fixture
def coco(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The official folder, with 24 pictures in train2017 and 12 others in val2017; without loss, so that folds stay."""
    folder = tmp_path / "coco"
    for name, first, images in (
        ("train2017", 0, pictures(TRAINING, seed=1)),
        ("val2017", 100, pictures(12, seed=2)),
    ):
        (folder / name).mkdir(parents=True)
        for number, image in enumerate(images, first):
            image.save(folder / name / f"{number:012d}.jpg", "PNG")
    monkeypatch.setenv("CONNECTOR_BENCH_COCO_FOLDER", str(folder))
    return folder


def offer(table: datasets.Dataset, split: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading from the hub is the one thing that is replaced: `load_dataset` finds the copy instead."""
    monkeypatch.setattr(
        datasets, "load_dataset", lambda path, **options: datasets.DatasetDict({split: table})
    )


def answers(outcome: Outcome, task: str) -> list[dict]:
    return [json.loads(row["filtered_resps"]) for row in outcome.samples(task)]


def test_karpathys_test_images_that_are_in_train2017_are_left_out(
    coco: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [*range(100, 112), 3, 7]
    table = datasets.Dataset.from_dict(
        {
            "cocoid": ids,
            "filename": [f"COCO_val2014_{number:012d}.jpg" for number in ids],
            "url": [""] * 14,
            "sentences": [["a picture"]] * 14,
            "imgid": ids,
        }
    )
    offer(table, "test", monkeypatch)
    task = "patch_reconstruction_coco"
    outcome = run_here(tmp_path / "out", *ZOO, "--tasks", task)
    record = outcome.record(task)
    assert (record["n_documents"], record["n_images"], record["train_images"]) == (14, 12, TRAINING)
    assert list(record["left_out"].values()) == [2]
    rows = answers(outcome, task)
    assert ["left_out" in row for row in rows] == [False] * 12 + [True] * 2
    assert all("lost" in row for row in rows[:12])


def test_a_test_picture_under_another_name_trains_no_probe(
    coco: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the data set, a picture of the test set is not learnt from: pictures are told by their pixels."""
    split, columns = rows_of("flickr30k")
    columns["image"] = [
        Image.open(coco / "train2017" / f"{number:012d}.jpg") for number in range(7)
    ] + pictures(7)
    offer(datasets.Dataset.from_dict(columns).cast_column("image", datasets.Image()), split, monkeypatch)
    task = "patch_reconstruction_flickr30k"
    outcome = run_here(tmp_path / "out", *ZOO, "--tasks", task)
    record = outcome.record(task)
    assert record["train_images"] == TRAINING - 7
    assert record["train_images_left_out_as_test_images"] == 7
    assert record["n_images"] == 14


def test_seedbench_in_its_schema(coco: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    split, columns = rows_of("seedbench")
    feature = datasets.Sequence(datasets.Image())
    offer(datasets.Dataset.from_dict(columns).cast_column("image", feature), split, monkeypatch)
    task = "patch_reconstruction_seedbench"
    outcome = run_here(tmp_path / "out", *ZOO, "--tasks", task)
    assert outcome.record(task)["n_documents"] == 14
    assert outcome.figures(task)["n_images"] == 13, "the picture that comes twice counts once"
    assert outcome.figures(task)["identity_r2_mlp"] >= 0.999


def test_vizwiz_from_its_official_folder(coco: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "vizwiz"
    masks = folder / "binary_masks_png" / "val"
    (folder / "val").mkdir(parents=True)
    masks.mkdir(parents=True)
    entries = {}
    for number, image in enumerate(pictures(8, seed=3)):
        name = f"VizWiz_val_{number:08d}.jpg"
        image.save(folder / "val" / name)
        mask = np.zeros((60, 80), np.uint8)
        mask[10:40, 5 : 10 + 5 * number] = 255
        Image.fromarray(mask).save(masks / f"VizWiz_val_{number:08d}.png")
        entries[name] = {"question": "what is this?", "answers": ["soup"] * 10, "most_common_answer": "soup"}
    (folder / "val_grounding.json").write_text(json.dumps(entries))
    monkeypatch.setenv("CONNECTOR_BENCH_VIZWIZ_FOLDER", str(folder))
    tasks = "patch_reconstruction_vizwiz_grounding,vizwiz_grounding_vqa"
    outcome = run_here(tmp_path / "out", *ZOO, "--tasks", tasks)
    ours, asked = (outcome.samples(task) for task in tasks.split(","))
    assert [(row["target"], row["input"]) for row in ours] == [(row["target"], row["input"]) for row in asked]
    assert all(row["exact_match"] == 0 for row in asked), "no model of the zoo has ever seen soup"
    for number, row in enumerate(json.loads(row["filtered_resps"]) for row in ours):
        assert row["mask_area"] == pytest.approx(30 * (5 + 5 * number) / 4800)
        assert {"loss_inside", "loss_outside"} <= set(row)


def test_a_folder_is_parted_into_training_and_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number, image in enumerate(pictures(TRAINING, seed=4)):
        image.save(folder / f"{number:02}.png")
    monkeypatch.setenv("CONNECTOR_BENCH_IMAGE_FOLDER", str(folder))
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    task = "patch_reconstruction_imagefolder"
    record = run_here(tmp_path / "out", *ZOO, "--tasks", task).record(task)
    assert record["n_images"] + record["train_images"] == TRAINING
    assert record["n_images"] == record["n_documents"] > 2
    assert record["train_images_left_out_as_test_images"] == 0


def test_the_papers_group_names_tasks_that_exist() -> None:
    group = yaml.safe_load((TASKS / "patch_reconstruction_paper.yaml").read_text())
    assert all((TASKS / f"{task}.yaml").is_file() for task in group["task"])
