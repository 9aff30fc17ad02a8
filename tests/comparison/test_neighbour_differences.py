"""What a comparison pairs over halvings of the images, and how it says which neighbours are kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from connector_bench.comparison.compare import MetricDifference, compare
from connector_bench.comparison.compared_runs import side_of
from connector_bench.comparison.paired_metrics import WITHOUT_HALVES
from connector_bench.comparison.words import comparison_markdown, sentence
from connector_bench.preservation.figures import preservation_figures
from connector_bench.preservation.options import PreservationOptions
from connector_bench.stats.paired import Difference
from tests.comparison.harness_output import CONNECTOR, RECORD, our_task, write_output


def measured(
    pre: np.ndarray, post: np.ndarray, labels: np.ndarray
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Rows of a sample file, and the record, of two sides of a connector."""
    images = [f"{number:064x}" for number in range(len(pre))]
    found = preservation_figures(
        images, pre, post, PreservationOptions(ks=(1, 10)), labels={"class": labels.tolist()}
    )
    rows = [dict(found.per_image[image]) for image in images]
    return our_task(rows), {**RECORD, **json.loads(json.dumps(found.summary))}


def test_every_figure_of_neighbours_is_paired_over_halvings(tmp_path: Path) -> None:
    """Three times the noise is seen in all of them; the same noise in none, of which one p in twenty is an accident."""
    rng = np.random.default_rng(0)
    labels = np.arange(160) % 10
    pre = (rng.normal(size=(10, 8))[labels] + rng.normal(size=(160, 8))).astype(np.float32)
    posts = [
        (np.tanh(pre) + noise * rng.normal(size=pre.shape)).astype(np.float32) for noise in (0.3, 0.3, 1.2)
    ]
    sides = []
    for number, post in enumerate(posts):
        rows, record = measured(pre, post, labels)
        sides.append(side_of(write_output(tmp_path / str(number), {"k": rows}, records={"k": record})))
    alike, apart = compare(*sides[:2]), compare(sides[0], sides[2])
    expected = {
        *("knor_1", "knor_10", "recall_post_1", "recall_post_5", "purity_post", "map_post"),
        *("trustworthiness", "continuity", "imbalance_pre_post", "imbalance_post_pre"),
    }
    for found in (alike, apart):
        items = {item.metric: item.difference for item in found.differences}
        assert expected <= items.keys()
        for name in expected:
            assert "halvings" in items[name].interval_method, name
            assert items[name].low < items[name].value < items[name].high, name
    assert {item.metric for item in apart.differences if item.differs} >= expected
    assert not [item.metric for item in alike.differences if item.differs]


