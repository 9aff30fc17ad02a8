from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

from connector_bench import zoo
from connector_bench.zoo.connectors import GRID
from connector_bench.zoo.named_connectors import STUDIED, UNTRAINED, connector_names
from connector_bench.zoo.shipped import SHIPPED, find_weights
from connector_bench.zoo.splits import SPLITS, make_scene
from connector_bench.zoo.vocabulary import encode_question, token_ids, vocabulary
from tests.zoo.cards import read_card

SEEDS = (0, 1, 2)
"""Of what is trained; a connector left at its start is shipped with one seed, to keep the wheel small."""

SHIPPED_MODELS = [
    (name, seed)
    for name in (*connector_names(), *STUDIED)
    for seed in (SEEDS[:1] if name.startswith(UNTRAINED) else SEEDS)
]
FEW = 100


@pytest.fixture(scope="module")
def asked():
    made = [make_scene(SPLITS["test"], i) for i in range(FEW)]
    return [Image.fromarray(scene.image) for scene, _ in made], [questions for _, questions in made]


@pytest.fixture(scope="module")
def pre(asked):
    return zoo.load("identity").encode(asked[0])


@pytest.fixture(autouse=True)
def no_weights_but_the_shipped_ones(tmp_path, monkeypatch):
    monkeypatch.setenv("CONNECTOR_BENCH_CACHE", str(tmp_path))


def answers_of(model, pre, asked):
    """Whether each question was answered right, by kind."""
    right: dict[str, list[bool]] = {}
    post = model.connect(pre)
    for i, questions in enumerate(asked[1]):
        given = model.answer_from(
            post[i : i + 1].expand(len(questions), -1, -1), [q.question for q in questions]
        )
        for question, answer in zip(questions, given, strict=True):
            right.setdefault(question.kind, []).append(answer == question.answer)
    return right


@pytest.mark.parametrize(("name", "seed"), SHIPPED_MODELS)
def test_weights_are_shipped_small_and_described(name, seed):
    path = find_weights(name, seed)
    assert path.parent == SHIPPED
    # A resampler is 1.08 MB. One below 1 MB (no query projection, a perceptron half as wide) answered .52, .43 and .61
    # over three seeds where this one answers .72, .50 and .54: lower on average, though three seeds do not settle it.
    # Merging 49 patches at once takes a matrix of 49 times the encoder's width.
    allowed = 2_200_000 if name == "pixel_shuffle_4" else 1_200_000 if "resampler" in name else 1_000_000
    assert path.stat().st_size < allowed
    card = read_card(name, seed)
    assert (card.connector, card.seed) == (name, seed)
    assert {"test", "test_unseen"} <= set(card.accuracy)
    model = zoo.load(name, seed)
    assert model.parameters_of_connector == card.connector_parameters
    assert all(p.dtype == torch.float32 for p in [*model.connector.parameters(), *model.decoder.parameters()])


def test_all_weights_together_are_below_75_megabytes():
    """Package registries take files of 100."""
    assert sum(path.stat().st_size for path in SHIPPED.iterdir()) < 75e6


@pytest.mark.parametrize("name", ["mlp", "resampler"])
def test_shipped_accuracy_is_reproduced(name, pre, asked):
    """A hundred scenes against the thousand of the card: within four standard errors."""
    right = answers_of(zoo.load(name), pre, asked)
    claimed = read_card(name).accuracy["test"]
    for kind, values in right.items():
        error = max(0.03, np.sqrt(claimed[kind] * (1 - claimed[kind]) / len(values)))
        assert abs(np.mean(values) - claimed[kind]) < 4 * error, kind


def test_the_zoo_spreads():
    accuracy = {name: read_card(name).accuracy["test"] for name in connector_names(untrained=False)}
    overall = {name: scores["overall"] for name, scores in accuracy.items()}
    assert accuracy["mlp"]["object"] > 0.80
    assert max(overall.values()) - min(overall.values()) >= 0.4
    assert max(overall.values()) < 0.97
    assert min(overall, key=overall.get) == "rank2"
    assert overall["rank2"] < overall["mlp"] - 0.2


