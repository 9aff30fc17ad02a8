"""The command on a real run of lmms-eval, and the page that it writes in a real browser."""

from __future__ import annotations

import json
import re
import shutil
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from connector_bench.cli import app
from connector_bench.report.four_sentences import QUESTIONS
from connector_bench.report.html_page import WITHIN_A_FIGURE
from tests.browser import Browser, Opened
from tests.harness import Outcome, run_here
from tests.reconstruction.small_task import write_small_task
from tests.report.written import record, write_result

if TYPE_CHECKING:
    from playwright.sync_api import Locator

TASKS = "patches,knn_of_scenes,scenes_vqa"
KNN = """\
task: knn_of_scenes
class: !function connector_bench.tasks.functions.KnnPreservation
images_of: scenes_vqa
"""
BESIDE = ("correlation", "auroc", "calibration")
CHARTS = ("k-curve", "spread", "ladder", "learning", *BESIDE, *BESIDE, "inside-outside", "loss-scale")
FIRST_SCREEN = ("a picture with its loss map", "the scale of its colours")
TALLEST = 16_500
"""Pixels of the page on a telephone: a third of what it once was."""
HOSTILE = "<b onclick=alert(1)>rank2"
NASTY = '<script>document.title = "taken"</script><img src=x onerror=alert(1)>'


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    folder = tmp_path_factory.mktemp("run")
    arguments = ("--model", "connector_zoo", "--model_args", "connector=mlp", "--batch_size", "64")
    (folder / "knn.yaml").write_text(KNN)
    write_small_task(folder, "patches")
    arguments += ("--include_path", str(folder), "--tasks", TASKS, "--limit", "160")
    return run_here(folder / "out", *arguments)


def report(results: Path, output: Path, *more: str) -> Result:
    return CliRunner().invoke(app, ["report", str(results), "-o", str(output), *more])


