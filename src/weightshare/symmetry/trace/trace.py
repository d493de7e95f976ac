"""Which operation of a model loses a shift, for which shifts it still holds, and why."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import lcm
from typing import Any

import torch
from torch import Tensor

from ..._args import Size, is_sequence
from ...errors import ArgumentError, SymmetryError
from ...pattern.shifts import border_of, signed
from ...sharing import Full, Local, LowRank
from ..error import FLOORS, check_finite, name_of, same, tensor_of
from ..running import evaluating
from ..transforms import UndefinedError
from .causes import causes
from .interventions import Interventions, intervened
from .layout import Layout, moved, of_input, positions, strides, unit
from .propagate import propagated
from .tape import Step, Tape, recorded


@dataclass(frozen=True)
class Row:
    """One operation.

    Args:
        name: The module's in the model, or the module around it and the function.
        op: Type of the module, or the function.
        shape: Of its output.
        local: Its own relative error: for the smallest shift by which the positions of its inputs and outputs
            move as a whole. None where the positions cannot be followed through it.
        accumulated: Relative error of its output for the shift traced, all operations before it included.
            None where that shift is a part of a position here.
        exact_for: For every axis the step of the shifts for which everything up to here is exact, in pixels
            of the input: 4 for shifts by multiples of 4; 0 for an axis that was not shifted. None for none.
        border: Positions at the borders of its map that the shift reaches differently, all operations before
            it included; 0 where it is exact, None where more than a border differs.
        causes: What it does to shifts: "padding", "valid border", "stride", "pooling", "flatten",
            "position embedding", "unshared weights", "mixes positions"; empty for nothing.
        seen: False for a module whose inside could not be recorded.
    """

    name: str
    op: str
    shape: tuple[int, ...]
    local: float | None
    accumulated: float | None
    exact_for: tuple[int, ...] | None
    border: int | None
    causes: tuple[str, ...] = ()
    seen: bool = True

    @property
    def cause(self) -> str:
        """All causes, in words."""
        return ", ".join(self.causes)


@dataclass(frozen=True)
class EquivarianceTrace:
    """What became of a shift on its way through a model; `str` is the table of what changed it.

    Args:
        shift: Of the input, in pixels, circular.
        rows: Of all operations, in order.
        first_loss: Name of the first operation behind which the shift is not exact; None for none.
        exact_for: The shifts for which the whole model is exact, as of a row.
        error: Relative error of the output; None where the shift is a part of a position of it.
        untraced: Modules whose inside could not be recorded.
        floor: Relative errors up to this are rounding.
    """

    shift: tuple[int, ...]
    rows: tuple[Row, ...]
    first_loss: str | None
    exact_for: tuple[int, ...] | None
    error: float | None
    untraced: tuple[str, ...]
    floor: float
    _run: Any = field(repr=False, compare=False)

    @property
    def verdict(self) -> str:
        """One sentence."""
        kept = f"exact for {group(self.exact_for)}" if self.exact_for is not None else "exact for no shift"
        if self.first_loss is None:
            return f"the shift {self.shift} is kept; the model is {kept}"
        why = next(row.cause for row in self.rows if row.name == self.first_loss)
        error = "undefined for this stride" if self.error is None else f"relative error {self.error:.2g}"
        reason = f" ({why})" if why else ""
        lost = f"the shift {self.shift} is lost at {self.first_loss!r}{reason}"
        return f"{lost}: {error} at the output; the model is {kept}"

    def at(self, shift: Size) -> float | None:
        """The relative error of the output for another shift; None where it is a part of a position."""
        return self._run.error(_checked_shift(shift, len(self.shift)))

    def interventions(self) -> Interventions:
        """Change one cause after the other and measure the output again: what each contributes.

        Padding becomes circular; a stride or pool becomes one by 1 with blur pooling behind it; a position
        embedding its mean; weights that are not shared their mean.

        Raises:
            SymmetryError: a shift that is a part of a position of the output.
        """
        return intervened(self._run, self.shift, self.rows)

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain data, for JSON."""
        rows = [{**vars(row), "shape": list(row.shape), "causes": list(row.causes)} for row in self.rows]
        names = ("first_loss", "error", "exact_for", "verdict", "floor")
        return {
            "shift": list(self.shift),
            **{n: getattr(self, n) for n in names},
            "untraced": list(self.untraced),
            "rows": rows,
        }

    def __str__(self) -> str:
        shown = [row for row in self.rows if row.causes or not row.seen or row is self.rows[-1]]
        table = [("operation", "type", "output", "local", "so far", "exact for", "border", "cause")]
        for row in shown:
            exact = "no shift" if row.exact_for is None else group(row.exact_for).removeprefix("shifts in ")
            border = "" if not row.border else str(row.border)
            sizes = " x ".join(map(str, row.shape[1:]))
            table.append(
                (
                    row.name or "(model)",
                    row.op,
                    sizes,
                    number(row.local),
                    number(row.accumulated),
                    exact,
                    border,
                    row.cause,
                )
            )
        widths = [max(map(len, column)) for column in zip(*table)]
        lines = ["  ".join(cell.ljust(w) for cell, w in zip(line, widths)).rstrip() for line in table]
        hidden = len(self.rows) - len(shown)
        if hidden:
            lines.append(f"and {hidden} operations that change nothing")
        if self.untraced:
            lines.append(f"not seen inside: {', '.join(self.untraced)}")
        return "\n".join([self.verdict, "", *lines])


