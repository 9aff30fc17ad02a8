"""The command on a real run of lmms-eval: what it refuses, what it says is missing, and hostile names."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from PIL import Image

from tests.browser import Browser
from tests.harness import Outcome
from tests.report.command import report
from tests.report.written import record, write_result

HOSTILE = "<b onclick=alert(1)>rank2"
NASTY = '<script>document.title = "taken"</script><img src=x onerror=alert(1)>'


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
    assert opened.repeated_ids() == []


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
    assert opened.repeated_ids() == []
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
