"""Pictures are deterministic, self-contained data URIs, and numbers have the expected number of digits."""

import base64
import io

import matplotlib
import numpy as np
import pytest
from PIL import Image

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
    draw_lines([Series("a", 0, False, [1], [1.0])], "x", "y", floor=5.0)
    assert dict(matplotlib.rcParams) == before


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
    assert format_ratio(9.96) == "10.0"
