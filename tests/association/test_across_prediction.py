"""What predicts scores across connectors: known answers, scikit-learn's folds, leaks, chance, and coverage."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score as r2_of_sklearn
from sklearn.model_selection import LeaveOneGroupOut, cross_val_predict

from connector_bench.association.across_prediction import left_out_prediction, predictions
from connector_bench.association.analysis import analyze
from connector_bench.association.connector_means import ConnectorMeans, connector_means
from connector_bench.association.connectors_across import Measured, MeasuredTask
from connector_bench.association.export import as_json
from connector_bench.association.left_out import (
    best_of_permuted,
    family_p,
    left_out_errors,
    r2_left_out,
    r2_score,
    rank_score,
    without_each,
)
from connector_bench.association.prediction_values import LeftOutPair, LeftOutPrediction
from connector_bench.association.values import Settings
from connector_bench.leaderboard import board as boards
from connector_bench.results.harness_files import UnusableResult
from connector_bench.stats.correlation import rank_correlation
from tests.association.written import write_run

QUICK = Settings()


@pytest.fixture
def few_permutations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connector_bench.association.left_out.PERMUTATIONS", 199)


def model(
    connector: str,
    seed: int,
    losses: dict[str, float],
    scores: dict[str, float],
    *,
    documents: str = "60 documents",
    tokens: int | None = 196,
    parameters: int = 1000,
) -> Measured:
    name = f"connector_zoo/{connector}-seed{seed}"
    tasks = {
        task: MeasuredTask(
            *(name, "connector_zoo", None, "20260101", task, frozenset({"scenes"})),
            documents=documents,
            measures_connector=measures,
            figures=figures,
            parameters=parameters if measures else None,
            tokens=tokens if measures else None,
        )
        for task, measures, figures in (
            ("patch_reconstruction", True, losses),
            ("scenes_vqa", False, scores),
        )
    }
    return Measured(name, connector, "trained", tasks)


def pair_of(found: LeftOutPrediction | None, predictor: str, target: str) -> LeftOutPair:
    assert found is not None
    (pair,) = [one for one in found.pairs if (one.predictor, one.target) == (predictor, target)]
    return pair


def test_a_score_that_is_a_line_of_one_figure_is_predicted_whole(few_permutations: None) -> None:
    rng = np.random.default_rng(0)
    lost, other = rng.uniform(0, 1, (2, 12))
    models = [
        model(f"c{i}", seed, {"lost": x, "nmse": y}, {"accuracy": 0.9 - x / 2, "accuracy_count": 0.2 + x / 9})
        for i, (x, y) in enumerate(zip(lost.round(6), other, strict=True))
        for seed in range(2)
    ]
    found = left_out_prediction(models, QUICK)
    for target in ("scenes_vqa: accuracy", "scenes_vqa: accuracy_count"):
        pair = pair_of(found, "patch_reconstruction: lost", target)
        assert pair.r2.value == pytest.approx(1)
        assert pair.r2.low == pytest.approx(1)
        assert pair.rank.value == pytest.approx(1)
        assert pair.mean_absolute_error == pytest.approx(0, abs=1e-12)
        assert pair.p == 1 / 200, "the observed order is one of the orders"
        assert pair_of(found, "patch_reconstruction: nmse", target).r2.value < 0.5


def test_errors_and_r2_are_those_of_scikit_learn() -> None:
    """Rows are seeds' means; the folds are LeaveOneGroupOut's, the constant prediction has the same ones."""
    rng = np.random.default_rng(1)
    figures, scores = rng.normal(size=(3, 11)), rng.normal(size=(11, 2))
    figures[2, 1:] = 0.5  # without connector 0 there is no line
    for i, figure in enumerate(figures):
        for j, score in enumerate(scores.T):
            folds = {"groups": np.arange(11), "cv": LeaveOneGroupOut()}
            predicted = cross_val_predict(LinearRegression(), figure[:, None], score, **folds)
            constant = cross_val_predict(LinearRegression(), np.zeros((11, 1)), score, **folds)
            assert left_out_errors(figures, scores)[i, :, j] == pytest.approx(score - predicted, abs=1e-9)
            shared = np.square(score - score.mean()).sum() / np.square(score - constant).sum()
            expected = 1 - (1 - r2_of_sklearn(score, predicted)) * shared
            assert r2_left_out(figures, scores)[i, j] == pytest.approx(expected)
            kept = np.arange(11) != 4
            again = r2_left_out(figures[:, kept], scores[kept])[i, j]
            assert without_each(figures, scores)[4, i, j] == pytest.approx(again)


def test_seeds_of_one_connector_never_tell_of_each_other(few_permutations: None) -> None:
    """One connector lies far from all others, where only another seed of it could say what it answers."""
    rng = np.random.default_rng(2)
    near = rng.uniform(0.1, 0.2, 9)
    answers = np.append(0.5 + rng.normal(0, 0.02, 9), 0.1)
    models = [
        model(f"c{i}", seed, {"lost": x + 1e-4 * seed}, {"accuracy": y + 1e-3 * seed})
        for i, (x, y) in enumerate(zip(np.append(near, 0.9), answers, strict=True))
        for seed in range(3)
    ]
    rows = np.array([(m.tasks["patch_reconstruction"].figures["lost"], int(m.connector[1:])) for m in models])
    scores = np.array([m.tasks["scenes_vqa"].figures["accuracy"] for m in models])
    leaking = cross_val_predict(LinearRegression(), rows[:, :1], scores, cv=len(models))
    apart = cross_val_predict(
        LinearRegression(), rows[:, :1], scores, cv=LeaveOneGroupOut(), groups=rows[:, 1]
    )
    assert r2_of_sklearn(scores, leaking) > 0.9, "a seed beside its sisters is predicted by them"
    assert r2_of_sklearn(scores, apart) < 0.3
    pair = pair_of(left_out_prediction(models, QUICK), "patch_reconstruction: lost", "scenes_vqa: accuracy")
    assert pair.r2.value < 0.4
    assert pair.r2.n == 10, "one point a connector"


def test_the_best_of_many_unrelated_pairs_has_a_uniform_p(few_permutations: None) -> None:
    """Targets go with each other, as kinds of questions do; the least p of all pairs is that of the family."""
    rng = np.random.default_rng(3)
    least, alone = [], []
    for i in range(250):
        figures = rng.normal(size=(15, 10))
        scores = rng.normal(size=(10, 1)) + 0.7 * rng.normal(size=(10, 4))
        r2 = r2_left_out(figures, scores)
        least.append(family_p(r2, best_of_permuted(figures, scores, seed=i)).min())
        alone.append(stats.pearsonr(figures[:, :, None], scores[None], axis=1).pvalue.min())
    assert stats.kstest(least, "uniform").pvalue > 0.01
    assert np.mean(np.array(least) <= 0.05) <= 0.08
    assert np.mean(np.array(alone) <= 0.05) > 0.5, "the least of so many plain p-values means nothing"


@pytest.mark.parametrize(("n", "rho"), [(8, 0.0), (10, 0.7), (21, 0.5), (21, 0.95)])
def test_intervals_cover(n: int, rho: float) -> None:
    """R2: what a line through n - 1 connectors of the same kind predicts. Rank: where the constant is beaten."""
    rng = np.random.default_rng(4)
    figures = rng.normal(size=(1500, n))
    scores = rho * figures + np.sqrt(1 - rho**2) * rng.normal(size=figures.shape)
    many = [(x[None], y[:, None]) for x, y in zip(figures, scores, strict=True)]
    errors = np.stack([left_out_errors(x, y)[0, :, 0] for x, y in many])
    constant = (scores - scores.mean(axis=1, keepdims=True)) * n / (n - 1)
    truth = 1 - np.square(errors).sum() / np.square(constant).sum()
    mean_rank = rank_correlation(scores - errors, scores).mean()
    covered, rank_covered = [], []
    for (x, y), error in zip(many[:300], errors, strict=False):
        score = r2_score(float(r2_left_out(x, y)[0, 0]), without_each(x, y)[:, 0, 0], 0.95)
        covered.append(score.low <= truth <= score.high)
        rank = rank_score(y[:, 0] - error, y[:, 0], 0.95, beaten=score.value > 0)
        assert np.isfinite(rank.low) == (score.value > 0)
        if score.value > 0:
            rank_covered.append(rank.low <= mean_rank <= rank.high)
    assert np.mean(covered) >= 0.92
    if rho >= 0.7:
        assert np.mean(rank_covered) >= 0.92


def test_what_not_all_connectors_have_is_named_and_not_looked_at(few_permutations: None) -> None:
    rng = np.random.default_rng(5)
    models = [
        model(f"c{i}", s, {"lost": rng.uniform(), "nmse": 0.5}, {"accuracy": rng.uniform()}, parameters=2**i)
        for i in range(9)
        for s in range(2)
    ]
    models[3].tasks["patch_reconstruction"].figures["cosine"] = 0.3  # type: ignore[index]
    del models[4].tasks["scenes_vqa"]  # type: ignore[attr-defined]
    means = connector_means(models)
    assert list(means.figures) == ["patch_reconstruction: lost"]
    assert list(means.baselines) == ["parameters", "log2 parameters"], "all have as many tokens"
    assert means.baselines["log2 parameters"].tolist() == list(range(9))
    without = "1 of 18 models did not run scenes_vqa: its figures stand beside what the others answered"
    assert without in means.left_out
    assert len(means.connectors) == 9, "the other seed did"
    assert "patch_reconstruction: nmse is 0.5 for all connectors" in means.left_out
    assert "patch_reconstruction: 1 - cosine is known of 1 of 9 connectors" in means.left_out
    found = predictions(means, QUICK)
    assert found is not None
    assert {pair.predictor for pair in found.pairs if pair.baseline} == set(means.baselines)
    assert len(found.pairs) == 3


def test_what_one_seed_alone_has_stands_beside_that_seeds_answers(few_permutations: None) -> None:
    """And takes no seed away from the figures that all have."""
    rng = np.random.default_rng(8)
    lost, read, answered = rng.uniform(size=(3, 9, 3))
    models = [
        model(f"c{i}", s, {"lost": lost[i, s]}, {"accuracy": answered[i, s]})
        for i in range(9)
        for s in range(3)
    ]
    for i in range(9):
        first = models[3 * i].tasks
        figures = {"lost_connector_object": read[i, 0]}
        stages = replace(first["patch_reconstruction"], task="connector_stages", figures=figures)
        first["connector_stages"] = stages  # type: ignore[index]
    found = left_out_prediction(models, QUICK)
    assert found is not None
    told = {pair.predictor: pair.r2.value for pair in found.pairs if not pair.baseline}

    def expected(x: np.ndarray, y: np.ndarray) -> float:
        others = [np.arange(9) != i for i in range(9)]
        lines = [np.polyfit(x[kept], y[kept], 1) for kept in others]
        errors = [y[i] - np.polyval(line, x[i]) for i, line in enumerate(lines)]
        constant = [y[i] - y[kept].mean() for i, kept in enumerate(others)]
        return float(1 - np.square(errors).sum() / np.square(constant).sum())

    assert told["connector_stages: lost_connector_object"] == pytest.approx(
        expected(read[:, 0], answered[:, 0]), abs=1e-4
    )
    assert told["patch_reconstruction: lost"] == pytest.approx(
        expected(lost.mean(axis=1), answered.mean(axis=1)), abs=1e-4
    )


def test_a_size_that_no_run_recorded_is_said() -> None:
    models = [model(f"c{i}", 0, {"lost": i / 9}, {"accuracy": i / 9}, tokens=None) for i in range(9)]
    means = connector_means(models)
    assert "tokens are known of 0 of 9 connectors" in means.left_out
    assert not means.baselines, "as many parameters each"


def test_other_pictures_are_refused_and_few_connectors_allow_nothing() -> None:
    models = [model(f"c{i}", 0, {"lost": i / 9}, {"accuracy": i / 9}) for i in range(8)]
    assert left_out_prediction(models[:7], QUICK) is None
    assert left_out_prediction([], QUICK) is None
    other = model("c8", 0, {"lost": 0.9}, {"accuracy": 0.9}, documents="61 documents")
    with pytest.raises(UnusableResult, match="61 documents"):
        left_out_prediction([*models, other], QUICK)


def test_neither_the_answers_themselves_nor_controls_predict_answers() -> None:
    figures = {"lost": 0.3, "excess": 0.1, "shuffled_r2_ridge": 0.0, "acc_model_count": 0.5}
    figures |= {"lost_language_model_count": 0.2, "lost_connector_count": 0.1, "gain_10": 0.2, "gain_50": 0.3}
    figures |= {"reader_gap_count": 0.1, "untrained_gain_10": 0.1}
    models = [
        model(f"c{i}", 0, {name: value + i / 99 for name, value in figures.items()}, {"accuracy": i / 9})
        for i in range(9)
    ]
    names = {name.partition(": ")[2] for name in connector_means(models).figures}
    assert names == {"lost", "excess", "lost_connector_count", "gain_10"}


def test_tokens_and_parameters_come_from_files_and_from_boards_alike(
    tmp_path: Path, few_permutations: None
) -> None:
    rng = np.random.default_rng(6)
    for i in range(9):
        row = {"doc_id": 0, "target": "a", "image": "0", "lost": 0.1 + rng.uniform(0, 0.5)}
        write_run(
            tmp_path / "runs",
            connector={"patch_reconstruction": [row]},
            scored={"scenes_vqa": [{"doc_id": 0, "target": "a", "accuracy": 0.1 * i}]},
            model=f"connector_zoo/rank{2**i}-seed0",
            stamp=f"2026010{i + 1}_000000",
            record={"tokens_per_image": {"pre": [196, 196], "post": [1, 2**i]}},
        )
    for samples in (tmp_path / "runs").glob("*.jsonl"):
        samples.unlink()
    boards.add(tmp_path / "board", boards.read_runs([tmp_path / "runs"]))
    of_files, of_board = (
        analyze([path], QUICK, images=False) for path in (tmp_path / "runs", tmp_path / "board")
    )
    assert as_json(of_files) == as_json(of_board)
    pair = pair_of(of_board.left_out, "log2 tokens", "scenes_vqa: accuracy")
    assert pair.baseline
    assert pair.r2.value == pytest.approx(1), "the score rises with each doubling"
    content = json.loads(as_json(of_board))
    kept = [one for one in content["left_out_pairs"] if one["predictor"] == "log2 tokens"]
    assert kept[0]["r2"]["value"] == 1
    assert content["left_out_prediction"]["permutations"] == 199


def test_one_seed_gives_one_result(few_permutations: None) -> None:
    rng = np.random.default_rng(7)
    means = ConnectorMeans(
        tuple(f"c{i}" for i in range(9)),
        {"task: lost": rng.normal(size=9)},
        {},
        {"vqa: accuracy": rng.normal(size=9)},
        (),
    )
    first, second, third = (predictions(means, Settings(seed=seed)) for seed in (0, 0, 1))
    assert first == second
    assert first is not None
    assert third is not None
    assert first.best_by_chance != third.best_by_chance
