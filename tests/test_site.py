"""Pages as `make docs` builds them, notebook and citation: links lead somewhere, code runs, nothing is fetched."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import connector_bench
from connector_bench import _LAZY

ROOT = Path(__file__).parent.parent
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")),
    ROOT / "connector_bench" / "zoo" / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
FIGURE = r"(?<![\d.])-?0?(\.\d{2,3})\b"
"""As prose and as tables write it, `.263` and `0.263`."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_within_the_repository_lead_to_files(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    targets = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", text)
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_every_page_is_in_the_navigation() -> None:
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    listed = re.findall(r": (\w+\.md)$", text, flags=re.M)
    assert len(listed) == len(set(listed))
    assert {page.name for page in (ROOT / "docs").glob("*.md")} <= set(listed)


@pytest.mark.slow
def test_the_site_is_built_without_a_warning_and_fetches_nothing(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    names = (tmp_path / "site" / "PYTHON.html").read_text(encoding="utf-8")
    for name, module in _LAZY.items():
        assert f'id="{module}.{name}"' in names
    for page in (tmp_path / "site").rglob("*.html"):
        fetched = re.findall(
            r"<(?:script|link|img|iframe)[^>]*(?:src|href)=\"?https?://[^>]*>", page.read_text("utf-8")
        )
        assert fetched == [], page


@pytest.mark.filterwarnings("ignore:.*are too few for k:UserWarning")
def test_the_notebook_runs_and_holds_no_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    notebook = json.loads((ROOT / "docs" / "first_look.ipynb").read_text(encoding="utf-8"))
    scope: dict[str, object] = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            exec(compile("".join(cell["source"]), "first_look.ipynb", "exec"), scope)
    assert len(list(Path("first_look").rglob("*_results.json"))) == 2


def test_the_citation_is_valid_and_of_this_version() -> None:
    path = ROOT / "CITATION.cff"
    checked = subprocess.run(
        [
            sys.executable,
            "-m",
            "check_jsonschema",
            "--builtin-schema",
            "vendor.citation-file-format",
            str(path),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout
    citation = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert citation["version"] == connector_bench.__version__
    assert "2509.11986" in citation["preferred-citation"]["url"]


def test_figures_of_the_reading_page_are_those_of_the_pages_that_measure() -> None:
    sources = ("README.md", "docs/KNN.md", "docs/RECONSTRUCTION.md")
    known = " ".join((ROOT / name).read_text(encoding="utf-8") for name in sources)
    figures = set(re.findall(FIGURE, (ROOT / "docs" / "READING.md").read_text(encoding="utf-8")))
    assert len(figures) > 15
    assert figures <= set(re.findall(FIGURE, known))
