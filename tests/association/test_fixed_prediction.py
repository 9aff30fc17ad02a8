"""A prediction that was fixed beforehand: held against connectors measured since, the committed one, hostile files."""

from __future__ import annotations

import json
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy import stats
from sklearn.metrics import mean_absolute_error
from sklearn.metrics import r2_score as r2_of_sklearn
from typer.testing import Result

from connector_bench.association.fixed_prediction import held_against, read_prediction
from connector_bench.association.prediction_values import FixedPrediction
from connector_bench.association.values import Settings
from connector_bench.results.harness_files import UnusableResult
from tests.association.test_across_prediction import model
from tests.association.test_cli import analyze
from tests.association.written import write_run

BOARD = Path(__file__).parent.parent.parent / "leaderboard"
OLD, NEW = [f"old{i}" for i in range(10)], [f"rank{i}" for i in range(11)]
TARGET = "scenes_vqa: accuracy"


def content(**changes: Any) -> dict[str, Any]:
    line = {"target": TARGET, "intercept": 0.9, "slope": -0.5, "r2_left_out": 0.87}
    return {
        "fixed_on": "2026-01-02",
        "predictor": "patch_reconstruction: lost",
        "chosen_among": "the losses of ten connectors",
        "chosen_on": OLD,
        "lines": [line],
        "to_be_predicted": NEW,
        **changes,
    }


def write(folder: Path, given: Any) -> Path:
    path = folder / "prediction.json"
    path.write_text(given if isinstance(given, str) else json.dumps(given))
    return path


def losses_and_answers(noise: float, names: list[str], seed: int = 0) -> dict[str, tuple[float, float]]:
    rng = np.random.default_rng(seed)
    drawn = {name: rng.uniform(0, 1) for name in names}
    return {name: (lost, 0.9 - lost / 2 + noise * rng.normal()) for name, lost in drawn.items()}


def held(tmp_path: Path, values: dict[str, tuple[float, float]], **changes: Any) -> FixedPrediction:
    models = [
        model(name, seed, {"lost": lost + 0.01 * (seed - 1)}, {"accuracy": answered})
        for name, (lost, answered) in values.items()
        for seed in range(3)
    ]
    return held_against(read_prediction(write(tmp_path, content(**changes))), models, Settings())


def test_figures_are_those_of_scikit_learn_and_scipy(tmp_path: Path) -> None:
    values = losses_and_answers(0.05, [*OLD, *NEW, "stranger"])
    found = held(tmp_path, values)
    (target,) = found.targets
    predicted = np.array([0.9 - 0.5 * values[name][0] for name in NEW])
    true = np.array([values[name][1] for name in NEW])
    assert [one.connector for one in target.predicted] == NEW
    assert [one.seeds for one in target.predicted] == [3] * 11
    assert [one.predicted for one in target.predicted] == pytest.approx(predicted, abs=1e-6)
    assert target.r2_against_own_mean is not None
    assert target.r2_against_own_mean.value == pytest.approx(r2_of_sklearn(true, predicted), abs=1e-5)
    mean = np.mean([values[name][1] for name in OLD])
    expected = 1 - np.square(true - predicted).sum() / np.square(true - mean).sum()
    assert target.r2_against_chosen is not None
    assert target.r2_against_chosen.value == pytest.approx(expected, abs=1e-5)
    assert target.r2_against_chosen.low < expected < target.r2_against_chosen.high
    assert target.rank is not None
    assert target.rank.value == pytest.approx(stats.spearmanr(predicted, true).statistic)
    assert np.isfinite(target.rank.low)
    assert target.mean_absolute_error == pytest.approx(mean_absolute_error(true, predicted), abs=1e-6)
    assert target.r2_left_out_in_file == 0.87
    assert found.neither == ("stranger",)
    assert found.missing == ()
    assert found.reached is (min(expected, r2_of_sklearn(true, predicted)) >= 0.8)


@pytest.mark.parametrize(("noise", "reached"), [(0.01, True), (0.3, False)])
def test_the_aim_is_reached_or_not(tmp_path: Path, noise: float, reached: bool) -> None:
    assert held(tmp_path, losses_and_answers(noise, [*OLD, *NEW])).reached is reached


