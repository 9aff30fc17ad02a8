"""The paper's data sets: real task definitions, on small local copies in their schema."""

from pathlib import Path

import datasets
import numpy as np
import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

from connector_bench.cli import app
from tests.harness import run_here

ZOO = ("--model", "connector_zoo", "--model_args", "connector=mlp")
TASKS = Path(__file__).parent.parent / "tasks"


def pictures(n: int, seed: int = 0) -> list[Image.Image]:
    rng = np.random.default_rng(seed)
    return [Image.fromarray(rng.integers(0, 255, (60, 80, 3), dtype=np.uint8)) for _ in range(n)]


def rows_of(name: str) -> tuple[str, dict[str, list]]:
    """Split and columns of a local copy of 14 rows over 13 pictures, as upstream's own functions read them."""
    images = pictures(13)
    images.append(images[0])
    numbers = [str(i) for i in range(14)]
    common = {"question": [f"what is {i}?" for i in numbers], "question_id": numbers}
    choices = {f"choice_{letter}": ["x"] * 14 for letter in "abcd"}
    return {
        "seedbench": (
            "test",
            {"image": [[image] for image in images], "answer": ["A"] * 14, "data_type": ["image"] * 14}
            | {"question_type_id": [1] * 14, **common, **choices},
        ),
        "vqav2": ("validation", {"image": images, "multiple_choice_answer": ["x"] * 14, **common}),
        "vizwiz": ("val", {"image": images, "answers": [["x"]] * 14, "category": ["other"] * 14, **common}),
        "flickr30k": ("test", {"image": images, "caption": [["a picture"]] * 14, "img_id": numbers}),
        "coco": (
            "val",
            {"image": images, "answer": [["a picture"]] * 14, "question_id": numbers, "id": numbers},
        ),
    }[name]


@pytest.mark.parametrize("name", ["seedbench", "vqav2", "vizwiz", "flickr30k", "coco"])
def test_a_local_copy_in_the_schema_of(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading from the hub is the one thing that is replaced: `load_dataset` finds the copy instead."""
    split, columns = rows_of(name)
    feature = datasets.Image() if name != "seedbench" else datasets.Sequence(datasets.Image())
    table = datasets.Dataset.from_dict(columns).cast_column("image", feature)
    asked: list[str] = []

    def local_copy(path: str, **options: object) -> datasets.DatasetDict:
        asked.append(path)
        return datasets.DatasetDict({split: table})

    monkeypatch.setattr(datasets, "load_dataset", local_copy)
    task = f"knn_preservation_{name}"
    outcome = run_here(tmp_path, *ZOO, "--tasks", task)
    assert asked
    assert all("/" in path for path in asked)
    assert outcome.figures(task)["n_images"] == 13, "the picture that comes twice counts once"
    assert outcome.record(task)["n_documents"] == 14
    assert 0 <= outcome.figures(task)["knor_10"] <= 1


def test_cub_from_its_official_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "CUB_200_2011"
    names = [f"{kind:03}.Bird_{kind}/{i}.jpg" for kind in (1, 2) for i in range(8)]
    for name, image in zip(names, pictures(16), strict=True):
        (folder / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        image.save(folder / "images" / name)
    lines = {
        "images.txt": [f"{i} {name}" for i, name in enumerate(names, 1)],
        "image_class_labels.txt": [f"{i} {int(name[:3])}" for i, name in enumerate(names, 1)],
        "train_test_split.txt": [f"{i} {int(i % 8 == 0)}" for i in range(1, 17)],
    }
    for file, content in lines.items():
        (folder / file).write_text("\n".join(content) + "\n")
    monkeypatch.setenv("CONNECTOR_BENCH_CUB_FOLDER", str(folder))
    outcome = run_here(tmp_path / "out", *ZOO, "--tasks", "knn_preservation_cub")
    figures = outcome.figures("knn_preservation_cub")
    assert figures["n_images"] == 14
    assert {"recall_pre_1", "recall_post_5", "map_pre", "map_post"} <= set(figures)
    scores = outcome.record("knn_preservation_cub")["scores"]
    assert {"recall_diff_1", "recall_diff_5", "map_diff"} <= set(scores)


def test_a_folder_that_is_not_there_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("CONNECTOR_BENCH_CUB_FOLDER", raising=False)
    run_here(tmp_path, *ZOO, "--tasks", "knn_preservation_cub")
    captured = capfd.readouterr()
    assert "set CONNECTOR_BENCH_CUB_FOLDER" in captured.out + captured.err


def test_the_papers_group_names_tasks_that_exist() -> None:
    group = yaml.safe_load((TASKS / "knn_preservation_paper.yaml").read_text())
    assert all((TASKS / f"{task}.yaml").is_file() for task in group["task"])


def test_new_task_is_taken_by_the_harness(tmp_path: Path) -> None:
    made = CliRunner().invoke(app, ["new-task", "scenes_vqa", "--folder", str(tmp_path / "mine")])
    assert made.exit_code == 0, made.output
    again = CliRunner().invoke(app, ["new-task", "scenes_vqa", "--folder", str(tmp_path / "mine")])
    assert again.exit_code == 1
    arguments = (
        "--include_path",
        str(tmp_path / "mine"),
        "--tasks",
        "knn_preservation_scenes_vqa",
        "--limit",
        "60",
    )
    outcome = run_here(tmp_path / "out", *ZOO, *arguments)
    assert outcome.figures("knn_preservation_scenes_vqa")["n_images"] == 15


def test_images_of_a_task_that_is_not_there(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    CliRunner().invoke(app, ["new-task", "scenes_vqq", "--folder", str(tmp_path / "mine")])
    arguments = ("--include_path", str(tmp_path / "mine"), "--tasks", "knn_preservation_scenes_vqq")
    run_here(tmp_path / "out", *ZOO, *arguments)
    captured = capfd.readouterr()
    assert "close names: scenes_vqa" in captured.out + captured.err
