"""The page in a browser, in all chapters and at all questions: quiet, legible and usable without a mouse."""

import re

import pytest

from tests.helpers.browser import AXE, make_link, read_link, report
from tests.helpers.node import read_export
from tests.helpers.programs import require_packages
from weightshare import explain
from weightshare.explorer import render_frame

ARROWS = ("ArrowRight", "ArrowDown", "ArrowLeft", "ArrowUp")
WIDTHS = (360, 768, 1440)
#: Elements that the Tab key reaches, in no particular order.
FOCUSABLE = """
() => [...document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex]")]
  .filter((element) => element.tabIndex >= 0 && !element.disabled)
  .filter((element) => element.checkVisibility({ visibilityProperty: true }))
"""
DESCRIBE = """
(element) => `<${element.tagName.toLowerCase()}> "${(element.getAttribute("aria-label") ?? element.id)
  || element.textContent.trim().slice(0, 40)}"`
"""
#: Keep the elements that get the focus, with their outlines.
WATCH_FOCUS = f"""
() => {{
  const describe = {DESCRIBE};
  window.focusable = ({FOCUSABLE})();
  window.reached = new Map();
  document.activeElement?.blur();
  document.addEventListener("focusin", ({{ target }}) => {{
    const {{ outlineStyle, outlineWidth }} = getComputedStyle(target);
    window.reached.set(target, outlineStyle !== "none" && parseFloat(outlineWidth) > 0);
  }});
  return window.focusable.length;
}}
"""
READ_FOCUS = f"""
() => {{
  const describe = {DESCRIBE};
  const missed = window.focusable.filter((element) => !window.reached.has(element)).map(describe);
  const plain = [...window.reached].filter(([, outlined]) => !outlined).map(([element]) => describe(element));
  return [...missed.map((name) => `Tab misses ${{name}}`), ...plain.map((name) => `no outline on ${{name}}`)];
}}
"""
#: Layers without an output, and layers that no picture can draw. All of them can be read from a link.
INVALID = {
    "kernel larger than the input": {"inputSize": [4, 4], "kernelSize": [5, 5]},
    "kernel larger than a sequence": {
        "inputSize": [4],
        "kernelSize": [7],
        "stride": [1],
        "padding": [[0, 0]],
        "dilation": [1],
    },
    "more blocks than positions": {"sharing": "regional:9"},
}


def test_one_request_and_no_messages(open_page, places):
    page = open_page()
    failures = []
    for link in places:
        page.reload(link)
        if page.requests != [page.url]:
            failures.append(f"{link}: requests {page.requests}")
        failures += [f"{link}: {message}" for message in page.messages]
        page.messages.clear()
    report(failures)


def test_questions_show_their_numbers(open_page, places):
    page = open_page()
    failures = []
    for question in read_export("chapters/tour.js", "QUESTIONS"):
        link = f"#q={question['id']}"
        if link not in places:
            failures.append(f"{link}: the page does not list it")
            continue
        page.go(link)
        text = page.text(".chapter")
        failures += [
            f"{link}: {shown!r} is not in {text!r}" for shown in question["shows"] if shown not in text
        ]
        for selector, expected in (("h1", question["question"]), (".answer", question["answer"])):
            if page.text(selector) != expected:
                failures.append(f"{link}: {selector} is {page.text(selector)!r}")
    report(failures)


def test_the_tour_visits_all_its_questions(open_page):
    page = open_page()
    expected = [one["question"] for one in read_export("chapters/tour.js", "QUESTIONS") if one["inTour"]]
    visited = [page.text("h1")]
    following = page.page.get_by_role("button", name="Next →")
    while following.is_enabled() and len(visited) <= len(expected):
        following.click()
        page.settle()
        visited.append(page.text("h1"))
    assert visited == expected
    assert not page.messages


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_accessibility_rules(open_page, places, scheme):
    page = open_page(color_scheme=scheme, bypass_csp=True, reduced_motion="reduce")
    page.page.add_script_tag(path=require_packages() / "axe-core" / "axe.min.js")
    failures = []
    for link in places:
        page.go(link)
        failures += [f"{link}: {violation}" for violation in page.page.evaluate(AXE)]
    report(failures)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("layer", ["Linear(1000, 1000)", "Conv2d(3, 64, 3, padding=1, groups=1)"])
def test_accessibility_rules_of_an_explanation(open_page, tmp_path, layer, scheme):
    explain(layer, 32 if layer.startswith("Conv") else 1000).to_html(tmp_path / "page.html")
    size = {"width": 400, "height": 900}
    page = open_page(path=tmp_path / "page.html", color_scheme=scheme, bypass_csp=True, viewport=size)
    page.page.add_script_tag(path=require_packages() / "axe-core" / "axe.min.js")
    report(page.page.evaluate(AXE))
    assert page.page.locator("main").count() == page.page.locator("h1").count() == 1
    assert page.page.evaluate(
        "() => document.documentElement.scrollWidth <= document.documentElement.clientWidth"
    )


