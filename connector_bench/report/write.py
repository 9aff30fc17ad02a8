"""Puts a report on disk: the page, and its figures as PNG."""

from __future__ import annotations

from pathlib import Path

from connector_bench.report.assemble import Report
from connector_bench.report.page import html


def write_page(path: Path, report: Report) -> None:
    """Write the page; a page that stood there before stays until the new one is whole."""
    _replace(path, html(report).encode())


def write_figures(folder: Path, report: Report) -> list[Path]:
    """Write every chart as `<name>.png` and say where."""
    paths = {chart.name: folder / f"{chart.name}.png" for chart in report.charts}
    for chart in report.charts:
        _replace(paths[chart.name], chart.png())
    return list(paths.values())


def _replace(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.unfinished")
    unfinished.write_bytes(content)
    unfinished.replace(path)
