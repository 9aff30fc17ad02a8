"""What is claimed across the zoo's connectors: what it leans on, what is tested, and that README says the same."""

from __future__ import annotations

import json
import re
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from typer.testing import CliRunner

from connector_bench.association.contrast import exchange_p
from connector_bench.association.sensitivity import sensitivity
from connector_bench.association.values import Point, SeedValue
from connector_bench.cli import app
from connector_bench.number_style import number, with_interval

ROOT = Path(__file__).parents[2]
SEEN, UNSEEN = "scenes_vqa", "scenes_vqa_unseen"


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, str]:
    """The figures and the printed words of the command that README names."""
    file = tmp_path_factory.mktemp("study") / "study.json"
    board = ROOT / "leaderboard"
    fixed = str(board / "prediction.json")
    arguments = ["analyze", str(board), "--across", "--prediction", fixed, "--json", str(file)]
    found = CliRunner().invoke(app, arguments, env={"COLUMNS": "400"})
    assert found.exit_code == 0, found.output
    return json.loads(file.read_text()), " ".join(found.output.split())


def entry(study: dict, connector_task: str, loss: str, task: str) -> dict:
    wanted = (connector_task, loss, task, "accuracy")
    names = ("connector_task", "loss", "score_task", "score")
    (found,) = [one for one in study["across"] if tuple(one[name] for name in names) == wanted]
    return found


def of_split(task: str) -> dict[str, str]:
    """The connector tasks beside a scored task: of objects, of scenes, and of patches."""
    split = task.removeprefix(SEEN)
    return {
        "objects": f"knn_preservation{split}",
        "scenes": f"knn_preservation_scenes{split}",
        "patches": f"patch_reconstruction{split}",
    }


LOSSES = {"objects": "1 - knor_10", "scenes": "1 - knor_10", "patches": "lost"}


def contrast(study: dict, task: str, overlap: str) -> dict:
    (found,) = [
        one
        for one in study["contrasts"]
        if (one["score_task"], one["score"], one["connector_tasks"][1]) == (task, "accuracy", overlap)
    ]
    return found["difference"]


def figures(study: dict, side: str, task: str) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Trained connectors with their mean loss and accuracy, from the study's table of connectors alone."""
    column, score = f"{of_split(task)[side]}: {LOSSES[side]}", f"{task}: accuracy"
    names, losses, scores = [], [], []
    for one in study["connectors"]:
        if one["group"] == "trained":
            held = list(one["models"].values())
            names.append(one["connector"])
            losses.append(round(np.mean([seed[column] for seed in held]), 9))
            scores.append(round(np.mean([seed[score] for seed in held]), 9))
    return names, np.array(losses), np.array(scores)


@pytest.mark.parametrize("side", list(LOSSES))
@pytest.mark.parametrize("task", [SEEN, UNSEEN])
def test_what_a_correlation_leans_on_is_that_of_scipy(study: tuple[dict, str], side: str, task: str) -> None:
    names, x, y = figures(study[0], side, task)
    found = entry(study[0], of_split(task)[side], LOSSES[side], task)
    without = {
        name: stats.spearmanr(np.delete(x, i), np.delete(y, i)).statistic for i, name in enumerate(names)
    }
    leans = found["sensitivity"]
    for end, choose in (("lowest", min), ("highest", max)):
        assert leans[end]["value"] == pytest.approx(choose(without.values()), abs=1e-6)
        assert without[leans[end]["left_out"]] == pytest.approx(leans[end]["value"], abs=1e-6)
    wide = [i for i, name in enumerate(names) if not name.startswith(("rank", "mlp_hidden"))]
    grids = [names.index(name) for name in ("pixel_shuffle", "patch_merger", "avg_pool", "c_abstractor")]
    for part, rows in (("without the bottlenecks", wide), ("among the 49-token grids", grids)):
        of_part = leans["parts"][part]
        assert of_part["value"] == pytest.approx(stats.spearmanr(x[rows], y[rows]).statistic, abs=1e-6)
        assert len(of_part["connectors"]) == len(rows)
    assert found["spearman"]["trained"]["p"] == pytest.approx(stats.spearmanr(x, y).pvalue, abs=0.012)


@pytest.mark.parametrize("side", ["objects", "scenes"])
@pytest.mark.parametrize("task", [SEEN, UNSEEN])
def test_the_difference_of_two_correlations_is_tested(study: tuple[dict, str], side: str, task: str) -> None:
    """Exchanges at random, written out with scipy's own correlation and Steiger's z, against those of the command."""
    _, lost, accuracy = figures(study[0], "patches", task)
    _, overlap, _ = figures(study[0], side, task)
    a, b = stats.rankdata(lost), stats.rankdata(overlap)

    def correlations(first: np.ndarray, second: np.ndarray) -> tuple[float, float, float]:
        (_, between, one), (_, _, other), _ = stats.spearmanr(
            np.stack([first, second, accuracy]), axis=1
        ).statistic
        return one, other, between

    def steiger(one: float, other: float, between: float) -> float:
        mean = (one + other) / 2
        psi = between * (1 - 2 * mean**2) - mean**2 / 2 * (1 - 2 * mean**2 - between**2)
        return abs(np.arctanh(one) - np.arctanh(other)) * np.sqrt(
            (len(a) - 3) / (2 - 2 * psi / (1 - mean**2) ** 2)
        )

    found, observed = contrast(study[0], task, of_split(task)[side]), correlations(a, b)
    assert found["value"] == pytest.approx(observed[0] - observed[1], abs=1e-6)
    swaps = np.random.default_rng(0).random((4000, len(a))) < 0.5
    exchanged = [steiger(*correlations(np.where(swap, b, a), np.where(swap, a, b))) for swap in swaps]
    as_far = np.mean(np.array(exchanged) >= steiger(*observed) - 1e-9)
    assert found["p"] == pytest.approx(as_far, abs=4 * np.sqrt(max(as_far, 1e-3) / len(swaps)))
    assert found["low"] < found["value"] < found["high"]


