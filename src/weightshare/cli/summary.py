"""`weightshare summary`."""

import sys
from contextlib import redirect_stdout
from typing import Annotated

import typer

from ._model import Input, Json, Model, Weights, build_model
from ._output import print_escaped


def command(
    model: Model,
    input: Input = None,
    weights: Weights = None,
    device: Annotated[
        str,
        typer.Option(
            help='Device to build the model on ("meta" allocates no memory; --weights needs "cpu").'
        ),
    ] = "meta",
    explain: Annotated[str | None, typer.Option(help="Explain the size of one parameter or module.")] = None,
    reconcile: Annotated[
        int | None, typer.Option(help="Explain how a published count differs from this one.")
    ] = None,
    heading: Annotated[str, typer.Option(help='Column title for the counts, e.g. "Param #".')] = "parameters",
    as_json: Json = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
) -> None:
    """List the parameters of a model, and show which are shared.

    The output also shows how many parameters sharing saves.
    """
    from ..errors import ArgumentError
    from ..ledger import summary
    from ..models.find import get_example_shape

    given = {
        "--json": as_json,
        "--markdown": as_markdown,
        "--explain": explain is not None,
        "--reconcile": reconcile is not None,
    }
    chosen = [name for name, is_given in given.items() if is_given]
    if len(chosen) > 1:
        expected = f"only one of {', '.join(given)} may be given"
        raise ArgumentError("summary", expected, " and ".join(chosen))
    module = build_model(model, weights, device)
    with redirect_stdout(sys.stderr):  # the model may print
        answer = summary(module, input_shape=get_example_shape(model) if input is None else input)
    if as_json:
        print_escaped(answer.to_json())
    elif explain is not None:
        print_escaped(answer.explain(explain))
    elif reconcile is not None:
        print_escaped(str(answer.reconcile(reconcile)))
    else:
        print_escaped(answer.to_markdown(heading) if as_markdown else answer.to_text(heading))