def test_a_good_line_far_from_its_own_mean_alone_reaches_nothing(tmp_path: Path) -> None:
    """The new connectors answer alike and far from the old ones: R2 is high against the old mean alone."""
    values = losses_and_answers(0.01, OLD) | {
        name: (0.8 + 0.01 * i, 0.49 - 0.02 * (i % 2)) for i, name in enumerate(NEW)
    }
    found = held(tmp_path, values)
    (target,) = found.targets
    assert target.r2_against_chosen is not None
    assert target.r2_against_own_mean is not None
    assert target.r2_against_chosen.value > 0.8 > 0 > target.r2_against_own_mean.value
    assert found.reached is False


def test_until_all_are_measured_the_aim_is_open(tmp_path: Path) -> None:
    values = losses_and_answers(0.01, [*OLD, *NEW[:9]])
    found = held(tmp_path, values)
    assert found.missing == tuple(NEW[9:])
    assert found.targets[0].r2_against_own_mean is not None
    assert found.reached is None
    few = held(tmp_path, losses_and_answers(0.01, [*OLD[1:], *NEW[:3]]))
    (target,) = few.targets
    assert target.r2_against_chosen is None, "the mean of those it was chosen on is not known"
    assert target.r2_left_out is None
    assert target.r2_against_own_mean is not None
    assert target.r2_against_own_mean.method == "no interval: 3 connectors, 8 are needed"
    one = held(tmp_path, losses_and_answers(0.01, [*OLD, NEW[0]]))
    assert one.targets[0].r2_against_own_mean is None
    assert one.targets[0].mean_absolute_error is not None


def test_what_no_result_has_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnusableResult, match="needs knn_preservation: 1 - cka, which no trained connector"):
        held(tmp_path, losses_and_answers(0.01, OLD), predictor="knn_preservation: 1 - cka")


def zoo(folder: Path) -> Path:
    for place, (name, (lost, answered)) in enumerate(losses_and_answers(0.01, [*OLD, *NEW]).items()):
        row = {"doc_id": 0, "target": "scene", "image": "0", "lost": lost}
        write_run(
            folder,
            connector={"patch_reconstruction": [row]},
            scored={"scenes_vqa": [{"doc_id": 0, "target": "cat", "accuracy": answered}]},
            model=f"connector_zoo/{name}-seed0",
            stamp=f"202601{place + 1:02}_000000",
        )
    return folder


def flat(found: Result) -> str:
    return " ".join(found.output.split())


def test_the_command_line_says_draws_and_keeps_it(tmp_path: Path) -> None:
    runs, file = zoo(tmp_path / "runs"), write(tmp_path, content())
    found = analyze(
        *(runs, "--across", "--prediction", file),
        *("--json", tmp_path / "a.json", "--figure", tmp_path / "with.png"),
    )
    assert found.exit_code == 0, found.output
    said = flat(found)
    assert "R2 >= 0.80 for every target and against either mean, is reached" in said
    assert "the file says 0.870, so it was chosen on other figures than these" in said
    assert "over 11 predicted connectors: at least 0.80" in said
    assert "What predicts scores: each of 21 trained connectors" in said
    kept = json.loads((tmp_path / "a.json").read_text())
    assert kept["fixed_prediction"]["reached"] is True
    assert [one["connector"] for one in kept["fixed_prediction"]["targets"][0]["predicted"]] == NEW
    assert {pair["predictor"] for pair in kept["left_out_pairs"]} == {"patch_reconstruction: lost"}
    without = analyze(runs, "--across", "--json", tmp_path / "b.json")
    assert without.exit_code == 0
    assert "fixed_prediction" not in json.loads((tmp_path / "b.json").read_text())
    with Image.open(BytesIO((tmp_path / "with.png").read_bytes())) as drawn:
        assert drawn.height == pytest.approx(1.5 * drawn.width, rel=0.01), (
            "a row of its own below the study's"
        )


