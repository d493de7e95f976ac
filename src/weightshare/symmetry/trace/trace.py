"""Trace a shift through a model: which operation breaks equivariance, for which shifts it holds, and why."""

from collections.abc import Callable, Sequence
from math import lcm
from typing import Any

from torch import Tensor

from ..._args import Size
from ..._running import evaluating
from ...errors import ArgumentError
from ..outputs import FLOORS, check_callable, check_finite, check_repeatable, check_tensor, get_name, is_close
from .causes import find_causes
from .layout import lay_out_input, shift_tensor
from .local import measure_step
from .record import record_forward
from .result import EquivarianceTrace
from .row import Row
from .run import Run, compute_error, measure_border, parse_shift
from .tape import Tape, has_same_constants


def trace_equivariance(model: Callable[[Tensor], Tensor], x: Tensor, shift: Size = 1) -> EquivarianceTrace:
    """Trace a circular shift of the input through every operation of a model.

    Each operation is measured alone: its inputs are shifted by the smallest whole numbers of positions, and
    its outputs are compared with its shifted outputs. These results give shifts for which the model is exact
    up to each operation, for this input; it may be exact for more. The error of the given shift is also
    measured in the model itself. The model runs three times, and each operation runs alone at least once.

    If the output has positions, such as a map or tokens, it should shift with the input. If it has none, such
    as class scores, it should not change.

    Args:
        model: Model that maps [N, C, *spatial] to a tensor. A module in training mode is run in evaluation
            mode, with a warning, and its mode is restored.
        x: Input [N, C, *spatial]. Use float64 to separate real differences from rounding.
        shift: Shift in pixels: one number for all spatial axes, or one per axis.

    Raises:
        ArgumentError: If the model is not callable, the input has no spatial axes, or the shift is 0.
        SymmetryError: If the model returns another output in a second run. The error names the first
            operation that differs.

    Example:
        >>> import torch
        >>> conv = torch.nn.Conv2d(1, 4, 3, padding=1, padding_mode="circular")
        >>> model = torch.nn.Sequential(conv, torch.nn.ReLU(), torch.nn.MaxPool2d(2)).double().eval()
        >>> trace = trace_equivariance(model, torch.randn(1, 1, 8, 8, dtype=torch.float64))
        >>> print(trace.verdict)
        equivariance to shift (1, 1) is first lost at '2' (pooling); ... preserves shifts by multiples of 2
        >>> trace.exact_for, trace.at(2) < 1e-12
        ((2, 2), True)

    Source: errors by layer after Lenc and Vedaldi, "Understanding image representations by measuring their
    equivariance and equivalence", IJCV 2019, section 3; first layers that lose it after Zhang, ICML 2019.
    """
    check_callable("trace_equivariance", model)
    if not isinstance(x, Tensor) or x.dim() < 3 or not x.is_floating_point() or not x.numel():
        got = f"{x.dtype} of shape {list(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
        expected = "x must be a floating-point tensor [N, C, *spatial]"
        raise ArgumentError("trace_equivariance", expected, got)
    steps = parse_shift(shift, x)
    if not any(steps):
        expected = f"shift must not be a multiple of the input size {tuple(x.shape[2:])}"
        raise ArgumentError("trace_equivariance", expected, str(shift), "use 1")
    model = getattr(model, "_orig_mod", model)  # the model inside of torch.compile
    with evaluating(model):
        tape, output = record_forward(model, x)
        check_finite(model, check_tensor(model, output))
        second = check_tensor(model, model(x.clone()))
        check_repeatable(get_name(model), output, second, lambda: _find_random_step(model, x, tape))
        shifted_tape, shifted_output = record_forward(model, shift_tensor(lay_out_input(x.shape), x, steps))
        check_finite(model, check_tensor(model, shifted_output))
        return _build_trace(Run(model, tape, x), steps, output, shifted_tape, shifted_output)


