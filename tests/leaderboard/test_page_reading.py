"""What a reader sees who opens the page for the first time: nothing left out, cut off or said in the code's names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from connector_bench.leaderboard.board_entries import entries_of
from connector_bench.leaderboard.measured_on import first_places, sentence
from connector_bench.leaderboard.merge import merge
from connector_bench.leaderboard.schema import Figure, StoredRun
from tests.browser import Browser
from tests.leaderboard.pages import RUNS, ZOO, Open, a_model, board, models, opener
from tests.leaderboard.runs import a_run, answers, reconstruction

expect = pytest.importorskip("playwright.sync_api").expect
KNN = "knn_preservation"


def _with_figures_off_the_usual(run: StoredRun) -> StoredRun:
    """A task that no other seed has, and a control of a figure that is shown only with all others."""
    more = {"knor_1": Figure(value=0.3, k=1), "shuffled_knor_1": Figure(value=0.001, k=1)}
    kept = run.tasks[KNN].model_copy(update={"figures": {**run.tasks[KNN].figures, **more}})
    return run.model_copy(update={"tasks": {**run.tasks, KNN: kept, "yes_no": answers(0.25)}})


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    exact = a_model(
        "connector_zoo/identity-seed0", 1 - 1e-12, 0.7, family="connector_zoo", connector="identity"
    )
    runs = [_with_figures_off_the_usual(ZOO[0]), *ZOO[1:-1], exact]
    return board(tmp_path_factory.mktemp("zoo"), runs)


@pytest.fixture
def view(browser: Browser, index: Path) -> Iterator[Open]:
    yield from opener(browser, index)


def test_a_figure_that_some_seeds_lack_says_of_how_many_it_is(view: Open) -> None:
    page = view("open=*&sort=yes_no/accuracy&pair=connector_zoo/mlp&pair=connector_zoo/rank2").page
    cells = page.locator("tbody.competitor td.figure").filter(has_text="0.250")
    assert cells.all_inner_texts() == ["0.250\n1 of 3 seeds", "0.250"], "the connector, then its seed"
    page.get_by_role("button", name="Copy as Markdown").click()
    assert "| 0.250 (1 of 3 seeds) |" in page.locator("#taken-text").input_value()
    page.get_by_role("dialog").get_by_role("button", name="Close").click()
    page.get_by_role("link", name="mlp", exact=True).first.click()
    group = page.get_by_role("dialog").get_by_role("rowgroup").filter(has_text="Tasks: yes_no")
    cells = group.get_by_role("row", name="accuracy").locator("td")
    assert cells.all_inner_texts()[:2] == ["0.250\n1 of 3 seeds", "0.250 – –"]


@pytest.mark.parametrize("width", [1280, 375])
def test_what_ranks_is_the_first_figure_and_within_the_window(view: Open, width: int) -> None:
    page = view(width=width).page
    head = page.locator("#head th.figure").first
    expect(head).to_contain_text("lost")
    box = head.bounding_box()
    assert box is not None
    assert box["x"] + box["width"] <= width


def test_numbers_of_parameters_have_three_digits(view: Open) -> None:
    page = view().page
    assert page.locator("tbody.competitor td.parameters").first.inner_text() == "31.0K"
    assert page.locator("tbody.reference td.parameters").first.inner_text() == "12"


def test_a_bound_says_what_it_is_where_it_is_read(view: Open) -> None:
    cell = view().page.locator("tbody.competitor td.figure").filter(has_text="≤").first
    assert "more training images still help the probe" in (cell.get_attribute("title") or "")


def test_controls_are_called_by_their_labels_and_rows_of_dashes_are_left_out(view: Open) -> None:
    opened = view()
    assert models(opened, "control") == ["same architecture, untrained"]
    opened.page.get_by_label("Show").select_option("everything")
    assert models(opened, "control") == ["same architecture, untrained", "shuffled pairs"]


def test_a_control_of_no_usual_figure_has_no_column_until_all_are_shown(view: Open) -> None:
    dialog = view("row=connector_zoo/mlp-seed0").page.get_by_role("dialog")
    expect(dialog.get_by_role("columnheader", name="same architecture, untrained")).to_be_visible()
    shuffled = dialog.get_by_role("columnheader", name="shuffled pairs", include_hidden=True)
    expect(shuffled).to_be_hidden()
    dialog.get_by_role("button", name="Show all").click()
    expect(shuffled).to_be_visible()
    row = dialog.get_by_role("row", name="kept, k = 1 what")
    assert [text.strip() for text in row.locator("td").all_inner_texts()] == ["0.300", "", "", "0.001"]


def test_the_axis_begins_at_a_number_where_connectors_lose_nothing(view: Open) -> None:
    page = view().page
    point = page.locator("#plot a [aria-label^='identity']").bounding_box()
    tick = page.locator("#plot svg text").filter(has_text="0.00").last.bounding_box()
    assert point is not None
    assert tick is not None
    assert tick["x"] + tick["width"] / 2 == pytest.approx(point["x"] + point["width"] / 2, abs=2)


def test_definitions_have_no_blanks_of_the_catalogue(view: Open) -> None:
    said = view().page.locator(".glossary").inner_text()
    assert "{" not in said
    for blank in ("k = k", ", kind", "nmse", "lost_floor", "acc_pre"):
        assert blank not in said


def test_whose_models_they_are_is_said_where_all_are_the_zoos() -> None:
    assert sentence(merge(ZOO)).endswith(
        "All models are of the embedded zoo: small ones that differ in their connector alone."
    )
    assert "zoo" not in sentence(merge(RUNS))


def answering(name: str, lost: float, accuracy: float, half: float | None) -> StoredRun:
    answered = answers(accuracy)
    ends = (None, None) if half is None else (accuracy - half, accuracy + half)
    figure = answered.figures["accuracy"].model_copy(update={"low": ends[0], "high": ends[1]})
    vqa = answered.model_copy(update={"figures": {"accuracy": figure}})
    return a_run(name, weights=name, patch_reconstruction=reconstruction([lost], [1.0]), vqa=vqa)


@pytest.mark.parametrize(
    ("half", "ends"),
    [
        (0.01, "b, 0.750 ±.010."),
        (0.05, "b, 0.750 ±.050, not told apart from a."),
        (None, "b, 0.750, with no interval to tell by."),
    ],
)
def test_the_best_answers_are_told_apart_from_those_of_the_first_or_not(
    half: float | None, ends: str
) -> None:
    table = merge([answering("a", 0.1, 0.7, half), answering("b", 0.5, 0.75, half)])
    said = first_places(table, entries_of(table))
    assert said.startswith("First by lost: a, 0.100; it has accuracy 0.700")
    assert said.endswith(f"Best accuracy in vqa: {ends}")


@pytest.mark.parametrize(
    ("others", "half", "says"),
    [
        (
            {"b": (0.1, 0.7)},
            0.01,
            ", a place that it shares with b; it has accuracy 0.700 ±.010 in vqa; no other",
        ),
        ({"b": (0.1, 0.7)}, 0.01, " in vqa; no other is better, and it is not told apart from b."),
        ({"b": (0.1, 0.7), "c": (0.1, 0.6)}, 0.01, "shares with b and c; it has"),
        ({"b": (0.1, 0.7), "c": (0.1, 0.6)}, 0.01, " it is not told apart from b."),
        (
            {"b": (0.5, 0.699)},
            0.01,
            "a, 0.100; it has accuracy 0.700 ±.010 in vqa; no other is better, and it is not",
        ),
        (dict.fromkeys("bcdef", (0.1, 0.7)), 0.01, "not told apart from b, c and 3 more."),
        ({"b": (0.5, 0.6)}, 0.01, "0.100; it has accuracy 0.700 ±.010 in vqa, the best of all."),
        ({"b": (0.5, 0.6)}, None, "0.700 in vqa, the best of all, with no interval to tell by."),
        ({"b": (0.5, 0.8), "c": (0.5, 0.8)}, 0.01, "Best accuracy in vqa: b and c, 0.800 ±.010."),
        ({}, 0.01, "0.100; it has accuracy 0.700 ±.010 in vqa."),
    ],
)
def test_the_first_is_best_of_all_where_it_is_alone(
    others: dict[str, tuple[float, float]], half: float | None, says: str
) -> None:
    """The same file as alpha and as beta had two first places, of which the sentence called alpha the best of all."""
    table = merge([answering(name, *figures, half) for name, figures in {"a": (0.1, 0.7), **others}.items()])
    assert says in first_places(table, entries_of(table))
