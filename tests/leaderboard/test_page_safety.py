"""Nothing that a submitter wrote runs, hides, or turns the page around; nothing is fetched."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from connector_bench.leaderboard.merge import merge
from connector_bench.leaderboard.page import ASSETS, LIBRARIES, _inline, page
from connector_bench.leaderboard.page_detail import PICTURE_BYTES, unmasked
from connector_bench.leaderboard.schema import StoredLossMap
from tests.browser import Browser
from tests.leaderboard.pages import RUNS, a_model, board, models, written
from tests.leaderboard.runs import answers, sha

HOSTILE = {
    "end of script": "</script><script>hacked = 1</script>",
    "comment": "<!--<script>",
    "image": "<img src=x onerror=hacked=1>",
    "attribute": "\"'><svg onload=hacked=1>",
    "template": "{{ 7 * 7 }}{% raw %}${hacked = 1}`",
    "formula": '=cmd|"/c calc"!A1',
    "link": "javascript:hacked=1",
    "line separators": "a\u2028b\u2029c\r\nd",
    "control characters": "a\x00b\x1b[31mc\x7f",
    "right to left": "evil\u202egnp.exe\u2066\u200f",
    "invisible": "a\u200bb\ufeffc\u00adde",
    "object property": "__proto__",
    "path": "../../etc/passwd",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_text_is_shown_as_it_is_written(browser: Browser, tmp_path: Path, text: str) -> None:
    run = a_model(text, 0.5, 0.5, family=text, connector=text, assumptions=(text,), modules=(text,))
    provenance = run.provenance.model_copy(update={"command": text, "revision": text, "hardware": text})
    tasks = {**run.tasks, text: answers(0.7)}
    run = run.model_copy(update={"provenance": provenance, "tasks": tasks})
    opened = browser.open(board(tmp_path, [run, *RUNS]))
    seen = opened.page
    assert unmasked(text) in [model.replace("\n", " ") for model in models(opened)]
    seen.locator("#head").get_by_role("button", name="connector", exact=True).click()
    seen.get_by_label("Search").fill(unmasked(text)[:4])
    seen.locator("th.model a", has_text=unmasked(text)).first.click()
    assert seen.locator("#detail h2").inner_text() == unmasked(text)
    assert seen.locator("#detail pre").first.inner_text() == unmasked(text)
    assert seen.evaluate("typeof hacked") == "undefined"
    assert seen.evaluate("document.images.length") == 0
    assert all(sign.isprintable() or sign in "\n\t" for sign in seen.locator("#detail").inner_text())
    assert (opened.errors, opened.requests) == ([], [])


def test_the_policy_of_the_page_lets_nothing_else_run_or_load(browser: Browser, tmp_path: Path) -> None:
    opened = browser.open(board(tmp_path))
    blocked = opened.page.evaluate(
        """async () => {
            const blocked = [];
            document.addEventListener('securitypolicyviolation', event => blocked.push(event.effectiveDirective));
            const script = document.createElement('script');
            script.textContent = 'hacked = 1';
            const image = new Image();
            image.src = 'https://example.org/beacon.png';
            const style = document.createElement('style');
            style.textContent = 'body { display: none }';
            document.body.append(script, image, style);
            await fetch('https://example.org/').catch(() => {});
            return new Promise(done => setTimeout(() => done(blocked)));
        }"""
    )
    assert set(blocked) == {"script-src-elem", "img-src", "style-src-elem", "connect-src"}
    assert opened.page.evaluate("typeof hacked") == "undefined"
    assert opened.page.locator("body").is_visible()
    assert opened.requests == []


def test_the_page_names_no_address_that_is_loaded(tmp_path: Path) -> None:
    text = board(tmp_path).read_text(encoding="utf-8")
    assert not re.search(r"<(?:script|link|img|iframe|object)[^>]+(?:src|href)=\"(?!data:)", text)
    assert "sourceMappingURL" not in text
    assert "unsafe" not in text[: text.index("<style>")]


def test_the_same_results_give_the_same_bytes(tmp_path: Path) -> None:
    assert page(merge(RUNS), tmp_path) == page(merge(RUNS[::-1]), tmp_path)


def test_the_embedded_figures_are_the_tables(tmp_path: Path) -> None:
    text = board(tmp_path).read_text(encoding="utf-8")
    embedded = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert embedded is not None
    data = json.loads(embedded[1])
    rows = {row["name"]: row for row in data["rows"]}
    names = [column["id"] for group in data["groups"] for column in group["columns"]]
    for row in merge(RUNS).rows:
        figures = rows[row.model]["figures"]
        shown = {name: figure for name, figure in zip(names, figures, strict=True) if figure}
        assert shown.keys() == {"/".join(key) for key in row.figures}
        for key, figure in row.figures.items():
            assert shown["/".join(key)][0] == pytest.approx(figure.value, rel=1e-5)


def test_a_small_picture_is_inlined_and_a_large_one_left_out(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    for name, size in (("small", 9), ("large", PICTURE_BYTES + 1)):
        (tmp_path / f"pictures/{sha(name)}.webp").write_bytes(b"RIFFsizeWEBP" + b"p" * size)
    maps = [
        StoredLossMap(
            image=sha(name), why=name, rows=1, columns=1, values=(0.5,), picture=f"pictures/{sha(name)}.webp"
        )
        for name in ("small", "large", "absent")
    ]
    table = merge(RUNS)
    row = table.rows[0]
    result = row.results["patch_reconstruction"].model_copy(update={"loss_maps": tuple(maps)})
    row = replace(row, results={**row.results, "patch_reconstruction": result})
    text = written(tmp_path, replace(table, rows=(row,))).read_text(encoding="utf-8")
    assert re.findall(r'"pictures/[0-9a-f]{64}[.]webp": ("[^"]*")', text) == [
        '"data:image/webp;base64,UklGRnNpemVXRUJQcHBwcHBwcHBw"'
    ]
    assert text.count("base64,") == 1


@pytest.mark.parametrize("library", LIBRARIES, ids=lambda library: library.name)
def test_a_vendored_library_is_the_released_file_with_its_licence(library) -> None:
    vendor = ASSETS / "vendor"
    content = (vendor / library.file).read_bytes()
    (line,) = (line for line in (vendor / "README.md").read_text().splitlines() if library.file in line)
    assert hashlib.sha256(content).hexdigest() in line
    assert library.version in line
    licence = re.search(r"`(LICENSE-[^`]+)`", line)
    assert licence is not None
    assert "Permission" in (vendor / licence[1]).read_text()


def test_every_vendored_file_is_used() -> None:
    scripts = {path.name for path in (ASSETS / "vendor").iterdir() if path.name.endswith(".js")}
    assert scripts == {library.file for library in LIBRARIES}


@pytest.mark.parametrize("text", ["x </SCRIPT>", "<!-- x"])
def test_an_asset_that_would_end_its_element_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="would end the element"):
        _inline(text, "script")
