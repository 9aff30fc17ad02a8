"""What a comparison pairs, refuses and says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy import stats
from typer.testing import CliRunner

from connector_bench.cli import app
from connector_bench.comparison.compare import Comparison, MetricDifference, compare
from connector_bench.comparison.compared_runs import side_of
from connector_bench.comparison.paired_metrics import WITHOUT_HALVES
from connector_bench.comparison.words import changed, comparison_markdown, sentence
from connector_bench.preservation.figures import preservation_figures
from connector_bench.preservation.options import PreservationOptions
from connector_bench.results.harness_files import UnusableResult
from connector_bench.stats.paired import Difference
from tests.comparison.harness_output import ordinary_task, our_task, write_output

CONNECTOR = {
    "model": "org/model",
    "family": "llava",
    "connector": "mlp",
    "parameters": 8,
    "weights_sha256": None,
}
RECORD = {"connector": CONNECTOR, "scores": {}}


def outcomes(share: float, n: int = 400, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).random(n) < share).astype(float)


def two(tmp_path: Path, first: Any, second: Any, **more: Any) -> Comparison:
    sides = [
        side_of(write_output(tmp_path / name, tasks, model=f"org/{name}", **more))
        for name, tasks in (("a", first), ("b", second))
    ]
    return compare(*sides)


def test_a_difference_is_paired_signed_and_tested(tmp_path: Path) -> None:
    before = outcomes(0.5)
    after = np.where(outcomes(0.2, seed=1) == 1, 1.0, before)
    comparison = two(tmp_path, {"vqa": ordinary_task(before)}, {"vqa": ordinary_task(after)})
    (item,) = comparison.differences
    assert item.first == pytest.approx(before.mean())
    assert item.difference.value == pytest.approx(after.mean() - before.mean())
    assert item.difference.low <= item.difference.value <= item.difference.high
    assert (item.higher, item.lower) == (int((after > before).sum()), 0)
    assert item.differs
    exact = stats.binomtest(item.higher, item.higher).pvalue
    assert item.difference.p <= max(1e-4, 2 * exact)
    said = comparison_markdown(comparison)
    assert "org/b is better than org/a" in said
    assert f"higher on {item.higher} and lower on 0 of 400 documents" in said


def test_less_is_better_where_the_harness_says_so(tmp_path: Path) -> None:
    before, after = outcomes(0.2), outcomes(0.8, seed=1)
    tasks = [{"t": ordinary_task(values, metric="error")} for values in (before, after)]
    said = comparison_markdown(two(tmp_path, *tasks, better={"error": False}))
    assert "org/b is worse than org/a" in said


def test_no_difference_says_how_large_a_one_could_hide(tmp_path: Path) -> None:
    before = outcomes(0.5)
    after = before.copy()
    after[:3], after[3:6] = 1 - after[:3], 1 - after[3:6]
    comparison = two(tmp_path, {"vqa": ordinary_task(before)}, {"vqa": ordinary_task(after)})
    assert not comparison.differences[0].differs
    assert "no difference that 400 documents could show" in comparison_markdown(comparison)


def test_questions_about_one_image_stay_together(tmp_path: Path) -> None:
    """Four copies of each answer are no more evidence than one."""
    before, after = outcomes(0.5, 100), outcomes(0.6, 100, seed=1)
    one = two(tmp_path / "one", {"t": ordinary_task(before)}, {"t": ordinary_task(after)}).differences[0]
    four = two(
        tmp_path / "four",
        {"t": ordinary_task(np.repeat(before, 4), per_image=4)},
        {"t": ordinary_task(np.repeat(after, 4), per_image=4)},
    ).differences[0]
    assert (four.documents, four.images) == (400, 100)
    assert (four.difference.low, four.difference.high) == pytest.approx(
        (one.difference.low, one.difference.high)
    )
    assert four.difference.p == pytest.approx(one.difference.p)


def test_the_share_lost_is_a_ratio_of_sums(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    sst = rng.gamma(2, size=60)
    sides, figures = [], []
    for scale in (0.3, 0.4):
        sse = sst * scale * rng.gamma(20, 1 / 20, size=60)
        sides.append(
            {"r": our_task([{"lost": a / b, "sse": a, "sst": b} for a, b in zip(sse, sst, strict=True)])}
        )
        figures.append({"r": {"lost": float(sse.sum() / sst.sum())}})
    folders = [
        write_output(tmp_path / str(i), side, figures=own, records={"r": RECORD})
        for i, (side, own) in enumerate(zip(sides, figures, strict=True))
    ]
    (item,) = compare(*map(side_of, folders)).differences
    assert item.metric == "lost"
    assert item.difference.value == pytest.approx(figures[1]["r"]["lost"] - figures[0]["r"]["lost"])
    assert "≤" not in comparison_markdown(compare(*map(side_of, folders)))
    helped = write_output(
        tmp_path / "helped", sides[1], figures=figures[1], records={"r": {**RECORD, "more_data_helps": True}}
    )
    said = comparison_markdown(compare(side_of(folders[0]), side_of(helped)))
    first, second = (own["r"]["lost"] for own in figures)
    assert f"{first:.3f} becomes ≤ {second:.3f}" in said
    assert "more training images still help those probes" in said


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
    how = comparison_markdown(found).partition("## How")[2]
    assert how.count("no interval") == how.count(f"- {untold}") == 1


def test_one_neighbour_is_no_plural() -> None:
    item = MetricDifference(
        *("k", "knor_1", "kept, k = 1", 0.1, 0.9),
        Difference(0.8, 0.7, 0.9, 0.001, "interval", "test"),
        *(0.001, 100, 100, 90, 0, None, (None, None), True),
    )
    assert "b keeps more images' nearest neighbour than a: k, kept, k = 1" in sentence(item, "a", "b")


def test_neighbours_are_paired_over_halvings_or_say_what_they_lack(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    sides = [our_task([{"knor_10": float(value)} for value in rng.random(100)]) for _ in range(2)]
    plain = [
        write_output(tmp_path / f"plain{i}", {"k": rows}, records={"k": RECORD})
        for i, rows in enumerate(sides)
    ]
    (item,) = compare(*map(side_of, plain)).differences
    assert np.isnan([item.difference.low, item.difference.high, item.difference.p]).all()
    assert item.difference.interval_method == item.difference.test_method == WITHOUT_HALVES
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
                    "scores": {"knor_10": {"n": 100, "halving_gaps": rng.normal(size=40).tolist()}},
                }
            },
        )
        for i, rows in enumerate(sides)
    ]
    (item,) = compare(*map(side_of, halved)).differences
    assert "40 halvings" in item.difference.interval_method


def test_what_is_no_mean_over_documents_is_left_out(tmp_path: Path) -> None:
    rows = ordinary_task(outcomes(0.5))
    figures = {"t": {"accuracy": float(np.mean([row["accuracy"] for row in rows])), "cider": 81.0}}
    sides = [side_of(write_output(tmp_path / name, {"t": rows}, figures=figures)) for name in ("a", "b")]
    comparison = compare(*sides)
    assert comparison.identical == ("t: accuracy",)
    assert not comparison.differences


CHANGES = {
    "fewer documents": lambda rows: rows[:-1],
    "another target": lambda rows: [rows[0] | {"target": "other"}, *rows[1:]],
    "another question": lambda rows: [rows[0] | {"input": "other"}, *rows[1:]],
    "another image": lambda rows: [rows[0] | {"image_id": "other"}, *rows[1:]],
}


@pytest.mark.parametrize("change", CHANGES)
def test_other_documents_are_refused(change: str, tmp_path: Path) -> None:
    rows = ordinary_task(outcomes(0.5, 20))
    with pytest.raises(UnusableResult, match="document"):
        two(tmp_path, {"t": rows}, {"t": CHANGES[change](rows)})


def test_what_lies_within_rounding_is_no_difference(tmp_path: Path) -> None:
    """Invertible maps lose nothing; 1e-13 against 3e-13 on every image is no order between them."""
    rng = np.random.default_rng(0)
    sides = [our_task([{"lost": scale * float(rng.random())} for _ in range(40)]) for scale in (1e-13, 3e-12)]
    comparison = two(tmp_path, {"r": sides[0]}, {"r": sides[1]})
    assert not comparison.differences
    assert comparison.identical == ("r: lost",)


def reconstructed(rng: np.random.Generator, probe: str, assumptions: list[str]) -> dict[str, Any]:
    record = {
        "connector": CONNECTOR | {"model": "org/m", "assumptions": assumptions},
        "scores": {},
        "probes": {"mean": {}, probe: {}},
    }
    return {
        "tasks": {
            "patch_reconstruction": our_task([{"cosine": float(value)} for value in rng.random(30)]),
            "vqa": ordinary_task(outcomes(0.5, 30, seed=int(rng.integers(99)))),
        },
        "records": {"patch_reconstruction": record},
    }


@pytest.mark.parametrize(
    ("other", "named"),
    [
        (("attention", []), "probes per cell against probes attention"),
        (
            ("mlp", ["layout undeclared: tokens count as without places"]),
            "declared against layout undeclared",
        ),
    ],
    ids=["kind of probe", "layout"],
)
def test_what_was_measured_in_two_ways_is_not_compared(
    other: tuple[str, list[str]], named: str, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    one, two = (
        write_output(tmp_path / name, given.pop("tasks"), **given)
        for name, given in (("a", reconstructed(rng, "mlp", [])), ("b", reconstructed(rng, *other)))
    )
    comparison = compare(side_of(one), side_of(two))
    assert [item.task for item in comparison.differences] == ["vqa"], "the other task is compared"
    said = comparison_markdown(comparison)
    assert "Not compared: patch_reconstruction" in said
    with pytest.raises(UnusableResult, match=named):
        compare(side_of(one), side_of(two), ["patch_reconstruction"])


def test_other_prompts_around_the_same_questions_are_said(tmp_path: Path) -> None:
    before, after = outcomes(0.5), outcomes(0.6, seed=1)
    comparison = two(
        tmp_path, {"t": ordinary_task(before)}, {"t": ordinary_task(after, prompt="Say briefly: what is it?")}
    )
    assert comparison.prompts_differ == ("t",)
    assert "not asked in the same words" in comparison_markdown(comparison)


def test_refusals_name_what_is_there(tmp_path: Path) -> None:
    rows = ordinary_task(outcomes(0.5))
    a = write_output(tmp_path / "a", {"t": rows})
    b = write_output(tmp_path / "b", {"other": rows}, model="org/other")
    with pytest.raises(UnusableResult, match="no task was run on all sides"):
        compare(side_of(a), side_of(b))
    with pytest.raises(UnusableResult, match="has no nothing; it has t"):
        compare(side_of(a), side_of(b), ["nothing"])
    with pytest.raises(UnusableResult, match="holds 2 models"):
        side_of(tmp_path)


def test_the_command_leaves_text_numbers_and_plots(tmp_path: Path) -> None:
    sides = [
        write_output(tmp_path / name, {"t": ordinary_task(outcomes(share, seed=i))}, model=f"org/{name}$<b>")
        for i, (name, share) in enumerate((("a", 0.3), ("b", 0.9)))
    ]
    arguments = ["compare", *map(str, sides), "--output", str(tmp_path / "out"), "--task", "t"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "better" in result.output
    numbers = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert numbers["differences"][0]["q"] < 0.05
    with Image.open(tmp_path / "out" / "differences_t.png") as picture:
        assert picture.width > 600
        assert len(picture.convert("L").getcolors(256) or []) > 5


def test_the_command_refuses_with_a_reason(tmp_path: Path) -> None:
    folder = write_output(tmp_path / "a", {"t": ordinary_task(outcomes(0.5))})
    result = CliRunner().invoke(app, ["compare", str(folder), str(tmp_path / "nowhere")])
    assert result.exit_code == 1
    assert "refused: " in result.output
    assert "nowhere" in result.output


def test_overlap_is_higher_or_lower_and_never_better(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    folders = []
    for name, shift in (("a", 0.0), ("b", 0.3)):
        names = ("knor_10", "trustworthiness", "recall_post_1", "recall_post_5_by_background", "map_post")
        rows = [dict.fromkeys(names, float(v) + shift) for v in rng.random(120)]
        halved = {name: {"n": 120, "halving_gaps": rng.normal(0, 0.01, 60).tolist()} for name in names}
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


def test_a_model_of_a_folder_with_several_is_named(tmp_path: Path) -> None:
    """As FOLDER:MODEL, by a part of its name, and with --model; the page names them by it."""
    for i, name in enumerate(("a-500", "a-1000", "b")):
        tasks = {"t": ordinary_task(outcomes(0.2 + 0.3 * i, seed=i))}
        write_output(tmp_path / "runs" / name, tasks, model=f"org/{name}")
    runs, out = str(tmp_path / "runs"), ("--output", str(tmp_path / "out"))

    def said(*arguments: str) -> Any:
        return CliRunner().invoke(app, ["compare", *arguments, *out])

    whole = said(f"{runs}:org/a-500", f"{runs}:a-1000")
    assert whole.exit_code == 0, whole.output
    assert "org/a-1000 is better than org/a-500: t, accuracy, " in whole.output
    assert said(runs, "--model", "a-500", "--model", "org/b").exit_code == 0
    named = said("--label", f"first={runs}:a-500", "--label", f"then={runs}:b")
    assert "then is better than first" in named.output
    curves = said(f"{runs}:a-500", f"{runs}:a-1000", f"{runs}:b", "--steps", "1,2,3")
    assert "3 checkpoints, step 1 to 3" in curves.output
    assert "2 checkpoints, step 500 to 1000" not in curves.output
    for arguments, reason in (
        ((f"{runs}:a", f"{runs}:b"), "fits org/a-1000, org/a-500"),
        ((f"{runs}:c", f"{runs}:b"), "is no model there; there are org/a-1000, org/a-500, org/b"),
        ((runs, f"{runs}:b"), "holds 3 models"),
    ):
        refused = said(*arguments)
        assert refused.exit_code == 1
        assert reason in refused.output


@pytest.mark.parametrize(
    ("ends", "shown"),
    [
        ((0.3207, 0.305, 0.336), "+0.321 ±.016"),
        ((-0.3207, -0.336, -0.305), "−0.321 ±.016"),
        ((0.0004, 0.0001, 0.0007), "+0.0004 (+0.0001 to +0.0007)"),
        ((-0.002, -0.005, 0.001), "−0.002 (−0.005 to +0.001)"),
        ((0.0, 0.0, 0.0), "0.000 ±.000"),
        ((0.25, float("nan"), float("nan")), "+0.250"),
        ((0.0004, float("nan"), float("nan")), "+0.0004"),
    ],
)
def test_a_difference_keeps_digits_that_count(ends: tuple[float, float, float], shown: str) -> None:
    assert changed(*ends) == shown
