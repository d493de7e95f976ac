"""Draw the pictures of the README and of the documentation: python -m tools.pictures"""

import contextlib
import io
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Rectangle

import weightshare as ws
from weightshare.pattern import generators
from weightshare.views.colors import INK, SIGNED, WARNING, color_banks
from weightshare.views.figure import SMALL_SIZE, TEXT_SIZE

from .blocks import ROOT
from .outputs import PYTHON

SIZE = (6, 6)
SHARINGS = {
    "Full()\nconvolution": ws.Full(),
    "Tiled(2)": ws.Tiled(2),
    "Regional(2)": ws.Regional(2),
    "SharedAlong(1)": ws.SharedAlong(1),
    "Local()\nlocally connected": ws.Local(),
    "LowRank(1)\n": ws.LowRank(1),  # the captions of its parts take the place of the second line
}
STYLE = {"svg.hashsalt": "weightshare", "svg.fonttype": "none", "font.family": "sans-serif"}


def main(folder: Path = ROOT / "docs/images") -> None:
    """Write the pictures into the folder."""
    with matplotlib.rc_context(STYLE):
        for draw in (draw_sharings, draw_patterns, draw_kernels, draw_trace, draw_faces):
            path = folder / f"{draw.__name__.removeprefix('draw_')}.svg"
            draw().savefig(path, format="svg", metadata={"Date": None}, transparent=True)


def draw_sharings() -> Figure:
    """Draw the positions of each sharing."""
    figure = Figure(figsize=(11.2, 2.2), layout=ConstrainedLayoutEngine(w_pad=0.12))
    widths = [1] * (len(SHARINGS) - 1) + [2.17]  # the shared kernel and its correction
    axes = figure.subplots(1, len(SHARINGS), gridspec_kw={"width_ratios": widths})
    for ax, (title, sharing) in zip(axes, SHARINGS.items()):
        sharing.plot(SIZE, ax=ax)
        banks = sharing.banks(SIZE)
        ax.set_title(title, fontsize=TEXT_SIZE)
        ax.set_xlabel(f"{banks} kernel{'s' if banks > 1 else ''}")
    axes[-1].set_xlabel("1 kernel + 1 correction, weighted by position")
    return figure


def draw_patterns() -> Figure:
    """Draw the connections of layers with one channel."""
    points, shifts = generators.permutations(8), generators.circular_shifts(8)
    tiled = ws.nn.Conv1d(1, 1, 3, padding=1, sharing=ws.Tiled(2), input_size=8)
    patterns = {
        "Conv1d, padding=1": ws.Pattern.of(torch.nn.Conv1d(1, 1, 3, padding=1), 8),
        "Tiled(2), padding=1": ws.Pattern.of(tiled),
        "from circular shifts": ws.Pattern.from_symmetry(shifts, shifts),
        "from permutations": ws.Pattern.from_symmetry(points, points),
    }
    figure = Figure(figsize=(9.6, 2.8), layout="constrained")
    for ax, (title, pattern) in zip(figure.subplots(1, len(patterns)), patterns.items()):
        pattern.plot(ax=ax)
        ax.set_title(f"{title}\n{pattern.n_weights} weights", fontsize=TEXT_SIZE)
    return figure


def draw_kernels() -> Figure:
    """Draw kernels whose orientation turns from region to region."""
    layer = ws.nn.Conv2d(1, 1, 7, padding=3, sharing=ws.Regional(4), input_size=8)
    y, x = np.mgrid[-3:4, -3:4]
    envelope = np.exp(-(x**2 + y**2) / 6)
    waves = [np.cos(1.4 * (x * np.cos(a) + y * np.sin(a))) for a in np.arange(16) * np.pi / 16]
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(np.array(waves) * envelope)[:, None, None])
    return layer.plot_kernels()


def draw_trace() -> Figure:
    """Draw the errors of the operations of a network with circular padding and a pooling layer."""
    torch.manual_seed(0)
    circular = {"padding": 1, "padding_mode": "circular"}
    model = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, **circular),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(2),
        torch.nn.Conv2d(8, 8, 3, **circular),
        torch.nn.ReLU(),
        torch.nn.Conv2d(8, 8, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(1),
    )
    x = torch.randn(2, 3, 16, 16, dtype=torch.float64)
    return ws.trace_equivariance(model.double().eval(), x, 2).plot()


def draw_faces() -> Figure:
    """Draw the results for aligned and shifted faces in docs/sharing_test.md."""
    names = run_page("docs/sharing_test.md", until="shifted")
    aligned, shifted = names["aligned"], names["shifted"]
    regions = np.reshape(aligned.suggestion.labels(aligned.map.shape), aligned.map.shape)
    inside = {"extent": (0.5, 23.5, 23.5, 0.5)}  # the convolution has no padding
    signed = {**inside, "cmap": SIGNED, "vmin": -aligned.map.max(), "vmax": aligned.map.max()}
    figure = Figure(figsize=(9.6, 2.8), layout="constrained")
    axes = figure.subplots(1, 4)
    axes[0].imshow(names["faces"].mean((0, 1)), cmap="gray")
    axes[0].add_patch(Rectangle((3.5, 4.5), 17, 7, fill=False, edgecolor=WARNING))
    axes[1].imshow(aligned.map, **signed)
    axes[2].imshow(color_banks(regions.max() + 1)[regions], **inside)
    axes[3].imshow(shifted.map, **signed)
    titles = (
        "mean of the faces,\nregion of vertical edges",
        "aligned faces:\nmap",
        "aligned faces:\nsuggested regions",
        "shifted faces:\nmap",
    )
    for ax, title in zip(axes, titles):
        ax.set_title(title, fontsize=TEXT_SIZE, color=INK)
        ax.set(xlim=(-0.5, 24.5), ylim=(24.5, -0.5), xticks=(0, 12, 24), yticks=(0, 12, 24))
        ax.tick_params(length=0, colors=INK, labelsize=SMALL_SIZE)
        ax.spines[:].set_visible(False)
    return figure


def run_page(page: str, until: str) -> dict[str, Any]:
    """Return what the Python of a page defines, up to the block that defines a name."""
    names: dict[str, Any] = {}
    with contextlib.redirect_stdout(io.StringIO()):
        for block in PYTHON.findall((ROOT / page).read_text()):
            if until not in names:
                exec(block, names)
    return names


if __name__ == "__main__":
    main()
