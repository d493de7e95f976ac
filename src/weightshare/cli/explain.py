"""`weightshare explain`."""

from typing import Annotated

import typer

from ._model import Json
from ._output import print_escaped


def command(
    layer: Annotated[
        str,
        typer.Argument(help='Layer in PyTorch or Keras notation, e.g. "Conv2d(3, 96, 11, stride=4)".'),
    ],
    input: Annotated[
        str | None,
        typer.Option(help="Input size, e.g. 3x227x227, or 227x227 without channels; Keras: 227x227x3."),
    ] = None,
    sharing: Annotated[
        str | None,
        typer.Option(help="Sharing to count, e.g. full, tiled:2, regional:4x4, lowrank:4 or local."),
    ] = None,
    as_json: Json = False,
    html: Annotated[str | None, typer.Option(help="Also write the derivation to this HTML file.")] = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Print all sections, as on the HTML page.")
    ] = False,
) -> None:
    """Explain the parameter count of a layer or a Sequential.

    The output also compares the counts of a convolution under different sharings.
    """
    from ..counting import explain

    explanation = explain(layer, input, sharing)
    if html is not None:
        explanation.to_html(html)
    print_escaped(explanation.to_json() if as_json else explanation.to_text(verbose=verbose))
