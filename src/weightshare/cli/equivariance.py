"""`weightshare equivariance`."""

# some parameters of `torch.random` have no types
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import inspect
import json
import re
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .._memory import check_fits
from ..counting.sizes import format_compact_size, read_size
from ..errors import SpecError, SymmetryError, WeightshareError, describe_exception
from ..views.escape import quote
from ._model import Input, Json, Model, Weights, build_model
from ._output import print_escaped

if TYPE_CHECKING:
    from torch.nn import Module

    from ..symmetry import Transform
    from ..symmetry.trace.interventions import Effect, Interventions


def command(
    model: Model,
    input: Input = None,
    weights: Weights = None,
    shift: Annotated[
        list[str] | None,
        typer.Option(
            metavar="<str>",
            help="Shift in pixels, e.g. 1, or 0x3 for one number per axis. Repeatable: the first shift is "
            "traced; for the others, only the error is measured.",
        ),
    ] = None,
    transform: Annotated[
        str,
        typer.Option(
            metavar="<str>",
            help="Transform to trace: shift (circular), crop (two crops of an image, offset by --shift), "
            "rotate90 or flip:AXIS.",
        ),
    ] = "shift",
    interventions: Annotated[
        bool, typer.Option(help="Remove each cause and measure the error of the output again.")
    ] = True,
    seed: Annotated[int, typer.Option(min=0, max=2**64 - 1, help="Random seed for input and weights.")] = 0,
    as_json: Json = False,
) -> None:
    """Find where a model loses equivariance to shifts, rotations or flips, and why."""
    with redirect_stdout(sys.stderr):  # the model may print
        report = make_report(model, input, weights, shift or [], transform, interventions, seed, as_json)
    print_escaped(report)


def make_report(
    name: str,
    input: str | None,
    weights: str | None,
    shifts: Sequence[str],
    transform: str,
    interventions: bool,
    seed: int,
    as_json: bool,
) -> str:
    """Return the text that the command prints: the trace, the errors of other shifts and the interventions.

    Everything is computed in float64.

    Args:
        shifts: Shifts in the notation of `--shift`.
        transform: Transform in the notation of `--transform`.
        seed: Random seed of the standard normal input and of weights that are not loaded.
    """
    import torch

    from ..models.find import get_example_shape
    from ..pattern.modules import check_module
    from ..symmetry import trace_equivariance
    from ..symmetry.trace.numbers import replace_infinite
    from ..views.numbers import format_error

    steps = [_parse_shift(text) for text in shifts or ["1"]]
    moved = _parse_transform(transform, shifts, steps)
    size = get_example_shape(name) if input is None else _parse_size(input)
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        model = build_model(name, weights, "cpu")
        if size is None:
            hint = "add --input, e.g. --input 3x224x224"
            raise SpecError("equivariance", "needs the shape of one example", "none", hint)
        check_module(name, model)
        _check_inputs(name, model, size)
        with _catch_model_error(name, model, size):
            model = model.double().eval()
        _check_memory(model, size)
        x = torch.randn(1, *size, dtype=torch.float64)
    with _catch_model_error(name, model, size):
        if moved is not None:
            other = trace_equivariance(model, x, moved(x.dim() - 2))
            return json.dumps(other.to_dict(), indent=2) if as_json else str(other)
        trace = trace_equivariance(model, x, steps[0])
        others = {text: trace.at(step) for text, step in zip(shifts[1:], steps[1:])}
        changed, reason = None, ""
        if interventions:
            try:
                changed = trace.interventions()
            except SymmetryError as error:
                reason = str(error)
    if as_json:
        effects = None
        if changed is not None:
            effects = {**_get_fields(changed), "effects": list(map(_get_fields, changed.effects))}
        errors = {text: replace_infinite(error) for text, error in others.items()}
        return json.dumps({**trace.to_dict(), "shifts": errors, "interventions": effects}, indent=2)
    lines = [str(trace)]
    if others:
        errors = (
            f"relative error of the output for shift {text}: "
            f"{'undefined' if error is None else format_error(error)}"
            for text, error in others.items()
        )
        lines += ["", *errors]
    lines.append(f"\n{changed}" if changed is not None else f"\n{reason}" if reason else "")
    return "\n".join(lines).rstrip()