def test_two_runs_that_differ_on_few_images_are_not_told_apart(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(0, 2, 120).astype(float)
    other = values.copy()
    other[:5] = 1 - other[:5]
    sides = []
    for name, column in (("a", values), ("b", other)):
        score = {"value": float(column.mean()), "n": 120, "halving_gaps": rng.normal(size=60).tolist()}
        record = {**RECORD, "scores": {"recall_post_1": score}}
        rows = our_task([{"recall_post_1": value} for value in column])
        sides.append(side_of(write_output(tmp_path / name, {"k": rows}, records={"k": record})))
    (item,) = compare(*sides).differences
    assert np.isnan([item.difference.low, item.difference.p, item.q]).all()
    assert item.difference.interval_method == "no interval: 5 images on which the two differ, 6 are needed"


def test_what_no_half_holds_is_said_of_the_images_not_of_the_version(tmp_path: Path) -> None:
    """And where there is neither interval nor test, one sentence says so, for every k."""
    rng = np.random.default_rng(0)
    sides = []
    for name in ("a", "b"):
        rows = our_task([{"knor_1": v, "knor_60": w, "knor_80": w} for v, w in rng.random((100, 2)).tolist()])
        score = {"n": 100, "halving_gaps": rng.normal(size=40).tolist()}
        record = {**RECORD, "scores": {"knor_1": score}}
        sides.append(side_of(write_output(tmp_path / name, {"k": rows}, records={"k": record})))
    found = compare(*sides)
    said = {item.metric: item.difference.interval_method for item in found.differences}
    untold = "no interval: images are each other's neighbours, and no half of the 100 images holds k of one"
    assert said["knor_60"] == said["knor_80"] == untold
    text = comparison_markdown(found)
    assert "adjusted for the 1 of 3 metrics compared that have one" in " ".join(text.split())
    how = text.partition("## How")[2]
    assert how.count("no interval") == how.count(f"- {untold}") == 1


def test_too_few_groups_are_the_reason_and_not_the_version(tmp_path: Path) -> None:
    """170 views of 22 objects were told that records of this version have halves from 100 images on."""
    rng = np.random.default_rng(0)
    drawn = {"by": "object", "groups": 22, "most": 8, "worth": 21.44, "sha256": "a"}
    sides = []
    for name in ("a", "b"):
        rows = our_task([{"trustworthiness": value} for value in rng.random(170).tolist()])
        record = {**RECORD, "drawn_together": drawn}
        sides.append(side_of(write_output(tmp_path / name, {"k": rows}, records={"k": record})))
    (item,) = compare(*sides).differences
    method = item.difference.interval_method
    assert method == "no interval: 22 groups of images that were drawn together, 100 are needed"


def test_one_neighbour_is_no_plural() -> None:
    item = MetricDifference(
        *("k", "knor_1", "kept, k = 1", 0.1, 0.9),
        Difference(0.8, 0.7, 0.9, 0.001, "interval", "test"),
        *(0.001, 100, 100, 90, 0, None, (None, None), True),
    )
    assert "b keeps more images' nearest neighbour than a: k, kept, k = 1" in sentence(item, "a", "b")


def test_neighbours_are_paired_over_halvings_or_say_what_they_lack(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    sides = [our_task([{"knor_10": float(value)} for value in rng.random(150)]) for _ in range(2)]
    plain = [
        write_output(tmp_path / f"plain{i}", {"k": rows}, records={"k": RECORD})
        for i, rows in enumerate(sides)
    ]
    (item,) = compare(*map(side_of, plain)).differences
    assert np.isnan([item.difference.low, item.difference.high, item.difference.p]).all()
    untold = WITHOUT_HALVES.format(unit="images")
    assert item.difference.interval_method == item.difference.test_method == untold
    assert "do not both say by how much halves of them differ" in comparison_markdown(
        compare(*map(side_of, plain))
    )
    halved = [
        write_output(
            tmp_path / f"halved{i}",
            {"k": rows},
            records={
                "k": {
                    **RECORD,
                    "scores": {"knor_10": {"n": 150, "halving_gaps": rng.normal(size=40).tolist()}},
                }
            },
        )
        for i, rows in enumerate(sides)
    ]
    (item,) = compare(*map(side_of, halved)).differences
    assert "40 halvings" in item.difference.interval_method


def test_overlap_is_higher_or_lower_and_never_better(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    folders = []
    for name, shift in (("a", 0.0), ("b", 0.3)):
        names = ("knor_10", "trustworthiness", "recall_post_1", "recall_post_5_by_background", "map_post")
        rows = [dict.fromkeys(names, float(v) + shift) for v in rng.random(160)]
        halved = {name: {"n": 160, "halving_gaps": rng.normal(0, 0.01, 60).tolist()} for name in names}
        folders.append(
            write_output(
                tmp_path / name,
                {"k": our_task(rows)},
                records={"k": RECORD | {"connector": CONNECTOR | {"model": f"org/{name}"}, "scores": halved}},
            )
        )
    said = comparison_markdown(compare(*map(side_of, folders)))
    assert (
        "- org/b keeps more of its images' 10 nearest neighbours than org/a: k, kept, k = 10 (knor_10)"
        in said
    )
    assert "org/b is higher than org/a: k, trustworthiness, " in said
    for plain, metric in (
        ("finds more images' label at their nearest", "recall at 1 after (recall_post_1)"),
        (
            "finds more images' label among their 5 nearest",
            "recall at 5 after, by background (recall_post_5_by_background)",
        ),
        ("ranks images of one label nearer to each other", "mAP after (map_post)"),
    ):
        assert f"- org/b {plain} than org/a: k, {metric}, " in said
    assert "better" not in said
    assert "↑" not in said
