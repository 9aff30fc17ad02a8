"""The report as one HTML page that asks for nothing from anywhere: pictures, style and script are inside."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from connector_bench.report.assemble import Report
from connector_bench.report.chart import Chart
from connector_bench.report.loss_scale import scale_chart
from connector_bench.report.theme import DARK, LIGHT

TEMPLATES = "templates"
NO_BREAK = "\N{NO-BREAK SPACE}"
WITHIN_A_FIGURE = re.compile(r"(?<=[≤≥]) (?=[\d−])| (?=±)|(?<=\d) (?=[+−]\.?\d)")
"""Spaces of `≤ 0.270 ±.003` and `0.701 +.030 −.011`, at which no line may end."""
BESIDE_SENTENCES = 4.2
"""Inches of the colour scale beside the four sentences, whose column is narrow."""


def html(report: Report) -> str:
    """The whole page. Every text in it is data: names, questions and answers cannot become markup or script."""
    style, script = _asset("report.css"), _asset("report.js")
    page = _environment().get_template("report.html.jinja")
    rendered = page.render(
        report=report,
        scale=scale_chart(BESIDE_SENTENCES),
        style=Markup(style),
        script=Markup(script),
        policy=_policy(style, script),
    )
    return WITHIN_A_FIGURE.sub(NO_BREAK, rendered)


def _policy(style: str, script: str) -> str:
    """Content-Security-Policy: pictures that stand in the page, this one style sheet, this one script, nothing else."""
    allowed = {
        "default-src": "'none'",
        "img-src": "data:",
        "style-src": f"'sha256-{_digest(style)}'",
        "script-src": f"'sha256-{_digest(script)}'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return "; ".join(f"{what} {value}" for what, value in allowed.items())


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


def _asset(name: str) -> str:
    return (files(__package__) / TEMPLATES / name).read_text(encoding="utf-8")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("connector_bench.report", TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["data_uri"] = _data_uri
    environment.filters["breakable"] = _breakable
    environment.globals["drawn"] = _drawn
    return environment


def _breakable(name: str) -> Markup:
    """The text, which may break behind each `_` and `/`: `accuracy_existence` is wider than a telephone's column."""
    return Markup("<wbr>").join(escape(part) for part in re.split(r"(?<=[_/])", name))


def _drawn(chart: Chart) -> dict[str, str]:
    return {theme.name: _data_uri(chart.svg(theme), "image/svg+xml") for theme in (LIGHT, DARK)}


def _data_uri(content: bytes, media_type: str) -> str:
    return f"data:{media_type};base64,{base64.b64encode(content).decode('ascii')}"
