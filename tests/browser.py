"""Opens local pages in headless Chromium and keeps what goes wrong there: console errors, requests that leave the page.

`pytest` loads this module as a plugin (tests/conftest.py), so a test asks for the fixture `browser`. Without Chromium
such a test skips; where the environment variable CI is set it fails, since nobody would notice the gap there.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser as Chromium
    from playwright.sync_api import Page, Route

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
TIMEOUT = 10_000
"""Milliseconds after which an element that a test waits for is missing."""
LOADING = 60_000
"""Milliseconds that a page may take to load: one of many pictures takes its time on a busy machine."""
WITHIN_THE_PAGE = ("data:", "blob:", "about:")


@dataclass
class Opened:
    """A page with what it did since it was opened.

    `requests` holds the address of everything it asked for beyond its own document: none of that was delivered.
    """

    page: Page
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def violations(self) -> list[str]:
        """What axe-core finds wrong with the page as it stands: rule, why, and the elements."""
        from axe_playwright_python.sync_playwright import Axe

        found: list[dict[str, Any]] = Axe().run(self.page).response["violations"]
        return [
            f"{rule['id']}: {rule['help']}: {node['html'][:200]} ({node.get('failureSummary', '')})"
            for rule in found
            for node in rule["nodes"]
        ]

    def repeated_ids(self) -> list[str]:
        """Names that more than one element has."""
        ids = Counter(self.page.locator("[id]").evaluate_all("all => all.map(one => one.id)"))
        return [name for name, count in ids.items() if count > 1]


@dataclass(frozen=True)
class Browser:
    """One headless Chromium; every page has a profile of its own, closed with the test."""

    chromium: Chromium
    closing: ExitStack

    def open(
        self, path: Path, fragment: str = "", *, width: int = 1280, height: int = 900, dark: bool = False
    ) -> Opened:
        """Open a file in a window of that size, in its dark or light colours, and wait until it has loaded."""
        context = self.chromium.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
            reduced_motion="reduce",
        )
        self.closing.callback(context.close)
        context.set_default_timeout(TIMEOUT)
        context.set_default_navigation_timeout(LOADING)
        document = path.resolve().as_uri()
        opened = Opened(context.new_page())

        def deliver(route: Route) -> None:
            address = route.request.url
            if address.split("#")[0] == document or address.startswith(WITHIN_THE_PAGE):
                route.continue_()
            else:
                opened.requests.append(address)
                route.abort()

        context.route("**/*", deliver)
        opened.page.on("pageerror", lambda error: opened.errors.append(str(error)))
        opened.page.on(
            "console", lambda message: opened.errors.append(message.text) if message.type == "error" else None
        )
        opened.page.goto(document + (f"#{fragment}" if fragment else ""))
        return opened


# A running Playwright holds the event loop of its thread, which lmms-eval needs when it runs in the same process: so
# one browser a module, not one for all.
@pytest.fixture(scope="module")
def chromium() -> Iterator[Chromium]:
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        absent = f"no Chromium ({', '.join(NAMES)}) on the PATH; on Debian: apt-get install chromium"
        if os.environ.get("CI"):
            pytest.fail(absent)
        pytest.skip(absent)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=found, args=list(FLAGS))
        yield running
        running.close()


@pytest.fixture
def browser(chromium: Chromium) -> Iterator[Browser]:
    with ExitStack() as closing:
        yield Browser(chromium, closing)
