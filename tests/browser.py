"""A headless Chromium for tests, screenshots and page times: the system's own, driven by Playwright."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
WHY_SKIPPED = "no Chromium was found: install one (Debian: apt install chromium), or name it in CHROMIUM"
SECONDS_TO_LOAD = 90
N_ATTEMPTS = 3

# What MLflow 3.17's own pages say on any experiment, ours or not.
KNOWN_NOISE = (
    "users/current",  # the page asks who is logged in; a server without logins answers 404, and the browser reports it
    "ResizeObserver loop",  # a chart was resized while it was drawn; browsers report it as an error, nothing is lost
)
HIDE_ASSISTANT = (
    "localStorage.setItem('mlflow.assistant.panelOpen_v1', 'false');"
    "localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true');"
)


def find_chromium() -> str | None:
    """Path of the browser: what CHROMIUM names, else the first of the usual names that is installed."""
    named = os.environ.get("CHROMIUM")
    if named:
        return named if Path(named).is_file() else None
    return next((path for name in NAMES if (path := shutil.which(name))), None)


@contextmanager
def open_browser(executable: str) -> Iterator["Browser"]:
    """Run Chromium for a with block."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=executable, args=["--no-sandbox", "--disable-dev-shm-usage"], timeout=SECONDS_TO_LOAD * 1000
        )
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Tab:
    """A page that remembers what went wrong on it, and where it went for it.

    errors: of the console, of scripts and of requests, but for KNOWN_NOISE; addresses: every one that was asked for
    """

    page: "Page"
    errors: list[str] = field(default_factory=list)
    addresses: list[str] = field(default_factory=list)

    def visit(self, address: str, *, see: str) -> None:
        """Open an address and wait until a selector shows; a slow machine gets time and further attempts."""
        from playwright.sync_api import TimeoutError as TooSlow

        for attempt in range(1, N_ATTEMPTS + 1):
            try:
                self.page.goto(address, timeout=SECONDS_TO_LOAD * 1000)
                self.page.locator(see).first.wait_for(timeout=SECONDS_TO_LOAD * 1000)
            except TooSlow:
                if attempt == N_ATTEMPTS:
                    raise
                self.page.goto("about:blank")  # the next attempt loads the page anew, not just another fragment of it
            else:
                return

    def _note(self, text: str, where: str) -> None:
        if not any(known in f"{text} {where}" for known in KNOWN_NOISE):
            self.errors.append(f"{text} ({where})")

    def _hear(self, message: "ConsoleMessage") -> None:
        if message.type == "error":
            self._note(message.text, message.location.get("url", ""))


def open_tab(browser: "Browser", *, width: int = 1440, height: int = 900, **context: Any) -> Tab:
    """A page of a fresh profile, with MLflow's assistant panel closed; context: Playwright's options."""
    profile = browser.new_context(viewport={"width": width, "height": height}, **context)
    profile.add_init_script(f"try {{ {HIDE_ASSISTANT} }} catch (error) {{}}")
    tab = Tab(profile.new_page())
    tab.page.on("console", tab._hear)
    tab.page.on("pageerror", lambda error: tab._note(str(error), tab.page.url))
    tab.page.on("request", lambda request: tab.addresses.append(request.url))
    return tab