def test_losses_that_go_with_a_score_alike_are_told_apart_as_often_as_promised() -> None:
    rng = np.random.default_rng(0)
    p = []
    for _ in range(400):
        truth = rng.normal(size=10)
        first, second, score = (truth + 0.7 * rng.normal(size=10) for _ in range(3))
        p.append(exchange_p(first, second, score))
    assert np.mean(np.array(p) <= 0.05) <= stats.binom.ppf(0.999, 400, 0.05) / 400
    assert np.mean(np.array(p) <= 0.5) > 0.35, "a test that never rejects would show nothing"
    score = np.arange(20.0)
    noise = rng.normal(size=20)
    assert exchange_p(score, noise, score) < 0.01, "more connectors than have all exchanges"


def test_of_few_connectors_nothing_is_said() -> None:
    def point(name: str, loss: float) -> Point:
        return Point(name, "trained", (SeedValue(name, loss, -loss),), loss, -loss)

    assert sensitivity([point(f"c{i}", i) for i in range(4)]) is None
    found = sensitivity([point(f"c{i}", i) for i in range(5)])
    assert found is not None
    assert found.lowest.value == found.highest.value == pytest.approx(-1)
    assert not found.parts, "no part of the zoo, and no part that is all of them"
    assert sensitivity([point(f"c{i}", 0.0) for i in range(6)]) is None


def short(value: float) -> str:
    return re.sub(r"^(-?)0\.", r"\1.", f"{value:.2f}")


def test_readme_says_what_the_command_gives(study: tuple[dict, str]) -> None:
    readme = " ".join((ROOT / "README.md").read_text().split())
    said, wide, grids = [], [], []
    for side, task in product(("patches", "objects", "scenes"), (SEEN, UNSEEN)):
        found = entry(study[0], of_split(task)[side], LOSSES[side], task)
        said.append(with_ends(found["spearman"]["trained"]))
        if task == SEEN:
            said.append(f"{said[-1]} ({q(found['spearman']['trained'])}")
            wide.append(short(found["sensitivity"]["parts"]["without the bottlenecks"]["value"]))
            grids.append(f"{found['sensitivity']['parts']['among the 49-token grids']['value']:+.2f}")
    said.append("without the seven bottlenecks (n = 14) {}, {} and {}".format(*wide))
    said.append("the four 49-token grids, where four points say nothing, {}, {} and {}".format(*grids))
    for side, task in product(("objects", "scenes"), (SEEN, UNSEEN)):
        found = contrast(study[0], task, of_split(task)[side])
        said.append(with_ends(found) + (f" ({q(found)}" if task == SEEN else ""))
    fixed = study[0]["fixed_prediction"]
    seen = fixed["targets"][0]
    against = seen["r2_against_chosen"]
    said += [
        f"left-out R2 {short(seen['r2_left_out'])})",
        f"It missed: R2 {short(against['value'])} [{against['low']:.0f}, {short(against['high'])}], "
        f"mean error {100 * seen['mean_absolute_error']:.0f} points",
    ]
    assert not fixed["reached"]
    for task, loss in ((SEEN, "patch_reconstruction: lost"), (UNSEEN, "patch_reconstruction_unseen: lost")):
        said.append(short(left_out(study[0], loss, task)["r2"]["value"]))
    for task, loss in ((SEEN, "connector_stages"), (UNSEEN, "connector_stages_unseen")):
        said.append(with_ends(left_out(study[0], f"{loss}: lost_connector_object", task)["r2"]))
    for sentence in said:
        assert sentence in readme, sentence


def left_out(study: dict, predictor: str, task: str) -> dict:
    (found,) = [
        one
        for one in study["left_out_pairs"]
        if (one["predictor"], one["target"]) == (predictor, f"{task}: accuracy")
    ]
    return found


def with_ends(found: dict) -> str:
    return f"{short(found['value'])} [{short(found['low'])}, {short(found['high'])}]"


def q(found: dict) -> str:
    return f"q = {found['q']:.3f}".replace("0.", ".")


def test_the_terminal_says_it_where_the_figure_stands(study: tuple[dict, str]) -> None:
    lost = entry(study[0], "patch_reconstruction", "lost", SEEN)
    leans, trained = lost["sensitivity"], lost["spearman"]["trained"]
    lowest, parts = leans["lowest"], leans["parts"]
    found = contrast(study[0], SEEN, "knn_preservation")
    shown = with_interval(found["value"], found["low"], found["high"])
    for said in (
        f"lost of patch_reconstruction with accuracy, {number(trained['value'])} over {trained['n']} trained "
        f"connectors: {number(lowest['value'])} (without {lowest['left_out']}) to {number(leans['highest']['value'])}",
        f"{number(parts['without the bottlenecks']['value'])} without the bottlenecks (n = ",
        f"{number(parts['among the 49-token grids']['value'])} among the 49-token grids (n = 4",
        "lost of patch_reconstruction less 1 − kept, k = 10 of knn_preservation, correlations with accuracy of "
        f"scenes_vqa over {found['n']} trained connectors: {shown}",
    ):
        assert said in study[1], said