def _get_fields(record: Interventions | Effect) -> dict[str, Any]:
    """Return the fields of a record, with None for infinite errors."""
    from ..symmetry.trace.numbers import replace_infinite

    return {name: replace_infinite(v) if isinstance(v, float) else v for name, v in vars(record).items()}


def _parse_size(text: str) -> tuple[int, ...]:
    size = read_size(text)
    return (size,) if isinstance(size, int) else size


def _check_inputs(name: str, model: Module, size: Sequence[int]) -> None:
    """Raise an error if the model takes several inputs, or its input has no positions to shift."""
    required = _list_required_inputs(model)
    if len(required) > 1:
        hint = "name a factory whose model takes one input and sets the others itself"
        raise SymmetryError(name, "the model must take one input", ", ".join(required), hint)
    if len(size) > 1 and set(size[1:]) == {1}:
        expected = "--input must have an axis with more than one position, so that it can be shifted"
        raise SpecError("equivariance", expected, format_compact_size(size))


def _list_required_inputs(model: Module) -> list[str]:
    """Return the names of the arguments of `forward` without a default; [] if its signature is unknown."""
    try:
        parameters = inspect.signature(model.forward).parameters.values()
    except (TypeError, ValueError):
        return []
    stars = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [p.name for p in parameters if p.default is p.empty and p.kind not in stars]


def _check_memory(model: Module, size: Sequence[int]) -> None:
    """Raise an error if the tensors of a trace do not fit: those of a run, and as much again to compare them.

    They are counted in a run on the meta device. If the model cannot run there, only its input is counted.
    """
    import torch
    from torch.func import functional_call

    from ..symmetry.trace.record import record_forward

    x = torch.empty(1, *size, dtype=torch.float64, device="meta")
    values = [x]
    with suppress(Exception, SystemExit):
        state = {name: tensor.to("meta") for name, tensor in model.state_dict().items()}
        tape, _ = record_forward(partial(functional_call, model, state), x)
        values = [x, *tape.values.values()]
    needed = 2 * sum(value.numel() * value.element_size() for value in values)
    got = f"input {format_compact_size(size)} in float64"
    check_fits(SymmetryError, "equivariance", "the tensors of a trace", needed, got, "use a smaller --input")


@contextmanager
def _catch_model_error(name: str, model: Module, size: Sequence[int]) -> Generator[None]:
    """Return a context in which an exception from inside of the model becomes a `SymmetryError`."""
    from .._running import find_raising_module

    try:
        yield
    except (Exception, SystemExit) as error:  # a model can raise any exception
        where, module = find_raising_module(model, error)
        if isinstance(error, WeightshareError) and not where:
            raise
        place = f"an error in {where} ({type(module).__name__}): " if where else ""
        expected = f"the model must run on a float64 input of shape {format_compact_size(size)}"
        hint = "pass the shape that it takes with --input"
        raise SymmetryError(name, expected, place + describe_exception(error), hint) from error


def _parse_transform(
    text: str, shifts: Sequence[str], steps: Sequence[int | tuple[int, ...]]
) -> Callable[[int], Transform] | None:
    """Return a function from the number of axes to the transform of `--transform`; None for a shift."""
    from ..symmetry import flip, rotate90, translate

    name, _, axis = text.partition(":")
    if text == "shift":
        return None
    if text == "crop" and len(steps) == 1:
        (step,) = steps
        return lambda axes: translate((step,) * axes if isinstance(step, int) else step, "crop")
    if text != "crop" and shifts:
        expected = "--shift is for --transform shift or crop"
        raise SpecError("equivariance", expected, f"--transform {quote(text)}", "omit --shift")
    if text == "rotate90":
        return lambda axes: rotate90()
    if name == "flip" and re.fullmatch(r"-?[0-9]{1,3}", axis):
        return lambda axes: flip(int(axis))
    expected = "--transform must be shift, crop with one --shift, rotate90 or flip:AXIS"
    raise SpecError("equivariance", expected, quote(text), "write flip:0 to reverse the first axis")


def _parse_shift(text: str) -> int | tuple[int, ...]:
    if not re.fullmatch(r"-?[0-9]{1,9}(x-?[0-9]{1,9})*", text):
        raise SpecError(
            "equivariance",
            "--shift must be an integer number of pixels, or one per axis joined by x",
            quote(text),
            "write 1 or 0x3, for example",
        )
    values = tuple(map(int, text.split("x")))
    return values[0] if len(values) == 1 else values
