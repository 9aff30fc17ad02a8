"""Bits of the linear reader beside scikit-learn's logistic regression and the closed form of Gaussian classes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from connector_bench.reconstruction.probes.training_loop import Schedule
from connector_bench.stages.belief import believed_bits, shares_by_kind
from connector_bench.stages.reader_fit import SideReaders
from connector_bench.stages.scene_questions import QuestionAlone, StageQuestion, Vocabulary
from connector_bench.stages.token_shelf import kept_tokens

CLASSES, WIDTH, TRAINED, TESTED = 5, 8, 3000, 2000
ASKED = "What is it?"


def test_bits_agree_with_logistic_regression_and_with_the_posterior() -> None:
    rng = np.random.default_rng(0)
    means = rng.normal(size=(CLASSES, WIDTH)) * 0.9
    classes = rng.choice(CLASSES, p=[0.4, 0.3, 0.15, 0.1, 0.05], size=TRAINED + TESTED)
    x = means[classes] + rng.normal(size=(TRAINED + TESTED, WIDTH))
    questions = [[StageQuestion("class", ASKED, f"class {one}")] for one in classes]
    training, testing = questions[:TRAINED], questions[TRAINED:]
    vocabulary = Vocabulary.of(one for group in training for one in group)
    tokens = [kept_tokens(torch.from_numpy(row[None])) for row in x[:TRAINED]]
    held = [number % 10 == 0 for number in range(TRAINED)]
    schedule = Schedule(epochs=30, batch_size=64, learning_rate=3e-3, warmup=0.1, patience=30)
    alone = QuestionAlone.fit(
        vocabulary,
        [group[0] for group, out in zip(training, held, strict=True) if not out],
        [group[0] for group, out in zip(training, held, strict=True) if out],
    )
    side = SideReaders.fit(tokens, training, held, alone, {"linear": schedule}, torch.device("cpu"))
    read = side.read([torch.from_numpy(row[None]).float() for row in x[TRAINED:]], testing)["linear"]
    bits = np.array([one[0, 1] for one in read])
    usable = (alone.bits([group[0] for group in testing]) - bits).mean()

    regression = LogisticRegression(C=10.0, max_iter=500).fit(x[:TRAINED], classes[:TRAINED])
    share = np.bincount(classes[:TRAINED], minlength=CLASSES) / TRAINED
    prior = -np.log2(share[classes[TRAINED:]]).mean()
    loss = log_loss(classes[TRAINED:], regression.predict_proba(x[TRAINED:])) / np.log(2)
    distance = ((x[TRAINED:, None] - means) ** 2).sum(-1)
    posterior = np.array([0.4, 0.3, 0.15, 0.1, 0.05]) * np.exp(-distance / 2)
    posterior /= posterior.sum(1, keepdims=True)
    best = prior + np.log2(posterior[np.arange(TESTED), classes[TRAINED:]]).mean()
    assert usable == pytest.approx(prior - loss, abs=0.03)
    assert usable == pytest.approx(best, abs=0.04)
    right = np.array([one[0, 0] for one in read]).mean()
    assert right == pytest.approx(regression.score(x[TRAINED:], classes[TRAINED:]), abs=0.02)


def test_the_question_alone_is_what_its_counts_say() -> None:
    def many(text: str, answers: dict[str, int]) -> list[StageQuestion]:
        return [StageQuestion("k", text, answer) for answer, n in answers.items() for _ in range(n)]

    training = many("is it a?", {"yes": 90, "no": 10}) + many("is it b?", {"yes": 10, "no": 90})
    vocabulary = Vocabulary.of(training)
    telling = QuestionAlone.fit(vocabulary, training, training[::10])
    assert telling.bits(training[:1])[0] == pytest.approx(-np.log2(0.9), abs=0.02)
    noise = many("is it a?", {"yes": 5, "no": 5}) + many("is it b?", {"yes": 5, "no": 5})
    silent = QuestionAlone.fit(vocabulary, training, noise)
    assert silent.strength == {"k": np.inf}
    assert silent.bits(training[:1])[0] == pytest.approx(1.0)
    assert np.isnan(silent.bits([StageQuestion("k", "is it a?", "perhaps")])[0])


def test_a_reader_is_believed_as_far_as_it_is_right() -> None:
    """One that names one of four answers at random, and one that is right nine times of ten and says so."""
    rng = np.random.default_rng(0)
    alone = np.full(4000, 2.0)
    guesses = np.where(rng.random(4000) < 1 / 4, -np.log2(0.97), -np.log2(0.01))
    knows = np.where(rng.random(4000) < 0.9, -np.log2(0.9), -np.log2(0.1 / 3))
    kinds = ["guessed"] * 4000 + ["known"] * 4000
    chosen = shares_by_kind(np.concatenate([guesses, knows]), np.concatenate([alone, alone]), kinds)
    assert chosen["guessed"] <= 0.05
    assert chosen["known"] >= 0.9
    assert believed_bits(guesses, alone, 0.0) == pytest.approx(alone)
    assert believed_bits(np.array([1.0]), np.array([3.0]), 0.5) == pytest.approx(-np.log2(0.25 + 0.0625))
    unknown = np.array([np.nan, 1.0])
    assert shares_by_kind(unknown, np.array([2.0, 2.0]), ["k", "k"]) == {"k": 1.0}


def test_names_of_several_words_are_one_word() -> None:
    asked = [
        StageQuestion("o", "What is at the top?", "Sea Lion"),
        StageQuestion("e", "Can you see the sea lion?", "yes"),
    ]
    vocabulary = Vocabulary.of(asked)
    assert vocabulary.answers == ("sea lion", "yes")
    numbers = vocabulary.words("can you see the SEA LION!")
    assert vocabulary.tokens[numbers[-1]] == "sea lion"
    assert vocabulary.words("what unicorn")[-1] == 1
    encoded = vocabulary.encoded(asked)
    assert encoded.answers.tolist() == [0, 1]
    assert (encoded.words[0] == 0).sum() == 0
