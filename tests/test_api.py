"""Measuring from Python: what people hold, what they get, and what they are told."""

from __future__ import annotations

import doctest
import importlib
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision.transforms as T
from PIL import Image
from transformers import CLIPImageProcessor

import connector_bench as cb
from connector_bench import zoo
from connector_bench.preservation import knn
from connector_bench.run.measurement import picture_hash
from connector_bench.types import Tile
from tests.bare_modules import KS, SMALL, Patches, bare, low_rank, pixels, projector

torch.set_num_threads(1)
OVERLAP = ["knn_preservation"]


def pictures(n: int) -> list[Image.Image]:
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 255, (40, 50, 3), dtype=np.uint8)) for _ in range(n)]


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    "module", ["both_measures", "capturing", "overlap_of_vectors", "result", "tokens"], ids=str
)
def test_examples_in_docstrings_run(module: str) -> None:
    ran = doctest.testmod(importlib.import_module(f"connector_bench.api.{module}"))
    assert ran.attempted >= 3
    assert ran.failed == 0


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_measure_a_model_of_the_zoo() -> None:
    images = pictures(14)
    given = [*images, images[3]]
    result = cb.measure(zoo.load("identity"), given, measures=OVERLAP, options=KS)
    assert result.images == tuple(map(picture_hash, given))
    assert result.scores["knor_5"].value == 1
    assert result.column("knor_5").tolist() == [1.0] * 15
    table = result.per_image()
    assert len(table) == 15
    assert table["image"][14] == table["image"][3]


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_batches_and_order_change_no_overlap() -> None:
    images, model = pictures(20), zoo.load("mlp")
    one, other = (
        cb.measure(model, given, measures=OVERLAP, options=KS, batch_size=size)
        for given, size in ((images, 20), (images[::-1], 3))
    )
    assert np.array_equal(one.column("knor_5"), other.column("knor_5")[::-1])


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_labels_add_retrieval_and_must_fit() -> None:
    images, model = pictures(12), zoo.load("identity")
    result = cb.measure(model, images, measures=OVERLAP, options=KS, labels=["a", "b"] * 6)
    scores = result.scores
    assert scores["recall_pre_5"].value == scores["recall_post_5"].value
    with pytest.raises(ValueError, match="got 3 labels and 12 pictures"):
        cb.measure(model, images, measures=OVERLAP, options=KS, labels=["a", "b", "c"])


def test_unknown_names_are_refused() -> None:
    with pytest.raises(AttributeError, match="it offers"):
        _ = cb.knn_preservations


def test_the_old_order_is_named() -> None:
    with pytest.raises(TypeError, match=r"the order is measure\(model, images, processor\)"):
        cb.measure(zoo.load("identity"), None, pictures(3))  # type: ignore[arg-type]


# bare modules


def test_what_bare_modules_give_is_what_they_compute() -> None:
    images = pictures(5)
    encoder, connector = bare(projector())
    tokens = cb.capture((encoder, connector), [*images, images[0]], pixels, grid=(4, 4), batch_size=4)
    assert len(tokens) == 6
    pre = encoder(pixels(images)).detach()
    assert torch.allclose(torch.stack(tokens.pre[:5]), pre, atol=1e-6)
    assert torch.allclose(torch.stack(tokens.post[:5]), connector(pre).detach(), atol=1e-6)
    assert torch.equal(tokens.pre[5], tokens.pre[0])
    assert tokens.layouts[0].tiles == (Tile((4, 4), (4, 4)),)
    assert tokens.connector.places == "planted patch found in 100 %"
    assert [pair.pre.dtype for pair in tokens] == [torch.float32] * 6
    assert not any(one.requires_grad for one in tokens.post)


class Merging(torch.nn.Module):
    """Blocks of 2 x 2 patches joined, in raster order or with two blocks exchanged."""

    def __init__(self, order: tuple[int, ...] = (0, 1, 2, 3)) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.order, self.map = list(order), torch.nn.Linear(96, 10)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        blocks = tokens.unflatten(1, (2, 2, 2, 2)).transpose(2, 3).reshape(len(tokens), 4, -1)
        return self.map(blocks[:, self.order])


