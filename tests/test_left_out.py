"""One picture, task or figure never costs the others: by lmms-eval's command line, in one, two and three processes."""

import io
import json
import sys
from pathlib import Path

import datasets
import numpy as np
import pytest
from PIL import Image

from tests import tiny_vlms
from tests.harness import Outcome, run_command

TASKS = Path(__file__).parents[1] / "tasks"
FOLDER, PATCHES, TOO_LARGE = "knn_preservation_imagefolder", "patches", "too_large"
BUDGET = (
    "patch_pairs: 2000\n  validation_pairs: 500\n  mlp_width: 16\n  schedule: {epochs: 1}\n"
    "  attention_width: 16\n  attention_heads: 2\n  attention_schedule: {epochs: 1, batch_size: 16}"
)
ZOO = ("--model", "connector_zoo", "--model_args", "connector=mlp")
GOOD = 129


def drawn(seed: int, size: tuple[int, int] = (48, 36)) -> Image.Image:
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 255, (6, 8, 3), dtype=np.uint8)).resize(size, 3)


def encoded(picture: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def of_unknown_pixels() -> bytes:
    dds = bytearray(encoded(drawn(1), "DDS"))
    dds[80:88] = (4).to_bytes(4, "little") + b"XXXX"
    return bytes(dds)


BAD = {
    "strip": (encoded(drawn(2, (2000, 8)), "PNG"), "ValueError: Size must contain"),
    "cut": (encoded(drawn(3, (300, 200)), "JPEG")[:-900], "image file is truncated"),
    "cut_png": (encoded(drawn(4, (300, 200)), "PNG")[:-900], "image file is truncated"),
    "bomb": (encoded(Image.new("1", (13400, 13400), 1), "PNG"), "DecompressionBombError"),
    "dds": (of_unknown_pixels(), "NotImplementedError: Unimplemented pixel format"),
    "text": (b"no picture", "cannot identify image file 'zz_text.png'"),
}
"""By name: a file, and what must be said of it."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """129 pictures of two classes, and some that cannot be measured, each by another's fault."""
    root = tmp_path_factory.mktemp("pictures")
    for number in range(GOOD):
        path = root / ("cat", "dog")[number % 2] / f"{number:03}.png"
        path.parent.mkdir(exist_ok=True)
        drawn(100 + number).save(path)
    for name, (content, _) in BAD.items():
        (root / "dog" / f"zz_{name}.png").write_bytes(content)
    return root


@pytest.fixture(scope="module")
def arguments(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    here = tmp_path_factory.mktemp("tasks")
    patches = (
        f"task: {PATCHES}\ninclude: {TASKS / 'patch_reconstruction_imagefolder.yaml'}\nconnector_bench:\n"
    )
    patches += "  train:\n    documents: !function connector_bench.tasks.picture_folder.image_folder_train\n"
    patches += f"    doc_to_visual: !function connector_bench.tasks.functions.picture\n  {BUDGET}\n"
    (here / "patches.yaml").write_text(patches)
    large = f"task: {TOO_LARGE}\ninclude: {TASKS / FOLDER}.yaml\nconnector_bench:\n  ks: [5000]\n"
    (here / "large.yaml").write_text(large)
    model = tiny_vlms.save("llava_pixtral", tmp_path_factory.mktemp("models"))
    return (
        *("--model", "llava_hf", "--model_args", f"pretrained={model},device=cpu,device_map=cpu"),
        *("--include_path", str(here), "--tasks", f"{FOLDER},{PATCHES},{TOO_LARGE}", "--batch_size", "1"),
    )


@pytest.fixture(scope="module")
def runs(
    folder: Path, arguments: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory
) -> dict[int, tuple[Outcome, str]]:
    """Outcome and output by the number of processes."""
    out = tmp_path_factory.mktemp("out")
    there = {
        "CONNECTOR_BENCH_IMAGE_FOLDER": str(folder),
        "HF_DATASETS_CACHE": str(out / "cache"),
        "OMP_NUM_THREADS": "1",
    }
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    return {
        processes: run_command(
            out / str(processes),
            [*torchrun, "--nproc_per_node", str(processes), "-m", "lmms_eval"],
            *arguments,
            ACCELERATE_USE_CPU="true",
            **there,
        )
        for processes in (1, 2, 3)
    }


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_pictures_that_cannot_be_measured_are_named_and_the_others_measured(
    processes: int, runs: dict[int, tuple[Outcome, str]]
) -> None:
    outcome, said = runs[processes]
    record = outcome.record(FOLDER)
    assert outcome.figures(FOLDER)["n_images"] == GOOD, said
    assert record["n_documents"] == GOOD + len(BAD)
    reasons = list(record["unreadable"].values())
    assert len(reasons) == len(BAD)
    for _, reason in BAD.values():
        assert sum(reason in found for found in reasons) == (2 if "truncated" in reason else 1), reason
    answers = [json.loads(row["filtered_resps"]) for row in outcome.samples(FOLDER)]
    assert sum("unreadable" in answer for answer in answers) == len(BAD)
    lines = [line for line in said.splitlines() if "left out, could not be measured" in line]
    (line,) = (line for line in lines if f"{FOLDER}: {len(BAD)} documents" in line)
    assert "and 3 more" in line
    assert "(zz_" in line


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_bad_pictures_cost_the_probes_nothing(processes: int, runs: dict[int, tuple[Outcome, str]]) -> None:
    record = runs[processes][0].record(PATCHES)
    without = list(record["unreadable"].values()) + list(record["train_unreadable"].values())
    assert len(without) == len(BAD)
    assert record["n_images"] + record["train_images"] == GOOD
    assert record["train_documents_unreadable"] == len(record["train_unreadable"]) > 0


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_a_task_without_figures_costs_the_others_nothing(
    processes: int, runs: dict[int, tuple[Outcome, str]]
) -> None:
    outcome, said = runs[processes]
    assert "k = 5000 needs at least 5002 different images, got 129" in outcome.record(TOO_LARGE)["error"]
    assert "knor_10" in outcome.figures(FOLDER)
    assert "lost" in outcome.figures(PATCHES)
    assert said.count(f"{TOO_LARGE} gave no figures") == 1


@pytest.mark.parametrize("processes", [2, 3])
def test_several_processes_give_every_figure_of_one(
    processes: int, runs: dict[int, tuple[Outcome, str]]
) -> None:
    """Labels among them: a picture may be measured by a rank that holds it in another task."""
    one, several = runs[1][0], runs[processes][0]
    for task in (FOLDER, PATCHES):
        assert one.figures(task).keys() == several.figures(task).keys()
        assert one.record(task)["scores"].keys() == several.record(task)["scores"].keys()
    expected, found = one.figures(FOLDER), several.figures(FOLDER)
    assert {"recall_pre_1", "recall_post_5", "map_post"} <= found.keys()
    for name in ("knor_10", "recall_pre_1", "map_post"):
        assert found[name] == pytest.approx(expected[name], abs=1e-6)


DOCUMENTS = """
def naive(doc): return [doc["image"].convert("RGB")]
def empty(doc): return [] if doc["image"] is None else [doc["image"].convert("RGB")]
def bare(doc): return (doc["image"] or doc["second"]).convert("RGB")
def several(doc): return [x.convert("RGB") for x in (doc["second"], doc["image"]) if x is not None]
def path(doc): return [doc["path"]]
def url(doc): return [doc["url"]]
def nothing(doc): return None
def tup(doc): return (doc["image"].convert("RGB"),)
def absent(doc): return [doc["picture"].convert("RGB")]
def array(doc):
    import numpy as np
    return [np.asarray(doc["image"].convert("RGB"))]
def raises(doc):
    if doc["path"].endswith("07.png"): raise RuntimeError("no such scan")
    return [doc["image"].convert("RGB")]
"""
FUNCTIONS = [line.split("(")[0].removeprefix("def ") for line in DOCUMENTS.splitlines() if "def " in line]
N, NONE = 24, 17


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> tuple[Outcome, str]:
    """A user's own tasks on rows one of which has no picture, by a `doc_to_visual` of every kind."""
    here = tmp_path_factory.mktemp("own")
    files = [encoded(drawn(number), "PNG") for number in range(2 * N)]
    pictures = [{"bytes": file, "path": None} for file in files]
    rows = {
        "image": [None if number == NONE else pictures[number] for number in range(N)],
        "second": [pictures[N + number] if number % 2 else None for number in range(N)],
        "path": [f"/data/somewhere/{number:02}.png" for number in range(N)],
        "url": ["data:image/png;base64,iVBORw0KGgo/AAAA"] * N,
        "label": [None if number % 2 else "a" for number in range(N)],
        "number": [-1 if number % 2 else number % 3 for number in range(N)],
    }
    table = datasets.Dataset.from_dict(rows)
    for column in ("image", "second"):
        table = table.cast_column(column, datasets.Image())
    table.to_parquet(str(here / "rows.parquet"))
    (here / "own.py").write_text(DOCUMENTS)
    common = (
        "class: !function connector_bench.tasks.functions.KnnPreservation\ndataset_path: parquet\n"
        f"dataset_kwargs:\n  data_files:\n    test: {here / 'rows.parquet'}\ntest_split: test\n"
        "doc_to_text: ''\ndoc_to_target: ''\n"
    )
    tasks = {name: f"doc_to_visual: !function own.{name}\n" for name in FUNCTIONS}
    tasks |= {"column": "doc_to_visual: image\n", "no_column": "doc_to_visual: picture\n"}
    block = "connector_bench:\n  ks: [1, 5]\n"
    for name, visual in tasks.items():
        (here / f"{name}.yaml").write_text(f"task: own_{name}\n{common}{visual}{block}")
    for label in ("label", "number"):
        text = f"task: own_{label}\n{common}doc_to_visual: image\n{block}  label: {label}\n"
        (here / f"{label}.yaml").write_text(text)
    names = ",".join(f"own_{name}" for name in (*tasks, "label", "number"))
    command = [str(Path(sys.executable).parent / "lmms-eval"), *ZOO]
    return run_command(here / "out", command, "--include_path", str(here), "--tasks", names)


@pytest.mark.parametrize("name", ["naive", "empty", "tup", "array", "column", "label", "number"])
def test_a_document_without_a_picture_costs_the_others_nothing(
    name: str, documents: tuple[Outcome, str]
) -> None:
    outcome, said = documents
    assert outcome.figures(f"own_{name}")["n_images"] == N - 1, said
    assert list(outcome.record(f"own_{name}")["unreadable"]) == [str(NONE)]


def test_a_doc_to_visual_that_raises_for_one_document(documents: tuple[Outcome, str]) -> None:
    found = documents[0].record("own_raises")["unreadable"]
    assert set(found) == {"7", str(NONE)}
    assert found["7"] == "RuntimeError: no such scan"


def test_a_bare_picture_is_a_list_of_one(documents: tuple[Outcome, str]) -> None:
    assert documents[0].figures("own_bare")["n_images"] == N
    assert documents[0].record("own_bare")["unreadable"] == {}


def test_of_several_pictures_the_first_is_measured_and_one_warning_says_so(
    documents: tuple[Outcome, str],
) -> None:
    outcome, said = documents
    assert outcome.record("own_several")["several_pictures"] == N // 2 - 1
    (line,) = (line for line in said.splitlines() if "several pictures, of which the first" in line)
    assert "own_several: 11 documents have" in line
    assert "1, 3, 5, and 8 more" in line


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("path", "0 of 24 documents have a picture: doc_to_visual gave ['00.png'], and 23 others"),
        ("url", "0 of 24 documents have a picture: doc_to_visual gave ['data:image/png;base64,iVBO"),
        ("nothing", "0 of 24 documents have a picture: doc_to_visual gave None"),
        ("absent", "0 of 24 documents have a picture: KeyError: 'picture'"),
        ("no_column", "0 of 24 documents have a picture: KeyError: 'picture'"),
    ],
)
def test_no_picture_at_all_is_one_sentence(name: str, sentence: str, documents: tuple[Outcome, str]) -> None:
    outcome, said = documents
    assert sentence in outcome.record(f"own_{name}")["error"]
    sentences = "\n".join(line for line in said.splitlines() if ": measured in " not in line)
    assert sentences.count(f"own_{name} gave no figures") + sentences.count(f"own_{name}, ") == 1


def test_none_and_minus_one_are_no_label(documents: tuple[Outcome, str]) -> None:
    """str(None) was a class of its own once."""
    for name in ("label", "number"):
        assert not [key for key in documents[0].figures(f"own_{name}") if key.startswith(("recall", "map"))]