def _build_trace(
    run: Run, shift: tuple[int, ...], output: Tensor, shifted_tape: Tape, shifted_output: Tensor
) -> EquivarianceTrace:
    tape, floor = run.tape, FLOORS.get(run.x.dtype, 1e-5)
    direction = tuple((s > 0) - (s < 0) for s in shift)
    exact: tuple[int, ...] | None = tuple(map(abs, direction))
    takes_same_path = [(s.name, s.op) for s in tape.steps] == [(s.name, s.op) for s in shifted_tape.steps]
    rows: list[Row] = []
    followed = takes_same_path
    untraced = [step.name for step in tape.steps if not step.seen] + tape.aliased + tape.decided
    for number, step in enumerate(tape.steps):
        place, ref = next((place, ref) for place, ref in enumerate(step.outputs) if ref in run.used)
        other = shifted_tape.steps[number] if takes_same_path else None
        reads_untraced = other is not None and not has_same_constants(step, other)
        if reads_untraced:
            untraced.append(step.name)
        local = measure_step(run, step, direction, floor)
        followed = followed and local.error is not None and not reads_untraced
        is_inexact = local.error is not None and local.error > floor
        exact = _combine(exact, local.exact_for)
        expected = run.shift(ref, tape.values[ref], shift)
        got = None if other is None else shifted_tape.values[other.outputs[place]]
        accumulated = None if expected is None or got is None else compute_error(got, expected)
        is_exact = accumulated is not None and accumulated <= floor
        rows.append(
            Row(
                name=step.name,
                op=step.op,
                shape=tuple(tape.values[ref].shape),
                local=local.error,
                accumulated=accumulated,
                exact_for=exact if followed else None,
                followed=followed,
                border=0 if is_exact else measure_border(run, ref, got, expected, shift, floor),
                causes=find_causes(step, ref, run.layouts, is_inexact, local.border, direction),
                seen=step.seen,
            )
        )
    expected = run.shift(tape.output, output, shift)
    error = None if expected is None else compute_error(shifted_output, expected)
    if not takes_same_path:
        untraced.append("another path for the shifted input")
    for each in (tape, shifted_tape):
        each.values.clear()  # frees the memory: later measurements compute all values again
    first_loss = _find_first_loss(rows, shift, error, floor)
    return EquivarianceTrace(
        shift=shift,
        rows=tuple(rows),
        first_loss=first_loss,
        exact_for=exact if followed else None,
        followed=followed,
        error=error,
        untraced=tuple(dict.fromkeys(untraced)),
        floor=floor,
        _run=run,
    )


def _find_first_loss(
    rows: Sequence[Row], shift: Sequence[int], error: float | None, floor: float
) -> str | None:
    """Return the first operation that loses the shift, as measured or else as implied by the rows."""
    if error is not None and error <= floor:
        return None
    for row in rows:
        if row.accumulated is not None and row.accumulated > floor:
            return row.name
        if row.accumulated is None and not (row.followed and _is_multiple(shift, row.exact_for)):
            return row.name
    return rows[-1].name if error is not None and rows else None


def _combine(before: tuple[int, ...] | None, own: tuple[int, ...] | None) -> tuple[int, ...] | None:
    """Return the shifts for which two operations are both exact."""
    if before is None or own is None:
        return None
    return tuple(lcm(a, b) if a and b else max(a, b) for a, b in zip(before, own))


def _is_multiple(shift: Sequence[int], exact_for: tuple[int, ...] | None) -> bool:
    return exact_for is not None and all(not step or s % step == 0 for s, step in zip(shift, exact_for))


def _find_random_step(model: Callable[..., Any], x: Tensor, tape: Tape) -> str | None:
    """Return the name of the first operation whose output differs in another run, if one was recorded."""
    again, _ = record_forward(model, x)
    names = (
        step.name
        for step, other in zip(tape.steps, again.steps)
        if not is_close(tape.values[step.outputs[0]], again.values[other.outputs[0]])
    )
    return next(names, None)
