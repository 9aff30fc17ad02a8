"""What a comparison pairs and refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from connector_bench.comparison.compare import Comparison, compare
from connector_bench.comparison.compared_runs import side_of
from connector_bench.comparison.words import comparison_markdown
from connector_bench.results.harness_files import UnusableResult
from tests.comparison.harness_output import CONNECTOR, RECORD, ordinary_task, our_task, outcomes, write_output


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
