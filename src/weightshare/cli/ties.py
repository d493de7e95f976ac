"""`weightshare ties`."""

import typer

from ._model import Model, Weights, build_model
from ._output import print_escaped


def command(model: Model, weights: Weights = None) -> None:
    """List and check the tied weights of a model.

    The exit code is 1 if a tie is broken.
    """
    from ..tying import check_tied_weights, find_tied_weights

    module = build_model(model, weights)
    report = check_tied_weights(module)
    print_escaped(str(report))
    reported = {name for pair in report.intact for name in pair}
    reported |= {name for problem in (*report.broken, *report.warnings) for name in problem.names}
    for tie in find_tied_weights(module):
        if tie.alias not in reported:
            print_escaped(f"  found   {tie.alias} = {tie.source}: {tie.kind.replace('_', ' ')}")
    raise typer.Exit(0 if report.ok else 1)
