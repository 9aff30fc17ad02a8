"""The set of single objects: what a picture shows, and that its background tells nothing of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from connector_bench.zoo import objects
from connector_bench.zoo.backgrounds import SIDE
from connector_bench.zoo.composition import box_of
from connector_bench.zoo.objects import BORDER, SPLITS, View, compose_view, make_view, shown_objects
from connector_bench.zoo.sprites import categories_by_name

SEEN, UNSEEN = SPLITS.values()
CLASSIFIERS = {
    "nearest neighbour": KNeighborsClassifier(1),
    "logistic regression": make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000)),
}


@pytest.fixture(scope="module")
def views() -> list[View]:
    return [make_view(SEEN, index) for index in range(SEEN.pictures)]


def border(image: np.ndarray) -> np.ndarray:
    """Every fourth pixel of the outermost line and of the innermost one that no object reaches."""
    lines = [
        np.concatenate([image[i], image[-1 - i], image[:, i], image[:, -1 - i]])[::4] for i in (0, BORDER - 1)
    ]
    return np.concatenate(lines).reshape(-1).astype(float)


def hits(images: list[View], what: Callable[[View], str], classifier: str) -> tuple[int, float]:
    """Pictures whose label a classifier of the border gets right, each by a fit on others; and the label's share."""
    labels = np.array([what(view) for view in images])
    folds = StratifiedKFold(4, shuffle=True, random_state=0)
    pixels = np.stack([border(view.image) for view in images])
    found = cross_val_predict(CLASSIFIERS[classifier], pixels, labels, cv=folds)
    return int((found == labels).sum()), 1 / len(set(labels))


def test_eight_pictures_of_each_of_128_objects(views: list[View]) -> None:
    assert len(views) == UNSEEN.pictures == 1024
    assert set(Counter(view.object for view in views).values()) == {8}
    assert set(Counter(view.category for view in views).values()) == {64}
    assert all(categories_by_name()[view.object] == view.category for view in views)
    assert {view.drawing for view in views} == {"3d"}
    assert {make_view(UNSEEN, index).drawing for index in (0, 1023)} == {"flat"}
    assert 440 < sum(view.background == "plain" for view in views) < 584
    assert len({view.image.tobytes() for view in views}) == 1024


def test_an_object_takes_half_to_four_fifths_of_the_picture_and_leaves_the_border(views: list[View]) -> None:
    longest = []
    for number, view in enumerate(views[:200]):
        rng = np.random.default_rng(np.random.SeedSequence((20260, SEEN.stream, number, 1)))
        shown = (view.image != objects.quiet_background(rng)[1]).any(axis=2)
        x0, y0, x1, y1 = box_of(shown)
        assert BORDER <= min(x0, y0) <= max(x1, y1) <= SIDE - BORDER
        longest.append(max(x1 - x0, y1 - y0) / SIDE)
        assert x0 <= view.box[0] < view.box[2] <= x1
        assert y0 <= view.box[1] < view.box[3] <= y1
    assert 0.48 < min(longest) < 0.55  # the faintest edge of a cut-out changes no pixel
    assert 0.75 < max(longest) <= 0.8


def test_a_picture_depends_on_its_number_alone() -> None:
    alone = make_view(SEEN, 700)
    make_view(SEEN, 3)
    assert np.array_equal(alone.image, make_view(SEEN, 700).image)
    assert not np.array_equal(alone.image, make_view(UNSEEN, 700).image)
    with pytest.raises(IndexError, match="0 to 1023, got 1024"):
        make_view(SEEN, 1024)


ASKED = [
    ("object", "nearest neighbour"),  # logistic regression of 128 classes would take a minute
    ("category", "nearest neighbour"),
    ("category", "logistic regression"),
]


@pytest.mark.parametrize(("what", "classifier"), ASKED)
def test_the_border_tells_neither_object_nor_category(what: str, classifier: str, views: list[View]) -> None:
    right, chance = hits(views, lambda view: str(getattr(view, what)), classifier)
    interval = binomtest(right, len(views)).proportion_ci(0.99)
    assert interval.low <= chance <= interval.high, f"{right} of {len(views)} right"


@pytest.mark.parametrize(("what", "classifier"), ASKED)
def test_a_background_that_belongs_to_the_object_is_found_out(what: str, classifier: str) -> None:
    """The same on pictures whose background is drawn by the object: a set that it must refuse."""
    tied = []
    for index in range(SEEN.pictures // 8):
        number = index // SEEN.views
        name, category = shown_objects()[number]
        rngs = (np.random.default_rng((1, number)), np.random.default_rng((2, index)))
        tied.append(compose_view(name, category, "3d", *rngs))
    right, chance = hits(tied, lambda view: str(getattr(view, what)), classifier)
    assert binomtest(right, len(tied)).proportion_ci(0.99).low > 5 * chance, f"{right} of {len(tied)} right"


def test_load_gives_what_was_composed(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("CONNECTOR_BENCH_CACHE", str(tmp_path))
    monkeypatch.setitem(SPLITS, "objects_test", replace(SEEN, views=1))
    data = objects.load("objects_test")
    view, row = make_view(SPLITS["objects_test"], 100), data[100]
    assert len(data) == 128
    assert row["image_id"] == "objects_test-000100"
    assert np.array_equal(np.asarray(row["image"]), view.image)
    assert (row["object"], row["category"], row["background"], row["drawing"], tuple(row["box"])) == (
        view.object,
        view.category,
        view.background,
        view.drawing,
        view.box,
    )
    assert len(objects.fingerprint("objects_test")) == 64
    with pytest.raises(ValueError, match="splits are objects_test, objects_test_unseen"):
        objects.load("test")
