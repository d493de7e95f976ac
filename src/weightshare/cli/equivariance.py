"""`weightshare equivariance`."""

# some parameters of `torch.random` have no types
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated

import typer

from ..counting.sizes import read_size
from ..errors import SpecError, SymmetryError
from ._model import Input, Json, Model, Weights, build_model, print_escaped


def command(
    model: Model,
    input: Input = None,
    weights: Weights = None,
    shift: Annotated[
        list[str] | None,
        typer.Option(
            metavar="<str>",
            help="Shift in pixels, e.g. 1 or 0x3; repeatable. The model is traced for the first shift; "
            "for all others only the error is measured.",
        ),
    ] = None,
    interventions: Annotated[bool, typer.Option(help="Remove each cause and measure again.")] = True,
    seed: Annotated[int, typer.Option(help="Random seed for input and weights.")] = 0,
    as_json: Json = False,
) -> None:
    """Find where a model loses shift equivariance, and why."""
    print_escaped(make_report(model, input, weights, shift or ["1"], interventions, seed, as_json))


def make_report(
    name: str,
    input: str | None,
    weights: str | None,
    shifts: Sequence[str],
    interventions: bool,
    seed: int,
    as_json: bool,
) -> str:
    """Return the text that the command prints: the trace, the errors of other shifts and the interventions.

    Everything is computed in float64.

    Args:
        shifts: Shifts in the notation of `--shift`.
        seed: Random seed of the standard normal input and of weights that are not loaded.
    """
    import torch

    from ..models.find import get_example_shape
    from ..symmetry import trace_equivariance
    from ..views.numbers import format_error

    steps = [_parse_shift(text) for text in shifts]
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        model = build_model(name, weights, "cpu").double().eval()
        x = torch.randn(1, *_parse_size(input or get_example_shape(name)), dtype=torch.float64)
    trace = trace_equivariance(model, x, steps[0])
    others = {text: trace.at(step) for text, step in zip(shifts[1:], steps[1:])}
    changed, reason = None, ""
    if interventions:
        try:
            changed = trace.interventions()
        except SymmetryError as error:
            reason = str(error)
    if as_json:
        effects = (
            None if changed is None else {**vars(changed), "effects": [vars(e) for e in changed.effects]}
        )
        return json.dumps({**trace.to_dict(), "shifts": others, "interventions": effects}, indent=2)
    lines = [str(trace)]
    if others:
        errors = (
            f"{text}: {'undefined' if error is None else format_error(error)}"
            for text, error in others.items()
        )
        lines.append(f"\nrelative error of the output for other shifts: {', '.join(errors)}")
    lines.append(f"\n{changed}" if changed is not None else f"\n{reason}" if reason else "")
    return "\n".join(lines).rstrip()


def _parse_size(shape: str | Sequence[int] | None) -> tuple[int, ...]:
    if shape is None:
        raise SpecError(
            "equivariance", "needs the shape of one example", "none", "add --input, e.g. --input 3x224x224"
        )
    size = read_size(shape) if isinstance(shape, str) else tuple(shape)
    return (size,) if isinstance(size, int) else size


def _parse_shift(text: str) -> int | tuple[int, ...]:
    try:
        values = tuple(int(part) for part in text.split("x"))
    except ValueError:
        raise SpecError(
            "equivariance",
            "--shift must be an integer number of pixels, or one per axis joined by x",
            repr(text),
            "write 1 or 0x3, for example",
        ) from None
    return values[0] if len(values) == 1 else values
