import re
from html.parser import HTMLParser
from io import BytesIO

import numpy as np
import torch
from PIL import Image

from connector_bench.reconstruction.loss_gallery import GalleryItem, page, write_page
from connector_bench.reconstruction.lossmaps import LossMap
from connector_bench.reconstruction.overlays import _layers, render
from connector_bench.types import Tile, TokenLayout

WHOLE = TokenLayout((Tile((6, 8), (6, 8)),), 48)
TILED = TokenLayout(
    (
        Tile((4, 4), None),
        *(Tile((4, 4), None, (x, y, x + 0.5, y + 0.5)) for y in (0.0, 0.5) for x in (0.0, 0.5)),
    ),
    20,
)


def loss_map(layout: TokenLayout = WHOLE, hot: int = 13) -> LossMap:
    loss = torch.full((layout.n_pre,), 0.1)
    loss[hot] = 1.0
    return LossMap("image", layout, loss, torch.zeros_like(loss), torch.zeros_like(loss))


def picture(width: int = 320, height: int = 240) -> Image.Image:
    return Image.new("RGB", (width, height), (90, 120, 90))


def test_an_overlay_is_a_png_that_is_the_same_every_time() -> None:
    mask = np.zeros((240, 320), dtype=bool)
    mask[60:120, 80:200] = True
    first = render(picture(), loss_map(), mask=mask, title="a $title$ with signs")
    assert first == render(picture(), loss_map(), mask=mask, title="a $title$ with signs")
    assert Image.open(BytesIO(first)).format == "PNG"


def test_the_hot_patch_is_hot_where_it_lies() -> None:
    """Patch 13 of 6 x 8 is in row 1, column 5."""
    plain = np.asarray(Image.open(BytesIO(render(picture(), loss_map(hot=0)))).convert("RGB")).astype(int)
    hot = np.asarray(Image.open(BytesIO(render(picture(), loss_map(hot=13)))).convert("RGB")).astype(int)
    changed = np.abs(hot - plain).sum(2) > 150
    panel = changed[:, changed.shape[1] // 2 :]
    assert panel.any()
    assert not changed[:, : changed.shape[1] // 3].any()


def test_tiles_that_overlap_get_panels_of_their_own() -> None:
    layers = _layers(loss_map(TILED))
    assert [len(layer) for layer in layers] == [1, 4]
    assert Image.open(BytesIO(render(picture(), loss_map(TILED)))).width > 1000


def test_odd_pictures_are_drawn_too() -> None:
    one = TokenLayout((Tile((1, 1), None),), 1)
    for size in ((1, 1), (900, 30), (30, 900)):
        assert render(picture(*size), loss_map(one, hot=0)).startswith(b"\x89PNG")
    full = np.ones((5, 5), dtype=bool)
    assert render(picture(), loss_map(), mask=full)
    assert render(picture(), loss_map(), mask=~full, highest=2.0)


NASTY = '<script>alert("1")</script>" onload=\'x\' & é.jpg'


def items() -> list[GalleryItem]:
    png = render(picture(), loss_map())
    return [
        GalleryItem("low", png, 0.1),
        GalleryItem(NASTY, png, 0.5, 0.9, 0.3, note="<b>what?</b>"),
        GalleryItem("high", png, 0.9, 0.8, 0.95),
    ]


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_the_page_is_sorted_escaped_and_needs_nothing_from_outside() -> None:
    html = page(items(), title="Loss <maps>", explanation="a & b")
    reader = _Reader()
    reader.feed(html)
    cards = [values for tag, values in reader.tags if tag == "li"]
    assert [card["data-name"] for card in cards] == ["high", NASTY, "low"]
    assert cards[2]["data-inside"] == ""
    assert [tag for tag, _ in reader.tags].count("script") == 1
    assert "b" not in [tag for tag, _ in reader.tags]
    sources = [value for _, values in reader.tags for key, value in values.items() if key in ("src", "href")]
    assert all(value is not None and value.startswith("data:image/png;base64,") for value in sources)
    assert not re.search(r"https?://|url\(|@import", html)
    assert "default-src 'none'" in html


def test_the_page_is_written_whole(tmp_path) -> None:
    write_page(tmp_path / "gallery.html", items(), title="t")
    assert (tmp_path / "gallery.html").read_text().endswith("</html>\n")
    assert "0 of 0 pictures" in re.sub("<[^>]*>", "", page([], title="t"))
