"""Draw docs/images/sharings.svg, one grid of positions per sharing: python -m tools.sharings_picture"""

from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

import weightshare as ws

from .blocks import ROOT

SIZE = (6, 6)
SHARINGS = {
    "Full()\nconvolution": ws.Full(),
    "Tiled(2)": ws.Tiled(2),
    "Regional(2)": ws.Regional(2),
    "SharedAlong(1)": ws.SharedAlong(1),
    "LowRank(2)": ws.LowRank(2),
    "Local()\nlocally connected": ws.Local(),
}
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
STYLE = {"svg.hashsalt": "weightshare", "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 9}


def main(path: Path = ROOT / "docs/images/sharings.svg") -> None:
    """Write the picture."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9.6, 2.3), layout="constrained")
        for axes, (title, sharing) in zip(figure.subplots(1, len(SHARINGS)), SHARINGS.items()):
            labels = np.array(sharing.labels(SIZE)).reshape(SIZE)
            colors = matplotlib.colormaps["tab20"](labels % 20)
            colors[..., :3] = 0.45 + 0.55 * colors[..., :3]  # light enough for black letters
            if isinstance(sharing, ws.LowRank):  # one kernel, corrected smoothly
                rows, columns = np.indices(SIZE) / (np.array(SIZE)[:, None, None] - 1)
                colors[..., 3] = 0.35 + 0.65 * (rows + columns) / 2
            axes.imshow(colors)
            for (row, column), label in np.ndenumerate(labels):
                axes.text(column, row, LETTERS[label], ha="center", va="center")
            banks = sharing.banks(SIZE)
            plural = "s" if banks > 1 else ""
            axes.set_title(title)
            axes.set_xlabel(f"{banks} kernel{plural}")
            axes.set_xticks(np.arange(-0.5, SIZE[1]), [])
            axes.set_yticks(np.arange(-0.5, SIZE[0]), [])
            axes.grid(color="white", linewidth=1)
            axes.tick_params(length=0)
            axes.spines[:].set_visible(False)
        figure.savefig(path, format="svg", metadata={"Date": None}, facecolor="white")


if __name__ == "__main__":
    main()
