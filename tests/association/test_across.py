"""Loss against score across connectors: planted correlations, seeds, too few connectors, and data that differ."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from connector_bench.association.across import correlate
from connector_bench.association.analysis import analyze
from connector_bench.association.connectors_across import measured
from connector_bench.association.export import as_json
from connector_bench.association.values import AcrossConnectors, Analysis, Point, SeedValue, Settings
from connector_bench.leaderboard import board as boards
from connector_bench.leaderboard.board_files import stored_runs
from connector_bench.results.data_sets import data_sets_of, defined_data_set
from connector_bench.results.harness_files import UnusableResult, read_results
from tests.association.written import write_run

BOARD = Path(__file__).parent.parent.parent / "leaderboard"
QUICK = Settings()


def points(rng: np.random.Generator, rho: float, connectors: int, seeds: int = 3) -> tuple[Point, ...]:
    """Connectors whose true loss and score correlate by `rho`, and seeds that scatter around both."""
    true = rng.multivariate_normal([0, 0], [[1, rho], [rho, 1]], connectors)
    values = true[:, None] + 0.3 * rng.normal(size=(connectors, seeds, 2))
    return tuple(
        Point(
            f"c{i}",
            "trained",
            tuple(SeedValue(f"c{i}-seed{s}", *v) for s, v in enumerate(held)),
            *held.mean(0),
        )
        for i, held in enumerate(values)
    )


def test_intervals_cover_and_p_values_are_uniform(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connector_bench.association.across.PERMUTATIONS", 199)
    rng = np.random.default_rng(0)
    seen = 1 + 0.3**2 / 3  # the scatter of seeds weakens the correlation of the means
    for rho in (0.0, -0.7):
        truth = 6 / np.pi * np.arcsin(rho / seen / 2)
        found = [correlate(points(rng, rho, 12), Settings(seed=i)) for i in range(250)]
        covered = np.mean([entry.score.low <= truth <= entry.score.high for entry in found])
        assert covered >= 0.94, "few connectors: wide rather than narrow"
        p = np.array([entry.p for entry in found])
        assert np.mean(p <= 0.05) <= 0.09 if rho == 0 else np.mean(p <= 0.05) > 0.5
        if rho == 0:
            assert stats.kstest(p, "uniform").pvalue > 0.01


def test_the_value_is_that_of_the_means_over_seeds() -> None:
    chosen = points(np.random.default_rng(1), -0.6, 12)
    found = correlate(chosen, QUICK)
    means = [[np.mean([getattr(s, side) for s in p.seeds]) for p in chosen] for side in ("loss", "score")]
    expected = stats.spearmanr(*means)
    assert found.score.value == pytest.approx(expected.statistic)
    assert found.score.n == 12
    assert found.p == pytest.approx(expected.pvalue, abs=0.02)
    assert found.score.low < found.score.value < found.score.high


def write_zoo(folder: Path, names: list[str], seeds: int = 1, **more: object) -> None:
    rng = np.random.default_rng(0)
    for place, name in enumerate(names):
        for seed in range(seeds):
            loss = place / len(names) + 0.01 * rng.normal()
            answer = {"image": "0", "knor_10": 1 - loss, "lost": loss, "shuffled_knor_10": 0.1}
            write_run(
                folder,
                connector={"knn_preservation": [{"doc_id": 0, "target": "scene", **answer}]},
                scored={"scenes_vqa": [{"doc_id": 0, "target": "cat", "accuracy": 0.9 - loss / 2}]},
                model=f"connector_zoo/{name}-seed{seed}",
                stamp=f"202601{place + 1:02}_00000{seed}",
                **more,
            )


def of_loss(found: tuple[AcrossConnectors, ...], loss: str, task: str = "scenes_vqa") -> AcrossConnectors:
    wanted = (loss, task, "accuracy")
    (entry,) = [entry for entry in found if (entry.loss, entry.score_task, entry.score) == wanted]
    return entry


NAMES = ["identity", "rotation", *(f"rank{2**i}" for i in range(9)), "untrained_rank2", "untrained_mlp"]


def test_connectors_are_grouped_and_seeds_are_nested(tmp_path: Path) -> None:
    write_zoo(tmp_path, NAMES, seeds=3)
    found = analyze([tmp_path], QUICK, images=False).across
    assert {entry.loss for entry in found} == {"1 - knor_10", "lost"}, "controls are no losses"
    entry = of_loss(found, "lost")
    assert [point.group for point in entry.points].count("trained") == 9
    assert {point.connector for point in entry.points if point.group == "isometry"} == {
        "identity",
        "rotation",
    }
    assert all(len(point.seeds) == 3 for point in entry.points)
    sizes = {name: correlation.score.n for name, correlation in entry.correlations.items()}
    assert sizes == {"trained": 9, "trained and isometries": 11, "all": 13}
    assert entry.correlations["trained"].score.value == pytest.approx(-1)
    assert entry.correlations["all"].significant


def test_what_rounding_loses_is_no_order(tmp_path: Path) -> None:
    for place in range(9):
        write_run(
            tmp_path,
            connector={
                "patch_reconstruction": [{"doc_id": 0, "target": "a", "image": "0", "lost": 1e-13 * place}]
            },
            scored={"vqa": [{"doc_id": 0, "target": "a", "accuracy": 0.1 * place}]},
            model=f"connector_zoo/rank{place}-seed0",
            stamp=f"2026010{place + 1}_000000",
        )
    (entry,) = analyze([tmp_path], QUICK, images=False).across
    assert entry.refusals["trained"] == "lost or accuracy is the same for all 9 connectors"


def board_of_zoo(folder: Path) -> Path:
    """A board, and below `runs` the result files that it was made of."""
    write_zoo(folder / "runs", NAMES, seeds=2)
    for samples in (folder / "runs").glob("*.jsonl"):
        samples.unlink()
    boards.add(folder / "board", boards.read_runs([folder / "runs"]))
    return folder / "board"


def test_a_run_on_a_board_and_in_files_counts_once(tmp_path: Path) -> None:
    board = board_of_zoo(tmp_path)
    alone, both = (analyze(paths, QUICK, images=False) for paths in ([board], [tmp_path / "runs", board]))
    assert as_json(alone) == as_json(both)
    assert all(len(point.seeds) == 2 for point in of_loss(both.across, "lost").points)


def test_of_a_run_on_a_board_and_a_newer_one_in_files_the_newer_counts(tmp_path: Path) -> None:
    board, again = board_of_zoo(tmp_path), tmp_path / "again"
    for stamp, lost in (("20250101_000000", 0.99), ("20270101_000000", 0.11)):
        write_run(
            again,
            connector={"knn_preservation": [{"doc_id": 0, "target": "s", "image": "0", "lost": lost}]},
            model="connector_zoo/rank8-seed1",
            stamp=stamp,
        )
    entry = of_loss(analyze([again, board], QUICK, images=False).across, "lost")
    (point,) = [point for point in entry.points if point.connector == "rank8"]
    assert {seed.model: seed.loss for seed in point.seeds}["connector_zoo/rank8-seed1"] == 0.11
    assert len(point.seeds) == 2


def test_two_sets_of_weights_under_one_name_are_two_models(tmp_path: Path) -> None:
    for stamp, weights in (("20260101_000000", "a"), ("20260102_000000", "c")):
        write_run(
            tmp_path,
            connector={"knn_preservation": [{"doc_id": 0, "target": "s", "image": "0", "lost": 0.5}]},
            model="org/m",
            stamp=stamp,
            weights=weights * 64,
        )
    assert [one.model for one in measured(read_results([tmp_path]))] == [
        "org/m (aaaaaaaa)",
        "org/m (cccccccc)",
    ]


def test_few_connectors_allow_no_claim(tmp_path: Path) -> None:
    write_zoo(tmp_path, NAMES[:6], seeds=3)
    entry = of_loss(analyze([tmp_path], QUICK, images=False).across, "lost")
    assert entry.correlations == {"trained": None, "trained and isometries": None, "all": None}
    assert entry.refusals["trained"] == "4 connectors; a correlation across connectors needs 8"
    assert len(entry.points) == 6


def test_three_models_as_in_the_paper_allow_no_claim(tmp_path: Path) -> None:
    for i in range(3):
        write_run(
            tmp_path,
            connector={"patch_reconstruction": [{"doc_id": 0, "target": "a", "image": "0", "lost": 0.1 * i}]},
            scored={"vqa": [{"doc_id": 0, "target": "a", "accuracy": 0.1 * i}]},
            model=f"org/model-{i}",
            stamp=f"2026010{i + 1}_000000",
        )
    (entry,) = analyze([tmp_path], QUICK, images=False).across
    assert [point.group for point in entry.points] == ["trained"] * 3
    assert set(entry.refusals) == {"trained", "trained and isometries", "all"}


def test_figures_of_other_pictures_are_refused(tmp_path: Path) -> None:
    write_zoo(tmp_path / "a", NAMES[:9])
    write_zoo(tmp_path / "b", ["mlp"], record={"images_sha256": "d" * 64})
    with pytest.raises(UnusableResult) as refused:
        analyze([tmp_path], QUICK, images=False)
    assert "bbbbbbbbbbbb" in str(refused.value)
    assert "dddddddddddd" in str(refused.value)


@pytest.fixture(scope="module")
def committed() -> Analysis:
    return analyze([BOARD])


def test_the_committed_leaderboard_is_read(committed: Analysis) -> None:
    models = {model.model: model for model in measured([], [BOARD])}
    runs = stored_runs(BOARD)
    assert set(models) == {run.model for run in runs}
    found = committed
    assert not found.pairs
    beside_scenes = [
        one for one in found.across if (one.loss, one.score_task) == ("1 - knor_10", "scenes_vqa")
    ]
    assert {one.connector_task for one in beside_scenes} == {"knn_preservation", "knn_preservation_scenes"}
    entry = next(
        one for one in beside_scenes if (one.connector_task, one.score) == ("knn_preservation", "accuracy")
    )
    by_name = {seed.model: seed for point in entry.points for seed in point.seeds}
    run = next(run for run in runs if run.model == "connector_zoo/mlp-seed0")
    assert by_name[run.model].loss == pytest.approx(
        1 - run.tasks["knn_preservation"].figures["knor_10"].value
    )
    assert by_name[run.model].score == run.tasks["scenes_vqa"].figures["accuracy"].value
    assert entry.correlations["all"].score.n >= 20


def test_the_committed_study_is_that_of_the_committed_leaderboard(committed: Analysis) -> None:
    """Otherwise: connector-bench analyze leaderboard --across --json leaderboard/zoo_study.json --figure ..."""
    kept = json.loads((BOARD / "zoo_study.json").read_text())
    fresh = json.loads(as_json(committed))
    assert fresh["connectors"] == kept["connectors"]
    names = ("connector_task", "loss", "score_task", "score")
    for new, old in zip(fresh["across"], kept["across"], strict=True):
        assert [new[name] for name in names] == [old[name] for name in names]
        assert set(new["spearman"]) == set(old["spearman"])
        for subset, figure in new["spearman"].items():
            for part in ("value", "low", "high", "q"):
                assert figure[part] == pytest.approx(old["spearman"][subset][part], abs=0.02)


def test_the_main_result_is_that_of_scipy(committed: Analysis) -> None:
    (entry,) = [
        e for e in committed.across if (e.loss, e.score, e.score_task) == ("lost", "accuracy", "scenes_vqa")
    ]
    trained = [point for point in entry.points if point.group == "trained"]
    assert {len(point.seeds) for point in trained} == {1, 3}
    expected = stats.spearmanr([point.loss for point in trained], [point.score for point in trained])
    found = entry.correlations["trained"]
    assert found.score.value == pytest.approx(expected.statistic)
    assert found.p == pytest.approx(expected.pvalue, abs=0.003)


def test_the_packages_own_tasks_say_what_they_read() -> None:
    assert (
        defined_data_set("knn_preservation_scenes_unseen")
        == defined_data_set("scenes_vqa_unseen")
        == "scenes_test_unseen.json"
    )
    assert (
        defined_data_set("knn_preservation_vizwiz") == defined_data_set("vizwiz_vqa_val") == "vizwiz_vqa_val"
    )
    assert (
        defined_data_set("knn_preservation_scenes")
        == defined_data_set("scenes_vqa")
        != defined_data_set("scenes_vqa_unseen")
    )
    assert defined_data_set("knn_preservation") == "objects_test.json"
    assert defined_data_set("knn_preservation_unseen") == "objects_test_unseen.json"
    assert defined_data_set("../setup") == "../setup"


def test_figures_of_the_first_version_are_still_those_of_the_scenes() -> None:
    scenes = data_sets_of("scenes_vqa", "1")
    assert data_sets_of("knn_preservation", "1") == data_sets_of("knn_preservation_scenes", "1") == scenes
    assert not data_sets_of("knn_preservation", "2") & scenes


def test_the_study_is_regenerated_byte_for_byte(tmp_path: Path) -> None:
    write_zoo(tmp_path, NAMES, seeds=2)
    first, second = (as_json(analyze([tmp_path], QUICK, images=False)) for _ in range(2))
    assert first == second
    content = json.loads(first)
    held = {entry["connector"]: entry for entry in content["connectors"]}
    assert held["rank2"]["models"]["connector_zoo/rank2-seed0"]["scenes_vqa: accuracy"] == pytest.approx(
        0.8, abs=0.1
    )