def trace_equivariance(model: Callable[[Tensor], Tensor], x: Tensor, shift: Size = 1) -> EquivarianceTrace:
    """Follow a circular shift of the input through every operation of a model.

    Every operation is asked for itself: moved inputs against moved outputs, by the smallest shift that moves
    its positions as a whole. From that follows for which shifts the model is exact up to it. The shift given
    is measured on the way too, all operations before included. Four forward passes in all.

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
        >>> conv = torch.nn.Conv2d(1, 4, 3, padding=1, padding_mode="circular")
        >>> model = torch.nn.Sequential(conv, torch.nn.ReLU(), torch.nn.MaxPool2d(2)).double().eval()
        >>> trace = trace_equivariance(model, torch.randn(1, 1, 8, 8, dtype=torch.float64))
        >>> print(trace.verdict)
        the shift (1, 1) is lost at '2' (pooling): undefined for this stride at the output; the model is ...
        >>> trace.exact_for, trace.at(2) < 1e-12
        ((2, 2), True)

    Source: errors by layer after Lenc and Vedaldi, "Understanding image representations by measuring their
    equivariance and equivalence", IJCV 2019, section 3; first layers to lose it after Zhang, ICML 2019.
    """
    if not isinstance(x, Tensor) or x.dim() < 3 or not x.is_floating_point():
        got = f"{x.dtype} of shape {list(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
        wanted = "x must be a tensor of floating point numbers [N, C, *spatial]"
        raise ArgumentError("trace_equivariance", wanted, got, "give a batch of images or signals")
    steps = _checked_shift(shift, x.dim() - 2)
    with evaluating(model):
        tape, output = recorded(model, x)
        check_finite(model, tensor_of(model, output))
        _check_repeatable(model, x, tape, output)
        return _traced(_Run(model, tape, x, output), steps)


class _Run:
    """A tape with the layouts of its tensors, on which shifts are measured."""

    def __init__(self, model: Any, tape: Tape, x: Tensor, output: Tensor):
        self.model, self.tape, self.x, self.output = model, tape, x, output
        self.layouts: dict[int, Layout | None] = {tape.input: of_input(x.shape)}
        for step in tape.steps:
            self.layouts.update(zip(step.outputs, propagated(step, self.layouts, tape.values)))
        if self.layouts[tape.output] is None and output.dim() <= 2:  # no room for positions
            self.layouts[tape.output] = of_input((*output.shape, 1)[:2])[: output.dim()]

    def moved(self, ref: int, tensor: Tensor, shift: Sequence[int]) -> Tensor | None:
        """A tensor after a shift of the input; None where that is not known."""
        layout = self.layouts[ref]
        try:
            return None if layout is None else moved(layout, tensor, shift)
        except UndefinedError:
            return None

    def error(self, shift: Sequence[int], instead: Any = None) -> float | None:
        """The relative error of the output, with some operations replaced."""
        with evaluating(self.model):
            output = self.tape.replay(self.x, instead) if instead else self.output
            wanted = self.moved(self.tape.output, output, shift)
            if wanted is None:
                return None
            x = self.moved(self.tape.input, self.x, shift)
            assert x is not None  # every shift of the input is one of its positions
            return relative(self.tape.replay(x, instead), wanted)