def test_isometries_keep_all_neighbours_and_rank2_loses_many():
    overlap = {
        name: read_card(name).mean_pooled_overlap_10 for name in ("identity", "rotation", "mlp", "rank2")
    }
    assert overlap["identity"] == overlap["rotation"] == 1.0
    assert overlap["rank2"] < overlap["mlp"] - 0.1


@pytest.mark.parametrize("name", ["mlp", "patch_merger", "avg_pool", "resampler"])
def test_a_pictures_tokens_are_the_same_bits_in_every_batch(name, asked):
    """Two processes batch otherwise than one, and a ridge with a small penalty magnifies rounding a thousandfold."""
    model, images = zoo.load(name), asked[0][:17]
    together = model.encode(images)
    alone = torch.cat([model.encode([image]) for image in images])
    assert torch.equal(together, alone)
    assert torch.equal(model.connect(together), torch.cat([model.connect(row[None]) for row in together]))
    questions = [q[0].question for q in asked[1][:17]]
    assert model.answer(images, questions) == [
        model.answer([image], [question])[0] for image, question in zip(images, questions, strict=True)
    ]


@pytest.mark.parametrize(("name", "side"), [("mlp", 14), ("pixel_shuffle", 7)])
@pytest.mark.parametrize(("row", "column"), [(3, 10), (8, 5)])
def test_a_planted_patch_moves_its_token_most(name, side, row, column):
    """Change 16 x 16 pixels of a plain image: the token there, or its merged cell, moves most."""
    model = zoo.load(name)
    plain = np.full((224, 224, 3), 120, np.uint8)
    planted = plain.copy()
    planted[row * 16 : row * 16 + 16, column * 16 : column * 16 + 16] = np.random.default_rng(0).integers(
        0, 255, (16, 16, 3)
    )
    post = model.connect(model.encode([Image.fromarray(plain), Image.fromarray(planted)]))
    moved = (post[1] - post[0]).norm(dim=-1).argmax().item()
    assert divmod(moved, side) == (row * side // GRID, column * side // GRID)


def test_unknown_words_and_long_questions_are_answered(asked):
    model, unknown = zoo.load("mlp"), token_ids()["<unk>"]
    assert unknown in encode_question("what is the flibbertigibbet at the top left?")
    odd = ["flibbertigibbet", "", "what " * 500, "¿qué?"]
    given = model.answer(asked[0][: len(odd)], odd)
    assert all(answer in vocabulary() for answer in given)


def test_questions_are_read_by_longest_name_and_without_case():
    ids = token_ids()
    assert ids["black cat"] in encode_question("Can you SEE the Black Cat")
    assert ids["cat"] not in encode_question("can you see the black cat?")
    assert encode_question("what is at the top left?") == encode_question("What is at the top left")


def test_errors_say_what_arrived(asked):
    model = zoo.load("mlp")
    with pytest.raises(ValueError, match="1 images and 2 questions"):
        model.answer(asked[0][:1], ["what?", "who?"])
    with pytest.raises(ValueError, match=r"shape \[1, 49, 112\], expected \[b, 196, 112\]"):
        model.connect(torch.zeros(1, 49, 112))
    with pytest.raises(
        FileNotFoundError, match=r"seed 99 \(shipped seeds: 0, 1, 2\).*zoo train mlp --seed 99"
    ):
        zoo.load("mlp", seed=99)
    with pytest.raises(ValueError, match="Did you mean 'mlp'"):
        zoo.load("mpl")


def test_cards_are_json_with_the_budget_and_versions():
    card = json.loads((SHIPPED / "mlp-seed0.json").read_text())
    assert card["training"]["epochs"] > 0
    assert card["training"]["loss"][-1] < card["training"]["loss"][0]
    assert "torch" in card["versions"]


def test_questions_asked_together_get_the_answers_they_get_alone(pre, asked):
    model = zoo.load("mlp")
    post = model.connect(pre)
    groups = [[q.question for q in questions][: 1 + i % 4] for i, questions in enumerate(asked[1])]
    alone = [model.answer_from(post[i : i + 1].expand(len(g), -1, -1), g) for i, g in enumerate(groups)]
    assert model.answer_each(post, groups) == alone
