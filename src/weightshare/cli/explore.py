"""`weightshare explore`."""

import os
import sys
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from ._output import print_escaped


def command(
    layer: Annotated[
        str | None,
        typer.Argument(help='Layer to show, e.g. "Conv2d(3, 96, 11, stride=4)"; by default a guided tour.'),
    ] = None,
    input: Annotated[
        str | None, typer.Option(help="Input size of the layer, e.g. 3x227x227, or 227x227 without channels.")
    ] = None,
    sharing: Annotated[
        str | None, typer.Option(help="Sharing of the layer, e.g. full, tiled:2, lowrank:4 or local.")
    ] = None,
    out: Annotated[Path, typer.Option(help="HTML file to write.")] = Path("weightshare-explorer.html"),
    browser: Annotated[bool, typer.Option(help="Open the file in a browser, if there is one.")] = True,
) -> None:
    """Show what sharing weights means, as an interactive page.

    The page is one self-contained file, which you can send, embed or open offline.
    """
    from ..counting import explain
    from ..counting.drawing import describe_state
    from ..errors import ArgumentError
    from ..explorer import render_page
    from ..views.files import write_page

    state, title = None, "weightshare explorer"
    if layer is not None:
        explanation = explain(layer, input, sharing)
        state, title = describe_state(explanation), str(explanation.layer)
        if state is None:
            raise ArgumentError(
                "explore",
                "the layer must be a small enough convolution, and its input size must be known",
                f"{layer!r} " + ("without --input" if input is None else f"with input {input}"),
                "pass --input, e.g. --input 3x32x32" if explanation.input is None else None,
            )
    elif input is not None or sharing is not None:
        raise ArgumentError("explore", "--input and --sharing need a layer", "none", "name the layer first")
    write_page(out, render_page(state, title))
    print_escaped(str(out))
    if browser and _has_display():
        webbrowser.open(out.resolve().as_uri())


def _has_display() -> bool:
    """Return whether a browser can open a window, so that no text browser takes over the terminal."""
    if sys.platform in ("win32", "darwin"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
