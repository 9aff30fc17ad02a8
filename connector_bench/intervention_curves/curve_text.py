"""The curves in words, as Markdown: what each intervention costs, and whether the order of loss matters."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from connector_bench.comparison.words import changed
from connector_bench.intervention_curves.paired_points import PairedCurves, PointDifference
from connector_bench.interventions.intervention import Mask
from connector_bench.leaderboard.text import in_markdown
from connector_bench.number_style import number

ABOUT = """Differences are paired by document; ± is their 95 % interval, `q` is the p-value adjusted for all
rows of its table that have one (Benjamini and Hochberg). Questions about one image stay together."""


def curves_text(curves: PairedCurves) -> str:
    """Table against the untouched run, table of masks by loss against masks at random, and one sentence a model."""
    blocks = [f"# Interventions on {in_markdown(curves.task)}", ABOUT, "## Against the untouched run"]
    blocks.append(_table(curves.against_untouched, "untouched"))
    if curves.against_random:
        blocks += ["## Masks by loss against masks at random", _table(curves.against_random, "at random")]
        blocks.append("\n".join(f"- {sentence}" for sentence in order_sentences(curves.against_random)))
    return "\n\n".join(blocks) + "\n"


def order_sentences(found: Sequence[PointDifference]) -> list[str]:
    """For every model and figure, whether the most lossy tokens are worth less than random ones, and the least."""
    sentences = []
    for model, metric in dict.fromkeys((one.model, one.metric) for one in found):
        own = [one for one in found if (one.model, one.metric) == (model, metric)]
        for order, which in (("falling", "most"), ("rising", "least")):
            rows = [
                one for one in own if isinstance(one.intervention, Mask) and one.intervention.order == order
            ]
            if rows:
                sentences.append(
                    f"{in_markdown(model)}, {in_markdown(metric)}: masking the {which} lossy tokens {_verdict(rows)}."
                )
    return sentences


def _verdict(rows: Sequence[PointDifference]) -> str:
    less = [one for one in rows if one.differs and one.difference.value > 0]
    more = [one for one in rows if one.differs and one.difference.value < 0]
    said = [
        f"costs {word} than masking random ones at {_shares(part)}"
        for word, part in (("less", less), ("more", more))
        if part
    ]
    rest = [one for one in rows if not one.differs and math.isfinite(one.difference.low)]
    if rest:
        widest = max(max(abs(one.difference.low), abs(one.difference.high)) for one in rest)
        said.append(
            f"is not told apart from masking random ones at {_shares(rest)}, and more than {number(widest)} is excluded"
        )
    if untold := [one for one in rows if not math.isfinite(one.difference.low)]:
        said.append(f"is not compared at {_shares(untold)}, {untold[0].difference.interval_method}")
    return "; ".join(said)


def _shares(rows: Sequence[PointDifference]) -> str:
    return ", ".join(f"{one.intervention.share:g}" for one in rows if isinstance(one.intervention, Mask))


def _table(found: Sequence[PointDifference], other: str) -> str:
    rows = [
        {
            "model": in_markdown(one.model),
            "intervention": in_markdown(one.intervention.said),
            "figure": in_markdown(one.metric),
            other: number(one.other),
            "value": number(one.value),
            "difference": changed(one.difference.value, one.difference.low, one.difference.high),
            "q": f"{one.q:.2g}" if math.isfinite(one.q) else "–",
            "documents (images)": f"{one.documents:,} ({one.images:,})",
        }
        for one in found
    ]
    return pd.DataFrame(rows).to_markdown(index=False, disable_numparse=True)
