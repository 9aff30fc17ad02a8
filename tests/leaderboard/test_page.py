"""What a reader does with the page, in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from connector_bench.leaderboard.merge import merge
from tests.browser import Browser, Opened
from tests.leaderboard.pages import RUNS, Open, board, models, opener, written

expect = pytest.importorskip("playwright.sync_api").expect
ALL = ["lab/alpha", "lab/beta", "lab/gamma", "other/delta"]


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return board(tmp_path_factory.mktemp("board"))


@pytest.fixture
def view(browser: Browser, index: Path) -> Iterator[Open]:
    yield from opener(browser, index)


def sort_button(opened: Opened, label: str):
    return opened.page.locator("#head").get_by_role("button", name=label, exact=True)


def test_the_best_of_the_first_ranking_stands_first(view: Open) -> None:
    opened = view()
    assert models(opened) == ALL
    assert opened.page.locator("tbody.competitor .rank").all_inner_texts() == ["1", "2", "3", "4"]
    expect(opened.page.locator("th[data-column='patch_reconstruction/lost']")).to_have_attribute(
        "aria-sort", "ascending"
    )
    expect(opened.page.locator("th.rank")).to_have_text("rankby lost")


def test_what_is_a_bound_reads_so_in_table_and_details(view: Open) -> None:
    opened = view()
    row = opened.page.locator("#table tbody.competitor tr").first
    expect(row).to_contain_text("≤ 0.100")
    row.locator("th.model a, th.model button").first.click()
    details = opened.page.locator("dialog, #detail").first
    expect(details).to_contain_text("≥ 0.900")
    expect(details).not_to_contain_text("≥ 0.250")


def test_a_head_sorts_best_first_then_the_other_way_and_the_missing_stay_last(view: Open) -> None:
    opened = view()
    sort_button(opened, "accuracy").click()
    assert models(opened) == ["lab/beta", "lab/alpha", "other/delta", "lab/gamma"]
    sort_button(opened, "accuracy").click()
    assert models(opened) == ["other/delta", "lab/alpha", "lab/beta", "lab/gamma"]
    sort_button(opened, "lost").click()
    assert models(opened) == ALL, "less is better here"
    sort_button(opened, "parameters").click()
    assert models(opened) == ["other/delta", "lab/alpha", "lab/gamma", "lab/beta"]


def test_the_keyboard_sorts_and_keeps_its_place(view: Open) -> None:
    opened = view()
    sort_button(opened, "connector").focus()
    for order in (ALL, ALL[::-1]):
        opened.page.keyboard.press("Enter")
        assert models(opened) == order
        expect(sort_button(opened, "connector")).to_be_focused()


def test_search_and_filters_narrow_together(view: Open) -> None:
    opened = view()
    page = opened.page
    page.get_by_label("Search").fill("LAB mlp")
    assert models(opened) == ["lab/alpha"]
    expect(page.get_by_role("status").first).to_have_text("1 of 4 connectors")
    page.get_by_label("Search").fill("")
    page.locator("summary", has_text="Filters").click()
    page.get_by_role("checkbox", name="mlp 2").check()
    assert models(opened) == ["lab/alpha", "other/delta"]
    page.get_by_label("parameters from").select_option("1M")
    assert models(opened) == ["lab/alpha"]
    page.get_by_role("checkbox", name="idefics2").check()
    expect(page.get_by_text("No model passes these filters.")).to_be_visible()
    page.get_by_role("button", name="Reset view").click()
    assert models(opened) == ALL


def test_references_and_controls_are_set_apart_and_have_no_rank(view: Open) -> None:
    opened = view()
    assert models(opened, "reference") == ["untrained_mlp"]
    assert "same architecture, untrained" in models(opened, "control")
    assert "".join(opened.page.locator("tbody:not(.competitor) .rank").all_inner_texts()) == ""
    opened.page.get_by_role("checkbox", name="references").uncheck()
    expect(opened.page.locator("tbody")).to_have_count(2)  # the models, and the published figures
    assert models(opened) == ALL


def test_published_figures_are_in_a_table_of_their_own(view: Open) -> None:
    opened = view()
    published = opened.page.get_by_role("region", name="Table of published figures")
    expect(published.get_by_role("row", name="llava-1.5-7b").first).to_be_visible()
    assert "llava-1.5-7b" not in opened.page.locator("#table").inner_text()
    expect(opened.page.get_by_role("heading", name="Published figures, another protocol")).to_be_visible()


def test_columns_are_chosen(view: Open) -> None:
    opened = view()
    heads = opened.page.locator("#head")
    opened.page.locator("summary", has_text="Columns").click()
    opened.page.get_by_role("checkbox", name="R² of the best probe", exact=True).check()
    expect(heads.get_by_role("button", name="R² of the best probe", exact=True)).to_be_visible()
    opened.page.get_by_role("checkbox", name="accuracy", exact=True).uncheck()
    expect(sort_button(opened, "accuracy")).to_have_count(0)
    assert "show=patch_reconstruction%2Fr2_best&hide=vqa%2Faccuracy" in opened.page.url
    assert "preset" not in opened.page.url


def test_a_permalink_gives_the_same_view(view: Open) -> None:
    opened = view()
    page = opened.page
    page.get_by_label("Search").fill("lab")
    sort_button(opened, "parameters").click()
    page.locator("summary", has_text="Columns").click()
    page.get_by_role("checkbox", name="R² of the best probe", exact=True).check()
    page.get_by_label("Horizontal").select_option("knn_preservation/knor_adj_10")
    page.get_by_role("link", name="lab/beta").first.click()
    expect(page.get_by_role("dialog")).to_be_visible()
    again = view(page.url.split("#")[1])
    for part in ("#table", "#detail", "#plot", "#count"):
        expect(again.page.locator(part)).to_have_text(page.locator(part).text_content() or "-")
    assert again.page.get_by_label("Search").input_value() == "lab"
    assert again.page.get_by_label("Horizontal").input_value() == "knn_preservation/knor_adj_10"
    assert again.page.url == page.url


@pytest.mark.parametrize(
    "fragment",
    [
        "sort=-nothing&family=nobody&atleast=x&page=-7&preset=none&where=lost<=&where=<=3&pair=nobody&open=x",
        "row=<img src=x>&x=..&y=%00",
        "%%%&=&sort&show=__proto__",
    ],
)
def test_a_broken_permalink_shows_a_page(view: Open, fragment: str) -> None:
    expect(view(fragment).page.locator("#table tbody.competitor tr").first).to_be_visible()


def test_details_hold_everything_and_close_where_they_were_opened(view: Open) -> None:
    opened = view()
    page = opened.page
    link = page.get_by_role("link", name="lab/alpha").first
    link.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="lab/alpha")
    for text in (
        "21,000,000",
        sha_of("lab/alpha"),
        "more data still helps",
        "lmms-eval --model llava_hf --tasks t",
    ):
        expect(dialog).to_contain_text(text)
    row = dialog.get_by_role("row", name="R² linear")
    assert row.locator("td").all_inner_texts() == ["0.900 ±.100", "", "0.250"]
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(link).to_be_focused()
    assert "row=" not in page.url


def sha_of(name: str) -> str:
    (run,) = (run for run in RUNS if run.model == name)
    assert run.connector is not None
    return run.connector.weights_sha256


def test_the_browsers_way_back_closes_the_details(view: Open) -> None:
    page = view().page
    page.get_by_role("link", name="lab/alpha").first.click()
    expect(page.get_by_role("dialog")).to_be_visible()
    page.go_back()
    expect(page.get_by_role("dialog")).to_be_hidden()


def test_a_loss_map_has_a_cell_a_patch_brighter_where_more_is_lost(view: Open) -> None:
    page = view("row=lab/alpha").page
    canvas = page.get_by_role("img", name="error of 2 by 3 patches, the same picture for every model")
    pixels = canvas.evaluate("c => [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]")
    brightness = [sum(pixels[cell : cell + 3]) for cell in range(0, len(pixels), 4)]
    assert len(brightness) == 6
    assert brightness == sorted(brightness)
    assert brightness[0] < brightness[-1]


def test_the_scatter_has_a_point_a_model_that_leads_to_it(view: Open) -> None:
    page = view().page
    points = page.locator("#plot a")
    expect(points).to_have_count(4)  # three models and a reference; gamma has no accuracy
    expect(page.locator("#plot-note")).to_have_text(
        "4 connectors; 1 without one of the two figures left out."
    )
    page.get_by_label("Horizontal").select_option("knn_preservation/knor_adj_10")
    beta = page.locator("#plot a [aria-label^='lab/beta']")
    expect(beta).to_have_attribute(
        "aria-label", "lab/beta\nkept beyond chance, k = 10: 0.600 ±.020\naccuracy: 0.800"
    )
    beta.hover()
    expect(page.locator("#plot svg").filter(has_text="accuracy: 0.800")).to_have_count(1)
    beta.click()
    expect(page.get_by_role("dialog", name="lab/beta")).to_be_visible()
    assert "x=knn_preservation" in page.url


def test_points_lie_where_their_figures_are(view: Open) -> None:
    page = view("x=knn_preservation/knor_adj_10").page
    at = {}
    for model in ("lab/alpha", "lab/beta", "other/delta"):
        box = page.locator(f"#plot a [aria-label^='{model}']").bounding_box()
        assert box is not None
        at[model] = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert at["other/delta"][0] < at["lab/beta"][0] < at["lab/alpha"][0]
    assert at["lab/beta"][1] < at["lab/alpha"][1] < at["other/delta"][1]
    share = (at["lab/beta"][0] - at["other/delta"][0]) / (at["lab/alpha"][0] - at["other/delta"][0])
    assert share == pytest.approx((0.6 - 0.1) / (0.9 - 0.1), abs=0.02)


SCROLLING = """[...document.querySelectorAll('body *')].filter(
    element => element.scrollWidth > element.clientWidth + 1 && getComputedStyle(element).overflowX === 'auto')"""
VIEWS = {
    "table": "",
    "details": "row=lab/alpha",
    "nothing found": "q=nothing",
    "compared": "pair=lab/alpha&pair=lab/beta&where=patch_reconstruction/lost<=0.9&preset=everything",
}


@pytest.mark.parametrize("width", [1280, 375])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("fragment", VIEWS.values(), ids=VIEWS)
def test_axe_finds_nothing_and_only_tables_scroll_sideways(
    view: Open, fragment: str, dark: bool, width: int
) -> None:
    opened = view(fragment, width=width, dark=dark)
    expect(opened.page.locator("#plot svg").first).to_be_attached()
    assert opened.violations() == []
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
    assert opened.page.evaluate(f"{SCROLLING}.every(element => element.matches('.scroll'))")


@pytest.mark.parametrize("menu", ["Filters", "Columns"])
def test_an_open_menu_is_within_the_page_and_closes_with_escape(view: Open, menu: str) -> None:
    opened = view(width=375)
    summary = opened.page.locator("summary", has_text=menu)
    summary.click()
    assert opened.violations() == []
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= 375
    opened.page.keyboard.press("Escape")
    expect(opened.page.locator("details[open]")).to_have_count(0)
    expect(summary).to_be_focused()


def test_colours_can_be_chosen(view: Open) -> None:
    page = view().page
    background = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(background)
    page.get_by_role("button", name="Colours: auto").click()
    assert page.evaluate(background) != light
    page.get_by_role("button", name="Colours: dark").click()
    assert page.evaluate(background) == light


def test_of_two_thousand_rows_one_page_is_drawn(browser: Browser, tmp_path: Path) -> None:
    table = merge(RUNS)
    row, *_ = table.competitors
    many = [replace(row, model=f"lab/model-{number}") for number in range(2000)]
    opened = browser.open(written(tmp_path, replace(table, rows=(*many, *table.references))))
    rows = opened.page.locator("#table tr")
    assert opened.page.locator("tbody.competitor tr").count() == 50
    opened.page.get_by_role("button", name="next").click()
    expect(opened.page.locator("#page")).to_have_text("page 2 of 40")
    sort_button(opened, "connector").click()
    assert models(opened)[0] == "lab/model-0"
    opened.page.get_by_label("Show").select_option("everything")
    opened.page.get_by_label("compare lab/model-7", exact=True).check()
    assert rows.count() < 100
    opened.page.get_by_label("Search").fill("model-1999")
    assert models(opened) == ["lab/model-1999"]
    expect(opened.page.locator("#plot a")).to_have_count(1)
    assert (opened.errors, opened.requests) == ([], [])
