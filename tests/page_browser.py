"""A real browser for the tests of the page."""

from __future__ import annotations

import io
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

CHROMIUM_ARGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    path = shutil.which("chromium")
    if path is None:
        reason = "chromium is not installed (apt-get install chromium)"
        if os.environ.get("SEGMENTER_REQUIRE_BROWSER") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    api = pytest.importorskip("playwright.sync_api")
    with api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=CHROMIUM_ARGS)
        yield chromium
        chromium.close()


class Tab:
    """The page open in a browser, and what left this machine or broke meanwhile."""

    def __init__(self, browser: Any, server: str, width: int = 1440, scheme: str = "light") -> None:
        self.context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        self.page = self.context.new_page()
        self.requests: list[str] = []
        self.errors: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.goto(server)
        self.page.wait_for_selector(".example")
        self.page.wait_for_selector("#task[role=radiogroup]")

    def upload(self, path: str | Path) -> None:
        self.page.set_input_files("#picture input[type=file]", str(path))

    def close(self) -> None:
        self.context.close()
        outside = [url for url in self.requests if not re.match(r"(http://127\.0\.0\.1:|data:|blob:)", url)]
        assert outside == [] and self.errors == []

    def legible(self, selector: str) -> bool:
        """Whether the eye finds something there: text that is covered leaves a plain patch of one colour."""
        shot = Image.open(io.BytesIO(self.page.locator(selector).screenshot())).convert("L")
        darkest, brightest = shot.getextrema()
        return brightest - darkest > 100

    def open(self, name: str) -> None:
        """Go to a tab of the page."""
        self.page.click(f"#tabs button[role=tab]:has-text('{name}')")

    def overflow(self) -> int:
        """Pixels by which the page is wider than the window."""
        return int(self.page.evaluate("document.documentElement.scrollWidth - innerWidth"))


@pytest.fixture
def open_tab(browser: Any, server: str) -> Iterator[Callable[..., Tab]]:
    tabs: list[Tab] = []

    def open_one(**options: Any) -> Tab:
        tabs.append(Tab(browser, server, **options))
        return tabs[-1]

    yield open_one
    for tab in tabs:
        tab.close()