def _traced(run: _Run, shift: tuple[int, ...]) -> EquivarianceTrace:
    tape, values, floor = run.tape, run.tape.values, FLOORS.get(run.x.dtype, 1e-5)
    direction = tuple((s > 0) - (s < 0) for s in shift)
    exact: tuple[int, ...] | None = tuple(map(abs, direction))
    shifted: dict[int, Tensor] = {tape.input: moved(of_input(run.x.shape), run.x, shift)}
    last = {ref: number for number, step in enumerate(tape.steps) for ref in step.inputs}
    rows, first_loss = [], None
    for number, step in enumerate(tape.steps):
        shifted.update(zip(step.outputs, step.run(shifted)))
        ref = step.outputs[0]
        local = _local(run, step, direction, floor)
        exact = _combined(exact, local.exact_for)
        wanted = run.moved(ref, values[ref], shift)
        accumulated = None if wanted is None else relative(shifted[ref], wanted)
        row = Row(
            name=step.name,
            op=step.op,
            shape=tuple(values[ref].shape),
            local=local.error,
            accumulated=accumulated,
            exact_for=exact,
            border=0
            if accumulated is not None and accumulated <= floor
            else _border(run, ref, shifted[ref], wanted, shift, floor),
            causes=causes(step, values, run.layouts, local.exact_for, local.border, direction),
            seen=step.seen,
        )
        rows.append(row)
        if first_loss is None and not _within(shift, exact):
            first_loss = step.name
        for used in step.inputs:
            if last[used] == number:
                shifted.pop(used, None)
    error = run.moved(tape.output, run.output, shift)
    found = None if error is None else relative(shifted.get(tape.output, run.x), error)
    if first_loss is None and rows and found is not None and found > floor:
        first_loss = next(
            (r.name for r in rows if r.accumulated is None or r.accumulated > floor), rows[-1].name
        )
    untraced = tuple(step.name or name_of(run.model) for step in tape.steps if not step.seen)
    values.clear()  # the tape is kept, its numbers need not be
    return EquivarianceTrace(shift, tuple(rows), first_loss, exact, found, untraced, floor, run)


@dataclass(frozen=True)
class _Local:
    """An operation by itself: its error, the shifts for which it is exact, and the border where not."""

    error: float | None
    exact_for: tuple[int, ...] | None
    border: int | None


def _local(run: _Run, step: Step, direction: tuple[int, ...], floor: float) -> _Local:
    layouts = [run.layouts[ref] for ref in (*step.inputs, step.outputs[0])]
    if any(layout is None for layout in layouts):
        return _Local(None, None, None)
    smallest = unit(layouts, direction)  # type: ignore[arg-type]
    if not any(smallest):
        return _Local(0.0, tuple(map(abs, direction)), 0)  # no positions left to move
    first = _moved_error(run, step, smallest, floor)
    if first.exact_for is not None:
        return first
    for times in _periods(step):
        later = _moved_error(run, step, tuple(times * s for s in smallest), floor)
        if later.exact_for is not None:
            return _Local(first.error, later.exact_for, first.border)
    return first


def _moved_error(run: _Run, step: Step, shift: tuple[int, ...], floor: float) -> _Local:
    values, ref = run.tape.values, step.outputs[0]
    inputs = {r: run.moved(r, values[r], shift) for r in step.inputs}
    wanted = run.moved(ref, values[ref], shift)
    if wanted is None or any(tensor is None for tensor in inputs.values()):
        return _Local(None, None, None)
    got = step.run(inputs)[0]  # type: ignore[arg-type]
    error = relative(got, wanted)
    if error <= floor:
        return _Local(error, tuple(map(abs, shift)), 0)
    return _Local(error, None, _border(run, ref, got, wanted, shift, floor))


