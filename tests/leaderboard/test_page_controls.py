"""Each control of the page: presets, the list of columns, definitions, filters, seeds, pairs, scatter, downloads."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from connector_bench.leaderboard.board_entries import entries_of
from connector_bench.leaderboard.board_pairs import paired_differences
from connector_bench.leaderboard.data_files import csv_file
from connector_bench.leaderboard.merge import merge
from connector_bench.leaderboard.page import ASSETS
from connector_bench.number_style import difference, number, signed, with_interval
from tests.browser import Browser
from tests.leaderboard.pages import ZOO, Open, a_model, board, models, opener

expect = pytest.importorskip("playwright.sync_api").expect
TABLE = merge(ZOO)
LOST = "patch_reconstruction/lost"


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return board(tmp_path_factory.mktemp("zoo"), ZOO)


@pytest.fixture
def view(browser: Browser, index: Path) -> Iterator[Open]:
    yield from opener(browser, index)


def heads(page) -> list[str]:
    return page.locator("#head th.figure .sort").all_inner_texts()


def test_a_row_is_a_connector_with_its_seeds_inside(view: Open) -> None:
    opened = view()
    page = opened.page
    assert models(opened) == ["mlp", "rank2"]
    page.get_by_role("button", name="3 seeds of mlp").press("Enter")
    assert models(opened) == ["mlp", "seed 0", "seed 1", "seed 2", "rank2"]
    expect(page.get_by_role("button", name="3 seeds of mlp")).to_be_focused()
    page.get_by_role("button", name="Close seeds").click()
    page.get_by_role("button", name="Open seeds").click()
    assert len(models(opened)) == 8
    page.get_by_role("link", name="seed 1").first.click()
    dialog = page.get_by_role("dialog", name="connector_zoo/mlp-seed1")
    expect(dialog).to_contain_text("one seed of mlp")


def test_a_connector_is_the_mean_of_its_seeds_over_images_and_seeds(view: Open) -> None:
    (entry,) = (one for one in entries_of(TABLE) if one.name == "connector_zoo/mlp")
    figure = entry.figures[("knn_preservation", "trustworthiness")]
    cells = view().page.locator("tbody.competitor tr").first.locator("td.figure").all_inner_texts()
    assert cells[heads(view().page).index("trustworthiness")] == with_interval(
        figure.value, figure.low, figure.high
    )
    assert figure.value == pytest.approx(0.705)


def test_presets_and_what_is_chosen_beside_them(view: Open) -> None:
    page = view().page
    usual = heads(page)
    assert len(usual) <= 6
    assert {"trustworthiness", "kept, k = 10", "untrained: kept, k = 10", "lost", "accuracy"} == set(usual)
    page.get_by_label("Show").select_option("patches")
    assert "R² linear" in heads(page)
    assert "accuracy" not in heads(page)
    page.get_by_label("Show").select_option("everything")
    assert len(heads(page)) == len(TABLE.columns)
    assert "preset=everything" in page.url
    page.get_by_role("button", name="Reset view").click()
    assert heads(page) == usual


def test_a_column_is_found_by_its_meaning(view: Open) -> None:
    page = view().page
    page.locator("summary", has_text="Columns").click()
    page.get_by_label("Find a column").fill("linear probe rebuilds")
    boxes = page.locator("#columns label:visible")
    assert boxes.all_inner_texts() == [" R² linear", " untrained: R² linear"]
    expect(page.locator("#found-columns")).to_have_text(f"2 of {len(TABLE.columns)}")
    boxes.first.get_by_role("checkbox").check()
    assert "R² linear" in heads(page)
    page.get_by_label("Find a column").fill("nothing like it")
    expect(boxes).to_have_count(0)


def test_a_head_says_what_its_figures_are(view: Open) -> None:
    page = view().page
    page.get_by_role("button", name="what is lost?").press("Enter")
    said = page.get_by_role("dialog", name="lost")
    for text in ("to every probe tried", "lower is better", "patch_reconstruction"):
        expect(said).to_contain_text(text)
    page.keyboard.press("Escape")
    expect(said).to_be_hidden()
    page.get_by_role("button", name="what is kept, k = 10?").first.press("Enter")
    expect(page.locator("#definition")).to_contain_text("higher where more is kept or found")
    page.keyboard.press("Escape")
    page.get_by_role("link", name="mlp").first.click()
    expect(
        page.get_by_role("dialog").get_by_role("columnheader", name="same architecture, untrained")
    ).to_be_visible()
    page.get_by_role("dialog").get_by_role("button", name="what is lost?").click()
    expect(page.locator("#definition")).to_be_focused()


def test_filters_of_figures_keep_the_references_of_what_they_keep(view: Open) -> None:
    opened = view()
    page = opened.page
    assert models(opened, "reference") == ["identity", "untrained_mlp", "untrained_rank2"]
    page.locator("summary", has_text="Filters").click()
    page.get_by_label("figure to filter by").select_option(LOST)
    page.get_by_label("limit").fill("0.7")
    page.get_by_role("button", name="Add filter").click()
    assert models(opened) == ["mlp"]
    assert models(opened, "reference") == ["identity", "untrained_mlp"], (
        "untrained_mlp loses .3 and would stay"
    )
    assert "same architecture, untrained" in models(opened, "control")
    page.get_by_label("at least or at most").select_option(">=")
    page.get_by_label("figure to filter by").select_option("vqa/accuracy")
    page.get_by_label("limit").fill("0.9")
    page.keyboard.press("Enter")
    expect(page.get_by_text("No model passes these filters.")).to_be_visible()
    page.get_by_role("button", name="remove filter accuracy (vqa) ≥ 0.900").click()
    page.get_by_role("button", name="remove filter lost (patch_reconstruction) ≤ 0.700").click()
    assert models(opened) == ["mlp", "rank2"]


def test_two_ticked_rows_are_compared_over_the_same_images(view: Open) -> None:
    page = view().page
    page.get_by_label("compare mlp", exact=True).check()
    page.get_by_label("compare rank2", exact=True).press("Space")
    expect(page.get_by_label("compare rank2", exact=True)).to_be_focused()
    panel = page.get_by_role("region", name="mlp less rank2")
    expected = {
        (pair.column.task, pair.column.label): difference(
            pair.value, pair.value - pair.half, pair.value + pair.half
        )
        for pair in paired_differences(TABLE, entries_of(TABLE))
        if (pair.first, pair.second) == (0, 1)
    }
    assert {label for _, label in expected} == {"kept, k = 10", "kept beyond chance, k = 10"}, (
        "lost of four images has no interval"
    )
    for (task, label), text in expected.items():
        cells = panel.get_by_role("row", name=re.compile(f"^{label}")).filter(has_text=task).locator("td")
        assert cells.all_inner_texts()[::3] == [text, "paired"]
    near = panel.get_by_role("row", name="trustworthiness").locator("td").all_inner_texts()
    assert near[3] == "not paired"
    assert near[0].startswith("+0.150 ±")
    expect(panel.locator("p")).to_contain_text("mlp beside rank2: lost ")
    page.get_by_label("compare identity", exact=True).check()
    expect(page.get_by_role("region", name="rank2 less identity")).to_be_visible()
    expect(page.get_by_label("compare mlp", exact=True)).not_to_be_checked()
    page.get_by_role("button", name="Stop comparing").click()
    expect(page.locator("#pair")).to_be_hidden()


def test_a_pair_reads_the_other_way_round_with_the_other_sign(view: Open) -> None:
    one = view("pair=connector_zoo/mlp&pair=connector_zoo/rank2").page
    other = view("pair=connector_zoo/rank2&pair=connector_zoo/mlp").page
    values = [
        [text.split(" ")[0] for text in page.locator("#pair tbody td:nth-of-type(1)").all_inner_texts()]
        for page in (one, other)
    ]
    assert len(values[0]) > 4
    flipped = [{"+": "−", "−": "+"}.get(text[0], "") + text.lstrip("+−") for text in values[1]]
    assert values[0] == flipped


def test_the_scatter_shows_means_or_seeds_and_any_figure_against_any(view: Open) -> None:
    page = view().page
    expect(page.locator("#plot a")).to_have_count(5)
    page.get_by_label("every seed").check()
    expect(page.locator("#plot a")).to_have_count(9)
    page.get_by_label("Vertical").select_option("knn_preservation/trustworthiness")
    expect(page.locator("#plot a [aria-label^='rank2 seed 2']")).to_have_attribute(
        "aria-label", re.compile("rank2 seed 2\nlost: ≤ 0.880\ntrustworthiness: 0.560 ±.010")
    )
    own = [column for column in TABLE.columns if column.control is None]
    assert page.locator("#y option").count() == len(own)
    assert page.locator("#x option").count() == len([column for column in own if column.measure])
    assert "points=seeds" in page.url


def test_downloads_lie_inside_the_page(view: Open) -> None:
    page = view().page
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Download CSV").click()
    assert waiting.value.suggested_filename == "leaderboard.csv"
    assert Path(waiting.value.path()).read_text(encoding="utf-8") == csv_file(TABLE)
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Download JSON").click()
    rows = {
        row["model"]: row["figures"]
        for row in json.loads(Path(waiting.value.path()).read_text(encoding="utf-8"))["rows"]
    }
    for row in TABLE.rows:
        for key, figure in row.figures.items() if row.kind != "control" else ():
            found = rows[row.model]["/".join(key)]
            assert found["value"] == pytest.approx(figure.value, rel=1e-5)
            assert (found["low"] is None, found["high"] is None) == (figure.low is None, figure.high is None)
            assert (found["low"] or 0) == pytest.approx(figure.low or 0, rel=1e-5)


def test_the_view_is_copied_as_markdown_and_latex(view: Open) -> None:
    page = view("q=rank2").page
    text = page.get_by_role("dialog").get_by_role("textbox")
    page.get_by_role("button", name="Copy as Markdown").click()
    lines = text.input_value().splitlines()
    assert lines[0].startswith("| rank | connector | lost ↓ |")
    assert lines[2].startswith("| 2 | rank2 | ≤ 0.890 ±")
    assert any("untrained\\_rank2" in line for line in lines)
    assert {line.count("|") - line.count("\\|") for line in lines} == {lines[0].count("|")}
    page.get_by_role("dialog").get_by_role("button", name="Close").click()
    page.get_by_role("button", name="Copy as LaTeX").click()
    latex = text.input_value()
    assert latex.splitlines()[0] == "\\begin{tabular}{llrrrrr}"
    assert "untrained\\_rank2" in latex
    assert "$\\pm$" in latex
    page.get_by_role("dialog").get_by_role("button", name="Close").click()
    page.get_by_role("button", name="Copy BibTeX").click()
    assert text.input_value().startswith("@inproceedings{")


HOSTILE = "</script>|&_$\\{}%#~^<img src=x onerror=hacked=1>"


def test_hostile_names_are_inert_where_they_are_compared_and_taken(browser: Browser, tmp_path: Path) -> None:
    path = board(tmp_path, [a_model(HOSTILE, 0.5, 0.5, family="f", connector=HOSTILE), *ZOO])
    opened = browser.open(path)
    page = opened.page
    page.get_by_label(f"compare {HOSTILE}", exact=True).check()
    page.get_by_label("compare mlp", exact=True).check()
    assert HOSTILE in page.locator("#pair-title").inner_text()
    page.get_by_role("button", name="Copy as LaTeX").click()
    text = page.locator("#taken-text")
    assert "\\textasciitilde{}\\textasciicircum{}\\textless{}img" in text.input_value()
    assert not re.search(r"(?<!\\)[%#]", text.input_value())
    page.get_by_role("dialog").get_by_role("button", name="Close").click()
    page.get_by_role("button", name="Copy as Markdown").click()
    (line,) = (line for line in text.input_value().splitlines() if "img" in line)
    assert not re.search(r"(?<!\\)<", line)
    assert page.evaluate("[typeof hacked, document.images.length]") == ["undefined", 0]
    assert (opened.errors, opened.requests) == ([], [])


@pytest.mark.parametrize("width", [1280, 1440])
def test_the_usual_columns_fit_the_window(view: Open, width: int) -> None:
    box = "document.querySelector('#table').parentElement"
    page = view(width=width).page
    assert page.evaluate(f"{box}.scrollWidth <= {box}.clientWidth")


def test_what_was_measured_when_and_how_to_cite_and_submit(view: Open) -> None:
    page = view().page
    said = page.locator("header").inner_text().replace("\u00a0", " ")
    assert "single emoji drawings on backgrounds, N = 1,000, and composited emoji scenes, N = 4" in said
    assert "no photographs" in said
    assert "Newest result of 2026-01-01" in said
    assert (
        "Sorted and ranked by lost, the share of the patches' variance that no probe rebuilds (≤: at most): across the "
        "trained connectors of the zoo, not in every pair, those that lose less answer more. First by lost: mlp, "
        "≤ 0.590 ±.025; it has accuracy 0.790 ±.025 in vqa, the best of all."
        in page.locator("main").inner_text()
    )
    for name, heading in (("Cite", "Cite"), ("Submit a model", "Submit a model")):
        page.get_by_role("navigation").get_by_role("button", name=name).click()
        expect(page.get_by_role("heading", name=heading)).to_be_focused()
    expect(page.locator("header").get_by_role("link", name="Paper")).to_have_attribute(
        "href", "https://arxiv.org/abs/2509.11986"
    )


def test_the_page_writes_numbers_as_python_does(browser: Browser, index: Path) -> None:
    rng = np.random.default_rng(0)
    values = [0.0, 0.0625, -0.0004, 9.9995, 99.995, 999.95, 12345.5, 1e-12, -1234.5]
    values += [float(f"{value:.6g}") for value in rng.normal(0, 1, 300) * 10.0 ** rng.integers(-4, 5, 300)]
    halves = [float(f"{abs(half):.6g}") for half in rng.normal(0, 1, 2 * len(values)) * 0.01]
    figures = [
        [value, value - below, value + above]
        for value, below, above in zip(values, halves[::2], halves[1::2], strict=True)
    ]
    page = browser.open(index).page
    source = (ASSETS / "style.js").read_text(encoding="utf-8")
    written = page.evaluate(
        f"""figures => {{ {source}
        return figures.map(([v, low, high]) => [number(v), signed(v), withInterval(v, low, high)]); }}""",
        figures,
    )
    assert written == [
        [number(value), signed(value), with_interval(value, low, high)] for value, low, high in figures
    ]