def test_a_merging_connector_is_found_and_a_wrong_order_is_not_believed() -> None:
    images = pictures(3)
    given = cb.capture(bare(Merging()), images, pixels, grid=(4, 4))
    assert given.layouts[0].tiles == (Tile((4, 4), (2, 2)),)
    with pytest.warns(UserWarning, match="does not hold behind the connector, which made 4 tokens of 16"):
        other = cb.capture(bare(Merging((1, 0, 3, 2))), images, pixels, grid=(4, 4))
    assert other.layouts[0].tiles == (Tile((4, 4), None),)
    assert "taken to have no place" in other.connector.assumptions[0]
    nowhere = cb.capture(bare(projector()), images, pixels)
    assert nowhere.layouts[0].unplaced == 16


def test_a_wrong_order_of_the_encoder_takes_all_places_away() -> None:
    encoder, connector = bare(projector())
    turned = lambda given: encoder(given)[:, torch.arange(15, -1, -1)]  # noqa: E731
    with pytest.warns(UserWarning, match="does not hold: of the encoder's 16 tokens"):
        tokens = cb.capture((turned, connector), pictures(3), pixels, grid=(4, 4))
    assert tokens.layouts[0].unplaced == 16
    assert tokens.connector.places is not None
    assert tokens.connector.places.startswith("not known: planted patch found in")


def test_encoders_of_every_kind() -> None:
    images = pictures(3)
    encoder, connector = bare(projector())
    expected = cb.capture((encoder, connector), images, pixels).post

    class Output:
        def __init__(self, tokens: torch.Tensor) -> None:
            self.last_hidden_state = tokens

    for kind in (
        lambda given: Output(encoder(given)),
        lambda given: (encoder(given), None),
        lambda given: list(encoder(given)),
    ):
        found = cb.capture((kind, connector), images, pixels).post
        assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(found, expected, strict=True))
    of_pictures = cb.capture((lambda given: encoder(pixels(given)), connector), images)
    assert torch.allclose(of_pictures.post[0], expected[0], atol=1e-6)
    clip = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    wide = cb.capture((encoder, connector), images, clip, grid=(4, 4))
    assert wide.layouts[0].tiles[0].box == (0.1, 0.0, 0.9, 1.0), "the middle of a picture of 50 x 40"
    assert torch.allclose(wide.pre[0], encoder(clip(images, return_tensors="pt").pixel_values)[0], atol=1e-6)
    transforms = T.Compose([T.Resize(32), T.CenterCrop(32), T.ToTensor()])
    assert cb.capture((encoder, connector), images, transforms, grid=(4, 4)).layouts[0].has_places
    uneven = cb.capture(
        (lambda given: [encoder(pixels([p]))[0, : 5 + i] for i, p in enumerate(given)], connector), images
    )
    assert [len(one) for one in uneven.post] == [5, 6, 7]
    half = cb.capture((encoder.bfloat16(), connector), images, pixels)
    assert half.pre[0].dtype == torch.float32, "as the connector, which is in float32, receives them"


