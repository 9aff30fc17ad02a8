"""One HTML page of loss maps that needs no other file and no network, and can be sorted and searched."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from pathlib import Path

from connector_bench.reconstruction.store import write_atomically

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
"""The page may load nothing from anywhere."""


@dataclass(frozen=True)
class GalleryItem:
    """One picture of the page."""

    image_id: str
    png: bytes
    """The overlay, as `overlays.render` makes it."""
    loss: float
    """Mean loss over the picture's patches."""
    loss_inside: float = math.nan
    """NaN where there is no answer mask."""
    loss_outside: float = math.nan
    note: str = ""
    """A line of text, such as question and answer."""


COLUMNS = (
    ("loss", "loss"),
    ("inside", "inside the answer"),
    ("outside", "outside it"),
    ("ratio", "inside / outside"),
)

STYLE = """
:root { color-scheme: light dark; --edge: #8885; --soft: light-dark(#555, #aaa); }
body { font: 15px/1.45 system-ui, sans-serif; margin: 0 auto; max-width: 1240px; padding: 1rem; }
header { position: sticky; top: 0; background: Canvas; padding: .4rem 0 .6rem;
         border-bottom: 1px solid var(--edge); }
h1 { font-size: 1.25rem; margin: 0 0 .2rem; }
p { margin: .2rem 0; }
label { margin-right: 1rem; }
ol { list-style: none; margin: 1rem 0; padding: 0; display: grid; gap: 1rem;
     grid-template-columns: repeat(auto-fill, minmax(min(100%, 560px), 1fr)); }
li { border: 1px solid var(--edge); border-radius: 6px; padding: .6rem; overflow: hidden; }
li[hidden] { display: none; }
li img { width: 100%; height: auto; background: white; border-radius: 3px; }
li h2 { font-size: .95rem; margin: .3rem 0 .1rem; overflow-wrap: anywhere; }
li p { overflow-wrap: anywhere; }
.figures { color: var(--soft); font-variant-numeric: tabular-nums; }
"""

SCRIPT = """
const list = document.querySelector('ol'), items = [...list.children];
const by = document.querySelector('#by'), find = document.querySelector('#find');
const shown = document.querySelector('#shown');
function arrange() {
  const [key, way] = by.value.split(' '), words = find.value.toLowerCase();
  const number = item => item.dataset[key] === '' ? NaN : Number(item.dataset[key]);
  items.sort((a, b) => {
    if (key === 'name') return a.dataset.name < b.dataset.name ? -1 : a.dataset.name > b.dataset.name ? 1 : 0;
    const x = number(a), y = number(b);
    if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y);
    return way === 'up' ? x - y : y - x;
  });
  let count = 0;
  for (const item of items) {
    item.hidden = !item.textContent.toLowerCase().includes(words);
    count += !item.hidden;
    list.append(item);
  }
  shown.textContent = count;
}
by.addEventListener('change', arrange);
find.addEventListener('input', arrange);
arrange();
"""


def page(items: Iterable[GalleryItem], *, title: str, explanation: str = "") -> str:
    """The page's HTML, pictures inside; the highest loss comes first, also without scripts."""
    ordered = sorted(items, key=lambda item: (math.isnan(item.loss), -item.loss, item.image_id))
    choices = [
        f'<option value="{key} {way}">{escape(name)}, {word} first</option>'
        for key, name in COLUMNS
        for way, word in (("down", "highest"), ("up", "lowest"))
    ]
    cards = "\n".join(_card(item) for item in ordered)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<title>{escape(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<header>
<h1>{escape(title)}</h1>
<p>{escape(explanation)}</p>
<p><label>Sort by <select id="by">{"".join(choices)}<option value="name up">name</option></select></label>
<label>Find <input id="find" type="search"></label>
<span id="shown">{len(ordered)}</span> of {len(ordered)} pictures</p>
</header>
<ol>
{cards}
</ol>
<script>{SCRIPT}</script>
</body>
</html>
"""


def write_page(path: Path, items: Iterable[GalleryItem], *, title: str, explanation: str = "") -> None:
    """Write the page; it appears whole or not at all."""
    write_atomically(path, page(items, title=title, explanation=explanation).encode())


def _card(item: GalleryItem) -> str:
    ratio = item.loss_inside / item.loss_outside if item.loss_outside > 0 else math.nan
    values = {"loss": item.loss, "inside": item.loss_inside, "outside": item.loss_outside, "ratio": ratio}
    numbers = {key: "" if math.isnan(value) else f"{value:.6g}" for key, value in values.items()}
    data = " ".join(f'data-{key}="{number}"' for key, number in numbers.items())
    figures = " · ".join(f"{name} {values[key]:.3f}" for key, name in COLUMNS if not math.isnan(values[key]))
    name = escape(item.image_id)
    note = f"<p>{escape(item.note)}</p>" if item.note else ""
    picture = base64.b64encode(item.png).decode("ascii")
    return (
        f'<li data-name="{name}" {data}><img alt="loss map of {name}" src="data:image/png;base64,{picture}">'
        f'<h2>{name}</h2>{note}<p class="figures">{escape(figures)}</p></li>'
    )