def _periods(step: Step) -> range:
    """How many smallest shifts may together be exact where one is not: of weights shared in part."""
    sharing = getattr(step.module, "sharing", Full())
    if sharing in (Full(), Local()) or isinstance(sharing, LowRank):
        return range(0)
    return range(2, 1 + max(step.module.output_size or (1,)) // 2)  # type: ignore[union-attr]


def _border(
    run: _Run, ref: int, got: Tensor, wanted: Tensor | None, shift: Sequence[int], floor: float
) -> int | None:
    """The width of the border outside of which there is no difference; None where there is no such."""
    layout = run.layouts[ref]
    if wanted is None or layout is None or not strides(layout):
        return None
    apart = positions(layout, (got - wanted).abs())
    steps = [int(shift[axis] / stride) for axis, stride in sorted(strides(layout).items())]
    if apart.dim() != len(steps):
        return None
    inside = tuple(slice(max(0, s), max(0, n + min(0, s))) for s, n in zip(steps, apart.shape))
    exact = (apart[inside] <= floor * wanted.abs().max()).cpu().numpy()
    widths = border_of(exact)
    return None if widths is None else max(max(pair) for pair in widths)


def _combined(before: tuple[int, ...] | None, own: tuple[int, ...] | None) -> tuple[int, ...] | None:
    """The shifts for which two operations are both exact."""
    if before is None or own is None:
        return None
    return tuple(lcm(a, b) if a and b else max(a, b) for a, b in zip(before, own))


def _within(shift: Sequence[int], exact: tuple[int, ...] | None) -> bool:
    return exact is not None and all(not e or s % e == 0 for s, e in zip(shift, exact))


def relative(got: Tensor, wanted: Tensor) -> float:
    """The length of the difference over that of what is wanted."""
    apart = torch.linalg.vector_norm(got - wanted).item()
    length = torch.linalg.vector_norm(wanted).item()
    return apart / length if length else (float("inf") if apart else 0.0)


def group(exact: Sequence[int] | None) -> str:
    """A group of shifts in words.

    >>> group((4, 4)), group((1, 1)), group((0, 2)), group((2, 4))
    ('shifts in 4Z', 'all shifts', 'shifts in 2Z', 'shifts in 2Z x 4Z')
    """
    steps = [s for s in exact or () if s]
    if all(s == 1 for s in steps):
        return "all shifts"
    parts = ["Z" if s == 1 else f"{s}Z" for s in steps]
    return f"shifts in {parts[0] if len(set(parts)) == 1 else ' x '.join(parts)}"


def number(value: float | None) -> str:
    """A relative error in a table.

    >>> number(0.0), number(1.234e-3), number(None)
    ('0', '0.0012', '-')
    """
    return "-" if value is None else f"{value:.2g}"


def _checked_shift(shift: Size, axes: int) -> tuple[int, ...]:
    steps = signed("trace_equivariance", "shift", shift if is_sequence(shift) else (shift,) * axes, axes)
    if not any(steps):
        raise ArgumentError("trace_equivariance", "shift must move something", str(shift), "use 1")
    return steps


def _check_repeatable(model: Any, x: Tensor, tape: Tape, output: Tensor) -> None:
    """Run a second time; where it differs, name the first operation that does."""
    second = tensor_of(model, model(x))
    if same(output, second):
        return
    again, _ = recorded(model, x)
    names = (
        step.name
        for step, other in zip(tape.steps, again.steps)
        if not same(tape.values[step.outputs[0]], again.values[other.outputs[0]])
    )
    raise SymmetryError(
        name_of(model),
        "the model must be deterministic",
        f"another output in the second run on one input, first at {next(names, 'an operation not seen')!r}",
        "turn off what draws random numbers, or fix its seed in forward",
    )
