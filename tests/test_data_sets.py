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
    with pytest.raises(SystemExit, match=r"^1$"):
        run_here(tmp_path, *ZOO, "--tasks", "knn_preservation_cub")
    captured = capfd.readouterr()
    assert "set CONNECTOR_BENCH_CUB_FOLDER" in captured.out + captured.err


def test_the_papers_group_names_tasks_that_exist() -> None:
    group = yaml.safe_load((TASKS / "knn_preservation_paper.yaml").read_text())
    assert all((TASKS / f"{task}.yaml").is_file() for task in group["task"])


def new_task(*arguments: object) -> tuple[int, str]:
    made = CliRunner().invoke(app, ["new-task", *map(str, arguments)])
    return made.exit_code, made.output


def test_new_task_is_taken_by_the_harness(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    code, said = new_task("scenes_vqa", "--folder", mine)
    assert code == 0, said
    (mine / "knn_preservation_scenes_vqa.yaml").open("a").write("# changed by hand\n")
    code, said = new_task("scenes_vqa", "--folder", mine)
    assert code == 1
    assert "is there already; --replace writes it again" in said
    assert "by hand" in (mine / "knn_preservation_scenes_vqa.yaml").read_text()
    assert new_task("scenes_vqa", "--folder", mine, "--replace")[0] == 0
    assert "by hand" not in (mine / "knn_preservation_scenes_vqa.yaml").read_text()
    (mine / "twice.yaml").write_text(
        "task: twice\nclass: !function connector_bench.tasks.functions.KnnPreservation\n"
        "images_of: knn_preservation_scenes_vqa\nnum_fewshot: 3\n"
    )
    tasks = ("knn_preservation_scenes_vqa", "twice")
    arguments = ("--include_path", str(mine), "--tasks", ",".join((*tasks, "scenes_vqa")), "--limit", "60")
    outcome = run_here(tmp_path / "out", *ZOO, *arguments, "--num_fewshot", "2")
    for task in tasks:
        assert outcome.figures(task)["n_images"] == 15, "examples of others are none of a picture's business"
        assert outcome.content["n-shot"][task] == 0
    assert "accuracy" in outcome.figures("scenes_vqa")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("scenes_vqq",), "there is no task scenes_vqq; close names: scenes_vqa"),
        (("mmmu",), "mmmu is a group of tasks; name one of them: mmmu_val, mmmu_test"),
        (("knn_preservation_paper",), "name one of them: knn_preservation_seedbench, "),
        (("public_eval_gpt5_family",), "is a tag of tasks; name one of them: "),
        (("hellaswag",), "has no pictures: its YAML has no doc_to_visual"),
        (("seedbench",), "comes with connector-bench; run: lmms-eval --tasks knn_preservation_seedbench"),
        (("scenes_vqa", "--measure", "knn"), "no measure 'knn'"),
        (("scenes_vqa", "--measure", "patch_reconstruction"), "has no split 'train'"),
        (
            ("scenes_vqa", "--measure", "patch_reconstruction", "--train-split", "test"),
            "is tested on its split",
        ),
        (("a b",), "is no task name"),
    ],
)
def test_new_task_checks_what_it_is_given(tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    code, said = new_task(*arguments, "--folder", tmp_path / "mine")
    assert code == 1
    assert message in said
    assert not (tmp_path / "mine").exists()
    (tmp_path / "file").write_text("in the way")
    assert new_task("scenes_vqa", "--folder", tmp_path / "file")[0] == 1


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ("mmmu", "mmmu is a group of tasks; name one of them: mmmu_val, mmmu_test"),
        ("mine", "mine -> mine leads back to itself"),
    ],
)
def test_images_of_what_has_none(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], named: str, message: str
) -> None:
    (tmp_path / "mine.yaml").write_text(
        f"task: mine\nclass: !function connector_bench.tasks.functions.KnnPreservation\nimages_of: {named}\n"
    )
    with pytest.raises(SystemExit, match="1"):
        run_here(tmp_path / "out", *ZOO, "--include_path", str(tmp_path), "--tasks", "mine")
    captured = capfd.readouterr()
    said = captured.out + captured.err
    assert said.count(message) == 1
    assert "Traceback" not in said
