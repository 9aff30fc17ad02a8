"""What a reader sees who opens the page for the first time: nothing left out, cut off or said in the code's names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser import Browser
from tests.leaderboard.pages import ZOO, Open, board, opener
from tests.leaderboard.runs import answers

expect = pytest.importorskip("playwright.sync_api").expect


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    first = ZOO[0].model_copy(update={"tasks": {**ZOO[0].tasks, "more": answers(0.25)}})
    return board(tmp_path_factory.mktemp("zoo"), [first, *ZOO[1:]])


@pytest.fixture
def view(browser: Browser, index: Path) -> Iterator[Open]:
    yield from opener(browser, index)


def test_a_figure_that_some_seeds_lack_says_of_how_many_it_is(view: Open) -> None:
    page = view("open=*&sort=more/accuracy&pair=connector_zoo/mlp&pair=connector_zoo/rank2").page
    cells = page.locator("tbody.competitor td.figure").filter(has_text="0.250")
    assert cells.all_inner_texts() == ["0.250\n1 of 3 seeds", "0.250"], "the connector, then its seed"
    page.get_by_role("button", name="Copy as Markdown").click()
    assert "| 0.250 (1 of 3 seeds) |" in page.locator("#taken-text").input_value()
    page.get_by_role("dialog").get_by_role("button", name="Close").click()
    page.get_by_role("link", name="mlp", exact=True).first.click()
    group = page.get_by_role("dialog").get_by_role("rowgroup").filter(has_text="Tasks: more")
    cells = group.get_by_role("row", name="accuracy").locator("td")
    assert cells.all_inner_texts()[:2] == ["0.250\n1 of 3 seeds", "0.250 – –"]
