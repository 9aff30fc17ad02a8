"""Renders the table as one static page that needs nothing beside itself: no network, no other file, no server."""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from connector_bench.leaderboard.measured_on import BIBTEX, PAPER
from connector_bench.leaderboard.page_data import page_data
from connector_bench.leaderboard.table import Table
from connector_bench.leaderboard.text import ARROWS
from connector_bench.metrics import CONTROLS, METRICS
from connector_bench.number_style import number

KIND = "by kind of question"
ASSETS = resources.files(__package__) / "assets"
OURS = (
    *("dom", "style", "data", "state", "table", "rows", "filters", "pair", "take", "labels", "scatter"),
    *("detail", "main"),
)
"""The page's own scripts, in the order in which they are joined to one module."""


@dataclass(frozen=True)
class Library:
    """A vendored script with its licence beside it; `assets/vendor/README.md` says where it comes from."""

    name: str
    version: str
    licence: str
    file: str


LIBRARIES = (
    Library("TanStack Table", "8.21.3", "MIT", "tanstack-table-core-8.21.3.min.js"),
    Library("D3", "7.9.2", "ISC", "d3-7.9.2.min.js"),
    Library("Observable Plot", "0.6.17", "ISC", "observable-plot-0.6.17.min.js"),
)


def page(table: Table, board: Path) -> str:
    """The whole page. `board` is the folder in which pictures of loss maps lie, inlined where they are small."""
    scripts = [_vendored(library) for library in LIBRARIES] + [
        "\n".join(_asset(f"{name}.js") for name in OURS)
    ]
    style = _asset("page.css")
    environment = Environment(
        loader=PackageLoader(__package__, "assets"), autoescape=True, keep_trailing_newline=True
    )
    return environment.get_template("page.html.j2").render(
        policy=_policy(scripts, style),
        style=_inline(style, "style"),
        scripts=[_inline(script, "script") for script in scripts],
        data=page_data(table, board),
        published=table.published,
        libraries=LIBRARIES,
        arrows=ARROWS,
        number=number,
        paper=PAPER,
        bibtex=BIBTEX,
        glossary=[
            (m.label.format(k="1, 10 …", kind=KIND), m.meaning.replace("{kind}", "kind's"), m.chance)
            for m in METRICS
            if m.measure and m.reported
        ],
        controls=CONTROLS,
    )


def _policy(scripts: list[str], style: str) -> str:
    """Only what was generated may run, and nothing may be fetched."""
    allowed = " ".join(map(_hash, scripts))
    return (
        f"default-src 'none'; script-src {allowed}; style-src {_hash(style)}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}'"


def _inline(text: str, element: str) -> Markup:
    if re.search(rf"</{element}|<!--", text, re.IGNORECASE):
        raise ValueError(f"an asset holds </{element} or <!--, which would end the element it is inlined in")
    return Markup(text)  # our own assets, not a table's text


def _vendored(library: Library) -> str:
    # The source maps are not shipped, and a reference to them would make developer tools ask for a file.
    return re.sub(r"\n//# sourceMappingURL=.*", "", _asset(f"vendor/{library.file}"))


def _asset(path: str) -> str:
    return (ASSETS / path).read_text(encoding="utf-8")