def dropping(tokens: torch.Tensor) -> torch.Tensor:
    return tokens[1:]


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        ((Patches().eval(), dropping), {}, r"connector gave tokens of 0 pictures for 1; it must keep"),
        (
            (lambda given: given, torch.nn.Identity()),
            {},
            r"encoder gave \[1, 3, 32, 32\]; \[batch, tokens, width\] is needed; .flatten",
        ),
        ((Patches().eval(), lambda tokens: tokens.mean(1)), {}, r"connector gave \[1, 24\]"),
        ((Patches().eval(), lambda tokens: None), {}, "connector gave NoneType"),
        ((Patches().eval(), lambda tokens: tokens.long()), {}, "whole numbers"),
        ((Patches().eval(), lambda tokens: tokens[:, :0]), {}, "gave no token"),
        (
            (Patches().eval(), torch.nn.Identity()),
            {"grid": (5, 4)},
            "grid of 5 x 4 has 20 tokens, the encoder gave 16",
        ),
        ((Patches().eval(), torch.nn.Identity()), {"grid": ((4, 4), (2, 2))}, "the connector gave 16"),
        ((Patches().eval(), torch.nn.Identity()), {"grid": (4, 4.0)}, "allowed are"),
        ((Patches().eval(), torch.nn.Identity()), {"grid": 16}, "allowed are"),
        ((Patches().eval(), None), {}, r"connector is NoneType; .*torch.nn.Identity\(\)"),
        ((Patches().eval(),), {}, "got 1 parts"),
        (Patches().eval(), {}, "has no config"),
        ((Patches().eval(), lambda tokens: tokens * math.nan), {}, "NaN or infinity"),
    ],
)
def test_errors_name_what_arrived(model: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cb.capture(model, pictures(2), pixels, **options)


def test_more_that_is_refused() -> None:
    parts = bare(projector())
    with pytest.raises(ValueError, match="no processor"):
        cb.capture(parts, pictures(2))
    with pytest.raises(ValueError, match="grid= is for bare modules"):
        cb.capture(zoo.load("mlp"), pictures(2), grid=(4, 4))
    with pytest.raises(
        ValueError, match=r"one array of \[40, 50, 3\]; a picture by itself is given in a list"
    ):
        cb.capture(parts, np.asarray(pictures(1)[0]), pixels)
    with pytest.raises(ValueError, match="neither a folder nor a file"):
        cb.capture(parts, "no/such/folder", pixels)
    with pytest.raises(ValueError, match="images is dict"):
        cb.capture(parts, {"a": pictures(1)[0]}, pixels)
    with pytest.raises(ValueError, match=r"no training image is left: there are 0"):
        cb.measure(parts, pictures(1), pixels, measures="patch_reconstruction")
    with pytest.raises(ValueError, match="grid, labels is said when tokens are captured"):
        cb.measure(cb.Tokens.of(*low_rank(8, 12)), grid=(4, 4), labels=["a"] * 12)
    with pytest.raises(ValueError, match="no picture was given"):
        cb.capture(parts, [], pixels)
    with pytest.raises(
        ValueError, match=r"0 of 2 pictures could be captured: .*a Tensor of \[3, 8, 8\] of float32"
    ):
        cb.capture(parts, torch.zeros(2, 3, 8, 8), pixels)
    with pytest.raises(
        ValueError, match=r"measures is .*; allowed are knn_preservation, patch_reconstruction"
    ):
        cb.measure(parts, pictures(2), pixels, measures=["knn"])
    with pytest.warns(UserWarning, match=r"connector is in training mode.* call .eval\(\) first"):
        cb.capture((parts[0], torch.nn.Linear(24, 4)), pictures(2), pixels)


# one picture never costs the others


def test_what_cannot_be_read_is_left_out_by_its_number() -> None:
    images: list[Any] = pictures(5)
    images.insert(2, np.zeros((3, 3, 3), dtype=complex))
    with pytest.warns(UserWarning, match="1 picture left out, could not be measured: 2: TypeError"):
        tokens = cb.capture(bare(projector()), images, pixels)
    assert list(tokens.left_out) == [2]
    assert tokens.numbers == (0, 1, 3, 4, 5)


# tokens on the disk


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_saved_tokens_are_the_same_tokens(tmp_path: Path) -> None:
    images = [*pictures(7), pictures(1)[0]]
    parts = bare(projector())
    tokens = cb.capture(parts, images, pixels, grid=(4, 4), untrained=True, labels=list("abababab"))
    loaded = cb.Tokens.load(tokens.save(tmp_path / "saved"))
    streamed = cb.capture(
        parts,
        images,
        pixels,
        grid=(4, 4),
        untrained=True,
        labels=list("abababab"),
        folder=tmp_path / "streamed",
    )
    for other in (loaded, streamed):
        assert repr(other) == repr(tokens)
        assert other.documents == tokens.documents
        assert other.layouts == tokens.layouts
        for one, two in zip(tokens, other, strict=True):
            assert torch.equal(one.pre, two.pre)
            assert torch.equal(one.post, two.post)
            assert all(map(torch.equal, one.untrained, two.untrained))
    with pytest.raises(ValueError, match="holds a capture already"):
        tokens.save(tmp_path / "saved")
    one, other = (cb.measure(given, options=KS, probes=SMALL) for given in (tokens, loaded))
    for part in one.parts:
        assert part.figures == other[part.measure].figures
    assert "untrained_knor_5" in one.scores


# vectors


def test_vectors_of_every_kind_give_the_same_overlap() -> None:
    rng = np.random.default_rng(0)
    pre = rng.normal(size=(60, 12)).astype(np.float32)
    post = pre[:, :6] + rng.normal(size=(60, 6)).astype(np.float32)
    expected = knn.knn_preservation(pre, post, ks=(1, 10))
    result = cb.knn_preservation(pre, post, ks=(1, 10))
    assert {name: score.value for name, score in result.scores.items()} == {
        name: score.value for name, score in expected.scores.items()
    }
    assert result.scores["knor_10"] == expected.scores["knor_10"]
    assert np.array_equal(result.column("knor_10"), expected.overlap[10])
    kinds = {
        "float64": (pre.astype(np.float64), post.astype(np.float64)),
        "gradients": (torch.tensor(pre, requires_grad=True), torch.tensor(post, requires_grad=True)),
        "list": (list(pre), [torch.tensor(one) for one in post]),
        "one token": (pre[:, None], torch.tensor(post)[:, None]),
        "repeated": ([np.stack([one] * (1 + i % 3)) for i, one in enumerate(pre)], post),
        "plain lists": (pre.tolist(), post.tolist()),
    }
    for name, (before, after) in kinds.items():
        found = cb.knn_preservation(before, after, ks=(1, 10))
        assert found.scores["knor_10"] == expected.scores["knor_10"], name
    half = torch.tensor(pre).bfloat16()
    assert (
        cb.knn_preservation(half, post, ks=(10,)).scores
        == cb.knn_preservation(half.float().numpy(), post, ks=(10,)).scores
    )


def test_vectors_that_are_none_are_named() -> None:
    pre = np.random.default_rng(0).normal(size=(30, 4))
    broken = pre.copy()
    broken[3, 1] = np.nan
    cases: list[tuple[tuple[Any, ...], str]] = [
        ((pre, pre[:20]), "got 30 and 20"),
        ((pre[0], pre), r"pre is \[4\]"),
        ((pre, broken), "hold NaN or infinity"),
        (([pre, broken], [pre, pre]), "1 of 2 images of pre hold NaN or infinity, the first is 1"),
        ((pre,), "post is missing"),
        (([pre[0], pre[0, :3]], pre[:2]), "different widths"),
        (("pre", "post"), "pre is str"),
        ((pre.astype(complex), pre), "pre holds complex128; real numbers are needed"),
        ((pre, np.array([[None] * 4] * 30)), "post holds object"),
        ((pre, 1e300 * pre), "post: 30 of 30 rows hold NaN or infinity"),
        ((pre[:2], pre[:2]), "needs at least 3 different images, got 2"),
    ]
    for arguments, message in cases:
        with pytest.raises(ValueError, match=message):
            cb.knn_preservation(*arguments)
    for ks, said in (
        ((0,), r"\(0,\)"),
        (3, "3"),
        (("3",), r"\('3',\)"),
        ((2.5,), r"\(2.5,\)"),
        ((), r"\(\)"),
    ):
        with pytest.raises(ValueError, match=f"ks must be whole numbers of at least 1, got {said}"):
            cb.knn_preservation(pre, pre, ks=ks)  # type: ignore[arg-type]
    with pytest.warns(UserWarning, match="no recall and map: retrieval needs a label of every image"):
        assert (
            cb.knn_preservation(pre, pre, ks=(3,), labels=[None, *"ab" * 14, "a"]).scores["knor_3"].value == 1
        )


@pytest.mark.parametrize("measured", ["arrays", "numerics", "pictures"])
def test_one_rule_for_k(measured: str) -> None:
    n = 14
    pre = np.random.default_rng(0).normal(size=(n, 6))
    calls: dict[str, Any] = {
        "arrays": lambda ks: cb.knn_preservation(pre, pre, ks=ks).scores,
        "numerics": lambda ks: knn.knn_preservation(pre, pre, ks=ks).scores,
        "pictures": lambda ks: (
            cb.measure(
                zoo.load("identity"), pictures(n), measures=OVERLAP, options=cb.PreservationOptions(ks=ks)
            ).scores
        ),
    }
    with pytest.warns(UserWarning, match=r"14 different images are too few for k = 13 \(needs 15\)"):
        scores = calls[measured]((1, 12, 13))
    assert {"knor_1", "knor_12"} <= scores.keys()
    assert "knor_13" not in scores
    with pytest.raises(ValueError, match="k = 13, 50 needs at least 15 different images, got 14"):
        calls[measured]((13, 50))


# patches
