"""Links and states from outside: those that can be read open exactly, others open the start with a note."""

import random
import re

import pytest

from tests.helpers.browser import make_link, report
from tests.helpers.programs import WEB
from weightshare.explorer import render_page

SCRIPT = "</script><script>window.hacked = true</script>"
HOSTILE = {
    "script": SCRIPT,
    "comment": "<!--<script>",
    "quotes": "\"'`\\\"><img src=x onerror='window.hacked = true'>",
    "template": "{{ 7 * 7 }} {% raw %} ${window.hacked = true}",
    "emoji": "🧩👩‍👩‍👧",
    "right to left": "\u202egnp.exe",
    "control characters": "\x00\x1b[31m\u2028\u2029",
    "half a character": "\ud800",
    "long": "x" * 10_000,
}
LAYER = {
    "inputSize": [9, 9],
    "kernelSize": [3, 3],
    "padding": [[1, 1], [1, 1]],
    "sharing": "tiled:3",
    "bias": False,
}
STATE = {
    "question": None,
    "layer": LAYER,
    "position": [1, 2],
    "second": [3, 1],
    "shift": [1, 0],
    "kernel": "random",
    "pooling": "max",
}
UNREADABLE = {
    "percent signs": "#s=%%%",
    "not JSON": "#s=AAAA",
    "unknown kind": "#x",
    "unknown question": "#q=nothing",
    "unknown chapter": "#c=nothing",
    "prototype": "#q=__proto__",
    "list": make_link([]),
    "number": make_link(7),
    "text": make_link("text"),
    "not a number": make_link({"layer": {"kernelSize": [float("nan"), 3]}}),
    "null": make_link({"layer": {"kernelSize": None}}),
    "negative": make_link({"layer": {"kernelSize": [-3, -3]}}),
    "huge": make_link({"layer": {"inputSize": [10**30, 10**30]}}),
    "strings": make_link({"layer": {"inputSize": ["8", "8"]}}),
    "fraction": make_link({"layer": {"stride": [1.5, 1.5]}}),
    "list as layer": make_link({"layer": []}),
    "text as padding": make_link({"layer": {"padding": ["ab", "cd"]}}),
    "null as output padding": make_link({"layer": {"outputPadding": None}}),
    "unknown sharing": make_link({"layer": {"sharing": "tiled:-1"}}),
    "object as sharing": make_link({"layer": {"sharing": {"type": "tiled"}}}),
    "map of the wrong type": make_link({"layer": {"sharing": {"type": "mapped", "labels": ["a"]}}}),
    "null as position": make_link({"position": None}),
    "position far away": make_link({"position": [1e300, -1e300]}),
    "script as chapter": make_link({"chapter": SCRIPT}),
    "100,000 characters": "#s=" + "A" * 100_000,
}
#: States that can be read, and that ask for more than a page can draw. The page must stay responsive.
EXTREME = {
    "input": {"inputSize": [100_000, 100_000]},
    "padding": {"padding": [[100_000, 100_000], [100_000, 100_000]]},
    "kernel": {"inputSize": [100_000, 100_000], "kernelSize": [100_000, 100_000]},
    "kernel in padding": {"kernelSize": [100_000, 100_000], "padding": [[60_000, 60_000], [60_000, 60_000]]},
    "dilation": {"dilation": [50_000, 50_000], "padding": [[60_000, 60_000], [60_000, 60_000]]},
    "stride": {"stride": [100_000, 100_000]},
    "channels": {"inChannels": 100_000, "outChannels": 100_000},
    "groups": {"inChannels": 100_000, "outChannels": 100_000, "groups": 100_000},
    "rank": {"sharing": "lowrank:100000"},
    "period": {"sharing": "tiled:100000"},
    "labels": {"inputSize": [34, 34], "sharing": {"type": "mapped", "labels": list(range(1024))}},
    "large labels": {"sharing": {"type": "mapped", "labels": [2**52] * 36}},
    "circular padding": {"padding": [[30, 30], [30, 30]], "paddingMode": "circular"},
    "reflect padding": {"padding": [[9, 9], [9, 9]], "paddingMode": "reflect"},
    "three axes": {
        "inputSize": [9, 9, 9],
        "kernelSize": [3, 3, 3],
        "stride": [1, 1, 1],
        "padding": [[0, 0]] * 3,
        "dilation": [1, 1, 1],
    },
    "transposed": {"transposed": True, "outputPadding": [3, 3], "stride": [4, 4]},
}


def test_a_copied_link_opens_the_same_state(open_page, places):
    first, second = open_page(), open_page()
    failures = []
    for link in places:
        first.go(link)
        copied = first.copy_link()
        second.go(copied)
        if second.copy_link() != copied:
            failures.append(f"{link}: the link {copied} opens {second.copy_link()}")
        for selector in ("h1", ".chapter"):
            if first.text(selector) != second.text(selector):
                failures.append(
                    f"{link}: {selector} is {first.text(selector)!r}, then {second.text(selector)!r}"
                )
    report(failures)
    assert not [*first.messages, *second.messages]


def test_a_state_opens_in_every_chapter(open_page, chapters):
    page = open_page()
    failures = []
    for link in chapters:
        state = {**STATE, "chapter": link.removeprefix("#c=")}
        page.reload(make_link(state))
        read = {"chapter": "stencil", **page.state()}
        kept = {name: read.get(name) for name in state if name != "layer"}
        if kept != {name: value for name, value in state.items() if name != "layer"}:
            failures.append(f"{link}: {kept}")
        layer = {name: read["layer"].get(name) for name in LAYER}
        if layer != LAYER:
            failures.append(f"{link}: {layer}")
        if page.shown(".note"):
            failures.append(f"{link}: {page.text('.note')}")
    report(failures)
    assert not page.messages


