"""The two tasks `..._imagefolder`: all pictures of a folder, as people keep them."""

import shutil
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest
from connector_bench.tasks import picture_folder
from PIL import Image

from tests.harness import run_here

ZOO = ("--model", "connector_zoo", "--model_args", "connector=mlp")
TASK = "knn_preservation_imagefolder"
VARIABLE = "CONNECTOR_BENCH_IMAGE_FOLDER"


def write(folder: Path, *names: str) -> None:
    """Small pictures; files of one name hold the same one, so that many files are measured in little time."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(crc32(path.stem.encode())).integers(
            0, 255, (24, 32, 3), dtype=np.uint8
        )
        Image.fromarray(pixels).save(path)


def numbered(stem: str, count: int, suffix: str = "png") -> list[str]:
    return [f"{stem}{number:03}.{suffix}" for number in range(count)]


def loaded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[list[str], list[str | None]]:
    monkeypatch.setenv(VARIABLE, str(folder))
    rows = picture_folder.image_folder(None)
    return rows["image_id"][:], rows["label"][:]


@pytest.mark.parametrize(
    ("names", "classes"),
    [
        (numbered("VizWiz_val_", 6, "jpg"), {None}),
        ([*numbered("cat/ILSVRC2012_val_", 3, "JPEG"), "dog/photo of a train.png"], {"cat", "dog"}),
        ([f"{part}/{kind}/{i}.png" for part in ("train", "val") for kind in "ab" for i in "12"], {"a", "b"}),
        (["cat/1.png", "test/2.png", "test/3.png"], {"cat", "test"}),
        (["train/1.png", "Val/2.png"], {None}),
        (["one/1.png", "one/2.png"], {None}),
        (["1.png", "cat/2.png"], {None, "cat"}),
        (["a b/ü 1.png", "c,d/x=2.PNG"], {"a b", "c,d"}),
    ],
)
def test_every_picture_counts_whatever_its_path_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: list[str], classes: set[str | None]
) -> None:
    write(tmp_path, *names)
    found, labels = loaded(tmp_path, monkeypatch)
    assert found == sorted(names)
    assert set(labels) == classes


def test_suffixes_links_and_hidden_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / ".cache" / "pictures"
    formats = ("png", "JPG", "webp", "bmp", "tif", "TIFF", "gif", "ppm", "jp2", "tga", "avif", "ico", "jfif")
    kept = [f"{kind.lower()}/picture.{kind}" for kind in formats]
    write(folder, *kept, ".ipynb_checkpoints/1.png", "__MACOSX/1.png", ".x.jpg", "png/._picture.png")
    for name in ("metadata.csv", "notes.txt", "features.h5", "clip.mpg", "png/Thumbs.db", "no_suffix"):
        (folder / name).write_text("file_name,text\n1.png,a\n")
    write(tmp_path / "elsewhere", "1.png")
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    (folder / "round").symlink_to(folder)
    (folder / "png" / "linked.png").symlink_to(tmp_path / "elsewhere" / "1.png")
    (folder / "png" / "folder.png").mkdir()
    found, _ = loaded(folder, monkeypatch)
    assert found == sorted([*kept, "linked/1.png", "png/linked.png"])


def test_270_files_give_270_documents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a file that is no picture as the first, the one that lmms-eval reads to try a task."""
    for kind in ("cat", "dog"):
        write(
            tmp_path, *numbered(f"train/{kind}/VizWiz_test_{kind}_", 60), *numbered(f"val/{kind}/{kind}_", 75)
        )
    (tmp_path / "train" / "cat" / "VizWiz_test_cat_000.png").write_bytes(b"no picture")
    (tmp_path / "metadata.csv").write_text("file_name,text\nval/cat/cat_001.png,a cat\n")
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    outcome = run_here(tmp_path / "out", *ZOO, "--tasks", TASK)
    record = outcome.record(TASK)
    assert record["n_documents"] == 270
    assert list(record["unreadable"]) == ["0"]
    assert outcome.figures(TASK)["n_images"] == 269
    assert "recall_pre_1" in outcome.figures(TASK)


def test_halves_share_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, *numbered("train/", 40), *numbered("val/", 40))
    for number in range(40):
        shutil.copy(tmp_path / "train" / f"{number:03}.png", tmp_path / f"copy_{number}.png")
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    tested, learned = picture_folder.image_folder_test(None), picture_folder.image_folder_train()
    sides = [{(tmp_path / name).read_bytes() for name in rows["image_id"]} for rows in (tested, learned)]
    assert len(tested) + len(learned) == 120
    assert min(map(len, sides)) > 0
    assert not sides[0] & sides[1]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("nowhere", "which is not there"),
        ("file", "which is a file"),
        ("empty", "has no pictures that Pillow reads, no files"),
        ("texts", "only files with the suffixes .heic, .txt"),
    ],
)
def test_a_folder_without_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str, message: str
) -> None:
    (tmp_path / "file").write_text("a file")
    (tmp_path / "empty").mkdir()
    (tmp_path / "texts").mkdir()
    for name in ("a.txt", "b.heic"):
        (tmp_path / "texts" / name).write_text("no picture")
    with pytest.raises(ValueError, match=message):
        loaded(tmp_path / value, monkeypatch)


def test_an_unset_variable_ends_in_a_sentence_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(SystemExit, match="1"):
        run_here(tmp_path / "out", *ZOO, "--tasks", TASK)
    captured = capfd.readouterr()
    said = captured.out + captured.err
    assert said.count(f"set {VARIABLE} to a folder of pictures; it is not set") == 1
    assert "nothing was measured" in said
    assert "RetryError" not in said
    assert "Traceback" not in said