def test_the_committed_prediction_on_the_committed_board(tmp_path: Path) -> None:
    file = BOARD / "prediction.json"
    found = analyze(BOARD, "--across", "--prediction", file, "--json", tmp_path / "a.json")
    assert found.exit_code == 0, found.output
    kept = json.loads((tmp_path / "a.json").read_text())
    fixed, given = kept["fixed_prediction"], json.loads(file.read_text())
    measured = {one["connector"] for one in kept["connectors"]}
    assert set(given["chosen_on"]) <= measured
    assert set(fixed["missing"]) == set(given["to_be_predicted"]) - measured
    for target, line in zip(fixed["targets"], given["lines"], strict=True):
        assert target["target"] == line["target"]
        assert target["r2_left_out"] == pytest.approx(line["r2_left_out"], abs=0.0005)
        older = {one["connector"] for one in target["chosen_on"]}
        assert older == set(given["chosen_on"])
        assert not older & {one["connector"] for one in target["predicted"]}
        figures = _means(kept, given["predictor"], line["target"], older)
        slope, intercept = np.polyfit(*figures, 1)
        assert (line["slope"], line["intercept"]) == pytest.approx((slope, intercept), abs=0.0005)
    said = flat(found)
    if fixed["missing"]:
        assert "is open, as not all of its connectors are in the results" in said
        assert fixed["reached"] is None
    assert "0.862; the file says 0.862" in said
    assert "0.917; the file says 0.917" in said
    assert "other figures than these" not in said


def _means(kept: dict[str, Any], figure: str, score: str, names: set[str]) -> list[list[float]]:
    models = [one["models"].values() for one in kept["connectors"] if one["connector"] in names]
    return [[float(np.mean([held[side] for held in seeds])) for seeds in models] for side in (figure, score)]


def _nested(given: dict[str, Any]) -> str:
    return "[" * 100_000


def _line_with(**changes: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda given: {**given, "lines": [{**given["lines"][0], **changes}]}


HOSTILE: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "predicts what it was chosen on": (
        lambda given: {**given, "to_be_predicted": [*NEW, OLD[3]]},
        "old3 cannot be predicted by a line that was chosen on it",
    ),
    "names one twice": (
        lambda given: {**given, "to_be_predicted": [*NEW, NEW[0]]},
        "to_be_predicted names rank0 more than once",
    ),
    "two lines for one target": (lambda given: {**given, "lines": 2 * given["lines"]}, "more than once"),
    "not a number": (
        lambda given: json.dumps(_line_with(slope=float("nan"))(given)),
        "lines.0.slope is nan: Input should be a finite number",
    ),
    "a text for a number": (_line_with(intercept="0.9"), "lines.0.intercept is '0.9'"),
    "better than whole": (_line_with(r2_left_out=1.2), "lines.0.r2_left_out is 1.2"),
    "a target of no task": (_line_with(target="accuracy"), "lines.0.target is 'accuracy'"),
    "no day": (lambda given: {**given, "fixed_on": "2026-13-45"}, "month must be in 1..12"),
    "something more": (lambda given: {**given, "aim": 0.1}, "aim is 0.1: Extra inputs"),
    "something less": (lambda given: {k: v for k, v in given.items() if k != "chosen_on"}, "chosen_on"),
    "nothing to predict": (lambda given: {**given, "to_be_predicted": []}, "to_be_predicted is []"),
    "a list": (lambda given: [given], "the whole is"),
    "no JSON": (lambda given: "no json", "Expecting value"),
    "too deep": (_nested, "nested far deeper"),
    "steers the terminal": (lambda given: {**given, "\x1b[2J": 1}, "Extra inputs"),
}


@pytest.mark.parametrize("wrong", HOSTILE)
def test_a_file_that_is_no_prediction_ends_in_one_sentence(tmp_path: Path, wrong: str) -> None:
    change, expected = HOSTILE[wrong]
    file = write(tmp_path, change(content()))
    found = analyze(tmp_path, "--across", "--prediction", file)
    assert found.exit_code == 1
    assert expected in flat(found)
    assert "is no prediction" in flat(found)
    assert "\x1b" not in found.output
    assert "Traceback" not in found.output


def test_a_file_that_is_not_there_or_no_file_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere.json", tmp_path):
        found = analyze(tmp_path, "--across", "--prediction", path)
        assert found.exit_code == 1
        assert str(path.name) in flat(found)
