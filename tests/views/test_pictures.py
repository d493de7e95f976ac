import base64
import io

import matplotlib
import numpy as np
import pytest
from PIL import Image

from weightshare.views.numbers import percent_with, short, times_as_many
from weightshare.views.pictures import PALETTE, Series, lines, points, tiles


def content(uri: str) -> bytes:
    return base64.b64decode(uri.partition(",")[2])


def test_charts_are_svg_with_their_words_as_shapes():
    one = [Series("full", 0, False, [10], [90.0], [89.0], [91.0]), Series("wide", 1, True, [20], [95.0])]
    for uri in (points(one, "parameters", "accuracy (%)"), lines(one, "epoch", "accuracy (%)", markers=True)):
        assert uri.startswith("data:image/svg+xml;base64,")
        assert b"<svg" in content(uri)
        assert b"<script" not in content(uri)


def test_charts_are_the_same_each_time():
    one = [Series("full", 0, False, [1, 2], [90.0, 91.0])]
    assert lines(one, "x", "y") == lines(one, "x", "y")


def test_names_are_never_formulas():
    one = [Series("$\\frac{$ <b> _a^b", 0, False, [1], [1.0])]
    assert points(one, "$x", "y$")


def test_global_state_is_left_alone():
    before = dict(matplotlib.rcParams)
    lines([Series("a", 0, False, [1], [1.0])], "x", "y", floor=5.0)
    assert dict(matplotlib.rcParams) == before


def test_tiles():
    images = np.zeros((2, 3, 3, 3))
    images[0, 0], images[1, 2] = 1, -1
    images[0, 1, 0, 0] = np.nan
    picture = Image.open(io.BytesIO(content(tiles(images, ["0", "1"], ["0", "1", "2"])))).convert("RGB")
    colours = {colour for _, colour in picture.getcolors(1_000_000)}
    assert any(r > 100 > b for r, _, b in colours), "orange above zero"
    assert any(b > 60 > g for _, g, b in colours), "purple below"


def test_tiles_of_zeros():
    assert tiles(np.zeros((1, 1, 3, 3)))


def test_more_series_than_colours():
    many = [Series(str(i), i, False, [1, 2], [i, i]) for i in range(len(PALETTE) + 2)]
    assert points(many, "x", "y")


@pytest.mark.parametrize(
    ("given", "expected"),
    [(999, "999"), (1000, "1k"), (34_944, "34.9k"), (105_705_600, "106M"), (4.4e10, "44G")],
)
def test_short_numbers(given, expected):
    assert short(given) == expected


def test_other_numbers():
    assert percent_with(0.5, None) == "50.0"
    assert percent_with(0.5, [0.25, 0.75]) == "50.0 ± 25.0"
    assert times_as_many(9.96) == "10.0"
