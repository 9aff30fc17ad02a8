"""The page of a real run of lmms-eval, in a real browser."""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from connector_bench.report.four_sentences import QUESTIONS
from connector_bench.report.html_page import WITHIN_A_FIGURE
from tests.browser import Browser, Opened
from tests.harness import Outcome

if TYPE_CHECKING:
    from playwright.sync_api import Locator

BESIDE = ("correlation", "auroc", "calibration")
CHARTS = ("k-curve", "spread", "ladder", "learning", *BESIDE, *BESIDE, "inside-outside", "loss-scale")
FIRST_SCREEN = ("a picture with its loss map", "the scale of its colours")
TALLEST = 16_500
"""Pixels of the page on a telephone: a third of what it once was."""


def test_the_page_loads_nothing_and_says_nothing_on_the_console(page: Path, browser: Browser) -> None:
    opened = browser.open(page)
    assert (opened.errors, opened.requests) == ([], [])
    figures = opened.page.locator("figure").evaluate_all("all => all.map(one => one.id)")
    assert len(figures) == len(CHARTS)
    assert all(any(one.endswith(chart) for one in figures) for chart in CHARTS)
    images = opened.page.locator("img")
    assert images.count() == len(CHARTS) + 36 + len(FIRST_SCREEN)
    assert images.evaluate_all("all => all.every(one => one.complete && one.naturalWidth > 100)")
    assert all(images.evaluate_all("all => all.map(one => one.alt)"))
    assert opened.repeated_ids() == []


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_page_is_accessible(page: Path, dark: bool, browser: Browser) -> None:
    opened = browser.open(page, dark=dark)
    opened.page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    assert opened.violations() == []


def test_what_scrolls_can_be_reached_on_a_telephone(page: Path, browser: Browser) -> None:
    opened = browser.open(page, width=375)
    opened.page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    assert opened.violations() == []


def test_a_telephone_shows_every_section_whole_figures_and_legible_charts(
    page: Path, browser: Browser
) -> None:
    opened = browser.open(page, width=375)
    links = [link.bounding_box() for link in opened.page.locator("nav a").all()]
    assert all(box and box["x"] >= 0 and box["x"] + box["width"] <= 375 for box in links)
    everything(opened)
    scores = opened.page.locator("#section-task-scores td.number:nth-child(3)")
    assert scores.count()
    assert all(box["x"] + box["width"] <= 375 for box in (one.bounding_box() for one in scores.all()) if box)
    widths = opened.page.locator(".chart img").evaluate_all("all => all.map(one => one.clientWidth)")
    assert min(widths) >= 440


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_a_table_that_goes_on_says_so(page: Path, dark: bool, browser: Browser) -> None:
    """A shadow on the side that hides something, none at the end."""
    opened = browser.open(page, width=375, dark=dark)
    everything(opened)
    table = opened.page.locator("[id$=-pairs] .scroll").first
    assert table.evaluate("one => one.scrollWidth - one.clientWidth") > 50
    before = sides(table)
    table.evaluate("one => { one.scrollLeft = one.scrollWidth; }")
    after = sides(table)
    assert [np.ptp(side) > 40 for side in before] == [False, True]
    assert [np.ptp(side) > 40 for side in after] == [True, False]


def sides(scroller: Locator) -> list[np.ndarray]:
    """Grey values along the left and the right edge, most of which are paper or its shadow."""
    grey = np.asarray(Image.open(BytesIO(scroller.screenshot())).convert("L")).astype(int)
    row = np.median(grey, axis=0)
    return [row[:30], row[-30:]]


def test_the_page_fits_a_telephone(page: Path, browser: Browser) -> None:
    opened = browser.open(page, width=375)
    assert opened.page.evaluate("document.documentElement.scrollWidth") == 375
    assert opened.page.evaluate("document.documentElement.scrollHeight") < TALLEST


def test_the_first_screen_answers_four_questions_beside_one_loss_map(page: Path, browser: Browser) -> None:
    opened = browser.open(page)
    asked = opened.page.locator(".sentences dt")
    assert asked.all_text_contents() == list(QUESTIONS)
    assert all(box["y"] < 900 for box in (one.bounding_box() for one in asked.all()) if box)
    assert "±" in opened.page.locator(".sentences dd").first.text_content()
    shown = opened.page.locator(".typical img")
    assert shown.count() == len(FIRST_SCREEN)
    box = shown.first.bounding_box()
    assert box["y"] + box["height"] < 900
    key = opened.page.locator(".typical p")
    assert "White frames: its ten patches of highest loss, 1 the worst. Outlines:" in key.text_content()
    below = opened.page.locator("#section-summary > :not(h2)").nth(1).bounding_box()
    assert below["y"] < 850, "what follows, warnings where there are some, begins on the first screen"


def test_captions_say_what_of_a_chart_is_measured_and_what_is_hidden(page: Path, browser: Browser) -> None:
    opened = browser.open(page)
    for chart, said in (
        ("knn_of_scenes-k-curve", "line is measured at every k, marks with bars are at some"),
        ("patches-ladder", "a bar shorter than its mark is hidden by it"),
    ):
        assert said in opened.page.locator(f"#{chart} figcaption").text_content()


def test_no_line_ends_within_a_figure() -> None:
    torn = "loses ≤ 0.376 ±.004, 0.701 +.030 −.011, ≥ −0.1; a ≤ b, from 3 − 2"
    mended = "loses ≤_0.376_±.004, 0.701_+.030_−.011, ≥_−0.1; a ≤ b, from 3 − 2"
    assert WITHIN_A_FIGURE.sub("_", torn) == mended


