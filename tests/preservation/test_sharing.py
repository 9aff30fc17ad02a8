"""What neighbours share: scikit-learn and loops as oracles, chance, several columns of labels, captions."""

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.neighbors import NearestNeighbors

from connector_bench.preservation.figures import metric_names, preservation_figures
from connector_bench.preservation.options import PreservationOptions
from connector_bench.preservation.retrieval import caption_of

N = 120
OPTIONS = PreservationOptions(ks=(1, 10))
NOUNS = ("dog", "river", "kettle", "bridge", "violin", "snow", "market", "harbour")


def sides() -> tuple[list[str], np.ndarray, np.ndarray, np.ndarray]:
    """Images of eight kinds, seen well before the connector and badly after it."""
    rng = np.random.default_rng(0)
    kinds = np.arange(N) % 8
    pre = (3 * rng.normal(size=(8, 12))[kinds] + rng.normal(size=(N, 12))).astype(np.float32)
    post = (pre[:, :3] + 3 * rng.normal(size=(N, 3))).astype(np.float32)
    return [f"image{i:03}" for i in range(N)], pre, post, kinds


def nearest(vectors: np.ndarray) -> np.ndarray:
    searched = NearestNeighbors(n_neighbors=10).fit(vectors.astype(np.float64))
    return searched.kneighbors(return_distance=False)


def test_purity_of_every_column_is_what_scikit_learn_and_a_loop_give() -> None:
    images, pre, post, kinds = sides()
    columns = {
        "kind": [f"kind {i}" for i in kinds],
        "noise": list(np.random.default_rng(1).integers(0, 4, N)),
    }
    found = preservation_figures(images, pre, post, OPTIONS, columns)
    scores = found.summary["scores"]
    for side, vectors in (("pre", pre), ("post", post)):
        lists = nearest(vectors)
        for suffix, labels in zip(("", "_by_noise"), columns.values(), strict=True):
            each = [np.mean([labels[j] == labels[i] for j in lists[i]]) for i in range(N)]
            score = scores[f"purity_{side}{suffix}"]
            assert score["value"] == pytest.approx(np.mean(each), abs=1e-12)
            assert [found.per_image[name][f"purity_{side}{suffix}"] for name in images] == each
            expected = np.mean([sum(a == b for b in labels) - 1 for a in labels]) / (N - 1)
            assert score["chance"] == pytest.approx(expected, abs=1e-12)
            assert score["low"] < score["value"] < score["high"]
    assert scores["purity_pre"]["low"] > 4 * scores["purity_pre"]["chance"]
    noise = scores["purity_pre_by_noise"]
    assert noise["low"] < noise["chance"] < noise["high"]
    assert scores["purity_diff"]["high"] < 0
    assert found.summary["labels"]["kind"] == {"classes": 8, "most": 1.0}
    assert set(found.per_image[images[0]]) <= set(metric_names(OPTIONS, ("noise",)))
    assert {"recall_pre_1_by_noise", "map_post_by_noise"} <= scores.keys()


def test_a_further_column_moves_no_figure_of_the_first() -> None:
    images, pre, post, kinds = sides()
    alone = preservation_figures(images, pre, post, OPTIONS, {"kind": kinds.tolist()}).summary["scores"]
    columns = {"kind": kinds.tolist(), "half": [i < N // 2 for i in range(N)]}
    both = preservation_figures(images, pre, post, OPTIONS, columns).summary["scores"]
    assert alone == {name: score for name, score in both.items() if not name.endswith("_by_half")}


def test_small_classes_bound_what_can_be_shared() -> None:
    images, pre, _, _ = sides()
    pairs = preservation_figures(images, pre, pre, OPTIONS, {"pair": [i // 2 for i in range(N)]}).summary
    assert pairs["labels"] == {"pair": {"classes": 60, "most": pytest.approx(0.1)}}
    assert pairs["scores"]["purity_pre"]["chance"] == pytest.approx(1 / (N - 1))


def test_a_column_that_allows_no_retrieval_costs_the_others_nothing() -> None:
    images, pre, post, kinds = sides()
    columns = {"kind": kinds.tolist(), "place": [None, "here"] * 60}
    found = preservation_figures(images, pre, post, OPTIONS, columns)
    assert found.warnings == (
        "no recall and map by place: retrieval needs a label of every image, 60 of 120 have none",
    )
    assert "purity_pre" in found.summary["scores"]
    assert "purity_pre_by_place" not in found.summary["scores"]


def captions(kinds: np.ndarray) -> list[str]:
    rng = np.random.default_rng(2)
    return [f"There is a {NOUNS[kind]} beside the {rng.choice(NOUNS)}" for kind in kinds]


def test_likeness_of_captions_is_the_mean_cosine_of_their_words() -> None:
    images, pre, post, kinds = sides()
    texts = captions(kinds)
    found = preservation_figures(images, pre, post, OPTIONS, captions=texts)
    words = TfidfVectorizer(stop_words="english").fit_transform(texts).toarray()
    likeness = words @ words.T
    for side, vectors in (("pre", pre), ("post", post)):
        each = [likeness[i, others].mean() for i, others in enumerate(nearest(vectors))]
        score = found.summary["scores"][f"caption_{side}"]
        assert score["value"] == pytest.approx(np.mean(each), abs=1e-12)
        assert score["chance"] == pytest.approx(likeness[~np.eye(N, dtype=bool)].mean(), abs=1e-12)
        np.testing.assert_allclose([found.per_image[name][f"caption_{side}"] for name in images], each)
    assert found.summary["scores"]["caption_pre"]["low"] > found.summary["scores"]["caption_pre"]["chance"]


def test_captions_that_nobody_wrote_are_said() -> None:
    images, pre, post, kinds = sides()
    texts: list[str | None] = [*captions(kinds)[:-2], None, None]
    found = preservation_figures(images, pre, post, OPTIONS, captions=texts)
    assert found.warnings == (
        "no likeness of captions: captions of every image are needed, 2 of 120 have none",
    )
    found = preservation_figures(images, pre, post, OPTIONS, captions=["the of and"] * N)
    assert "no likeness of captions" in found.warnings[0]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("a  dog\n", "a dog"),
        (["a dog", " ", "the\ndog"], "a dog\nthe dog"),
        (None, None),
        ([], None),
        (float("nan"), None),
    ],
)
def test_what_data_sets_write_for_captions(given: object, expected: str | None) -> None:
    assert caption_of(given) == expected
