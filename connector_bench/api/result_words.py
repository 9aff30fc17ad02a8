"""A result in words: one line, a paragraph for a terminal, and a table for a notebook."""

from __future__ import annotations

import html
import math
import textwrap
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from connector_bench.headlines import HEADLINES, RANKED
from connector_bench.metrics import HEADLINE_K, label_of, metric
from connector_bench.number_style import counted, number, with_interval
from connector_bench.stats.intervals import Score

if TYPE_CHECKING:
    from connector_bench.api.result import MeasuredPart, Result

WIDTH = 79
LONGEST_NAME = 40
BESIDE = {
    "untrained": "an untrained copy of the connector",
    "random_linear": "a random linear map of its shape",
}


def short(result: Result) -> str:
    """One line: the connector, the figure of each measure that stands for it, how many pictures."""
    said = [result.name if len(result.name) <= LONGEST_NAME else f"...{result.name[-LONGEST_NAME + 3 :]}"]
    for part in result.parts:
        scores = part.scores
        name = _neighbours_figure(scores) or ("lost" if "lost" in scores else next(iter(scores), None))
        if name is not None:
            said.append(f"{name} {_number(scores[name])}")
    counts = dict.fromkeys(str(part.record.get("n_images")) for part in result.parts)
    return f"Result({', '.join(said)}, n={' and '.join(counts)})"


def plain_words(result: Result) -> str:
    """The main figures in sentences, with intervals, controls and warnings."""
    paragraphs = [f"{result.name}, {counted(result.pictures, 'picture')}"]
    for part in result.parts:
        words = _of_neighbours(part) if part.measure == "knn_preservation" else _of_patches(part)
        paragraphs.append(" ".join(words))
    paragraphs += [f"Note: {line}." for line in result.warnings]
    return "\n\n".join(textwrap.fill(text, WIDTH, break_on_hyphens=False) for text in paragraphs)


def _neighbours_figure(scores: Mapping[str, Score]) -> str | None:
    """Overlap at the k that stands for the others, or at the largest one."""
    names = [name for name in scores if (m := metric(name)) and m.base.startswith(("knor_", "paper_knor_"))]
    plain = [name for name in names if metric(name).control is None and "adj" not in name]  # type: ignore[union-attr]
    wanted = f"knor_{HEADLINE_K}"
    return wanted if wanted in plain else (plain[-1] if plain else None)


def _of_neighbours(part: MeasuredPart) -> Iterator[str]:
    scores = part.scores
    name = _neighbours_figure(scores)
    if name is None:
        return
    k = metric(name).k  # type: ignore[union-attr]
    few = "nearest neighbour" if k == 1 else f"{k} nearest neighbours"
    yield (
        f"Of a picture's {few} before the connector {_share(scores[name])} {'is' if k == 1 else 'are'} still among as "
        f"many after it, on {counted(scores[name].n, 'different picture')}"
        + ("." if scores[name].chance is None else f"; chance is {number(scores[name].chance)}.")
    )
    beside = [
        f"{what} keeps {_share(scores[f'{key}_{name}'])}"
        for key, what in BESIDE.items()
        if f"{key}_{name}" in scores
    ]
    if beside:
        yield f"On the same pictures {', '.join(beside)}."
    if f"gain_{k}" in scores:
        against = (part.record.get("options") or {}).get("reference")
        yield f"Against {against} the gain is {_number(scores[f'gain_{k}'])}."
    ranked = f"knor_adj_{k}"
    if ranked in scores:
        yield f"With chance taken off, {_share(scores[ranked])} are kept."


def _of_patches(part: MeasuredPart) -> Iterator[str]:
    scores = part.scores
    if "paper_r2" in scores:
        yield f"The published probe rebuilds {_share(scores['paper_r2'])} of the patches' variance."
        return
    if "lost" not in scores:
        return
    best = part.record.get("best_probe")
    said = (
        f"{_share(scores['lost'])} of the variance of the encoder's patches is lost to every probe that was tried, on "
        f"{counted(scores['lost'].n, 'tested picture')}"
    )
    yield (
        f"{said}; the best one is {best}."
        if best
        else f"{said}; they trained on too few to train more than a linear one."
    )
    if "excess" in scores and "lost_floor" in scores:
        yield (
            f"A linear connector of its size loses at least {_share(scores['lost_floor'])}; beyond that this one loses "
            f"{_share(scores['excess'])}."
        )
    if "r2_ridge" in scores:
        beside = scores.get("untrained_r2_ridge")
        copy = "" if beside is None else f" and from an untrained copy of the connector {_share(beside)}"
        yield f"A linear probe rebuilds {_share(scores['r2_ridge'])}{copy}."


def _share(score: Score) -> str:
    known = math.isfinite(score.low) and math.isfinite(score.high)
    return _number(score) + ("" if known else " (no interval)")


def _number(score: Score) -> str:
    return score.sign + with_interval(score.value, score.low, score.high)


def html_view(result: Result) -> str:
    """The words, and a table of the figures that stand for the others."""
    paragraphs = "".join(f"<p>{html.escape(text)}</p>" for text in plain_words(result).split("\n\n"))
    rows = "".join(
        f"<tr><td>{html.escape(label_of(name))}</td><td><code>{html.escape(name)}</code></td>"
        f"<td>{html.escape(_number(score))}</td><td>{'' if score.chance is None else number(score.chance)}</td></tr>"
        for part in result.parts
        for name, score in part.scores.items()
        if name in HEADLINES[part.measure]
        or name == RANKED[part.measure]
        or name == _neighbours_figure(part.scores)
    )
    head = "<tr><th>figure</th><th>name</th><th>value and 95 % interval</th><th>chance</th></tr>"
    return f"<div>{paragraphs}<table><thead>{head}</thead><tbody>{rows}</tbody></table></div>"
