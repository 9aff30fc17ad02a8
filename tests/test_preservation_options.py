"""Every option of `knn_preservation` through lmms-eval's command line, against figures computed by other means."""

from collections.abc import Callable
from pathlib import Path

import faiss
import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler

from connector_bench import zoo
from connector_bench.connectors.zoo import ZooAdapter
from connector_bench.types import TokenPair
from connector_bench.zoo import scenes
from tests.harness import Outcome, run_here

IMAGES, K = 120, 10
BLOCKS = {
    "plain": "ks: [1, 10]",
    "cosine": "ks: [10]\n  distance: cosine",
    "standardized": "ks: [10]\n  distance: l2_standardized",
    "unpooled": "ks: [10]\n  pooling: none",
    "normed": "ks: [10]\n  tap: pre_normed",
    "paper": "ks: [10]\n  protocol: paper",
    "labelled": "ks: [1, 10]\n  label: label",
}


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """patch_merger begins with a norm, so it has both taps."""
    folder = tmp_path_factory.mktemp("options")
    for name, block in BLOCKS.items():
        (folder / f"{name}.yaml").write_text(
            f"task: {name}\ninclude: {Path(__file__).parents[1] / 'tasks' / 'knn_preservation_scenes.yaml'}\n"
            f"class: !function connector_bench.tasks.functions.KnnPreservation\nconnector_bench:\n  {block}\n"
        )
    return run_here(
        folder / "out",
        *("--model", "connector_zoo", "--model_args", "connector=patch_merger"),
        *("--include_path", str(folder), "--tasks", ",".join(BLOCKS), "--limit", str(IMAGES)),
    )


@pytest.fixture(scope="module")
def pairs() -> list[TokenPair]:
    pictures = [row["image"].convert("RGB") for row in scenes.load("test").select(range(IMAGES))]
    return ZooAdapter(zoo.load("patch_merger")).capture(pictures)


Sides = Callable[[TokenPair], tuple[np.ndarray, np.ndarray]]


def pooled(pair: TokenPair) -> tuple[np.ndarray, np.ndarray]:
    return pair.pre.numpy().mean(axis=0), pair.post.numpy().mean(axis=0)


def normed(pair: TokenPair) -> tuple[np.ndarray, np.ndarray]:
    assert pair.pre_normed is not None
    return pair.pre_normed.numpy().mean(axis=0), pair.post.numpy().mean(axis=0)


def unpooled(pair: TokenPair) -> tuple[np.ndarray, np.ndarray]:
    return pair.pre.numpy().ravel(), pair.post.numpy().ravel()


def overlaps(
    pairs: list[TokenPair], sides: Sides, metric: str = "euclidean", scaled: bool = False
) -> list[float]:
    lists = []
    for side in zip(*(sides(pair) for pair in pairs), strict=True):
        vectors = np.stack(side).astype(np.float64)
        vectors = StandardScaler().fit_transform(vectors) if scaled else vectors
        search = NearestNeighbors(n_neighbors=K, algorithm="brute", metric=metric).fit(vectors)
        lists.append(search.kneighbors(return_distance=False))
    return [len(set(a) & set(b)) / K for a, b in zip(*lists, strict=True)]


@pytest.mark.parametrize(
    ("task", "sides", "more"),
    [
        ("plain", pooled, {}),
        ("cosine", pooled, {"metric": "cosine"}),
        ("standardized", pooled, {"scaled": True}),
        ("unpooled", unpooled, {}),
        ("normed", normed, {}),
    ],
)
def test_overlaps_are_those_of_scikit_learn(
    task: str, sides: Sides, more: dict, outcome: Outcome, pairs: list[TokenPair]
) -> None:
    measured = [row["knor_10"] for row in outcome.samples(task)]
    assert measured == pytest.approx(overlaps(pairs, sides, **more))
    record = outcome.record(task)
    assert (record["n_images"], record["scores"]["knor_10"]["n"]) == (IMAGES, IMAGES)
    assert record["scores"]["knor_10"]["chance"] == pytest.approx(10 / (IMAGES - 1))
    assert len(record["curve"]) == K
    assert record["curve"][-1] == pytest.approx(np.mean(measured), abs=1e-6)


def test_the_options_make_a_difference(outcome: Outcome) -> None:
    values = {task: outcome.figures(task)["knor_10"] for task in BLOCKS if task not in ("paper", "labelled")}
    assert len(set(values.values())) == len(values), values


def test_protocol_paper_is_the_published_search(outcome: Outcome, pairs: list[TokenPair]) -> None:
    found = []
    for side in zip(*(pooled(pair) for pair in pairs), strict=True):
        vectors = np.stack(side).astype(np.float32)
        index = faiss.IndexFlatL2(vectors.shape[1])
        index.add(vectors)
        found.append(index.search(vectors, K)[1])
    expected = [len(set(a) & set(b)) / K for a, b in zip(*found, strict=True)]
    assert [row["paper_knor_10"] for row in outcome.samples("paper")] == pytest.approx(expected)
    assert "knor_10" not in outcome.figures("paper")


def test_retrieval_has_paired_differences_and_goes_with_overlap(outcome: Outcome) -> None:
    scores = outcome.record("labelled")["scores"]
    for name, tail in (("recall", "_1"), ("recall", "_5"), ("map", "")):
        before, after, change = (scores[f"{name}_{side}{tail}"] for side in ("pre", "post", "diff"))
        assert change["value"] == pytest.approx(after["value"] - before["value"])
        assert change["low"] <= change["value"] <= change["high"]
    asked = [row for row in outcome.samples("labelled") if "recall_post_5" in row]
    rho = spearmanr([row["knor_10"] for row in asked], [row["recall_post_5"] for row in asked]).statistic
    assert scores["spearman_knor_10_recall_post_5"]["value"] == pytest.approx(rho)


def test_controls_stand_beside_every_overlap(outcome: Outcome) -> None:
    scores = outcome.record("plain")["scores"]
    for control in ("identity", "rotation", "random_linear", "shuffled", "untrained"):
        for k in (1, 10):
            plain, adjusted = (scores[f"{control}_{name}_{k}"] for name in ("knor", "knor_adj"))
            chance = k / (IMAGES - 1)
            assert plain["chance"] == pytest.approx(chance)
            assert adjusted["value"] == pytest.approx((plain["value"] - chance) / (1 - chance))
    assert scores["identity_knor_10"]["value"] == 1
    assert len(scores["untrained_knor_10"]["seeds"]) == 3
