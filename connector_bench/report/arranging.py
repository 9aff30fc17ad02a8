"""What of a section is seen at once, and what when asked for: a page is read on a telephone too."""

from __future__ import annotations

from collections.abc import Sequence

from connector_bench.report.blocks import Block, Finding, Findings, Folded, Prose
from connector_bench.report.chart import Chart
from connector_bench.report.gallery_values import Gallery

SEEN = 4
"""Sentences of a section that are seen at once."""


def arranged(findings: Sequence[Finding], blocks: Sequence[Block]) -> tuple[Block, ...]:
    """The first sentences, the first chart, what a reader must not miss and pictures; all else is folded."""
    said = [finding for finding in findings if finding.tone != "warning"]
    first = next((block for block in blocks if isinstance(block, Chart)), None)
    seen: list[Block] = [Findings(tuple(said[:SEEN]))] if said else []
    rest: list[Block] = [Findings(tuple(said[SEEN:]))] if said[SEEN:] else []
    for block in blocks:
        kept = block is first or isinstance(block, Gallery)
        kept = kept or (isinstance(block, Prose) and block.tone != "plain")
        (seen if kept else rest).append(block)
    if rest:
        seen.append(Folded(_named(rest), tuple(rest)))
    return tuple(seen)


def _named(blocks: Sequence[Block]) -> str:
    kinds = {
        "findings": "sentences",
        "chart": "charts",
        "table": "tables",
        "prose": "method",
        "facts": "facts",
    }
    named = list(dict.fromkeys(kinds[block.kind] for block in blocks if block.kind in kinds))
    return f"More: {', '.join(named)}"