@pytest.mark.parametrize("width", WIDTHS)
def test_no_horizontal_scrolling(open_page, places, width):
    page = open_page(viewport={"width": width, "height": 900})
    failures = []
    for link in places:
        page.go(link)
        needed, available = page.page.evaluate(
            "() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
        )
        if needed > available:
            failures.append(f"{link}: {needed} px are needed, {available} px are there")
    report(failures)


def test_the_keyboard_reaches_everything(open_page, places):
    page = open_page(reduced_motion="reduce")
    failures = []
    for link in places:
        page.reload(link)
        for _ in range(page.page.evaluate(WATCH_FOCUS) + 2):
            page.page.keyboard.press("Tab")
        failures += [f"{link}: {problem}" for problem in page.page.evaluate(READ_FOCUS)]
    report(failures)


def test_arrow_keys_pick_in_pictures(open_page, places):
    page = open_page(reduced_motion="reduce")
    pickable = page.page.locator(".chapter .pickable[tabindex='0']:visible")
    failures = []
    tried = 0
    for link in places:
        page.go(link)
        if page.shown(".chapter .pickable") and not pickable.count():
            failures.append(f"{link}: only the mouse picks in its pictures")
        for i in range(min(pickable.count(), 8)):
            page.go(link)
            label = pickable.nth(i).get_attribute("aria-label")
            pickable.nth(i).focus()
            before, changed, losing = page.copy_link(), False, []
            for key in ARROWS:
                page.page.keyboard.press(key)
                page.settle()
                changed |= page.copy_link() != before
                if not page.page.evaluate("document.activeElement.closest('.pickable') !== null"):
                    losing.append(key)
                    pickable.nth(i).focus()
            if losing:
                failures.append(f"{link}: {label!r} loses the focus at {', '.join(losing)}")
            if not changed:
                failures.append(f"{link}: arrow keys change nothing in {label!r}")
            tried += 1
    report(failures)
    assert tried


def test_reduced_motion(open_page, places):
    page = open_page(reduced_motion="reduce")
    page.page.evaluate(
        """() => new MutationObserver((changes) => (window.changes += changes.length))
          .observe(document, { subtree: true, childList: true, characterData: true, attributes: true })"""
    )
    failures = []
    for link in places:
        page.go(link)
        page.page.evaluate("window.changes = 0")
        running = page.page.evaluate(
            "document.getAnimations().filter(({ playState }) => playState === 'running').length"
        )
        if running:
            failures.append(f"{link}: {running} animations")
        if link.startswith("#c="):
            page.page.wait_for_timeout(700)
            if changes := page.page.evaluate("window.changes"):
                failures.append(f"{link}: {changes} changes of the page without any input")
        if page.page.get_by_role("button", name="Pause").count():
            failures.append(f"{link}: it plays without being asked")
    report(failures)


@pytest.mark.parametrize("layer", INVALID.values(), ids=INVALID)
def test_a_layer_without_picture_is_explained(open_page, chapters, layer):
    page = open_page()
    failures = []
    explained = 0
    for link in chapters:
        chapter = link.removeprefix("#c=")
        page.go(make_link({"chapter": chapter, "question": None, "layer": layer}))
        failures += [f"{link}: {message}" for message in page.messages]
        page.messages.clear()
        if page.shown(".note"):
            failures.append(f"{link}: note {page.text('.note')!r}")
        if not page.page.locator(".chapter label", has_text="Kernel size").count():
            continue  # the chapter does not draw the layer of the state
        explained += 1
        problem = page.page.locator(".chapter .problem:visible")
        if not problem.count():
            failures.append(f"{link}: no sentence")
        elif not re.fullmatch(r"\S.{15,}\.", problem.first.inner_text().strip(), re.DOTALL):
            failures.append(f"{link}: {problem.first.inner_text()!r} is not a sentence")
        if page.shown(".chapter figure"):
            failures.append(f"{link}: the picture is still shown")
    report(failures)
    assert explained


def test_the_layer_is_kept_across_chapters(open_page, chapters):
    page = open_page(make_link({"layer": {"kernelSize": [2, 2]}, "question": None}))
    failures = []
    for link in chapters:
        page.page.locator(f'nav a[href="{link}"]').click()
        page.settle()
        state = read_link(page.copy_link())
        if state["layer"]["kernelSize"] != [2, 2]:
            failures.append(f"{link}: {state}")
    report(failures)


def test_in_the_frame_of_a_notebook(open_page, page_path, tmp_path):
    path = tmp_path / "notebook.html"
    frame = render_frame(page_path.read_text(encoding="utf-8"), "The explorer")
    path.write_text(f"<!DOCTYPE html><title>Notebook</title>{frame}", encoding="utf-8")
    page = open_page(path=path)
    content = page.page.frame_locator("iframe")
    links = content.locator("nav a")
    failures = []
    for i in range(links.count()):
        links.nth(i).click()
        page.settle()
        if links.nth(i).get_attribute("aria-current") != "page":
            failures.append(f"{links.nth(i).inner_text()} does not open")
    assert content.get_by_role("button", name="Copy link").count() == 0
    links.first.click()
    with page.page.expect_download() as download:
        content.get_by_role("button", name="Save SVG").click()
    assert download.value.suggested_filename.endswith(".svg")
    report([*failures, *page.messages])
