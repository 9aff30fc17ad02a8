"""What the summary says of neighbour preservation: sentences that follow from figures and their intervals."""

from __future__ import annotations

from collections.abc import Mapping

from connector_bench.metrics import KEEP_ALL
from connector_bench.number_style import number
from connector_bench.report.beyond_overlap import further_findings
from connector_bench.report.blocks import Finding, control_findings
from connector_bench.report.estimates import apart, change, covers_chance, interval, without_interval
from connector_bench.report.overlap_table import headline_k, overlaps
from connector_bench.report.shared import label_column, shared_sentence
from connector_bench.results.tasks import TaskRun
from connector_bench.stats.intervals import Score


def preservation_findings(task: TaskRun, suffix: str = "") -> list[Finding]:
    """Overlap beside chance and controls, and whether the controls came out as they must."""
    scores = task.scores
    kept = overlaps(scores)
    if not kept:
        return []
    k = headline_k(kept)
    score = kept[k]
    text = (
        f"Of an image's {k} nearest neighbours before the connector, a share of {interval(score)} are among its {k} "
        f"nearest after it, mean over {score.n:,} images; chance gives {number(score.chance or 0.0)}."
    )
    if why := without_interval(score):
        text += f" Whether that is more than chance is not told: {why}."
    elif covers_chance(score):
        text += " That is not distinguishable from chance."
    findings = [Finding(f"Neighbours kept{suffix}", text)]
    if beside := _beside_controls(task.scores_beside_controls, k, score.n):
        findings.append(Finding(f"Neighbours, in comparison{suffix}", beside))
    findings.append(Finding(f"What neighbours share{suffix}", shared_sentence(task)))
    findings += further_findings(task, suffix)
    findings += control_findings(f"Neighbours, controls{suffix}", *_controls(task, k))
    if "recall_diff_5" in scores:
        findings.append(_retrieval(task, suffix))
    return findings


def _beside_controls(scores: Mapping[str, Score], k: int, n: int) -> str:
    """`scores` are of the images that controls were measured on, `n` the number of all images."""
    said = []
    score = scores[f"knor_{k}"]
    compared = any(f"{control}_knor_{k}" in scores for control in ("untrained", "random_linear"))
    if compared and score.n != n:
        said.append(
            f"Among the {score.n:,} images that controls are measured on, this connector keeps "
            f"{interval(score)}."
        )
    untold: dict[str, str] = {}
    if untrained := scores.get(f"untrained_knor_{k}"):
        text = f"The same architecture, untrained, keeps {interval(untrained)}"
        if why := without_interval(score, untrained):
            untold[why] = "the untrained one"
        elif not apart(score, untrained):
            text += ": by their intervals not distinguishable from the trained one"
        elif untrained.value > score.value:
            text += (
                ": more than the trained one. Training lowered the overlap, so a low overlap alone does not show that "
                "information is gone"
            )
        else:
            text += ": fewer than the trained one"
        said.append(f"{text}.")
    if random := scores.get(f"random_linear_knor_{k}"):
        text = f"A random linear map of the same shape keeps {interval(random)}"
        if why := without_interval(score, random):
            untold[why] = f"{untold[why]} or the random one" if why in untold else "the random one"
        else:
            relation = "more than" if random.value > score.value else "fewer than"
            relation = relation if apart(score, random) else "not distinguishable from"
            text += f", {relation} this connector"
        said.append(f"{text}.")
    said += [
        f"Whether this connector keeps more than {which} is not told: {why}." for why, which in untold.items()
    ]
    return " ".join(said)


def _controls(task: TaskRun, k: int) -> tuple[list[str], list[str]]:
    right: list[str] = []
    wrong: list[str] = []
    for name in KEEP_ALL:
        if (found := task.scores.get(f"{name}_knor_{k}")) is not None:
            fine = task.as_it_must_be(f"{name}_knor_{k}")
            if fine is False:
                wrong.append(f"{name} kept {number(found.value)} and not 1")
            elif fine:
                right.append(f"{name} keeps every neighbour")
    if shuffled := task.scores.get(f"shuffled_knor_{k}"):
        chance = number(shuffled.chance or 0.0)
        if task.as_it_must_be(f"shuffled_knor_{k}") is False:
            wrong.append(f"shuffled pairs kept {interval(shuffled)}, chance is {chance}")
        else:
            right.append(f"shuffled pairs keep {interval(shuffled)}, chance is {chance}")
    return right, wrong


def _retrieval(task: TaskRun, suffix: str) -> Finding:
    before, after, difference = (task.scores[f"recall_{side}_5"] for side in ("pre", "post", "diff"))
    text = (
        f"The share of images that have one of the same {label_column(task)} among their 5 nearest is "
        f"{number(before.value)} before and {number(after.value)} after the connector "
        f"(chance {number(after.chance or 0.0)})"
    )
    verdict = "more after it" if difference.value > 0 else "fewer after it"
    if why := without_interval(difference):
        verdict = f"of which {why}"
    elif covers_chance(difference):
        verdict = "not distinguishable from no change"
    return Finding(f"Label retrieval{suffix}", f"{text}: a difference of {change(difference)}, {verdict}.")
