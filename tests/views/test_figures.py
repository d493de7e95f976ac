"""Figures are readable on light and dark pages and in grayscale, and change no global state."""

import io
import itertools
import subprocess
import sys

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

import weightshare as ws
from weightshare.errors import ArgumentError, MissingExtraError
from weightshare.views.cells import EMPTY, Plane, draw_cells
from weightshare.views.colors import (
    ACCENT,
    FILLS,
    INK,
    SIGNED,
    WARNING,
    choose_ink,
    color_banks,
    compute_contrast,
)
from weightshare.views.figure import shorten
from weightshare.views.kernels import draw_kernels
from weightshare.views.losses import Step, draw_losses

PAGES = ("#ffffff", "#131416")
HOSTILE = "$\\frac{$ _a^b </text><b> \x1b[31m\u202e" + "long" * 200


def draw_trace():
    model = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3, padding=1), torch.nn.ReLU()).double().eval()
    x = torch.linspace(-1, 1, 64, dtype=torch.float64).sin().reshape(1, 1, 8, 8)
    with torch.no_grad():
        model[0].weight.fill_(0.1)
        model[0].bias.fill_(0.0)
    return ws.trace_equivariance(model, x)


def make_layer():
    return ws.nn.LocallyConnected2d(1, 1, 3, input_size=5)


DRAWINGS = {
    "sharing": lambda ax=None: ws.Tiled(2).plot((4, 4), ax=ax),
    "mixture": lambda ax=None: ws.LowRank(2).plot((4, 4), ax=ax),
    "volume": lambda ax=None: ws.Local().plot((3, 3, 4), ax=ax),
    "image": lambda ax=None: ws.Local().plot((50, 50), ax=ax),
    "pattern": lambda ax=None: ws.Pattern([(0, 0, 0), (0, 0, 1), (1, 1, 0)], 2, 2).plot(ax=ax),
    "kernels": lambda ax=None: make_layer().plot_kernels(ax=ax),
    "trace": lambda ax=None: draw_trace().plot(ax=ax),
}


def render(figure, color="none"):
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=80, facecolor=color)
    return buffer.getvalue()


def find_texts(figure):
    return [text for text in figure.findobj(Text) if text.get_text() and text.get_visible()]


@pytest.mark.parametrize("page", PAGES)
def test_ink_and_lines_are_readable_on_light_and_dark_pages(page):
    for color in (INK, ACCENT, WARNING):
        assert compute_contrast(color, page) >= 3


@pytest.mark.parametrize("count", [1, 2, 8, 9, 16, 52])
def test_letters_are_readable_on_every_fill(count):
    for fill in color_banks(count):
        assert compute_contrast(choose_ink(fill), fill) >= 4.5


#: Simulations of color vision on linear RGB: Machado, Oliveira and Fernandes, 2009, severity 1.
VISION = {
    "normal": np.eye(3),
    "protan": [[0.1523, 1.0526, -0.2049], [0.1145, 0.7863, 0.0992], [-0.0039, -0.0481, 1.0520]],
    "deutan": [[0.3673, 0.8606, -0.2280], [0.2801, 0.6725, 0.0474], [-0.0118, 0.0429, 0.9689]],
    "tritan": [[1.2555, -0.0767, -0.1788], [-0.0784, 0.9308, 0.1476], [0.0047, 0.6914, 0.3039]],
}


def compute_lab(linear):
    """Return the CIELAB coordinates of linear RGB values."""
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    relative = xyz @ np.clip(linear, 0, 1) / [0.9505, 1, 1.089]
    x, y, z = np.where(relative > 0.008856, np.cbrt(relative), 7.787 * relative + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("vision", VISION)
def test_fills_differ_with_all_kinds_of_color_vision(vision):
    colors = np.array([to_rgb(fill) for fill in FILLS])
    linear = np.where(colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4)
    seen = [compute_lab(VISION[vision] @ color) for color in linear]
    assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)) > 20


@pytest.mark.parametrize("colors", [SIGNED(np.linspace(0, 1, 33))[:, :3], color_banks(33)])
def test_ramps_grow_lighter_so_that_they_are_readable_in_grayscale(colors):
    grays = [compute_contrast(color, "#000000") for color in colors]
    assert (np.diff(grays) > 0).all()


@pytest.mark.parametrize("name", DRAWINGS)
def test_text_of_the_figures_is_readable_on_light_and_dark_pages(name):
    figure = DRAWINGS[name]()
    figure.canvas.draw()
    on_fills = {"#000000", "#ffffff"}  # the letters, tested above
    for text in find_texts(figure):
        if to_hex(text.get_color()) in on_fills:
            assert len(text.get_text()) == 1
        else:
            assert min(compute_contrast(to_hex(text.get_color()), page) for page in PAGES) >= 3, (
                text.get_text()
            )


@pytest.mark.parametrize("name", DRAWINGS)
def test_figures_are_transparent_and_the_same_each_time(name):
    torch.manual_seed(0)
    first = render(DRAWINGS[name]())
    torch.manual_seed(0)
    assert render(DRAWINGS[name]()) == first
    image = Image.open(io.BytesIO(first))
    assert image.getpixel((0, 0))[3] == 0
    assert image.getextrema()[3][1] == 255


@pytest.mark.parametrize("name", DRAWINGS)
def test_figures_change_no_global_state(name):
    before = dict(matplotlib.rcParams)
    render(DRAWINGS[name]())
    assert dict(matplotlib.rcParams) == before


