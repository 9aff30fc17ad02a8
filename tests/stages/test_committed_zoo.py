"""What the committed board says of connectors whose loss is known."""

from pathlib import Path

import pytest

from connector_bench.leaderboard.board_files import stored_runs
from connector_bench.leaderboard.schema import Figure

BOARD = Path(__file__).parents[2] / "leaderboard"
KINDS = ("object", "existence", "count", "category")
TASKS = ("connector_stages", "connector_stages_unseen")


@pytest.fixture(scope="module")
def figures() -> dict[str, dict[str, dict[str, Figure]]]:
    """By connector and task, of first seeds."""
    return {
        run.model.removeprefix("connector_zoo/").removesuffix("-seed0"): {
            task: dict(run.tasks[task].figures) for task in TASKS
        }
        for run in stored_runs(BOARD)
        if TASKS[0] in run.tasks
    }


def test_every_trained_connector_has_stages(figures: dict[str, dict[str, dict[str, Figure]]]) -> None:
    models = {run.model.removeprefix("connector_zoo/") for run in stored_runs(BOARD)}
    trained = {name.partition("-seed")[0] for name in models if not name.startswith("untrained_")}
    assert figures.keys() == trained
    assert len(trained) == 23


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", ["identity", "rotation"])
def test_an_isometry_loses_nothing(
    figures: dict[str, dict[str, dict[str, Figure]]], name: str, task: str
) -> None:
    for kind in KINDS:
        lost = figures[name][task][f"lost_connector_{kind}"]
        assert lost.low is not None
        assert lost.high is not None
        assert lost.low <= 0 <= lost.high, (kind, lost)
        assert abs(lost.value) <= (0 if name == "identity" else 0.03), kind


@pytest.mark.parametrize("task", TASKS)
def test_what_the_bottleneck_of_two_cannot_answer_is_lost_in_it(
    figures: dict[str, dict[str, dict[str, Figure]]], task: str
) -> None:
    found = figures["rank2"][task]
    for kind in KINDS:
        lacks = found[f"acc_pre_{kind}"].value - found[f"acc_model_{kind}"].value
        lost, later = (found[f"lost_{place}_{kind}"] for place in ("connector", "language_model"))
        assert lost.value == pytest.approx(lacks - later.value, abs=1e-6)
        assert later.low is not None
        assert later.low <= 0.02, f"{kind}: nothing to speak of is lost behind the connector"
    assert found["lost_connector_object"].value > 0.45
