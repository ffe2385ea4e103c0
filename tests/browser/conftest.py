"""The explorer in a real browser. Without a browser these tests fail; they are never skipped."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from circuitlapse.explorer.bundle import page as page_of
from circuitlapse.explorer.run_data import document
from tests.explorer_tables import TASKS, described, run


class Opened:
    """A page that was opened from disk, and everything it complained of or asked for."""

    def __init__(self, page: Page, path: Path) -> None:
        self.page, self.path = page, path
        self.complaints: list[str] = []
        self.requests: list[str] = []
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))

    def go(self, fragment: str = "") -> Opened:
        """Open the page anew at a fragment."""
        self.page.goto("about:blank")
        self.page.goto(f"{self.path.as_uri()}{fragment}")
        self.page.wait_for_selector("body[data-ready]")
        return self

    def text(self, selector: str) -> str:
        """Return what a reader sees of an element."""
        found = self.page.locator(selector)
        assert found.is_visible() or not found.text_content()
        return found.inner_text()

    def saved(self, kind: str) -> Path:
        """Return the file that a button saves."""
        self.page.evaluate("document.getElementById('exports').open = true")
        with self.page.expect_download() as waiting:
            self.page.click(f"[data-export='{kind}']")
        target = self.path.with_name(waiting.value.suggested_filename)
        waiting.value.save_as(target)
        return target

    def asked_for_nothing(self) -> bool:
        """Whether there was no request but for the file itself and what it made."""
        own = ("file:", "blob:", "data:", "about:")
        return all(url.startswith(own) for url in self.requests) and (
            {url.split("#")[0] for url in self.requests if url.startswith("file:")}
            == {self.path.as_uri()}
        )


@pytest.fixture
def opened(browser: Browser, tmp_path: Path) -> Iterator[Callable[..., Opened]]:
    """Opens the explorer of some tables, and checks at the end that nothing went wrong."""
    pages = []

    def opened(
        tables: Mapping[str, Any] | None = None,
        fragment: str = "",
        *,
        width: int = 1280,
        models: Mapping[str, Any] | None = None,
        **about: Any,
    ) -> Opened:
        given = {"title": "run", "tasks": TASKS[:2], "threshold": 0.8} | about
        made = document(tables or run(), models=models or described(), **given)
        path = tmp_path / "explorer.html"
        path.write_text(page_of(made), encoding="utf-8")
        context = browser.new_context(viewport={"width": width, "height": 900})
        pages.append(Opened(context.new_page(), path))
        return pages[-1].go(fragment)

    yield opened
    for each in pages:
        each.page.context.close()
        assert each.complaints == []
        assert each.asked_for_nothing()
