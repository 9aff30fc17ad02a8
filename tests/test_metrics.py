"""The catalogue of metrics: complete, consistent, and the only list of them."""

import ast
import re
from pathlib import Path

import pytest

from connector_bench import metrics
from connector_bench.glossary import FAMILIES, glossary
from connector_bench.leaderboard.board_files import stored_runs
from connector_bench.preservation.figures import metric_names as preservation_names
from connector_bench.preservation.options import PreservationOptions
from connector_bench.reconstruction.config import ReconstructionConfig
from connector_bench.reconstruction.figures import metric_names as reconstruction_names
from connector_bench.stages.stage_figures import metric_names as stage_names

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "connector_bench"


@pytest.mark.parametrize(
    "names",
    [
        preservation_names(PreservationOptions(ks=(3, 10))),
        preservation_names(PreservationOptions(protocol="paper")),
        reconstruction_names(ReconstructionConfig(control_rank=4)),
        reconstruction_names(ReconstructionConfig(protocol="paper")),
        stage_names(("object", "count")),
    ],
)
def test_every_metric_of_a_task_is_in_the_catalogue(names: dict[str, bool | None]) -> None:
    found = {entry.name: entry for entry in metrics.named(list(names))}
    assert set(found) == set(names)
    for name, direction in names.items():
        assert direction in (None, found[name].higher_is_better)
        assert (direction is None) or found[name].control is None


def test_every_committed_figure_of_ours_is_in_the_catalogue() -> None:
    for run in stored_runs(ROOT / "leaderboard"):
        for result in run.tasks.values():
            if result.measure is not None:
                assert [name for name in result.figures if metrics.metric(name) is None] == []


def test_a_name_is_one_entry() -> None:
    entry = metrics.metric("untrained_knor_adj_50")
    assert entry is not None
    assert entry.control is not None
    assert (entry.base, entry.k, entry.control.key, entry.corrects) == (
        "knor_adj_50",
        50,
        "untrained",
        "knor_50",
    )
    projection = metrics.metric("rank8_r2_ridge")
    assert projection is not None
    assert projection.control == metrics.control("rank8")
    assert metrics.corrected("knor_10") == "knor_adj_10"
    assert [metrics.metric(name) for name in ("accuracy", "untrained_cka", "knor_x", "rank8_r2_mlp")] == [
        None
    ] * 4


def test_losses_point_upwards() -> None:
    for entry in metrics.METRICS:
        if entry.loss == "one minus":
            assert entry.higher_is_better
        if entry.loss == "itself":
            assert not entry.higher_is_better


def literals(tree: ast.AST) -> list[tuple[int, list[str]]]:
    """Every list, tuple, set and dictionary of strings, by line."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.List | ast.Tuple | ast.Set | ast.Dict):
            held = node.keys if isinstance(node, ast.Dict) else node.elts
            found.append(
                (
                    node.lineno,
                    [e.value for e in held if isinstance(e, ast.Constant) and isinstance(e.value, str)],
                )
            )
    return found


def measures(path: Path) -> bool:
    """Whether a file makes the figures, and so has to name them."""
    own = path.relative_to(PACKAGE)
    rooms = ("preservation", "reconstruction", "stages", "metrics", "headlines.py")
    return own.parts[0] in rooms or own == Path("training/probe_figures.py")


def test_no_other_file_lists_metrics() -> None:
    names = {m.name for m in metrics.METRICS} | {f"{c.key}_" for c in metrics.CONTROLS}
    patterns = re.compile(r"(knor|r2_|loss_|recall_|imbalance)[a-z_]*[\\({\[]")
    lists = []
    for path in PACKAGE.rglob("*.py"):
        if measures(path):
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for line, held in literals(tree):
            concrete = [
                text for text in held if text in names or metrics.metric(text) or patterns.match(text)
            ]
            if len(concrete) > 1:
                lists.append(f"{path.relative_to(ROOT)}:{line} lists {concrete}")
    assert lists == []


def test_the_glossary_is_not_stale() -> None:
    page = (ROOT / "docs" / "METRICS.md").read_text(encoding="utf-8")
    assert page == f"{glossary()}\n", "run: connector-bench metrics > docs/METRICS.md"
    assert all(f"`{entry.name}`" in page for entry in metrics.METRICS)
    assert {entry.family for entry in metrics.METRICS} == set(FAMILIES)
