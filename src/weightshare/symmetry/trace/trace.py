"""Which operation of a model loses a shift, for which shifts it still holds, and why."""

from collections.abc import Callable, Sequence
from math import lcm
from typing import Any

from torch import Tensor

from ..._args import Size
from ..._running import evaluating
from ...errors import ArgumentError
from ..outputs import FLOORS, check_finite, check_repeatable, check_tensor, get_name, is_close
from .causes import causes
from .layout import moved, of_input
from .local import of_step
from .record import recorded
from .result import EquivarianceTrace, Row
from .run import Run, border_width, checked_shift, relative
from .tape import Tape, same_constants


def trace_equivariance(model: Callable[[Tensor], Tensor], x: Tensor, shift: Size = 1) -> EquivarianceTrace:
    """Follow a circular shift of the input through every operation of a model.

    Every operation is asked for itself: moved inputs against moved outputs, by the smallest steps that move
    its positions as a whole. From that follows for which shifts the model is exact up to it, at least, on
    this input. The shift given is measured on the way too, in the model. Four forward passes in all.

    The output may keep positions (a map, tokens), or none (classes): then it should not change.

    Args:
        model: From [N, C, *spatial] to a tensor. A module in training mode is run in evaluation mode, which
            a warning says, and is left as it was.
        x: An input; in float64 whatever is not rounding stands out best.
        shift: In pixels, for every spatial axis, or one number for all.

    Raises:
        ArgumentError: an input without spatial axes, a shift of 0.
        SymmetryError: a model that gives something else the second time, naming the first operation.

    Example:
        >>> import torch
        >>> conv = torch.nn.Conv2d(1, 4, 3, padding=1, padding_mode="circular")
        >>> model = torch.nn.Sequential(conv, torch.nn.ReLU(), torch.nn.MaxPool2d(2)).double().eval()
        >>> trace = trace_equivariance(model, torch.randn(1, 1, 8, 8, dtype=torch.float64))
        >>> print(trace.verdict)
        the shift (1, 1) is lost at '2' (pooling): undefined for this stride at the output; every ...
        >>> trace.exact_for, trace.at(2) < 1e-12
        ((2, 2), True)

    Source: errors by layer after Lenc and Vedaldi, "Understanding image representations by measuring their
    equivariance and equivalence", IJCV 2019, section 3; first layers to lose it after Zhang, ICML 2019.
    """
    if not isinstance(x, Tensor) or x.dim() < 3 or not x.is_floating_point() or not x.numel():
        got = f"{x.dtype} of shape {list(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
        expected = "x must be a tensor of floating point numbers [N, C, *spatial]"
        raise ArgumentError("trace_equivariance", expected, got, "give a batch of images or signals")
    steps = checked_shift(shift, x)
    if not any(steps):
        expected = f"shift must move something on a circle of {tuple(x.shape[2:])}"
        raise ArgumentError("trace_equivariance", expected, str(shift), "use 1")
    model = getattr(model, "_orig_mod", model)  # of torch.compile
    with evaluating(model):
        tape, output = recorded(model, x)
        check_finite(model, check_tensor(model, output))
        second = check_tensor(model, model(x.clone()))
        check_repeatable(get_name(model), output, second, lambda: _find_random_step(model, x, tape))
        moved_tape, moved_output = recorded(model, moved(of_input(x.shape), x, steps))
        check_finite(model, check_tensor(model, moved_output))
        return _traced(Run(model, tape, x), steps, output, moved_tape, moved_output)


def _traced(
    run: Run, shift: tuple[int, ...], output: Tensor, moved_tape: Tape, moved_output: Tensor
) -> EquivarianceTrace:
    tape, floor = run.tape, FLOORS.get(run.x.dtype, 1e-5)
    direction = tuple((s > 0) - (s < 0) for s in shift)
    exact: tuple[int, ...] | None = tuple(map(abs, direction))
    same_way = [(s.name, s.op) for s in tape.steps] == [(s.name, s.op) for s in moved_tape.steps]
    rows, followed = [], same_way
    hidden = [step.name for step in tape.steps if not step.seen] + tape.aliased + tape.decided
    for number, step in enumerate(tape.steps):
        place, ref = next((k, r) for k, r in enumerate(step.outputs) if r in run.used)
        other = moved_tape.steps[number] if same_way else None
        past_torch = other is not None and not same_constants(step, other)
        if past_torch:
            hidden.append(step.name)
        local = of_step(run, step, direction, floor)
        followed = followed and local.error is not None and not past_torch
        broken = local.error is not None and local.error > floor
        exact = _combined(exact, local.exact_for)
        expected = run.moved(ref, tape.values[ref], shift)
        got = None if other is None else moved_tape.values[other.outputs[place]]
        accumulated = None if expected is None or got is None else relative(got, expected)
        small = accumulated is not None and accumulated <= floor
        rows.append(
            Row(
                name=step.name,
                op=step.op,
                shape=tuple(tape.values[ref].shape),
                local=local.error,
                accumulated=accumulated,
                exact_for=exact if followed else None,
                followed=followed,
                border=0 if small else border_width(run, ref, got, expected, shift, floor),
                causes=causes(step, ref, run.layouts, broken, local.border, direction),
                seen=step.seen,
            )
        )
    expected = run.moved(tape.output, output, shift)
    error = None if expected is None else relative(moved_output, expected)
    untraced = tuple(dict.fromkeys(hidden if same_way else [*hidden, "another way for the moved input"]))
    for each in (tape, moved_tape):
        each.values.clear()  # the tape is kept, its numbers need not be
    first_loss = _first_loss(rows, shift, error, floor)
    exact = exact if followed else None
    return EquivarianceTrace(shift, tuple(rows), first_loss, exact, followed, error, untraced, floor, run)


def _first_loss(rows: Sequence[Row], shift: Sequence[int], error: float | None, floor: float) -> str | None:
    """What was measured in the model counts; where that is undefined, what follows from the operations."""
    if error is not None and error <= floor:
        return None
    for row in rows:
        if row.accumulated is not None and row.accumulated > floor:
            return row.name
        if row.accumulated is None and not (row.followed and _within(shift, row.exact_for)):
            return row.name
    return rows[-1].name if error is not None and rows else None


def _combined(before: tuple[int, ...] | None, own: tuple[int, ...] | None) -> tuple[int, ...] | None:
    """The shifts for which two operations are both exact."""
    if before is None or own is None:
        return None
    return tuple(lcm(a, b) if a and b else max(a, b) for a, b in zip(before, own))


def _within(shift: Sequence[int], exact: tuple[int, ...] | None) -> bool:
    return exact is not None and all(not e or s % e == 0 for s, e in zip(shift, exact))


def _find_random_step(model: Any, x: Tensor, tape: Tape) -> str:
    """Return the name of the first operation whose output differs in another run."""
    again, _ = recorded(model, x)
    names = (
        step.name
        for step, other in zip(tape.steps, again.steps)
        if not is_close(tape.values[step.outputs[0]], again.values[other.outputs[0]])
    )
    return next(names, "an operation not seen")
