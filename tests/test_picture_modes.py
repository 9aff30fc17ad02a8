"""Pictures of all modes and turns are measured alike by the task, by `measure` and by `connectors inspect`."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageFile

import connector_bench
import connector_bench.connectors.zoo
from connector_bench import zoo
from connector_bench.api.result import MeasuredPart
from connector_bench.connectors.cli import opened
from connector_bench.pictures import as_rgb, picture_hash
from tests.harness import Outcome, run_here

TASK = "knn_preservation_imagefolder"
ODD = ("grey16.png", "float.tif", "turned.jpg", "alpha.png", "palette.png", "bits.png")


def drawn(seed: int) -> Image.Image:
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 255, (6, 8, 3), dtype=np.uint8)).resize((48, 36), 3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pictures")
    for number in range(14):
        path = root / ("cat", "dog")[number % 2] / f"{number:02}.png"
        path.parent.mkdir(exist_ok=True)
        drawn(number).save(path)
    cats, grey = root / "cat", np.asarray(drawn(50).convert("L"))
    Image.fromarray(grey.astype(np.uint16) * 257).save(cats / "grey16.png")
    Image.fromarray((255 - grey).astype(np.float32) / 255).save(cats / "float.tif")
    Image.fromarray(grey.astype(np.float32) * 40).save(cats / "metres.tif")
    turned = Image.Exif()
    turned[0x112] = 6
    drawn(51).save(cats / "turned.jpg", exif=turned, quality=95)
    drawn(52).convert("RGBA").save(cats / "alpha.png")
    drawn(53).convert("P").save(cats / "palette.png")
    drawn(54).convert("1").save(cats / "bits.png")
    return root


@pytest.fixture(scope="module")
def of_task(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcome]:
    out = tmp_path_factory.mktemp("out")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CONNECTOR_BENCH_IMAGE_FOLDER", str(folder))
        patch.setenv("HF_DATASETS_CACHE", str(out / "cache"))
        arguments = ("--model", "connector_zoo", "--model_args", "connector=mlp", "--tasks", TASK)
        yield run_here(out / "run", *arguments)


@pytest.fixture(scope="module")
def of_measure(folder: Path) -> MeasuredPart:
    paths = sorted(folder.rglob("*.*"))
    labels = [path.parent.name for path in paths]
    with pytest.warns(UserWarning, match="1 document left out, could not be measured: .*: ValueError"):
        result = connector_bench.measure(
            zoo.load("mlp"), map(Image.open, paths), labels=labels, measures=["knn_preservation"]
        )
    return result["knn_preservation"]


def test_measure_gives_the_figures_of_the_task_key_for_key(
    of_task: Outcome, of_measure: MeasuredPart
) -> None:
    answers = [json.loads(row["filtered_resps"]) for row in of_task.samples(TASK)]
    assert len(answers) == len(of_measure.answers)
    for expected, found in zip(answers, of_measure.answers.values(), strict=True):
        if "unreadable" in expected:  # named by the task, which has a file
            assert expected["unreadable"].startswith("ValueError: ")
            assert found["unreadable"] == expected["unreadable"]
        else:
            assert found == expected
    assert sum("image" in answer for answer in answers) == 14 + len(ODD)
    figures = of_task.figures(TASK)
    assert {name: figures[name] for name in of_measure.figures} == of_measure.figures
    assert {f"{name}_stderr" for name in of_measure.stderrs} <= figures.keys()
    assert of_measure.stderrs == {name: figures[f"{name}_stderr"] for name in of_measure.stderrs}
    numbers = {name for name, value in figures.items() if isinstance(value, float) and "_stderr" not in name}
    assert numbers == {name for name in of_measure.figures if name != "n_images"} | (numbers & {"n_images"})
    record = of_task.record(TASK)
    assert {"untrained_knor_10", "untrained_knor_adj_1", "recall_post_5"} <= record["scores"].keys()
    of_the_run = {"ran", "artefacts"}
    assert record.keys() == of_measure.record.keys()
    for name in record.keys() - of_the_run:
        assert record[name] == of_measure.record[name], name


def test_values_without_a_scale_are_left_out_by_name(of_task: Outcome) -> None:
    (why,) = of_task.record(TASK)["unreadable"].values()
    assert "a picture of mode F holds values from" in why
    assert "they can be scaled from 0 to 1 only" in why


def test_sixteen_bits_and_floats_are_scaled_and_never_clipped(folder: Path, of_measure: MeasuredPart) -> None:
    grey = np.asarray(drawn(50).convert("L"))
    for name, expected in (("grey16.png", grey), ("float.tif", 255 - grey)):
        rgb = as_rgb(Image.open(folder / "cat" / name))
        assert np.array_equal(np.asarray(rgb), np.repeat(expected[..., None], 3, axis=2))
        assert picture_hash(rgb) in {row.get("image") for row in of_measure.answers.values()}
    for dtype in (np.int32, np.dtype(">u2")):
        wide = Image.fromarray((grey.astype(np.int64) * 257).astype(dtype))
        assert np.array_equal(np.asarray(as_rgb(wide))[..., 0], grey)
    with pytest.raises(ValueError, match=r"mode I holds values from -4 to 16"):
        as_rgb(Image.fromarray(np.array([[-4, 16]], dtype=np.int32)))


def test_a_turn_is_applied_once_and_everywhere(folder: Path, of_measure: MeasuredPart) -> None:
    path = folder / "cat" / "turned.jpg"
    seen = as_rgb(Image.open(path))
    assert seen.size == (36, 48)
    assert picture_hash(seen) == picture_hash(as_rgb(seen)) == picture_hash(opened(path))
    assert picture_hash(Image.open(path).convert("RGB")) == picture_hash(seen)
    assert picture_hash(seen) in {row.get("image") for row in of_measure.answers.values()}


def test_an_ordinary_picture_keeps_its_name() -> None:
    picture = drawn(1)
    assert as_rgb(picture) is picture
    assert picture_hash(picture) == hashlib.sha256(b"48x36" + picture.tobytes()).hexdigest()


def test_a_truncated_file_is_refused_and_the_process_left_as_it_was(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "cut.jpg"
    content = (folder / "cat" / "turned.jpg").read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(OSError, match="truncated"):
        as_rgb(Image.open(path))
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True


def overflowing(bad: set[str], images: list[Image.Image]) -> object:
    """A model whose connector overflows for these pictures, as half precision does for few or for all."""
    model = zoo.load("mlp")
    adapter = connector_bench.connectors.zoo.ZooAdapter(model)
    firsts = {
        float(pair.pre.sum())
        for image, pair in zip(images, adapter.capture(images), strict=True)
        if picture_hash(image) in bad
    }

    def overflow(module: object, given: tuple[torch.Tensor], made: torch.Tensor) -> torch.Tensor:
        return made * torch.inf if float(given[0].sum()) in firsts else made

    model.connector.register_forward_hook(overflow)
    return model


def test_one_overflow_is_left_out_and_counted_and_many_refuse_the_run() -> None:
    images = [drawn(number) for number in range(20)]
    names = [picture_hash(image) for image in images]
    measures = ["knn_preservation"]
    with pytest.warns(
        UserWarning, match=r"1 document left out.*post \(the connector's output\) hold NaN or inf"
    ):
        result = connector_bench.measure(overflowing({names[4]}, images), images, measures=measures)
    record = result["knn_preservation"].record
    assert record["not_finite"] == 1
    assert set(record["unreadable"]) == {"4"}
    assert result.images[4] is None
    assert record["n_images"] == 19
    with pytest.raises(
        ValueError,
        match=r"6 of 20 pictures give no finite tokens, and 5 may be left out: .*infinity; float32 hardly",
    ):
        connector_bench.measure(overflowing(set(names[:6]), images), images, measures=measures)
