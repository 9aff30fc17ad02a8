"""One row a connector: means over seeds with intervals that hold, ranks, pairs, and the pages that are made of them."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from connector_bench.headlines import SORTED_BY
from connector_bench.leaderboard import board_pairs as pairs_module
from connector_bench.leaderboard.board_entries import entries_of, over_seeds, seed_half
from connector_bench.leaderboard.board_pairs import paired_differences
from connector_bench.leaderboard.markdown import TOPICS, markdown, topic_tables
from connector_bench.leaderboard.measured_on import sentence
from connector_bench.leaderboard.merge import merge
from connector_bench.leaderboard.schema import Figure, TaskResult
from connector_bench.stats.paired import Sums, difference_interval, halved_difference
from tests.leaderboard.pages import ZOO
from tests.leaderboard.runs import a_run, answers, preservation, reconstruction

BOARD = Path(__file__).parents[2] / "leaderboard"


def test_the_interval_of_a_mean_over_seeds_covers_what_new_seeds_and_images_would_give() -> None:
    """Seeds of one connector share the images' error and have one of their own: 95 % of intervals hold the truth."""
    rng, found = np.random.default_rng(0), []
    for _ in range(2000):
        images, seeds = rng.normal(0, 0.01), rng.normal(0, 0.02, 3)
        values = 0.5 + images + seeds
        figures = [Figure(value=v, low=v - 1.96 * 0.01, high=v + 1.96 * 0.01) for v in values]
        mean = over_seeds(figures)
        assert mean.low is not None
        assert mean.high is not None
        found.append(mean.low <= 0.5 <= mean.high)
    assert 0.94 <= np.mean(found) <= 0.99


def test_seeds_alone_give_an_interval_where_the_runs_recorded_none() -> None:
    mean = over_seeds([Figure(value=value) for value in (0.2, 0.5, 0.8)])
    half = stats.t.ppf(0.975, 2) * 0.3 / math.sqrt(3)
    assert (mean.low, mean.high) == (pytest.approx(0.5 - half), pytest.approx(0.5 + half))
    assert "over seeds alone" in str(mean.method)


def test_a_mean_is_over_the_seeds_that_were_measured_and_says_how_many() -> None:
    kept, key = {"knn_preservation": (0.2, 0.4, 0.6), "knn_preservation_scenes": (0.3, 0.5)}, "knor_adj_10"
    runs = [
        a_run(
            f"f/{name}-seed{seed}",
            weights=f"{name}{seed}",
            **{
                task: preservation(values[seed] + more) for task, values in kept.items() if seed < len(values)
            },
            **({"vqa": answers(0.7)} if (name, seed) == ("a", 0) else {}),
        )
        for name, more in (("a", 0.0), ("b", 0.1))
        for seed in range(3)
    ]
    table = merge(runs)
    found = entries_of(table)
    (entry,) = (one for one in found if one.short == "a")
    two = entry.figures[("knn_preservation_scenes", key)]
    half = math.hypot(0.02, seed_half([[0.3, 0.5]]))
    assert (two.value, two.low, two.high) == tuple(pytest.approx(v) for v in (0.4, 0.4 - half, 0.4 + half))
    assert "mean of 2 of 3 seeds" in str(two.method)
    assert entry.text(("knn_preservation_scenes", key)) == "0.400 ±1.271 (2 of 3 seeds)"
    assert entry.text(("vqa", "accuracy")) == "0.700 (1 of 3 seeds)"
    assert entry.figures[("vqa", "accuracy")].method == "1 of 3 seeds was measured, nothing is known of seeds"
    assert entry.text(("knn_preservation", key)) == "0.400 ±.497"
    assert entry.text(("vqa", "nothing")) == ""
    assert "0.700 (1 of 3 seeds)" in topic_tables("Task performance")(table)
    assert list(paired_differences(table, found)) == [], "no halvings, and no seed is missed"


def test_seeds_of_too_few_images_have_no_interval_together() -> None:
    why = "no interval: 30 images, 60 are needed"
    mean = over_seeds([Figure(value=value, method=why) for value in (0.2, 0.3, 0.25)])
    assert (mean.value, mean.low, mean.high, mean.method) == (0.25, None, None, why)


def test_the_difference_of_two_means_over_seeds_is_welchs() -> None:
    one, two = [0.1, 0.2, 0.35], [0.5, 0.55, 0.5, 0.61]
    found = stats.ttest_ind(one, two, equal_var=False).confidence_interval()
    assert seed_half([one, two]) == pytest.approx((found.high - found.low) / 2, rel=1e-5)
    assert seed_half([[0.1], [0.2]]) == 0


def test_connectors_are_ranked_by_what_the_study_names_and_never_by_bare_overlap() -> None:
    table = merge(ZOO)
    found = entries_of(table)
    competitors = [entry for entry in found if entry.kind == "competitor"]
    assert [entry.short for entry in competitors] == ["mlp", "rank2"]
    key = ("patch_reconstruction", SORTED_BY[0])
    assert [str(entry.ranks[key]) for entry in competitors] == ["1", "2"]
    assert [(entry.short, entry.trained) for entry in found if entry.kind == "reference"] == [
        ("identity", None),
        ("untrained_mlp", "connector_zoo/mlp"),
        ("untrained_rank2", "connector_zoo/rank2"),
    ]
    overlap = {name: preservation(kept) for name, kept in (("a", 0.2), ("b", 0.9))}
    runs = [
        a_run(name, knn_preservation=kept, vqa=answers(1 - kept.figures["knor_adj_10"].value))
        for name, kept in overlap.items()
    ]
    assert [entry.name for entry in entries_of(merge(runs))] == ["a", "b", "untrained"]


