"""The report in a browser: legible on a phone and in the dark, usable without a mouse, and self-contained."""

import pytest

from tests.helpers.browser import AXE, launch_browser, visit
from tests.helpers.programs import require_packages
from tests.helpers.results import make_result, make_trial
from weightshare import explain
from weightshare.study.report.page import render_page

MATCHED = "full (width 24, size-matched to lowrank:1)"
SCORES = {
    "full": [0.90, 0.95, 0.94],
    "lowrank:1": [0.96, 0.97, 0.965],
    MATCHED: [0.95, 0.94, 0.96],
    "local": [0.80, 0.82, 0.85],
}
QUESTIONS = {
    ("train_sizes", f"{size} examples"): {
        name: [score * factor for score in scores] for name, scores in SCORES.items()
    }
    for size, factor in ((60, 0.6), (120, 0.8))
} | {("layers", "features.conv_with_a_long_name.*"): {"local": [0.9, 0.91, 0.92]}}
#: Images that were not loaded, or whose text is smaller than half of its size in the file.
BAD_IMAGES = """
() => [...document.images].filter((image) => !image.naturalWidth || image.width < image.naturalWidth / 2)
  .map((image) => image.alt)
"""


@pytest.fixture(scope="module")
def browser():
    with launch_browser() as launched:
        yield launched


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Return the paths of a report and of a page of `explain`."""
    folder = tmp_path_factory.mktemp("pages")
    shifts = dict.fromkeys("1234", 0.5)
    trials = [
        make_trial(name, seed, score, score_shifted=shifts)
        for name, scores in SCORES.items()
        for seed, score in enumerate(scores)
    ]
    trials += [
        make_trial(f"{name} [{setting}]", seed, score, score_shifted=shifts)
        for (_, setting), rows in QUESTIONS.items()
        for name, scores in rows.items()
        for seed, score in enumerate(scores)
    ]
    matches = {MATCHED: ["lowrank:1"]}
    result = make_result(SCORES, matches=matches, questions=QUESTIONS, trials=trials)
    (folder / "report.html").write_text(render_page(result), encoding="utf-8")
    explain("Linear(1000, 2)").to_html(folder / "explain.html")
    return {"report": folder / "report.html", "explain": folder / "explain.html"}


@pytest.fixture
def open_page(browser, pages):
    """Open a page: `open_page(name, width, scheme)`."""
    contexts = []

    def open_one(name, width=1280, scheme="light"):
        opened = visit(browser, pages[name], viewport={"width": width, "height": 900}, color_scheme=scheme)
        contexts.append(opened.context)
        return opened

    yield open_one
    for context in contexts:
        context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1280])
@pytest.mark.parametrize("name", ["report", "explain"])
def test_axe_finds_nothing(open_page, name, width, scheme):
    opened = open_page(name, width, scheme)
    opened.page.add_script_tag(path=require_packages() / "axe-core/axe.min.js")
    assert opened.page.evaluate(AXE) == []


@pytest.mark.parametrize("name", ["report", "explain"])
def test_pages_have_landmarks_and_load_nothing(open_page, name):
    opened = open_page(name)
    assert opened.page.locator("main").count() == opened.page.locator("h1").count() == 1
    assert [url for url in opened.requests if not url.startswith("data:")] == [opened.url]
    assert opened.messages == []


@pytest.mark.parametrize("width", [400, 1280])
def test_only_tables_scroll_sideways_and_the_keyboard_reaches_them(open_page, width):
    page = open_page("report", width).page
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(BAD_IMAGES) == []
    for region in page.locator(".scroll").all():
        region.focus()
        assert region.evaluate("(element) => element === document.activeElement")
    if width == 400:
        table = page.get_by_role("region", name="Results")
        table.press("ArrowRight")
        page.wait_for_function("document.querySelector('.scroll').scrollLeft > 0")


def test_the_table_of_results_fits_a_laptop_and_keeps_its_names_on_a_phone(open_page):
    laptop, phone = (
        open_page("report", width).page.get_by_role("region", name="Results") for width in (1200, 400)
    )
    assert laptop.evaluate("(region) => region.scrollWidth <= region.clientWidth")
    name = phone.get_by_role("rowheader", name="lowrank:1").first
    before = name.bounding_box()["x"]
    phone.evaluate("(region) => { region.scrollLeft = 200; }")
    assert name.bounding_box()["x"] == before


def test_the_verdict_is_on_the_first_screen_of_a_phone(open_page):
    box = open_page("report", 400).page.locator("#verdict").bounding_box()
    assert box["y"] + box["height"] < 800


def test_charts_can_be_read_in_the_dark(open_page):
    """Charts are transparent; the contrast of their colors to both backgrounds is tested elsewhere."""
    for scheme, is_dark in (("light", False), ("dark", True)):
        page = open_page("report", 1280, scheme).page
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, background[4:-1].split(","))) < 150) == is_dark
        colors = page.evaluate(
            """async () => {
              const image = document.querySelector("figure img");
              await image.decode();
              const canvas = document.createElement("canvas");
              [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
              const context = canvas.getContext("2d");
              context.drawImage(image, 0, 0);
              const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
              return [data[3], data.some((value, i) => i % 4 === 3 && value === 255)];
            }"""
        )
        assert colors == [0, True], "the corner is transparent, and something is drawn"
