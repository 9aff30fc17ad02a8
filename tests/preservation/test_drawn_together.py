"""Images that were drawn together are halved, left out and counted as one; each by itself, nothing moves by a bit."""

from pathlib import Path

import numpy as np
import pytest

import connector_bench as cb
from connector_bench.comparison.compare import compare
from connector_bench.comparison.compared_runs import side_of
from connector_bench.preservation.design_effect import design_effects
from connector_bench.preservation.drawn_together import Drawn, of_equal_halves, random_halves, sample_rows
from connector_bench.preservation.figures import SampledTokens, preservation_figures
from connector_bench.preservation.influence import influence_interval
from connector_bench.preservation.neighbours.ranking import Ordered
from connector_bench.preservation.options import PreservationOptions
from connector_bench.preservation.overlap import CommonNeighbours
from connector_bench.preservation.overlap_interval import Halvings, overlap_without_each
from connector_bench.preservation.reference import ReferenceVectors
from connector_bench.preservation.searched_gallery import SearchedGallery
from connector_bench.preservation.text_side import TokenSample

VIEWS = 6


def views(rng: np.random.Generator, objects: int) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Both sides of some views of each object."""
    group = np.arange(objects * VIEWS) // VIEWS
    pre = rng.normal(size=(objects, 6))[group] + 0.7 * rng.normal(size=(len(group), 6))
    post = np.tanh(pre) + 0.4 * rng.normal(size=pre.shape)
    return pre.astype(np.float32), post.astype(np.float32), [f"object {one}" for one in group]


def summary(n_views: bool, drawn_together: str | None) -> dict[str, object]:
    rng = np.random.default_rng(0)
    pre, post, objects = views(rng, 45)
    names = [f"{row:064x}" for row in range(len(pre))]
    labels = {"object": objects, "each": names if n_views else objects}
    tokens = tuple(rng.normal(size=(3, 5)) for _ in range(40))
    options = PreservationOptions(ks=(1, 10), reference="given", drawn_together=drawn_together)
    return preservation_figures(
        names,
        pre,
        post,
        options,
        labels,
        [post[::-1].copy()],
        captions=[f"a {one}" for one in objects],
        reference=ReferenceVectors(rng.normal(size=(len(pre), 4))),
        tokens=SampledTokens(range(40), TokenSample(tokens, tokens), rng.normal(size=(300, 5))),
    ).summary


def test_each_by_itself_nothing_moves_by_a_bit() -> None:
    plain, each = (summary(True, by) for by in (None, "each"))
    for found in (plain, each):
        found.pop("options")
    assert each == plain


def test_values_stay_and_intervals_are_over_objects() -> None:
    plain, together = summary(False, None), summary(False, "object")
    assert "drawn_together" not in plain
    drawn = together["drawn_together"]
    assert isinstance(drawn, dict)
    assert drawn.keys() == {"by", "groups", "most", "worth", "sha256"}
    assert (drawn["groups"], drawn["most"], drawn["worth"]) == (45, VIEWS, 45)
    one, other = plain["scores"], together["scores"]
    assert isinstance(one, dict)
    assert isinstance(other, dict)
    assert one.keys() == other.keys()
    assert [name for name in one if one[name]["value"] != other[name]["value"]] == []
    assert (
        other["knor_10"]["method"]
        == "no interval: 45 groups of images that were drawn together, 60 are needed"
    )
    assert other["erank_pre"]["low"] is None
    assert "45 groups of images (by object)" in other["spearman_knor_10_recall_post_5"]["method"]
    assert len(other["knor_10"]["halving_gaps"]) == len(one["knor_10"]["halving_gaps"])


def test_halves_and_samples_are_of_whole_groups() -> None:
    drawn = Drawn.together(["a", "b", None, "a", "c", None, "b", "a"])
    assert drawn.group.tolist() == [0, 1, 2, 0, 3, 4, 1, 0]
    assert (drawn.count, drawn.most) == (5, 3)
    assert drawn.take([6, 0, 1, 7]).group.tolist() == [0, 1, 0, 1]
    for half in random_halves(drawn, 20, 0):
        assert len(set(drawn.group[half])) == 2
        assert not set(drawn.group[half]) & set(drawn.group[~half])
    rows = sample_rows(Drawn.together([row // 4 for row in range(400)]), 0, 41)
    assert (len(rows), len(set(rows // 4))) == (40, 10)


def test_what_goes_with_the_size_of_a_half_is_no_gap() -> None:
    drawn, rng = Drawn.together([0, 0, 0, 1, 2]), np.random.default_rng(0)
    larger, noise = rng.choice([-3.0, -1.0, 1.0, 3.0], 200), rng.normal(size=200)
    left = of_equal_halves(noise + 5 * larger, larger, drawn)
    assert np.corrcoef(left, noise)[0, 1] > 0.99
    assert left @ larger == pytest.approx(0, abs=1e-9)
    assert of_equal_halves(noise, larger, Drawn.alone(5)) is noise


def test_pulls_of_a_group_are_those_of_its_images_left_out_at_once() -> None:
    """Of a mean exactly; of influences the interval is that over the groups' means."""
    values, group = np.random.default_rng(0).normal(size=60), np.arange(60) // 4
    drawn = Drawn.together(group.tolist())
    without = (values.sum() - values) / 59
    exact = [values[group != one].mean() for one in range(15)]
    np.testing.assert_allclose(drawn.without_each(without), exact, atol=1e-12)
    many = np.random.default_rng(1).normal(size=100)
    repeated = Drawn.together((np.arange(400) // 4).tolist())
    influences = many - many.mean()
    one = influence_interval(0.0, influences)
    four = influence_interval(0.0, np.repeat(influences, 4), drawn=repeated)
    assert (four.low, four.high, four.n) == (pytest.approx(one.low), pytest.approx(one.high), 400)
    assert four.method == "95 % infinitesimal jackknife over 100 groups of images"


def test_intervals_know_the_spread_over_other_objects() -> None:
    """Where images count as independent, the claimed variance of an overlap is a part of it."""
    claimed: dict[str, list[float]] = {"apart": [], "together": []}
    overlaps = []
    for seed in range(100):
        pre, post, objects = views(np.random.default_rng(seed), 16)
        ways = {"together": Drawn.together(objects)} | ({"apart": None} if seed < 20 else {})
        for name, drawn in ways.items():
            gallery = SearchedGallery.alone(pre, post, (5,), distance="l2", seed=seed, drawn=drawn)
            claimed[name].append(float(np.square(gallery.halvings.gaps(gallery.common)).mean() / 4))
        overlaps.append(gallery.common.overlap(5).mean())
    true = np.var(overlaps, ddof=1)
    assert np.mean(claimed["together"]) == pytest.approx(true, rel=0.4)
    assert np.mean(claimed["apart"]) < 0.8 * np.mean(claimed["together"])


def test_lists_are_deep_enough_for_halves_of_objects() -> None:
    pre, post, objects = views(np.random.default_rng(0), 30)
    gallery = SearchedGallery.alone(pre, post, (10,), distance="l2", seed=0, drawn=Drawn.together(objects))
    half = gallery.halvings.halves[0]
    alone = SearchedGallery.alone(pre[half], post[half], (10,), distance="l2", seed=0)
    inside = CommonNeighbours.of(gallery.common.pre, gallery.common.post).among(half, 11)
    np.testing.assert_array_equal(inside.overlap(10), alone.common.overlap(10))
    np.testing.assert_allclose(
        overlap_without_each(inside, 10), overlap_without_each(alone.common, 10), atol=1e-12
    )
    with pytest.raises(ValueError, match="halves at k = 10 need"):
        Halvings.of(gallery.common.pre[:, :60], (10,), drawn=gallery.drawn)


def test_a_comparison_counts_groups_and_not_what_they_are_worth(tmp_path: Path) -> None:
    """Of 30 objects, the last with a single view, it counted 29."""
    rng = np.random.default_rng(0)
    pre, post, objects = (side[: 1 - VIEWS] for side in views(rng, 30))
    for name, noise in (("a", 0.0), ("b", 0.3)):
        side = (post + noise * rng.normal(size=post.shape)).astype(np.float32)
        cb.knn_preservation(pre, side, ks=(5,), drawn_together=objects, name=name).save(tmp_path / name)
    (item,) = compare(side_of(tmp_path / "a"), side_of(tmp_path / "b")).differences
    assert (
        item.difference.interval_method
        == "no interval: 30 groups of images that were drawn together, 60 are needed"
    )


def test_from_python_and_compared(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pre, post, objects = views(rng, 70)
    other = (post + 0.3 * rng.normal(size=post.shape)).astype(np.float32)
    runs = {"a": post, "b": other}
    for name, side in runs.items():
        cb.knn_preservation(pre, side, ks=(5,), drawn_together=objects, name=name).save(tmp_path / name)
    cb.knn_preservation(pre, other, ks=(5,), name="apart").save(tmp_path / "apart")
    (item,) = (
        one
        for one in compare(side_of(tmp_path / "a"), side_of(tmp_path / "b")).differences
        if one.metric == "knor_5"
    )
    assert "drawn together, worth 70 draws" in item.difference.interval_method
    assert item.difference.low < item.difference.value < item.difference.high
    (item,) = (
        one
        for one in compare(side_of(tmp_path / "a"), side_of(tmp_path / "apart")).differences
        if one.metric == "knor_5"
    )
    assert "one run halved 70 groups of images, the other single images" in item.difference.interval_method
    few = cb.knn_preservation(pre[:300], post[:300], ks=(5,), drawn_together=objects[:300])
    assert np.isnan(few.scores["knor_5"].low)
    with pytest.raises(ValueError, match="give one of the two"):
        cb.knn_preservation(pre, post, ks=(5,), drawn_together=objects, clusters=objects)
    with pytest.raises(ValueError, match="one drawn_together an image: got 3 and 420 images"):
        cb.knn_preservation(pre, post, ks=(5,), drawn_together=objects[:3])


def test_it_names_a_column_of_labels() -> None:
    rng = np.random.default_rng(0)
    pre, post, objects = views(rng, 5)
    options = PreservationOptions(ks=(5,), drawn_together="thing")
    names = [f"{row:064x}" for row in range(len(pre))]
    with pytest.raises(ValueError, match=r"must name a column of labels \(object\), got 'thing'"):
        preservation_figures(names, pre, post, options, {"object": objects})
    with pytest.raises(ValueError, match="must be one column of labels, got 3"):
        PreservationOptions(drawn_together=3)  # type: ignore[arg-type]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("n", [3, 25, 130])
@pytest.mark.parametrize("sizes", ["one", "two", "halves", "one large"])
def test_few_groups_or_unlike_ones_cost_intervals_alone(n: int, sizes: str) -> None:
    rng = np.random.default_rng(0)
    groups: dict[str, list[object]] = {
        "one": ["a"] * n,
        "two": [f"{row % 2}" for row in range(n)],
        "halves": [f"{row // 2}" for row in range(n)],
        "one large": ["a"] * (n - 2) + ["b", None],
    }
    pre = rng.normal(size=(n, 6)).astype(np.float32)
    post = (np.tanh(pre) + 0.3 * rng.normal(size=pre.shape)).astype(np.float32)
    labels = {"object": groups[sizes], "category": [f"{row % 3}" for row in range(n)]}
    reference = ReferenceVectors(rng.normal(size=(n, 4)))
    found = [
        preservation_figures(
            [f"{row:064x}" for row in range(n)],
            *(pre, post),
            PreservationOptions(ks=(1, 10), reference="given", drawn_together=by),
            labels,
            reference=reference,
        ).summary["scores"]
        for by in (None, "object")
    ]
    plain, together = found
    assert isinstance(plain, dict)
    assert isinstance(together, dict)
    assert plain.keys() == together.keys()
    for name, score in together.items():
        assert score["value"] == plain[name]["value"], name
        if sizes != "halves" and n > 3 and "low" in score and not name.startswith("shuffled"):
            assert score["low"] is None, name
            assert score["method"].startswith("no interval: "), name


def test_groups_of_unlike_size_are_worth_fewer() -> None:
    like = Drawn.together([row // 4 for row in range(240)])
    assert like.worth == like.count == 60
    unlike = Drawn.together([*(["a"] * 60), *range(60)])
    assert unlike.count == 61
    assert unlike.worth == pytest.approx(120**2 / (60**2 + 60))
    score = unlike.untold(0.5, 120, None, 60)
    assert score is not None
    assert score.method == (
        "no interval: 3 independent draws, which 61 groups of up to 60 images are worth, 60 are needed"
    )
    assert like.untold(0.5, 240, None, 60) is None


def test_variance_of_a_mean_is_that_of_the_groups() -> None:
    """Images of a group that are alike count as one."""
    values = np.random.default_rng(0).normal(size=50)
    alone, four = Drawn.alone(50), Drawn.together([row // 4 for row in range(200)])
    assert four.variance_of_mean(np.repeat(values, 4)) == pytest.approx(alone.variance_of_mean(values))
    assert alone.variance_of_mean(values) == pytest.approx(values.var(ddof=1) / 50)


def test_a_design_effect_is_of_the_gallery_alone() -> None:
    """That images of a group are alike is in the variance, so it is not multiplied by what grows with the gallery."""
    rng = np.random.default_rng(0)
    group = np.arange(600) // 6
    drawn = Drawn.together(group.tolist())
    vectors = rng.normal(size=(600, 5)).astype(np.float32)
    side = Ordered.of(vectors, "l2")
    alike = rng.normal(size=100)[group]
    effects = design_effects(side, side, [lambda before, after: {"alike": alike}], drawn=drawn)
    assert effects["alike"].size == pytest.approx(1, abs=0.4)
    apart = design_effects(side, side, [lambda before, after: {"alike": alike}])
    assert apart["alike"].size == pytest.approx(1, abs=0.4)
    assert drawn.variance_of_mean(alike) > 4 * Drawn.alone(600).variance_of_mean(alike)
