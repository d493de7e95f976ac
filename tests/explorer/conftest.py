"""The explorer's page in a browser: Debian's Chromium, driven by Playwright."""

from typing import Any

import pytest

from tests.helpers.browser import Visit, launch_browser, visit
from weightshare.explorer import render_page


@pytest.fixture(scope="module")
def browser():
    """Return a browser. It runs for one module, because it occupies the event loop of the thread."""
    with launch_browser() as launched:
        yield launched


@pytest.fixture(scope="session")
def page_path(tmp_path_factory):
    path = tmp_path_factory.mktemp("explorer") / "page.html"
    path.write_text(render_page(), encoding="utf-8")
    return path


@pytest.fixture
def open_page(browser, page_path):
    """Open the page: `open_page(link, path=..., **options)`, with options of Playwright's contexts."""
    opened: list[Visit] = []

    def open_one(link="", path=page_path, **options: Any) -> Visit:
        opened.append(visit(browser, path, link, **options))
        return opened[-1]

    yield open_one
    for one in opened:
        one.context.close()


@pytest.fixture(scope="module")
def places(browser, page_path) -> list[str]:
    """Return the links of all chapters and questions."""
    first = visit(browser, page_path)
    links = first.links()
    first.context.close()
    assert any(link.startswith("#c=") for link in links)
    assert any(link.startswith("#q=") for link in links)
    return links


@pytest.fixture(scope="module")
def chapters(places) -> list[str]:
    """Return the links of all chapters."""
    return [link for link in places if link.startswith("#c=")]
