"""The chat page in headless Chromium, as somebody at a keyboard uses it, and what axe-core says against it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt-get install chromium")
WIDTHS = {"desktop": (1280, 900), "phone": (390, 844)}
# two busy cores
PATIENCE_MS = 90_000
# what axe calls these keeps people out; the others are advice
GRAVE = ("serious", "critical")


@contextmanager
def chromium() -> Iterator[Browser]:
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


def grave(page: Any) -> list[str]:
    """What axe-core finds serious on a page, each with where it is."""
    from axe_playwright_python.sync_playwright import Axe

    found: list[dict[str, Any]] = Axe().run(page).response["violations"]
    return [
        f"{each['impact']} {each['id']}: {node['html'][:120]}"
        for each in found
        if each["impact"] in GRAVE
        for node in each["nodes"]
    ]


class Reader:
    """A person before the page. `asked` are the addresses that the browser fetched, `errors` what its console said."""

    def __init__(self, browser: Browser, url: str, key: str, width: str = "desktop", theme: str = "light") -> None:
        wide, high = WIDTHS[width]
        self.context = browser.new_context(viewport={"width": wide, "height": high}, color_scheme=theme)  # type: ignore[arg-type]
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(PATIENCE_MS)
        self.asked: list[str] = []
        self.errors: list[str] = []
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("console", lambda said: self.errors.append(said.text) if said.type == "error" else None)
        self.page.goto(url)
        if key:
            self._log_in(key)
        self.page.wait_for_selector("#ask textarea:focus")

    def _log_in(self, key: str) -> None:
        """By the keyboard, as the rest."""
        self.page.get_by_label("username").focus()
        self.type("anybody")
        self.page.keyboard.press("Tab")
        self.type(key)
        self.page.keyboard.press("Enter")
        self.page.wait_for_selector("#ask textarea")
        # refusals before there was a cookie are no errors of the page
        self.errors.clear()

    def type(self, text: str) -> None:
        self.page.keyboard.type(text)

    def ask(self, text: str) -> None:
        self.page.keyboard.type(text)
        self.page.keyboard.press("Enter")

    def answered(self, count: int = 1) -> None:
        """Until so many answers are whole."""
        expect(self.page.locator(".took")).to_have_count(count)

    def failed(self, said: str) -> None:
        """Until the newest question has come to nothing, for this reason."""
        expect(self.page.locator(".turn").last.locator(".failed")).to_contain_text(said)

    def tab_to(self, selector: str, key: str = "Tab") -> None:
        """Presses the key until something of this kind has the focus."""
        for _ in range(60):
            self.page.keyboard.press(key)
            if self.page.evaluate("selector => document.activeElement.matches(selector)", selector):
                return
        raise AssertionError(f"nothing that is {selector} is reached by {key}")

    def focused(self) -> str:
        return str(self.page.evaluate("document.activeElement.textContent"))

    def text(self, selector: str) -> str:
        return self.page.locator(selector).last.inner_text()

    def wider_than_shown(self) -> int:
        """Pixels that would have to be scrolled to the side."""
        return int(self.page.evaluate("document.scrollingElement.scrollWidth - innerWidth"))

    def beneath(self) -> list[str]:
        """Buttons and boxes that lie outside of what is shown."""
        return list(
            self.page.evaluate(
                """[...document.querySelectorAll('#asking button, #asking textarea')].filter(e => {
                  const box = e.getBoundingClientRect();
                  return box.left < 0 || box.right > innerWidth || box.bottom > innerHeight + 1;
                }).map(e => e.outerHTML)"""
            )
        )

    def axe(self) -> list[str]:
        return grave(self.page)

    def close(self) -> None:
        self.context.close()