def test_figures_do_not_load_pyplot():
    code = (
        "import sys, weightshare as ws; ws.Tiled(2).plot((4, 4)); "
        "sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", DRAWINGS)
def test_global_styles_do_not_make_text_unreadable(name):
    style = {"text.color": "black", "axes.titlecolor": "black", "axes.labelcolor": "black", "axes.grid": True}
    with matplotlib.rc_context(style | {"figure.facecolor": "white", "axes.facecolor": "white"}):
        figure = DRAWINGS[name]()
        figure.canvas.draw()
    assert Image.open(io.BytesIO(render(figure))).getpixel((0, 0))[3] == 0
    known = {"#000000", "#ffffff", INK, WARNING.lower()}
    assert {to_hex(text.get_color()) for text in find_texts(figure)} <= known


@pytest.mark.parametrize("name", DRAWINGS)
def test_figures_are_drawn_on_given_axes(name):
    figure = Figure(figsize=(6, 3))
    left, right = figure.subfigures(1, 2)
    ax = left.add_subplot()
    right.add_subplot()
    assert DRAWINGS[name](ax) is figure
    assert ax.get_title()
    assert not right.axes[0].get_title()
    assert render(figure, "white")


@pytest.mark.parametrize("name", DRAWINGS)
def test_other_objects_than_axes_are_refused(name):
    with pytest.raises(ArgumentError, match=r"^\w+\.plot\w*: ax must be matplotlib Axes, got Figure\.$"):
        DRAWINGS[name](Figure())


@pytest.mark.parametrize("name", DRAWINGS)
def test_notebooks_show_the_figures(name):
    assert Image.open(io.BytesIO(DRAWINGS[name]()._repr_png_())).format == "PNG"


@pytest.mark.parametrize("name", DRAWINGS)
def test_a_missing_matplotlib_is_an_error_with_the_command_that_installs_it(name, monkeypatch):
    for module in [m for m in sys.modules if m.startswith("weightshare.views.")]:
        monkeypatch.delitem(sys.modules, module)
    for module in [m for m in sys.modules if m.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    expected = (
        r"^\w+\.plot\w*: needs the package matplotlib, got no such package; run pip install '\.\[study\]'"
    )
    with pytest.raises(MissingExtraError, match=expected):
        DRAWINGS[name]()


def test_sharings_load_without_matplotlib_and_torch():
    code = (
        "import sys; sys.modules.update(torch=None, matplotlib=None); import weightshare as ws; "
        "assert ws.Tiled(2).draw((2, 2)); assert 'numpy' not in sys.modules; ws.Tiled(2).plot((2, 2))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 1
    assert "MissingExtraError: Tiled.plot: needs the package" in result.stderr


def test_hostile_text_is_drawn_as_it_is_and_shortened():
    cells = draw_cells("plot", [[Plane(np.zeros((2, 2), int), caption="$x")]], 1, HOSTILE, HOSTILE, None)
    steps = [Step(HOSTILE, HOSTILE, 0.1, None, HOSTILE, True), Step("", "", None, None, "", False)]
    losses = draw_losses("plot", steps, 1e-12, title=HOSTILE)
    for figure in (cells, losses):
        render(figure)
        written = "".join(text.get_text() for text in figure.findobj(Text))
        assert "\\frac{$" in written
        assert "\x1b" not in written
        assert "\u202e" not in written
        assert max(map(len, written.splitlines())) < 400
    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        cells.savefig(buffer, format="svg")
    assert b"</text><b>" not in buffer.getvalue()


def test_names_are_shortened_in_the_middle():
    assert [shorten("abcdefghij", n) for n in (10, 9, 8)] == ["abcdefghij", "abc...hij", "abc...ij"]


def test_kernels_have_a_symmetric_scale_and_ignore_values_that_are_not_finite():
    kernels = np.array([[[[1.0, np.nan], [-3.0, np.inf]]]])
    figure = draw_kernels("plot", kernels)
    image = figure.axes[0].images[0]
    assert image.get_clim() == (-3, 3)
    assert np.isfinite(image.get_array().filled(np.nan)).sum() == 2
    assert render(draw_kernels("plot", np.full((1, 1, 2, 2), np.nan)))


def test_many_operations_are_reduced_with_a_note():
    exact = [Step(str(i), "ReLU", 0.0, 0.0, "", False) for i in range(50)]
    lossy = [Step(f"conv{i}", "Conv2d", 0.1, 0.2, "padding", i == 0) for i in range(45)]
    axes = draw_losses("plot", exact + lossy, 1e-12, title="verdict").axes[0]
    assert len(axes.get_yticks()) == 40
    assert axes.get_yticklabels()[0].get_text() == "conv0  Conv2d"
    assert axes.get_xlabel() == "relative error; 55 operations are not shown"


def test_errors_that_are_unknown_or_infinite_can_be_drawn():
    steps = [Step("a", "x", None, None, "", False), Step("b", "y", float("inf"), 1e-3, "pooling", True)]
    axes = draw_losses("plot", steps, 1e-12, title="").axes[0]
    assert [text.get_text() for text in axes.texts] == ["unknown", "first loss, pooling"]
    render(axes.figure)


def test_cells_without_a_bank_have_a_dot_instead_of_a_letter():
    figure = draw_cells("plot", [[Plane(np.array([[0, EMPTY], [EMPTY, 1]]))]], 2, "", "", None)
    axes = figure.axes[0]
    assert [text.get_text() for text in axes.texts] == ["a", "b"]
    assert [len(line.get_xdata()) for line in axes.lines] == [2]
