"""`weightshare summary`."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Annotated

import typer

from ._model import Json, Model, Weights, build_model
from ._output import print_escaped

if TYPE_CHECKING:
    from torch.nn import Module

    from ..ledger import Summary

_ON_META = 'the meta device has no values; use "--device cpu"'


def command(
    model: Model,
    input: Annotated[
        list[str] | None,
        typer.Option(
            help="Shape of one example, e.g. 3x224x224, or data type (int, float or bool) and full shape,"
            " e.g. int:1x128. Repeat it for several inputs; ids=int:1x128 is a keyword input."
        ),
    ] = None,
    weights: Weights = None,
    device: Annotated[
        str,
        typer.Option(
            help='Device to build the model on ("meta" allocates no memory; --weights uses "cpu" instead).'
        ),
    ] = "meta",
    depth: Annotated[
        int | None, typer.Option(help="Levels of modules to list; deeper ones are merged into them.")
    ] = None,
    filter: Annotated[
        str | None, typer.Option(help='List only the modules that match, e.g. "layers.*.attn".')
    ] = None,
    no_fold: Annotated[bool, typer.Option("--no-fold", help="List equal blocks one by one.")] = False,
    explain: Annotated[str | None, typer.Option(help="Explain the size of one parameter or module.")] = None,
    reconcile: Annotated[
        int | None, typer.Option(help="Explain how a published count differs from this one.")
    ] = None,
    heading: Annotated[str, typer.Option(help='Column title for the counts, e.g. "Param #".')] = "parameters",
    as_json: Json = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
    html: Annotated[
        str | None, typer.Option(help="Also write a tree of the modules to this HTML file.")
    ] = None,
) -> None:
    """List the parameters of a model, and show which are shared.

    The output also shows how many parameters sharing saves.
    """
    forms = {
        "--json": as_json,
        "--markdown": as_markdown,
        "--explain": explain is not None,
        "--reconcile": reconcile is not None,
    }
    table = {"--depth": depth is not None, "--filter": filter is not None, "--no-fold": no_fold}
    _check_options(forms, table)
    answer = _summarize(model, _build(model, weights, device), input)
    if html is not None:
        answer.to_html(html)
    if as_json:
        text = answer.to_json()
    elif explain is not None:
        text = answer.explain(explain)
    elif reconcile is not None:
        text = str(answer.reconcile(reconcile))
    elif as_markdown:
        text = answer.to_markdown(heading, depth=depth, filter=filter, fold=not no_fold)
    else:
        text = answer.to_text(heading, depth=depth, filter=filter, fold=not no_fold)
    print_escaped(text)
    failures = [note.text for note in answer.warnings if note.code == "FORWARD_FAILED"]
    if any("meta" in text.lower() for text in failures):
        print(f"weightshare: the forward pass failed, maybe because {_ON_META}", file=sys.stderr)


def _check_options(forms: dict[str, bool], table: dict[str, bool]) -> None:
    """Check that at most one form is chosen, and that options of the table come with a table."""
    from ..errors import ArgumentError

    chosen = [name for name, is_given in forms.items() if is_given]
    if len(chosen) > 1:
        expected = f"only one of {', '.join(forms)} may be given"
        raise ArgumentError("summary", expected, " and ".join(chosen))
    shaping = [name for name, is_given in table.items() if is_given]
    if shaping and chosen and chosen != ["--markdown"]:
        expected = f"{', '.join(table)} apply to the table only"
        raise ArgumentError("summary", expected, " and ".join([*shaping, *chosen]))


def _build(model: str, weights: str | None, device: str) -> Module:
    """Return the model; if it cannot be built on the meta device, the error names the other device."""
    from ..errors import SpecError

    try:
        return build_model(model, weights, device)
    except SpecError as error:
        if device != "meta" or weights is not None or "meta" not in error.got.lower():
            raise
        raise SpecError(error.where, error.expected, error.got, _ON_META) from error


def _summarize(name: str, model: Module, inputs: list[str] | None) -> Summary:
    from ..ledger import summary
    from ..ledger.inputs import read_inputs
    from ..models.find import get_example_shape

    with redirect_stdout(sys.stderr):  # the model may print
        if not inputs:
            return summary(model, input_shape=get_example_shape(name))
        args, kwargs = read_inputs(model, inputs)
        return summary(model, *args, example_kwargs=kwargs or None)