def test_links_of_chapters_and_questions_mark_them(open_page, chapters):
    page = open_page()
    for link in chapters:
        page.reload(link)
        assert page.page.locator("nav a[aria-current]").get_attribute("href") == link


def test_the_real_clipboard(browser, page_path):
    context = browser.new_context()
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = context.new_page()
    page.goto(page_path.as_uri())
    page.get_by_role("button", name="Copy link").click()
    page.wait_for_function("document.querySelector('.message').textContent !== ''")
    if page.locator(".message").inner_text() == "The link is copied.":
        copied = page.evaluate("navigator.clipboard.readText()")
    else:
        copied = page.locator(".message a").get_attribute("href")
    assert copied.startswith(f"{page_path.as_uri()}#s=")
    context.close()


def test_without_a_clipboard_the_link_is_shown(open_page):
    page = open_page()
    page.page.evaluate(
        "void (navigator.clipboard.writeText = async () => { throw new Error('not allowed'); })"
    )
    page.press("Copy link")
    link = page.page.locator(".message a")
    assert link.get_attribute("href").startswith(f"{page.url}#s=")
    assert link.inner_text() == link.get_attribute("href")


def test_unreadable_links(open_page):
    failures = []
    start = open_page().text("nav a[aria-current]")
    for name, link in UNREADABLE.items():
        page = open_page(link)
        failures += [f"{name}: {message}" for message in page.messages]
        if not page.shown(".note"):
            failures.append(f"{name}: no note")
        if not page.shown(".chapter *"):
            failures.append(f"{name}: no chapter")
        elif page.text("nav a[aria-current]") != start:
            failures.append(f"{name}: opens {page.text('nav a[aria-current]')}")
        if page.page.evaluate("window.hacked"):
            failures.append(f"{name}: ran a script")
        page.context.close()
    report(failures)


def test_a_note_goes_when_the_state_changes(open_page, chapters):
    page = open_page("#q=nothing")
    assert page.shown(".note")
    page.go(chapters[-1])
    assert not page.shown(".note")


@pytest.mark.parametrize("name", EXTREME)
def test_extreme_states(open_page, chapters, name):
    failures = []
    page = open_page()
    page.page.set_default_timeout(5_000)
    for link in chapters:
        state = {"chapter": link.removeprefix("#c="), "question": None, "layer": EXTREME[name]}
        try:
            page.page.goto(page.url + make_link(state), timeout=5_000)
            page.page.wait_for_function("document.querySelector('.chapter').checkVisibility()", timeout=5_000)
        except Exception as error:
            failures.append(f"{link}: no answer within 5 s ({type(error).__name__})")
            page = open_page()
        failures += [f"{link}: {message}" for message in page.messages]
        page.messages.clear()
    report(failures)


def find_option_names():
    """Return the names of the options that chapters read, such as `state.options.counts?.cell`."""
    sources = "".join(path.read_text(encoding="utf-8") for path in (WEB / "src" / "chapters").glob("*.js"))
    return sorted(set(re.findall(r"\boptions(?:\.\w+)?\??\.(\w+)", sources)))


def test_random_states(open_page, chapters):
    """Any JSON in any field is either used or refused, without an exception."""
    generator = random.Random(0)
    values = [None, True, 0, -1, 3, 1.5, 1e9, "", "full", SCRIPT, [], [1], [2, 2], [[1, 1], [1, 1]], {}]
    fields = ("question", "kernel", "input", "position", "second", "channel", "shift", "pooling")
    parts = ("inputSize", "kernelSize", "stride", "padding", "dilation", "outputPadding", "groups")
    names = find_option_names()
    page = open_page()
    failures = []
    for chapter in (link.removeprefix("#c=") for link in chapters for _ in range(15)):
        options = {name: generator.choice(values) for name in names if generator.random() < 0.5}
        state = {"chapter": chapter, "options": {chapter: options}}
        state[generator.choice(fields)] = generator.choice(values)
        state["layer"] = {generator.choice(parts): generator.choice(values)}
        page.go(make_link(state))
        failures += [f"{chapter}: {message}: {state}" for message in page.messages]
        page.messages.clear()
        if not page.shown(".chapter *"):
            failures.append(f"{chapter}: nothing is shown: {state}")
    report(failures)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_from_python(open_page, tmp_path, name):
    text = HOSTILE[name]
    states = {
        "chapter": {"chapter": text},
        "kernel": {"kernel": text, "input": text, "pooling": text},
        "question": {"question": text},
        "sharing": {"layer": {"sharing": text}},
        "options": {"options": {"counts": {"preset": text, "cell": text}, text: text}},
        "unknown": {text: text},
    }
    failures = []
    for kind, state in states.items():
        path = tmp_path / f"{kind}.html"
        path.write_text(render_page(state=state, title=text, data=False), encoding="utf-8")
        page = open_page(path=path)
        failures += [f"{kind}: {message}" for message in page.messages]
        if page.page.evaluate("window.hacked"):
            failures.append(f"{kind}: ran a script")
        if not page.shown(".chapter *"):
            failures.append(f"{kind}: nothing is shown")
        if len(page.requests) != 1:
            failures.append(f"{kind}: requests {page.requests}")
        page.context.close()
    report(failures)


def test_a_state_from_python_opens(open_page, chapters, tmp_path):
    path = tmp_path / "page.html"
    state = {**STATE, "chapter": chapters[-1].removeprefix("#c=")}
    path.write_text(render_page(state=state, title="A title"), encoding="utf-8")
    page = open_page(path=path)
    assert page.page.title() == "A title"
    assert page.page.locator("nav a[aria-current]").get_attribute("href") == chapters[-1]
    assert page.state()["layer"]["sharing"] == "tiled:3"
    assert not page.messages
