"""A small board with everything that a page shows, and a page of it in the browser."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from connector_bench.leaderboard.merge import merge
from connector_bench.leaderboard.page import page
from connector_bench.leaderboard.schema import Figure, ProbeBudget, StoredLossMap, StoredRun, TaskResult
from connector_bench.leaderboard.table import Table
from tests.browser import Browser, Opened
from tests.leaderboard.runs import a_connector, a_run, answers, preservation, reconstruction, sha

Open = Callable[..., Opened]


def a_model(name: str, kept: float, accuracy: float | None = None, **connector: object) -> StoredRun:
    tasks = {"knn_preservation": neighbours(kept), "patch_reconstruction": rebuilt(1 - kept)}
    if accuracy is not None:
        tasks["vqa"] = answers(accuracy)
    run = a_run(name, weights=name, **tasks)
    return run.model_copy(update={"connector": a_connector(name, name, **connector)})


def neighbours(kept: float) -> TaskResult:
    """Neighbours kept with what halvings of the images say, and trustworthiness, by which boards are sorted."""
    result = preservation(kept)
    near = 0.5 + kept / 2
    more = {
        "trustworthiness": Figure(value=near, low=near - 0.01, high=near + 0.01, higher_is_better=True),
        "knor_10": Figure(
            value=kept, low=kept - 0.02, high=kept + 0.02, n=1000, k=10, chance=0.01, higher_is_better=True
        ),
    }
    gaps = tuple(0.01 * kept * (-1) ** number for number in range(20))
    return result.model_copy(update={"figures": result.figures | more, "halvings": {"knor_10": gaps}})


def rebuilt(lost: float) -> TaskResult:
    """Patch reconstruction with what its details show: probes and a loss map."""
    result = reconstruction([lost * 2] * 4, [2.0] * 4)
    more = {
        "r2_best": Figure(value=1 - lost, higher_is_better=True),
        "r2_ridge": Figure(value=1 - lost, low=0.9 - lost, high=1.1 - lost, higher_is_better=True),
        "untrained_r2_ridge": Figure(value=0.25),
    }
    loss_map = StoredLossMap(
        image=sha("x"),
        why="the same picture for every model",
        rows=2,
        columns=3,
        values=(0, 0.2, 0.4, 0.6, 0.8, 1),
    )
    budget = ProbeBudget(train_images=500, best_probe="mlp", more_data_helps=True)
    return result.model_copy(
        update={"figures": result.figures | more, "loss_maps": (loss_map,), "probe": budget}
    )


RUNS = (
    a_model("lab/alpha", 0.9, 0.5, family="llava", connector="mlp", parameters=21_000_000),
    a_model("lab/beta", 0.6, 0.8, family="idefics2", connector="resampler", parameters=743_000_000),
    a_model("lab/gamma", 0.3, None, family="qwen2_5_vl", connector="patch_merger", parameters=45_000_000),
    a_model("other/delta", 0.1, 0.4, family="llava", connector="mlp", parameters=9_000),
    a_model("connector_zoo/untrained_mlp-seed0", 0.7, 0.2, family="connector_zoo", connector="untrained_mlp"),
)
ZOO = (
    *(
        a_model(f"connector_zoo/{name}-seed{seed}", kept + seed / 100, accuracy - seed / 100, **{**shape})
        for name, kept, accuracy in (("mlp", 0.4, 0.8), ("rank2", 0.1, 0.3))
        for seed in range(3)
        for shape in ({"family": "connector_zoo", "connector": name, "parameters": 30_976},)
    ),
    *(
        a_model(f"connector_zoo/{name}-seed0", kept, accuracy, family="connector_zoo", connector=name)
        for name, kept, accuracy in (
            ("untrained_mlp", 0.7, 0.6),
            ("untrained_rank2", 0.1, 0.2),
            ("identity", 1.0, 0.7),
        )
    ),
)
"""Two connectors of three seeds, their untrained copies, and what loses nothing."""


def written(folder: Path, table: Table) -> Path:
    path = folder / "index.html"
    path.write_text(page(table, folder), encoding="utf-8", newline="")
    return path


def board(folder: Path, runs: Sequence[StoredRun] = RUNS) -> Path:
    return written(folder, merge(runs))


def opener(browser: Browser, path: Path) -> Iterator[Open]:
    """Opens views of one page; at the end none of them may have said an error or asked for anything."""
    views: list[Opened] = []

    def open_view(fragment: str = "", **window: Any) -> Opened:
        views.append(browser.open(path, fragment, **window))
        return views[-1]

    yield open_view
    assert [view.errors for view in views if view.errors] == []
    assert [view.requests for view in views if view.requests] == []


def models(opened: Opened, kind: str = "competitor") -> list[str]:
    return opened.page.locator(f"#table tbody.{kind} th.model a").all_inner_texts()