@pytest.fixture(scope="module")
def page(run: Outcome, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    finished = report(run.folder, folder / "report.html", "--png", str(folder / "png"))
    assert finished.exit_code == 0, finished.stderr
    return folder / "report.html"


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
    assert_ids_differ(opened)


def assert_ids_differ(opened: Opened) -> None:
    ids = opened.page.locator("[id]").evaluate_all("all => all.map(one => one.id)")
    assert len(set(ids)) == len(ids)


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


def test_artefacts_that_were_left_behind_are_missed(run: Outcome, tmp_path: Path, browser: Browser) -> None:
    shutil.copytree(run.folder, tmp_path / "moved", ignore=shutil.ignore_patterns("connector_bench"))
    assert report(tmp_path / "moved", tmp_path / "page.html").exit_code == 0
    opened = browser.open(tmp_path / "page.html")
    assert "No pictures and no loss maps of patches" in " ".join(
        opened.page.locator(".missing").all_text_contents()
    )
    assert opened.page.locator(".card").count() > 0
    assert opened.page.locator(".card img").count() == 0
    assert opened.errors == []


def test_a_broken_loss_map_is_named(run: Outcome, tmp_path: Path) -> None:
    shutil.copytree(run.folder, tmp_path / "broken")
    (shard,) = (tmp_path / "broken" / "connector_bench").rglob("maps-*.safetensors")
    shard.write_bytes(shard.read_bytes()[:-100])
    finished = report(tmp_path / "broken", tmp_path / "page.html")
    assert finished.exit_code == 1
    assert "no report: " in finished.stderr
    assert not (tmp_path / "page.html").exists()


def test_the_same_figures_are_there_as_png(page: Path, browser: Browser) -> None:
    names = {path.stem for path in (page.parent / "png").glob("*.png")}
    maps = {name for name in names if name.startswith("loss-map-")}
    opened = browser.open(page)
    figures = opened.page.locator("figure").evaluate_all("all => all.map(one => one.id)")
    assert names - maps == set(figures)
    assert {name.removeprefix("loss-map-") for name in maps} == {
        heading.removeprefix("image ") for heading in opened.page.locator(".card h3").all_text_contents()
    }
    for path in (page.parent / "png").iterdir():
        assert Image.open(path).width > 800


def test_the_same_run_gives_the_same_page(page: Path, run: Outcome, tmp_path: Path) -> None:
    assert report(run.folder, tmp_path / "again.html").exit_code == 0
    assert (tmp_path / "again.html").read_bytes() == page.read_bytes()


def test_the_page_says_where_its_figures_come_from(page: Path, run: Outcome) -> None:
    text = page.read_text()
    record = run.record("knn_of_scenes")
    for wanted in (
        record["connector"]["weights_sha256"],
        record["images_sha256"],
        f"torch {record['versions']['torch']}",
        "--model_args connector=mlp",
        "numpy_seed 1234",
        "weights, SHA-256",
        "images, SHA-256",
    ):
        assert wanted in text
    assert not re.search(r">\s*(weights_sha256|images_sha256|n_images)\s*<", text)
    assert str(run.folder) not in text
    assert "--limit 160" in text


def poisoned(run: Outcome, folder: Path) -> Path:
    """The same run with hostile names of model, tasks and images, hostile questions and answers."""
    shutil.copytree(run.folder, folder, ignore=shutil.ignore_patterns("connector_bench"))
    for path in folder.rglob("*_samples_*.jsonl"):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        if "scenes_vqa" in path.name:
            rows = [row | {"input": f"{NASTY}{row['input']}", "filtered_resps": NASTY} for row in rows]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        path.rename(path.with_name(path.name.replace("scenes_vqa", "<script>x<")))
    (path,) = folder.rglob("*_results.json")
    content = json.loads(path.read_text())
    content["configs"]["knn_of_scenes"]["metadata"]["connector_bench"]["connector"] |= {
        "model": NASTY,
        "connector": NASTY,
        "family": NASTY,
    }
    text = json.dumps(content)
    path.write_text(text.replace('"scenes_vqa"', '"<script>x<"'))
    return folder


def test_hostile_names_are_shown_and_do_nothing(run: Outcome, tmp_path: Path, browser: Browser) -> None:
    finished = report(poisoned(run, tmp_path / "poisoned"), tmp_path / "page.html")
    assert finished.exit_code == 0, finished.stderr
    opened = browser.open(tmp_path / "page.html")
    assert (opened.errors, opened.requests) == ([], [])
    assert opened.page.locator("script").count() == 1
    assert opened.page.locator("h1").text_content() == NASTY
    assert opened.page.title().startswith("<script>")
    assert opened.page.locator(".questions q").first.text_content() == NASTY
    assert "<script>x<" in opened.page.locator("#section-task-scores tbody th").all_text_contents()
    assert opened.page.locator("img[onerror]").count() == 0
    assert_ids_differ(opened)


def test_script_that_got_in_would_not_run(page: Path, tmp_path: Path, browser: Browser) -> None:
    """Escaping is one wall; the page's policy is the second."""
    broken = tmp_path / "broken.html"
    broken.write_text(page.read_text().replace("</main>", f"</main>{NASTY}<p id=end></p>"))
    opened = browser.open(broken)
    assert opened.page.locator("#end").count() == 1
    assert opened.page.title() != "taken"
    assert any("Content Security Policy" in error for error in opened.errors)


def test_without_samples_the_page_says_what_is_missing(
    run: Outcome, tmp_path: Path, browser: Browser
) -> None:
    shutil.copytree(run.folder, tmp_path / "bare", ignore=shutil.ignore_patterns("connector_bench"))
    for path in (tmp_path / "bare").rglob("*_samples_*.jsonl"):
        path.unlink()
    assert report(tmp_path / "bare", tmp_path / "page.html").exit_code == 0
    opened = browser.open(tmp_path / "page.html")
    missing = " ".join(opened.page.locator(".missing").all_text_contents())
    assert "--log_samples" in missing
    assert opened.page.locator("#knn_of_scenes-k-curve img").count() == 1
    assert opened.errors == []


@pytest.mark.parametrize("left", ["patches", "knn_of_scenes", "scenes_vqa"])
def test_one_task_alone_is_enough(left: str, run: Outcome, tmp_path: Path, browser: Browser) -> None:
    shutil.copytree(run.folder, tmp_path / "one", ignore=shutil.ignore_patterns("connector_bench"))
    (path,) = (tmp_path / "one").rglob("*_results.json")
    content = json.loads(path.read_text())
    for key in ("results", "configs", "versions", "n-samples", "higher_is_better"):
        content[key] = {left: content[key][left]}
    path.write_text(json.dumps(content))
    assert report(tmp_path / "one", tmp_path / "page.html").exit_code == 0
    opened = browser.open(tmp_path / "page.html")
    assert opened.page.locator(".missing").count() > 0
    assert (opened.errors, opened.violations()) == ([], [])


def test_two_models_stand_side_by_side_with_the_same_pictures(
    run: Outcome, tmp_path: Path, browser: Browser
) -> None:
    """The other model is the same run under another name, so that its maps are known."""
    shutil.copytree(run.folder, tmp_path / "other")
    (path,) = (tmp_path / "other").rglob("*_results.json")
    path.write_text(path.read_text().replace("connector_zoo/mlp-seed0", f"connector_zoo/{HOSTILE}"))
    finished = report(run.folder, tmp_path / "page.html", str(tmp_path / "other"))
    assert finished.exit_code == 0, finished.stderr
    assert "written on 2 models" in finished.stdout
    opened = browser.open(tmp_path / "page.html", width=375)
    assert (opened.errors, opened.requests) == ([], [])
    assert opened.page.locator("h1").text_content() == f"mlp-seed0, {HOSTILE}"
    assert opened.page.evaluate("document.documentElement.scrollWidth") == 375
    assert opened.page.locator("figure.same").count() == 6
    sources = opened.page.locator("figure.same img").evaluate_all("all => all.map(one => one.src)")
    assert len(sources) == 18
    assert all(sources[row + 1] == sources[row + 2] for row in range(0, 18, 3))
    assert len({*sources[::3]}) == 6
    assert_ids_differ(opened)
    assert opened.violations() == []


def test_no_result_no_page(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    finished = report(tmp_path / "empty", tmp_path / "page.html")
    assert finished.exit_code == 1
    assert "no report" in finished.stderr
    assert re.search(r"no \*_results\.json in this folder", finished.stderr)
    assert not (tmp_path / "page.html").exists()


@pytest.mark.parametrize(
    "broken",
    [{"scores": {"knor_10": {"low": 0.1, "value": 0.2}}}, {"scores": {"knor_10": 3}}, {"scores": []}],
    ids=["no n", "no score", "no scores"],
)
def test_a_record_that_makes_no_sense_is_named(broken: dict[str, object], tmp_path: Path) -> None:
    path = write_result(tmp_path, {"knn_preservation": record({}) | broken})
    finished = report(tmp_path, tmp_path / "page.html")
    assert finished.exit_code == 1
    assert f"no report: {path}: " in finished.stderr
    assert "configs.knn_preservation.metadata.scores" in finished.stderr
