"""Names and numbers as text that does no harm where it is shown."""

from __future__ import annotations

import html
import re

from connector_bench.leaderboard.table import Column, Key, Row, Spread
from connector_bench.results.conditions import places_taken_away
from connector_bench.stats.bounds import SIGNS, Bound

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


def figure_text(row: Row, key: Key) -> str:
    """Value and interval of a row's figure in a column, empty where there is none."""
    figure = row.figures.get(key)
    if figure is None:
        return ""
    value = number(figure.value, row.bound(key))
    if figure.low is None or figure.high is None:
        return value
    return f"{value} [{number(figure.low)}, {number(figure.high)}]"


def spread_text(spread: Spread | None) -> str:
    """Mean over seeds, smallest and largest of them."""
    if spread is None:
        return ""
    return f"{number(spread.mean, spread.bound)} ({number(spread.low)} to {number(spread.high)})"


def number(value: float, bound: Bound | None = None) -> str:
    """Three decimals, fewer for what is not a share; a sign before what is a bound."""
    sign = "" if bound is None else SIGNS[bound]
    return sign + (f"{value:.3f}" if abs(value) < 100 else f"{value:,.0f}")


def heading(column: Column) -> str:
    """A column's label, which way is better, and what chance gives."""
    chance = f" (chance {column.chance:.3g})" if column.chance is not None else ""
    return in_markdown(column.label) + ARROWS[column.higher_is_better] + chance


def connector_text(row: Row) -> str:
    """Kind and size of a row's connector, and whether nobody knows where its tokens lie."""
    if row.connector is None:
        return ""
    said = f"{in_markdown(row.connector.connector)}, {row.connector.parameters:,}"
    if places_taken_away(row.connector.model_dump()):
        said += f", places {in_markdown(row.connector.places or '')}"
    return said
