"""lmms-eval's own figures, and when its standard error gives an interval."""

from __future__ import annotations

import math

import pytest

from connector_bench.report.task_table import shown
from connector_bench.results.tasks import TaskMetric


@pytest.mark.parametrize(
    ("value", "stderr", "said"),
    [(0.716, 0.0071, "0.716 ±.014"), (1.0, 0.0, "1.000"), (0.5, None, "0.500"), (0.5, math.nan, "0.500")],
)
def test_answers_that_are_all_alike_have_no_interval(value: float, stderr: float | None, said: str) -> None:
    text = shown(TaskMetric("accuracy", "accuracy", value, stderr))
    assert text.replace("\N{NO-BREAK SPACE}", " ") == said
