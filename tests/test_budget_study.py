"""The study of the probes' budget: every kind of candidate is fitted, and the tables of the docs are its own."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.budget_data import Connected, cell_rows
from benchmarks.budget_figure import compact
from benchmarks.budget_fit import Candidate, fitted, problem_of
from benchmarks.budget_summary import losses, order, summary

ROOT = Path(__file__).parent.parent
STUDY = ROOT / "docs" / "probe_budget.json"


@pytest.fixture(scope="module")
def pre() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {part: torch.randn(n, 196, 112, generator=generator) for part, n in (("probe", 10), ("test", 3))}


@pytest.mark.parametrize(
    ("connector", "candidate", "examples"),
    [
        ("avg_pool", Candidate("base", 4, width=16, batch=64), 8 * 49),
        ("avg_pool", Candidate("few rows", 4, width=16, batch=64, rows=50), 50),
        ("c_abstractor", Candidate("3x3", 4, width=16, batch=64, context=True), 8 * 49),
        ("rank8", Candidate("averaged", 4, width=16, layers=4, batch=64, averaged=True), 8 * 196),
        ("resampler", Candidate("attention", 4, width=16, batch=4), 8),
    ],
    ids=lambda given: given.name if isinstance(given, Candidate) else "",
)
def test_every_kind_of_candidate_is_fitted(
    connector: str, candidate: Candidate, examples: int, pre: dict[str, torch.Tensor]
) -> None:
    data = Connected.of(connector, 0, pre, validation=2)
    found = fitted(problem_of(data, 8, candidate), candidate)
    assert found["examples"] == examples
    assert [step for step, _ in found["validation_r2"]] == [0, 1, 2, 3, 4]
    best = dict(found["validation_r2"])[found["best_step"]]
    assert best == max(r2 for _, r2 in found["validation_r2"])
    assert found["test_r2"] < 1
    json.dumps(found)


def test_a_token_comes_with_its_neighbours_and_those_on_the_border_with_themselves(
    pre: dict[str, torch.Tensor],
) -> None:
    data = Connected.of("avg_pool", 0, pre, validation=2)
    alone, _ = cell_rows(data.test, data.layout, context=False)
    nine, cells = cell_rows(data.test, data.layout, context=True)
    grid = nine.view(3, 7, 7, 9, -1)
    tokens = alone.view(3, 7, 7, -1)
    assert torch.equal(grid[1, 3, 4, 4], tokens[1, 3, 4])
    assert torch.equal(grid[1, 3, 4, 0], tokens[1, 2, 3])
    assert torch.equal(grid[1, 3, 4, 5], tokens[1, 3, 5])
    assert torch.equal(grid[2, 0, 6, 2], tokens[2, 0, 6])
    assert torch.equal(cells.view(3, 49, 4, 112)[0, 8, 3], data.test.pre[0, 3 * 14 + 3])


def test_the_tables_of_the_docs_are_those_of_the_study() -> None:
    found: dict[str, Any] = json.loads(STUDY.read_text())
    docs = (ROOT / "docs" / "RECONSTRUCTION.md").read_text()
    for line in losses(found).splitlines()[2:]:
        name, *cells = (cell.strip() for cell in line.strip("|").split("|"))
        (written,) = re.findall(rf"^\| `{name}` \| (\.\d.*) \|$", docs, re.MULTILINE)
        shown = [re.sub(r"^(-?)\.", r"\g<1>0.", cell.strip()) for cell in written.split("|")]
        assert shown == cells, name
    assert [row.split("|")[3].strip() for row in order(found).splitlines()[2:]] == [
        "0.944",
        "0.944",
        "1.000",
        "1.000",
    ]
    assert compact(found)["connectors"].keys() == found["connectors"].keys()
    assert "3x3 tokens" in summary(found)
