"""What the summary says of patch reconstruction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from connector_bench.metrics import KEEP_ALL
from connector_bench.number_style import number
from connector_bench.report.blocks import Finding, control_findings
from connector_bench.report.estimates import apart, change, has_interval, interval, without_interval
from connector_bench.report.reconstruction import PROBES, ladder, more_data
from connector_bench.results.tasks import TaskRun
from connector_bench.stats.intervals import Score

ROOM_FOR_ALL = 5e-4
"""Share of the variance below which a floor is none."""


def reconstruction_findings(task: TaskRun, suffix: str = "") -> list[Finding]:
    """What is lost to every probe, beside the controls, and whether more data would change it."""
    scores = task.scores
    if "lost" not in scores or "r2_best" not in scores:
        return []
    text = (
        f"The best probe ({_best(task)}) rebuilds {interval(scores['r2_best'])} of the variance of the "
        f"encoder's patches on {scores['lost'].n:,} images it was not fitted on; {interval(scores['lost'])} is "
        f"lost to every probe tried. That is an upper bound on the loss. {_linear(scores)}"
    )
    rungs = ladder(scores)
    findings = [Finding(f"Patches rebuilt{suffix}", text.strip())]
    if size := _beside_size(scores):
        findings.append(Finding(f"Patches, beside the connector's size{suffix}", size))
    if beside := _beside_untrained(rungs):
        findings.append(Finding(f"Patches, in comparison{suffix}", beside))
    findings += control_findings(f"Patches, controls{suffix}", *_controls(task, rungs))
    findings.append(
        Finding(
            f"Learning curve{suffix}",
            more_data(task),
            "warning" if task.record.get("more_data_helps") else "plain",
        )
    )
    return findings


def _best(task: TaskRun) -> str:
    return str(task.record.get("best_probe") or "ridge")


def _linear(scores: Mapping[str, Score]) -> str:
    nonlinear = scores.get("nonlinear")
    if nonlinear is None or "r2_ridge" not in scores:
        return ""
    linear = f"A linear probe alone reaches R² {interval(scores['r2_ridge'])}"
    if why := without_interval(nonlinear):
        return f"{linear}; the MLP adds {change(nonlinear)}, of which {why}."
    if nonlinear.low <= 0:
        return f"{linear}; the MLP adds nothing that is distinguishable from 0."
    return f"{linear}; {interval(nonlinear)} more is kept but not linearly readable."


def size_sentence(scores: Mapping[str, Score]) -> str:
    """What a connector of this size must lose, and what this one loses beyond that; empty where nobody knows."""
    if "excess" not in scores or "lost_floor" not in scores:
        return ""
    floor, excess = scores["lost_floor"], scores["excess"]
    text = f"The best linear connector to as many tokens and numbers loses {interval(floor)}"
    if floor.value < ROOM_FOR_ALL:
        text = f"It has room for all: the best linear map to as many tokens and numbers loses {number(floor.value)}"
    if not has_interval(excess):
        return f"{text}; this one loses {interval(excess)} beyond that, of too few images for an interval."
    if abs(excess.value) < ROOM_FOR_ALL:
        return f"{text}; this one loses no more."
    if excess.low > 0 and excess.sign:
        return f"{text}; this one loses {interval(excess)} beyond that, by probes that have not learnt all."
    if excess.low > 0:
        beyond = f"{text}; this one loses {interval(excess)} beyond that"
        return f"{beyond}, which the number and width of its tokens do not explain."
    if excess.high < 0:
        less = replace(excess, value=-excess.value, low=-excess.high, high=-excess.low)
        return f"{text}; this one loses {interval(less)} less than that, as no linear one can."
    return f"{text}; what this one loses is not distinguishable from that ({interval(excess)} more)."


def _beside_size(scores: Mapping[str, Score]) -> str:
    text = size_sentence(scores)
    if text and (average := scores.get("lost_average")):
        text += f" Averaging to as many tokens loses {interval(average)} to a linear probe."
    return text


def _beside_untrained(rungs: Mapping[str, Mapping[str, Score]]) -> str:
    """The strongest probe that was fitted to both, trained and untrained."""
    own, untrained = rungs.get("", {}), rungs.get("untrained", {})
    shared = [probe for probe in PROBES if probe in own and probe in untrained]
    if not shared:
        return ""
    probe = shared[-1]
    mine, other = own[probe], untrained[probe]
    if why := without_interval(mine, other):
        relation = f"{why} to tell it from the trained one"
    elif not apart(mine, other):
        relation = "by their intervals not distinguishable from the trained one"
    else:
        relation = (
            "more than from the trained one" if other.value > mine.value else "less than from the trained one"
        )
    return (
        f"From the same architecture, untrained, the strongest probe that was fitted to both ({probe}) reaches R² "
        f"{interval(other)}, {relation} ({interval(mine)})."
    )


def _controls(task: TaskRun, rungs: Mapping[str, Mapping[str, Score]]) -> tuple[list[str], list[str]]:
    right: list[str] = []
    wrong: list[str] = []
    for name in KEEP_ALL:
        for probe, score in rungs.get(name, {}).items():
            fine = task.as_it_must_be(f"{name}_r2_{probe}")
            (wrong if fine is False else right).append(f"{name} R² {number(score.value)} ({probe})")
    for probe, score in rungs.get("shuffled", {}).items():
        fine = task.as_it_must_be(f"shuffled_r2_{probe}")
        (wrong if fine is False else right).append(f"shuffled pairs R² {interval(score)} ({probe})")
    return right, wrong