def test_names_that_would_be_the_same_are_told_apart() -> None:
    names = ("a", "a-seed0", "a-seed1", "f/x", "x")
    found = entries_of(merge([a_run(name, weights=name, t=preservation(0.5)) for name in names]))
    shown = {entry.short: len(entry.rows) for entry in found if entry.kind == "competitor"}
    assert shown == {"a": 1, "a, its seeds": 2, "f/x": 1, "x": 1}
    assert len({entry.name for entry in found}) == len(found)


def test_pairs_are_what_the_statistics_say() -> None:
    rng = np.random.default_rng(1)
    sst = rng.gamma(4, size=300)
    losses = {name: sst * rng.uniform(low, low + 0.2, 300) for name, low in (("a", 0.2), ("b", 0.4))}
    gaps = {name: tuple(rng.normal(0, 0.02, 50).round(4)) for name in losses}
    ranked = {name: tuple(rng.normal(0, 0.01, 60).round(4)) for name in losses}
    kept = {"a": 0.6, "b": 0.5}
    near = {
        name: Figure(value=0.7 + share / 4, n=1000, higher_is_better=True) for name, share in kept.items()
    }

    def neighbours(name: str) -> TaskResult:
        overlap = Figure(value=kept[name], n=1000, k=10, chance=10 / 999)
        adjusted = (kept[name] - 10 / 999) / (1 - 10 / 999)
        result = preservation(adjusted)
        figures = {**result.figures, "knor_10": overlap, "trustworthiness": near[name]}
        halvings = {"knor_10": gaps[name], "trustworthiness": ranked[name]}
        return result.model_copy(update={"figures": figures, "halvings": halvings})

    table = merge(
        [
            a_run(
                name,
                weights=name,
                knn_preservation=neighbours(name),
                patch_reconstruction=reconstruction(loss, sst),
            )
            for name, loss in losses.items()
        ]
    )
    found = entries_of(table)
    names = [entry.name for entry in found]
    first, second = names[0], names[1]
    halves = {pair.column.metric: (pair.value, pair.half) for pair in paired_differences(table, found)}
    expected = halved_difference(kept[second], kept[first], gaps[second], gaps[first], images=1000, k=10)
    assert halves["knor_10"] == (
        pytest.approx(kept[first] - kept[second]),
        pytest.approx(expected.high - expected.value),
    )
    assert halves["knor_adj_10"][1] == pytest.approx((expected.high - expected.value) / (1 - 10 / 999))
    apart = halved_difference(
        near[second].value, near[first].value, ranked[second], ranked[first], images=1000, k=None
    )
    assert halves["trustworthiness"] == (
        pytest.approx(near[first].value - near[second].value),
        pytest.approx(apart.high - apart.value),
    )
    low, high = difference_interval(Sums(losses[second], sst), Sums(losses[first], sst))
    assert halves["lost"] == (
        pytest.approx((low + high) / 2, abs=1e-4),
        pytest.approx((high - low) / 2, rel=1e-3),
    )


def test_very_many_models_are_not_paired_beforehand(monkeypatch: pytest.MonkeyPatch) -> None:
    table = merge(ZOO)
    monkeypatch.setattr(pairs_module, "MOST_PAIRED", 4)
    assert list(paired_differences(table, entries_of(table))) == []


def test_the_board_in_a_repository_is_one_table_of_five_columns() -> None:
    text = markdown(merge(ZOO))
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in lines} == {6}
    assert [line.split("|")[2].strip() for line in lines[2:]] == ["mlp, 3 seeds", "rank2, 3 seeds"]
    assert "ranked by **lost**" in " ".join(text.split())
    for name in (*TOPICS, "published"):
        assert f"(tables/{name}.md)" in text


def test_the_committed_tables_fit_a_page() -> None:
    lines = (BOARD / "LEADERBOARD.md").read_text(encoding="utf-8").splitlines()
    tables = [line for line in lines if line.startswith("|")]
    assert {line.count("|") for line in tables} == {6}
    assert max(map(len, tables)) < 120
    for name in TOPICS:
        assert (BOARD / f"tables/{name}.md").read_text(encoding="utf-8").startswith("# ")


def test_tables_by_topic_hold_references_and_controls_apart() -> None:
    text = topic_tables("k-NN preservation")(merge(ZOO))
    kept, beside = text.split("### neighbours kept")[1].split("###")[0].split("Read against, never ranked")
    assert "| mlp, 3 seeds" in kept
    assert "untrained_mlp" not in kept
    assert "| untrained_mlp" in beside
    assert "| same architecture, untrained " in beside
    assert topic_tables("Stages")(merge(ZOO)).endswith("No results yet.\n")


def test_what_was_measured_names_other_pictures_by_their_task() -> None:
    runs = [a_run("m", knn_preservation_vizwiz=preservation(0.5), knn_preservation=preservation(0.4))]
    said = sentence(merge(runs)).replace("\u00a0", " ")
    assert "the pictures of knn_preservation_vizwiz, N = 1,000" in said
    assert "no photographs" not in said
    assert sentence(merge([])) == "No connector has been measured yet."
    assert sentence(merge([a_run("m", vqa=answers(0.5))])) == "Answers alone were measured."
    table = merge(runs)
    assert sentence(replace(table, columns=table.columns[:0])) == "No connector has been measured yet."
