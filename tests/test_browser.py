"""The browser that other tests look through sees what it should."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.browser import Browser, Opened

pytest_plugins = ["pytester"]


def a_page(folder: Path, body: str) -> Path:
    path = folder / "page.html"
    path.write_text(f"<!doctype html><html lang=en><title>t</title><main><h1>t</h1>{body}</main></html>")
    return path


def test_a_quiet_page_is_quiet(browser: Browser, tmp_path: Path) -> None:
    opened = browser.open(
        a_page(tmp_path, "<p>text</p><img alt='' src='data:image/gif;base64,R0lGODlhAQABAAAAACw='>")
    )
    assert (opened.errors, opened.requests, opened.violations()) == ([], [], [])


@pytest.mark.parametrize(
    "body",
    [
        "<img alt=x src=https://example.org/x.png>",
        "<link rel=stylesheet href=other.css>",
        "<script>asked = fetch('https://example.org/beacon').catch(() => 0)</script>",
    ],
    ids=["picture", "neighbouring file", "script"],
)
def test_what_leaves_the_page_is_seen_and_not_delivered(browser: Browser, tmp_path: Path, body: str) -> None:
    opened = browser.open(a_page(tmp_path, body))
    opened.page.evaluate("() => globalThis.asked")
    (address,) = opened.requests
    assert address.rsplit("/", 1)[1] in {"x.png", "other.css", "beacon"}


@pytest.mark.parametrize("script", ["throw new Error('broken')", "console.error('broken')"])
def test_errors_are_kept(browser: Browser, tmp_path: Path, script: str) -> None:
    (error,) = browser.open(a_page(tmp_path, f"<script>{script}</script>")).errors
    assert "broken" in error


def test_size_colours_and_fragment_are_the_pages_own(browser: Browser, tmp_path: Path) -> None:
    opened: Opened = browser.open(a_page(tmp_path, ""), "a=b", width=375, height=700, dark=True)
    seen = opened.page.evaluate(
        "[innerWidth, matchMedia('(prefers-color-scheme: dark)').matches, location.hash]"
    )
    assert seen == [375, True, "#a=b"]


def test_unreadable_text_is_a_violation(browser: Browser, tmp_path: Path) -> None:
    opened = browser.open(a_page(tmp_path, "<p style='color:#ccc;background:#fff'>pale</p>"))
    assert [found.split(":")[0] for found in opened.violations()] == ["color-contrast"]


@pytest.mark.parametrize(("ci", "outcome"), [("", {"skipped": 1}), ("true", {"errors": 1})])
def test_without_chromium_a_test_skips_but_fails_in_ci(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, ci: str, outcome: dict[str, int]
) -> None:
    monkeypatch.setenv("PATH", str(pytester.path))
    monkeypatch.setenv("CI", ci)
    pytester.makepyfile("def test_page(browser): pass")
    result = pytester.runpytest("-p", "tests.browser", "-rs")
    result.assert_outcomes(**outcome)
    result.stdout.fnmatch_lines(["*no Chromium*apt-get install chromium*"])
