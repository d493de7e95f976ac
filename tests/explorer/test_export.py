"""What the page saves: pictures that open elsewhere, and code that builds the layer that is shown."""

import random
import struct
from xml.etree import ElementTree

import torch

import weightshare as ws
from tests.helpers.browser import make_link, report

SHAPES = {"rect", "circle", "ellipse", "line", "path", "polyline", "polygon", "text"}
NO_PICTURE = "This chapter has no picture at the moment."


def save(page, kind):
    """Return the saved file, or None if the chapter says that it has no picture."""
    if page.page.locator(".chapter figure svg, .chapter figure canvas").count() == 0:
        page.press(f"Save {kind}")
        assert page.text(".message") == NO_PICTURE
        return None
    with page.page.expect_download() as download:
        page.press(f"Save {kind}")
    assert download.value.suggested_filename.endswith(f".{kind.lower()}")
    return download.value.path().read_bytes()


def find_problems(text):
    """Return what a reader without the page's style sheet would miss in an SVG."""
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        return [f"it is not XML: {error}"]
    problems = []
    elements = list(root.iter())
    for element in elements:
        tag = element.tag.rpartition("}")[2]
        if element.get("class") and not (element.get("fill") or element.get("stroke")):
            problems.append(f"<{tag} class={element.get('class')!r}> without colors")
        if tag in SHAPES and not (element.get("fill") or element.get("stroke") or element.get("style")):
            problems.append(f"<{tag}> without colors")
        problems += [f"{value} in <{tag}>" for value in element.attrib.values() if "var(" in value]
    if not any(element.tag.rpartition("}")[2] in {*SHAPES, "image"} for element in elements[2:]):
        problems.append("it shows nothing")
    return sorted(set(problems))


def test_svg(open_page, places):
    page = open_page(accept_downloads=True)
    failures = []
    saved = 0
    for link in places:
        page.go(link)
        text = save(page, "SVG")
        failures += [f"{link}: {problem}" for problem in (find_problems(text) if text else ())]
        saved += text is not None
    report(failures)
    assert saved
    assert not page.messages


def test_png(open_page, chapters):
    page = open_page(accept_downloads=True)
    failures = []
    saved = 0
    for link in chapters:
        page.go(link)
        data = save(page, "PNG")
        if data is None:
            continue
        saved += 1
        if not data.startswith(b"\x89PNG\r\n\x1a\n"):
            failures.append(f"{link}: the signature is {data[:8]!r}")
        elif min(struct.unpack(">II", data[16:24])) < 100:
            failures.append(f"{link}: the size is {struct.unpack('>II', data[16:24])}")
    report(failures)
    assert saved
    assert not page.messages


def draw_layer(generator, ndim):
    """Return a random layer with an output, as the page's state describes it."""
    pick = generator.randint
    sharings = ["full", "local", "tiled:2", "regional:2", "lowrank:1", "lowrank:2:free", "along:0"]
    groups = generator.choice([1, 1, 2, 3])
    kernel = [pick(1, 3) for _ in range(ndim)]
    dilation = [pick(1, 2) for _ in range(ndim)]
    is_same = generator.random() < 0.4  # padding="same", which is asymmetric for an even kernel
    spans = [d * (k - 1) for d, k in zip(dilation, kernel)]
    return {
        "inputSize": [pick(7, 10) for _ in range(ndim)],
        "kernelSize": kernel,
        "stride": [1 if is_same else pick(1, 2) for _ in range(ndim)],
        "padding": [[n // 2, n - n // 2] if is_same else [pick(0, 2)] * 2 for n in spans],
        "dilation": dilation,
        "inChannels": groups * pick(1, 3),
        "outChannels": groups * pick(1, 3),
        "groups": groups,
        "bias": generator.random() < 0.7,
        "paddingMode": generator.choice(["zeros", "circular", "reflect", "replicate"]),
        "sharing": generator.choice(sharings),
        "biasSharing": generator.choice([None, None, "full", "local"]),
        "transposed": False,
    }


def test_the_code_builds_the_layer(open_page):
    generator = random.Random(1)
    page = open_page()
    page.press("PyTorch code")
    failures = []
    for i in range(24):
        layer = draw_layer(generator, 1 + i % 2)
        page.go(make_link({"chapter": "counts", "question": None, "layer": layer}))
        if page.shown(".note, .problem"):
            failures.append(f"{layer}: {page.text('.note')} {page.text('.problem')}")
            continue
        code = page.page.locator(".code").inner_text()
        shown = int(page.text(".chapter .lead strong").split()[0].replace(",", ""))
        names = {"torch": torch, "ws": ws}
        try:
            exec(code, names)
            built = names["layer"]
            count = sum(parameter.numel() for parameter in built.parameters())
            built(torch.zeros(1, layer["inChannels"], *layer["inputSize"]))
        except Exception as error:
            failures.append(f"{code}\n  raises {type(error).__name__}: {error}")
            continue
        if count != shown:
            failures.append(f"{code}\n  has {count} parameters, and the page shows {shown}")
    report(failures)
    assert not page.messages
