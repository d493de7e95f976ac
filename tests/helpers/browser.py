"""Open a page in a browser, Debian's Chromium, and read what it shows."""

import base64
import json
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright

from tests.helpers.programs import require

#: Run before the page's own script: the link that "Copy link" copies is kept in a variable.
_KEEP_LINK = """
Object.defineProperty(navigator, "clipboard", {
  value: { writeText: async (text) => void (window.copiedLink = text) },
});
"""
#: Resolved when the page has handled its events, laid itself out and drawn a frame.
_SETTLE = (
    "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done))))"
)
_LINKS = "() => [...document.querySelectorAll('nav a, .questions a')].map((a) => a.getAttribute('href'))"

#: Run after axe-core was added to the page: its findings as text.
AXE = """
async () => (await axe.run(document, { resultTypes: ["violations"] })).violations.map(
  ({ id, help, nodes }) => `${id}: ${help} (${nodes.length}): ${nodes[0].html.slice(0, 160)}`
)
"""


@contextmanager
def launch_browser() -> Generator[Browser]:
    """Return a context with a browser. It occupies the event loop of the thread."""
    path = require("chromium", "chromium-browser", "google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@dataclass
class Visit:
    """A tab that shows the page, with its requests and the errors and warnings of its console."""

    context: BrowserContext
    page: Page
    url: str
    requests: list[str] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)

    def go(self, link: str) -> None:
        """Follow a link such as "#c=counts" in the loaded page, and wait until it is drawn."""
        if self.page.url == self.url + link:
            self.page.goto("about:blank")  # the browser does not follow a link to where it is
        self.page.goto(self.url + link)
        self.settle()

    def reload(self, link: str = "") -> None:
        """Load the page again, with a link."""
        self.page.goto("about:blank")
        self.requests.clear()
        self.go(link)

    def settle(self) -> None:
        """Wait until the page has drawn the next frame."""
        self.page.evaluate(_SETTLE)

    def links(self) -> list[str]:
        """Return the links of all chapters and questions that the page has."""
        return self.page.evaluate(_LINKS)

    def press(self, text: str) -> None:
        """Press the button with this text."""
        self.page.get_by_role("button", name=text, exact=True).first.click()
        self.settle()

    def text(self, selector: str) -> str:
        """Return the visible text of the first element that matches, with single spaces."""
        return " ".join(self.page.locator(selector).first.inner_text().split())

    def shown(self, selector: str) -> bool:
        """Return whether an element that matches is visible."""
        return self.page.evaluate(
            "(selector) => [...document.querySelectorAll(selector)].some((one) => one.checkVisibility())",
            selector,
        )

    def copy_link(self) -> str:
        """Return the part after the page's address of what "Copy link" copies."""
        self.page.evaluate("window.copiedLink = null")
        self.page.get_by_role("button", name="Copy link").dispatch_event("click")
        self.page.wait_for_function("window.copiedLink !== null")
        address, _, link = self.page.evaluate("window.copiedLink").partition("#")
        assert address == self.url
        return f"#{link}"

    def state(self) -> dict[str, Any]:
        """Return what differs from the start of the page, read from its link."""
        return read_link(self.copy_link())


def visit(browser: Browser, path: Path, link: str = "", **options: Any) -> Visit:
    """Open the page in a context of its own.

    Args:
        browser: A started browser.
        path: Path of the page.
        link: Part of the address after the path, such as "#q=sharing".
        options: Options of the context, such as `color_scheme`.
    """
    options = {"viewport": {"width": 1280, "height": 900}, **options}
    context = browser.new_context(**options)
    context.set_default_timeout(20_000)
    context.add_init_script(_KEEP_LINK)
    opened = Visit(context, context.new_page(), path.as_uri())

    def keep(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            opened.messages.append(f"{message.type}: {message.text}")

    opened.page.on("console", keep)
    opened.page.on("pageerror", lambda error: opened.messages.append(f"exception: {error}"))
    opened.page.on("request", lambda request: opened.requests.append(request.url))
    opened.go(link)
    return opened


def make_link(state: Any) -> str:
    """Return the link to a state, as `toLink` in `web/src/app/state.js` writes it."""
    text = json.dumps(state).encode()
    return f"#s={base64.urlsafe_b64encode(text).decode().rstrip('=')}"


def read_link(link: str) -> dict[str, Any]:
    """Return the state of a link."""
    assert link.startswith("#s=")
    text = link.removeprefix("#s=")
    return json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))


def report(failures: Sequence[str]) -> None:
    """Fail with all failures that a test collected, if there are any."""
    if failures:
        pytest.fail("\n".join([f"{len(failures)} failures:", *failures]), pytrace=False)
