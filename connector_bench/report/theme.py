"""How charts look on a light and on a dark page; colours that stay apart for colour-blind readers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

FONT_SIZE = 9.5


@dataclass(frozen=True)
class Theme:
    """One set of colours. The accents follow Okabe and Ito's palette, lightened on the dark page.

    Charts tell series apart by marker and line as well, never by colour alone.
    """

    name: str
    paper: str
    ink: str
    muted: str
    rule: str
    model: str
    untrained: str
    random: str
    oracle: str
    highlight: str

    @property
    def settings(self) -> dict[str, Any]:
        """Matplotlib's settings for a figure in these colours, the same on every machine."""
        return {
            "axes.axisbelow": True,
            "axes.edgecolor": self.muted,
            "axes.facecolor": self.paper,
            "axes.grid": True,
            "axes.labelcolor": self.ink,
            "axes.spines.right": False,
            "axes.spines.top": False,
            "figure.facecolor": self.paper,
            "font.family": ["DejaVu Sans"],
            "font.size": FONT_SIZE,
            "grid.color": self.rule,
            "grid.linewidth": 0.7,
            "legend.edgecolor": self.rule,
            "legend.facecolor": self.paper,
            "legend.frameon": False,
            "legend.fontsize": FONT_SIZE - 0.5,
            "lines.linewidth": 1.8,
            "svg.fonttype": "path",
            "svg.hashsalt": "connector_bench",
            "text.color": self.ink,
            "text.parse_math": False,
            "xtick.color": self.muted,
            "xtick.labelcolor": self.ink,
            "ytick.color": self.muted,
            "ytick.labelcolor": self.ink,
        }


LIGHT = Theme(
    name="light",
    paper="#ffffff",
    ink="#1c2126",
    muted="#5f6972",
    rule="#e3e6ea",
    model="#0063a3",
    untrained="#c75000",
    random="#00805c",
    oracle="#737c85",
    highlight="#a64d86",
)
DARK = Theme(
    name="dark",
    paper="#171b20",
    ink="#e4e8ec",
    muted="#9aa4ae",
    rule="#2e353d",
    model="#63b8f2",
    untrained="#f0a030",
    random="#3cc79d",
    oracle="#aab3bc",
    highlight="#dd92c0",
)