def test_a_loss_map_has_no_paper_behind_it_and_one_scale(page: Path) -> None:
    """Between picture and map the page is seen, light or dark."""
    first = next((page.parent / "png").glob("loss-map-*.png"))
    with Image.open(first) as one:
        middle = one.convert("RGBA").getpixel((one.width // 2, one.height // 2))
    assert middle[3] == 0
    assert (page.parent / "png" / "loss-scale.png").is_file()


def everything(opened: Opened) -> None:
    """All pictures, and what is folded."""
    opened.page.get_by_role("button", name="Show all").click()
    opened.page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")


def test_charts_follow_the_readers_colours(page: Path, browser: Browser) -> None:
    shown = [
        browser.open(page, dark=dark).page.locator("figure img").first.evaluate("one => one.currentSrc")
        for dark in (False, True)
    ]
    assert shown[0] != shown[1]


def column(opened: Opened, table: str, number: int) -> list[str]:
    found = opened.page.locator(f"#{table} tbody tr > :nth-child({number})").all_text_contents()
    return [text.strip() for text in found]


def value(text: str) -> float:
    return float(text.partition("\N{NO-BREAK SPACE}±")[0])


def test_tables_are_sorted_by_numbers_and_by_names(page: Path, browser: Browser) -> None:
    opened = browser.open(page)
    table = opened.page.locator("#section-task-scores")
    table.get_by_role("button", name="± 95 %").click()
    rising = [value(text) for text in column(opened, "section-task-scores", 3)]
    assert rising == sorted(rising)
    assert len(set(rising)) > 2
    assert table.locator("th[aria-sort]").get_attribute("aria-sort") == "ascending"
    opened.page.keyboard.press("Enter")
    assert [value(text) for text in column(opened, "section-task-scores", 3)] == rising[::-1]
    table.get_by_role("button", name="metric").click()
    names = column(opened, "section-task-scores", 2)
    assert names == sorted(names)
    assert opened.errors == []


def test_a_metric_of_one_kind_of_question_counts_its_own_documents(page: Path, browser: Browser) -> None:
    opened = browser.open(page)
    names, counts = (column(opened, "section-task-scores", place) for place in (2, 5))
    asked = {name: int(count.replace(",", "")) for name, count in zip(names, counts, strict=True)}
    kinds = [count for name, count in asked.items() if name.startswith("accuracy_")]
    assert len(kinds) > 2
    assert sum(kinds) == asked["accuracy"]


def shown_cards(opened: Opened) -> list[str]:
    return opened.page.locator(".card:visible").all_text_contents()


def test_images_are_sorted_filtered_and_found(page: Path, browser: Browser) -> None:
    opened = browser.open(page)
    tools = opened.page.locator(".tools")
    assert len(shown_cards(opened)) == 6
    assert tools.locator("output").text_content() == "6 of 36 pictures"
    everything(opened)
    shown = shown_cards(opened)
    losses = opened.page.locator(".card").evaluate_all("all => all.map(one => Number(one.dataset.loss))")
    assert losses == sorted(losses, reverse=True)
    tools.locator("[name=sort]").select_option("neighbours kept, highest first")
    overlaps = opened.page.locator(".card").evaluate_all("all => all.map(one => Number(one.dataset.overlap))")
    assert overlaps == sorted(overlaps, reverse=True)
    tools.locator("[name=group]").select_option("least lossy")
    least = shown_cards(opened)
    assert 0 < len(least) < len(shown)
    assert tools.locator("output").text_content() == f"{len(least)} of {len(shown)} pictures"
    tools.locator("[name=group]").select_option("all")
    tools.locator("[name=outcome]").select_option("some wrong")
    wrong = shown_cards(opened)
    assert 0 < len(wrong) < len(shown)
    assert all("wrong" in text for text in wrong)
    tools.locator("[name=outcome]").select_option("all")
    tools.locator("[name=find]").fill("HOW MANY")
    assert shown_cards(opened)
    tools.locator("[name=find]").fill("no such thing")
    assert shown_cards(opened) == []
    assert opened.errors == []


def test_what_is_folded_is_printed(page: Path, browser: Browser) -> None:
    opened = browser.open(page)
    assert opened.page.locator("details:not([open])").count() > 0
    opened.page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert opened.page.locator("details:not([open])").count() == 0
    assert len(shown_cards(opened)) == 36
    assert opened.errors == []


def test_answers_are_those_of_the_run(page: Path, run: Outcome, browser: Browser) -> None:
    asked = {row["input"].splitlines()[0]: row for row in run.samples("scenes_vqa")}
    opened = browser.open(page)
    for item in opened.page.locator(".questions > li").all()[:20]:
        question = item.locator(".asked").text_content().split(maxsplit=1)[1].strip()
        answer, expected = item.locator("q").all_text_contents()
        known = [row for row in run.samples("scenes_vqa") if row["input"].startswith(question + "\n")]
        assert (answer, expected) in {(row["filtered_resps"], row["target"]) for row in known}
        assert item.locator(".outcome").text_content() in {
            ("wrong", "right")[int(row["accuracy"])] for row in known
        }
    assert asked


def test_pictures_are_those_of_the_selection(page: Path, run: Outcome, browser: Browser) -> None:
    folder = run.folder / run.record("patches")["artefacts"]
    selection = json.loads((folder / "selection.json").read_text())
    opened = browser.open(page)
    shown = {
        card.locator("h3").text_content(): card.locator(".why").text_content()
        for card in opened.page.locator(".card").all()
    }
    reasons = {"most lossy": "most lossy", "least lossy": "least lossy", "spread": "evenly spread"}
    assert shown == {f"image {one['image'][:12]}": reasons[one["why"]] for one in selection}
    lost = {row["image"]: row["lost"] for row in run.samples("patches") if "lost" in row}
    worst = max(lost, key=lambda image: lost[image])
    assert opened.page.locator(".card h3").first.text_content() == f"image {worst[:12]}"
