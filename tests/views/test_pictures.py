"""Pictures are deterministic, self-contained data URIs, and numbers have the expected number of digits."""

import base64
import io
import os
import re
import subprocess
import sys

import matplotlib
import numpy as np
import pytest
from PIL import Image

from weightshare.views.colors import INK, compute_contrast
from weightshare.views.numbers import abbreviate, format_percent_interval, format_ratio
from weightshare.views.pictures import PALETTE, Series, draw_lines, draw_points, draw_tiles


def content(uri: str) -> bytes:
    return base64.b64decode(uri.partition(",")[2])


def test_charts_are_svg_without_scripts():
    one = [Series("full", 0, False, [10], [90.0], [89.0], [91.0]), Series("wide", 1, True, [20], [95.0])]
    for uri in (
        draw_points(one, "parameters", "accuracy (%)"),
        draw_lines(one, "epoch", "accuracy (%)", markers=True),
    ):
        assert uri.startswith("data:image/svg+xml;base64,")
        assert b"<svg" in content(uri)
        assert b"<script" not in content(uri)


def test_charts_are_deterministic():
    one = [Series("full", 0, False, [1, 2], [90.0, 91.0])]
    assert draw_lines(one, "x", "y") == draw_lines(one, "x", "y")


def test_names_are_not_parsed_as_formulas():
    one = [Series("$\\frac{$ <b> _a^b", 0, False, [1], [1.0])]
    assert draw_points(one, "$x", "y$")


def test_global_state_is_unchanged():
    before = dict(matplotlib.rcParams)
    draw_lines([Series("a", 0, False, [1], [1.0])], "x", "y", low=5.0)
    draw_tiles(np.zeros((1, 1, 3, 3)), ["0"], ["0"])
    assert dict(matplotlib.rcParams) == before


def test_settings_of_the_user_do_not_matter():
    one = [Series("full", 0, False, [10], [90.0], [89.0], [91.0])]

    def draw():
        tiles = draw_tiles(np.zeros((1, 1, 3, 3)), ["0"], ["0"])
        return draw_points(one, "parameters", "y"), draw_lines(one, "epoch", "y", log=True), tiles

    expected = draw()
    theirs = {"text.usetex": True, "savefig.bbox": "tight", "text.color": "red", "axes.labelcolor": "white"}
    with matplotlib.rc_context(theirs):
        assert draw() == expected
        assert matplotlib.rcParams["text.usetex"]


def test_no_display_and_no_pyplot_is_needed(tmp_path):
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\n")
    script = (
        "import sys; from weightshare.views.pictures import Series, draw_points;"
        "draw_points([Series('a', 0, False, [1], [1.0])], 'x', 'y');"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    backend = "module://matplotlib_inline.backend_inline"
    environment = {**os.environ, "MPLBACKEND": backend, "MATPLOTLIBRC": str(tmp_path)}
    subprocess.run([sys.executable, "-c", script], env=environment, check=True)


@pytest.mark.parametrize("background", ["#ffffff", "#161618"])
def test_the_colors_of_charts_have_a_contrast_of_three(background):
    assert min(compute_contrast(color, background) for color in (*PALETTE, INK)) >= 3


def test_values_beyond_the_limits_are_cut_off():
    def read(**limits):
        return content(draw_lines([Series("a", 0, False, [1, 2], [0.0, 100.0])], "x", "y", **limits))

    assert len({read(), read(low=50.0), read(high=50.0)}) == 3
    assert read(low=-1000.0, high=1000.0) == read(), "limits beyond the values change nothing"


def test_the_labels_of_a_logarithmic_axis_do_not_overlap():
    def draw(*x):
        ticks = [Series("a", 0, False, list(x), [0.0] * len(x))]
        return content(draw_lines(ticks, "x", "y", log=True)).count(b'<g id="text_')

    assert draw(100, 1000) == draw(100, 990, 1000), "the label of 990 would overlap that of 1000"
    assert draw(100, 300, 1000) == draw(100, 1000) + 1


def test_long_names_are_wrapped_below_the_chart():
    def measure(name):
        picture = content(draw_points([Series(name, 0, False, [1], [1.0])], "x", "y"))
        width, height = re.search(rb'<svg [^>]*width="([\d.]+)pt" height="([\d.]+)pt"', picture).groups()
        return float(width), float(height)

    short, long = measure("full"), measure("full (width 24, size-matched to " + "lowrank:1 and " * 20)
    assert long[0] == short[0]
    assert long[1] > short[1] + 30


def test_tiles_show_the_sign_by_color():
    images = np.zeros((2, 3, 3, 3))
    images[0, 0], images[1, 2] = 1, -1
    images[0, 1, 0, 0] = np.nan
    picture = Image.open(io.BytesIO(content(draw_tiles(images, ["0", "1"], ["0", "1", "2"])))).convert("RGB")
    colors = {color for _, color in picture.getcolors(1_000_000)}
    assert any(r > b + 50 for r, _, b in colors), "orange above zero"
    assert any(b > g + 50 for _, g, b in colors), "purple below"


def test_tiles_of_zeros():
    assert draw_tiles(np.zeros((1, 1, 3, 3)))


def test_more_series_than_colors():
    many = [Series(str(i), i, False, [1, 2], [i, i]) for i in range(len(PALETTE) + 2)]
    assert draw_points(many, "x", "y")


@pytest.mark.parametrize(
    ("given", "expected"),
    [(999, "999"), (1000, "1k"), (34_944, "34.9k"), (105_705_600, "106M"), (4.4e10, "44G")],
)
def test_short_numbers(given, expected):
    assert abbreviate(given) == expected


def test_other_numbers():
    assert format_percent_interval(0.5, None) == "50.0"
    assert format_percent_interval(0.5, [0.25, 0.75]) == "50.0 ± 25.0"
    assert format_percent_interval(0.5, [0.4999, 0.5001]) == "50.0 ± 0.01", "never 0.0"
    assert format_ratio(9.96) == "10.0"
