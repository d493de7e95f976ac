"""`weightshare ties`."""

import typer

from ._model import Model, Weights, build_model, print_visible


def command(model: Model, weights: Weights = None) -> None:
    """List the tied weights of a model and check them; exit code 1 if a tie is broken."""
    from ..tying import check_tied_weights, find_tied_weights

    found = build_model(model, weights)
    report = check_tied_weights(found)
    print_visible(str(report))
    declared = {alias for alias, _ in report.intact}
    for tie in find_tied_weights(found):
        if tie.alias not in declared:
            print_visible(f"  found   {tie.alias} = {tie.source}: {tie.kind.replace('_', ' ')}")
    raise typer.Exit(0 if report.ok else 1)
