"""The explorer as a widget: the state is shared with Python, in a stub of a front end and in JupyterLab."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from tests.helpers.browser import report
from weightshare import explorer
from weightshare.errors import MissingExtraError
from weightshare.explorer import Explorer

NOISE = ("error", "warning")
BUILT = Path(explorer.__file__).parent / "built"
#: A front end of the anywidget specification: one model for each place, and a new module for each if `apart`.
STUB = """
async ({ code, count, apart }) => {
  const load = () => import(URL.createObjectURL(new Blob([code], { type: "text/javascript" })));
  const first = await load();
  window.models = [];
  window.closings = [];
  for (let i = 0; i < count; i++) {
    const values = { state: {}, data: {} };
    const callbacks = new Set();
    const model = {
      saved: 0,
      get: (name) => values[name],
      set(name, value) {
        values[name] = value;
        for (const callback of callbacks) callback();
      },
      save_changes() { this.saved += 1; },
      on: (name, callback) => callbacks.add(callback),
      off: (name, callback) => callbacks.delete(callback),
      callbacks,
    };
    const el = document.createElement("div");
    el.id = `place-${i}`;
    document.body.append(el);
    const module = apart && i ? await load() : first;
    window.closings.push(await module.default.render({ model, el }));
    window.models.push(model);
  }
}
"""


@pytest.fixture
def stub(browser):
    """Show several widgets in one page: `stub(count, apart)` returns the tab and its messages."""
    contexts = []

    def show(count, apart=False):
        contexts.append(browser.new_context())
        page = contexts[-1].new_page()
        messages = []
        page.on("pageerror", lambda error: messages.append(str(error)))
        page.on(
            "console", lambda one: messages.append(one.text) if one.type in ("error", "warning") else None
        )
        page.set_content("<!DOCTYPE html><title>stub</title>")
        page.add_style_tag(content=(BUILT / "explorer.css").read_text(encoding="utf-8"))
        code = (BUILT / "explorer.js").read_text(encoding="utf-8")
        page.evaluate(STUB, {"code": code, "count": count, "apart": apart})
        return page, messages

    yield show
    for context in contexts:
        context.close()


def state(page, model):
    return page.evaluate("(i) => window.models[i].get('state')", model)


@pytest.mark.parametrize("apart", [False, True], ids=["one module", "two modules"])
def test_two_widgets_do_not_interfere(stub, apart):
    page, messages = stub(2, apart)
    links = page.locator("#place-0 nav a")
    failures = []
    for i in range(links.count()):
        name = links.nth(i).inner_text()
        links.nth(i).click()
        page.locator("#place-1 nav a").nth(i).click()
        ids = page.evaluate("[...document.querySelectorAll('[id]')].map(({ id }) => id)")
        twice = sorted({one for one in ids if ids.count(one) > 1})
        if twice:
            failures.append(f"{name}: the same ids in both: {twice[:5]}")
        names = page.evaluate("[...document.querySelectorAll('input[type=radio]')].map(({ name }) => name)")
        if set(names[: len(names) // 2]) & set(names[len(names) // 2 :]):
            failures.append(f"{name}: radio buttons with the same name in both")
    report(failures)
    before = page.locator("#place-1").inner_text(), state(page, 1)
    links.first.click()
    assert (page.locator("#place-1").inner_text(), state(page, 1)) == before
    assert state(page, 0)["chapter"] != state(page, 1)["chapter"]
    assert not messages


def test_the_state_goes_both_ways(stub):
    page, messages = stub(1)
    links = page.locator("nav a")
    chapters = [links.nth(i).get_attribute("href").removeprefix("#c=") for i in range(links.count())]
    for i in reversed(range(links.count())):
        links.nth(i).click()
        assert state(page, 0)["chapter"] == chapters[i]
        assert page.evaluate("window.models[0].saved") > 0
    page.evaluate("(chapter) => window.models[0].set('state', { chapter, question: null })", chapters[-1])
    assert page.locator("nav a[aria-current]").get_attribute("href") == f"#c={chapters[-1]}"
    page.evaluate("window.models[0].set('state', { chapter: 7 })")
    assert page.locator(".note").is_visible()
    assert not messages


def test_a_widget_leaves_nothing_behind(stub):
    page, messages = stub(2)
    page.evaluate("window.closings[0]()")
    assert page.locator("#place-0 > *").count() == 0
    assert page.evaluate("window.models.map(({ callbacks }) => callbacks.size)") == [0, 1]
    page.evaluate("window.models[0].set('state', {})")
    page.locator("#place-1 nav a").last.click()
    assert not messages


def test_a_widget_does_not_read_the_address(stub):
    page, _ = stub(1)
    before = page.locator("h1").inner_text()
    page.evaluate("location.hash = '#q=nothing'")
    page.evaluate("new Promise((done) => setTimeout(done, 50))")
    assert page.locator("h1").inner_text() == before
    assert not page.locator(".note").is_visible()
    assert page.get_by_role("button", name="Copy link").count() == 0


def test_traits():
    widget = Explorer({"chapter": "counts"}, data=False)
    assert widget.state == {"chapter": "counts"}
    assert widget.data == {}
    assert Explorer().state == {}
    assert {"state", "data", "_esm", "_css"} <= set(widget.keys)
    json.dumps(Explorer().data)


def test_only_the_widget_needs_anywidget():
    code = (
        "import sys; sys.modules['anywidget'] = None; import weightshare.explorer as e; e.render_page(); "
        "from weightshare.errors import MissingExtraError\n"
        "try:\n  e.Explorer\n"
        "except MissingExtraError as error: print(error)"
    )
    printed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    expected = MissingExtraError.for_package("Explorer", "anywidget", extra="notebook")
    assert printed.strip() == str(expected)
    code = (
        "import sys, weightshare.explorer; sys.exit('anywidget' in sys.modules or 'traitlets' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def make_notebook(*cells):
    return {
        "cells": [
            {
                "cell_type": "code",
                "id": f"cell-{i}",
                "metadata": {},
                "execution_count": None,
                "outputs": [],
                "source": cell,
            }
            for i, cell in enumerate(cells)
        ],
        "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }


@pytest.fixture
def jupyter(tmp_path):
    """Start JupyterLab in `tmp_path` with settings of its own, and return its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folders = {
        f"JUPYTER_{name}": str(tmp_path / "settings" / name)
        for name in ("CONFIG_DIR", "DATA_DIR", "RUNTIME_DIR")
    }
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--expose-app-in-browser"]
    options = {
        "ServerApp.ip": "127.0.0.1",
        "ServerApp.port": port,
        "ServerApp.port_retries": 0,
        "ServerApp.root_dir": tmp_path / "notebooks",
        "IdentityProvider.token": "",
        "ServerApp.password": "",
        "LabApp.news_url": "",
        "LabApp.check_for_updates_class": "jupyterlab.NeverCheckForUpdate",
        "LabApp.extension_manager": "readonly",
    }
    (tmp_path / "notebooks").mkdir()
    log = tmp_path / "jupyter.log"
    with log.open("w") as output:
        server = subprocess.Popen(
            [*command, *(f"--{name}={value}" for name, value in options.items())],
            env={**os.environ, **folders},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        address = f"http://127.0.0.1:{port}"
        wait_for(server, f"{address}/api/status", log)
        yield address
    finally:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def wait_for(server, address, log, seconds=120):
    end = time.monotonic() + seconds
    while time.monotonic() < end and server.poll() is None:
        try:
            urlopen(address, timeout=5).close()
        except (URLError, OSError):
            time.sleep(0.2)
        else:
            return
    pytest.fail(f"JupyterLab did not start:\n{log.read_text()[-3000:]}", pytrace=False)


class Notebook:
    """A notebook that is open in JupyterLab."""

    def __init__(self, page, address, name):
        self.page = page
        page.goto(f"{address}/doc/tree/{name}")
        page.wait_for_function(
            "window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'"
        )

    def run(self, cell):
        """Run a cell and wait until the kernel has answered."""
        self.page.evaluate(
            """async (cell) => {
              const panel = window.jupyterapp.shell.currentWidget;
              panel.content.activeCellIndex = cell;
              await window.jupyterapp.commands.execute("notebook:run-cell");
            }""",
            cell,
        )
        return self.page.evaluate(
            """(cell) => window.jupyterapp.shell.currentWidget.model.sharedModel.cells[cell].outputs
              .map((output) => [output.text ?? output.evalue ?? ""].flat().join("")).join("")""",
            cell,
        ).strip()


@pytest.mark.long
def test_in_jupyterlab(jupyter, browser, tmp_path):
    cells = [
        "import json\nfrom weightshare.explorer import Explorer\nw = Explorer()\nw",
        "print(json.dumps(w.state))",
        'w.state = {**w.state, "chapter": "stencil", "question": None, "layer": {"kernelSize": [2, 2]}}',
    ]
    (tmp_path / "notebooks" / "widget.ipynb").write_text(json.dumps(make_notebook(*cells)))
    context = browser.new_context(viewport={"width": 1400, "height": 1200})
    context.set_default_timeout(120_000)
    page = context.new_page()
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    try:
        notebook = Notebook(page, jupyter, "widget.ipynb")
        assert "Error" not in notebook.run(0)
        widget = page.locator(".ws-explorer")
        links = widget.locator("nav a")
        links.last.wait_for()
        chapter = links.last.get_attribute("href").removeprefix("#c=")
        links.last.click()
        page.wait_for_function(
            "document.querySelector('.ws-explorer nav li:last-child a').ariaCurrent === 'page'"
        )
        assert json.loads(notebook.run(1))["chapter"] == chapter

        notebook.run(2)
        widget.locator('nav a[aria-current][href="#c=stencil"]').wait_for()
        assert "4 products" in " ".join(widget.locator(".chapter").inner_text().split())
        state = json.loads(notebook.run(1))
        assert state["layer"]["kernelSize"] == [2, 2]

        # keys in the page must not reach the shortcuts of JupyterLab, which move between cells
        widget.locator(".pickable").first.focus()
        page.keyboard.press("ArrowDown")
        assert page.evaluate("document.activeElement.closest('.pickable') !== null")
        assert json.loads(notebook.run(1))["position"] != state.get("position", [0, 0])
        assert not [error for error in errors if "explorer" in error.lower()]
    finally:
        context.close()
