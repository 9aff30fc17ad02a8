"""Names and numbers as text that does no harm where it is shown."""

from __future__ import annotations

import html
import re

from connector_bench.leaderboard.schema import Figure
from connector_bench.leaderboard.table import Column
from connector_bench.number_style import number, span, with_interval
from connector_bench.stats.bounds import Bound

LONGEST_NAME = 80
JOINER = "\N{WORD JOINER}"
MARKUP = re.compile(r"[\\`*\[\]|~]|(?<![^\W_])_|_(?![^\W_])")
"""Signs of Markdown; an underscore between letters or digits is none."""

FORMULA = tuple("=+-@\t\r＝＋－＠")
ARROWS = {True: " ↑", False: " ↓", None: ""}


def visible(text: str) -> str:
    """No control, no bidirectional and no other invisible character: each becomes a space."""
    return "".join(character if character.isprintable() else " " for character in text)


def in_markdown(text: str, longest: int = LONGEST_NAME) -> str:
    """A name inside a table cell of Markdown: no markup, no link, no mention of a user, no end of the cell."""
    shown = visible(text)
    if len(shown) > longest:
        shown = f"{shown[: longest - 1]}…"
    safe = html.escape(shown, quote=False)
    safe = MARKUP.sub(r"\\\g<0>", safe)
    for sign in ("@", "://", "www.", "#"):
        safe = safe.replace(sign, f"{sign[:-1]}{JOINER}{sign[-1]}" if len(sign) > 1 else f"{sign}{JOINER}")
    return safe


def in_spreadsheet(text: str) -> str:
    """A name inside a cell of CSV, which spreadsheets take for a formula when it begins like one."""
    shown = visible(text)
    return f"'{shown}" if shown.lstrip().startswith(FORMULA) or text.startswith(FORMULA) else shown


def figure_text(figure: Figure | None, bound: Bound | None = None, *, control: bool = False) -> str:
    """A figure with its interval, of a control with its extremes; empty where there is none."""
    if figure is None:
        return ""
    if control:
        return f"{number(figure.value)} ({span(figure.low, figure.high)})"
    return with_interval(figure.value, figure.low, figure.high, bound)


def heading(column: Column) -> str:
    """A column's label, which way is better, and what chance gives."""
    chance = f" (chance {number(column.chance)})" if column.chance is not None else ""
    return in_markdown(column.label) + ARROWS[column.higher_is_better] + chance
