"""Puts a report on disk: the page, and its figures as PNG."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

from PIL import Image

from connector_bench.atomic_files import write_atomically
from connector_bench.report.assemble import Report
from connector_bench.report.gallery_values import Picture
from connector_bench.report.html_page import html


def write_page(path: Path, report: Report) -> None:
    """Write the page; a page that stood there before stays until the new one is whole."""
    _written(path, html(report).encode())


def write_figures(folder: Path, report: Report) -> list[Path]:
    """Write every chart as `<name>.png`, every loss map as `loss-map-<image>.png`, and say where."""
    pngs = {chart.name: chart.png() for chart in report.charts}
    pngs |= {f"loss-map-{card.image[:12]}": _png(card.picture) for card in report.cards if card.picture}
    for name, content in pngs.items():
        _written(folder / f"{name}.png", content)
    return [folder / f"{name}.png" for name in pngs]


def _png(picture: Picture) -> bytes:
    buffer = BytesIO()
    Image.open(BytesIO(picture.webp)).save(buffer, "PNG")
    return buffer.getvalue()


def _written(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, content)
