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
from ..error import FLOORS, check_finite, name_of, real, same, tensor_of
from ..running import evaluating
from ..transforms import UndefinedError
from .causes import causes
from .interventions import Interventions, intervened
from .layout import Layout, moved, of_input, plain, positions, strides, unit
from .propagate import propagated
from .tape import Step, Tape, recorded, same_constants


@dataclass(frozen=True)
class Row:
    """One operation.

    Args:
        name: The module's in the model, or the module around it and the function; a number behind it counts
            its calls.
        op: Type of the module, or the function.
        shape: Of its output.
        local: Its own relative error: for the smallest steps by which the positions of its inputs and outputs
            move as a whole, one along the first axis, two along the second. None where the positions cannot
            be followed through it.
        accumulated: Relative error of its output in the model for the shift traced. None where that shift is
            a part of a position here, or positions cannot be followed.
        exact_for: For every axis the step of the shifts for which everything up to here is exact, in pixels
            of the input: 4 for shifts by multiples of 4; 0 for an axis that was not shifted. None for none.
            It follows from the operations one by one: together they may be exact for more.
        followed: Whether positions could be followed up to here; `exact_for` says nothing where not.
        border: Positions at the borders of its map that the shift reaches differently, all operations before
            it included, what wrapped around left out; 0 for none, None where more than a border differs.
        causes: What it does to shifts: "padding", "valid border" (no padding: the map is no circle), "uneven
            size" (no multiple of the stride), "stride", "pooling", "windows", "flatten", "position
            embedding", "unshared weights", "mixes positions", "not followed"; empty for nothing.
        seen: False for a module whose inside could not be recorded.
    """

    name: str
    op: str
    shape: tuple[int, ...]
    local: float | None
    accumulated: float | None
    exact_for: tuple[int, ...] | None
    followed: bool
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
        rows: Of all operations on the way to the output, in order.
        first_loss: Name of the first operation behind which the shift is not exact, where the output is not;
            None where it is.
        exact_for: The shifts for which all operations are exact, as of a row; so is the model, at least.
        followed: Whether positions could be followed through all operations; `exact_for` is None where not.
        error: Relative error of the output; None where the shift is a part of a position of it.
        untraced: Operations or modules that could not be recorded, or that work with numbers of the input
            past torch.
        floor: Relative errors up to this are rounding.
    """

    shift: tuple[int, ...]
    rows: tuple[Row, ...]
    first_loss: str | None
    exact_for: tuple[int, ...] | None
    followed: bool
    error: float | None
    untraced: tuple[str, ...]
    floor: float
    _run: Any = field(repr=False, compare=False)

    @property
    def verdict(self) -> str:
        """One sentence."""
        which = (
            f"every operation keeps {group(self.exact_for)}" if self.exact_for else "no shift passes them all"
        )
        if not self.followed:
            behind = next(row.name for row in self.rows if not row.followed)
            which = f"behind {behind!r} positions cannot be followed"
        if self.first_loss is None:
            return f"the shift {self.shift} is kept; {which}"
        why = next(row.cause for row in self.rows if row.name == self.first_loss)
        error = "undefined for this stride" if self.error is None else f"relative error {self.error:.2g}"
        reason = f" ({why})" if why else ""
        return (
            f"the shift {self.shift} is lost at {self.first_loss!r}{reason}: {error} at the output; {which}"
        )

    def at(self, shift: Size) -> float | None:
        """The relative error of the output for another shift; None where it is a part of a position.

        Two forward passes of the model as it is now.
        """
        return self._run.measured(_checked_shift(shift, self._run.x))

    def interventions(self) -> Interventions:
        """Change one cause after the other and measure the output again: what each contributes.

        Padding becomes circular; a stride or pool becomes one by 1 with blur pooling behind it; a position
        embedding its mean; weights that are not shared their mean.

        Raises:
            SymmetryError: a shift that is a part of a position of the output.
        """
        return intervened(self._run, self.shift, self.rows)

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain data, for JSON; an infinite error is None there."""
        names = ("first_loss", "error", "exact_for", "followed", "verdict", "floor")
        found = {"shift": list(self.shift), **{n: getattr(self, n) for n in names}}
        found["error"] = finite(self.error)
        rows = [
            {**vars(row), "local": finite(row.local), "accumulated": finite(row.accumulated)}
            for row in self.rows
        ]
        return {**found, "untraced": list(self.untraced), "rows": rows}

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
        wanted = "x must be a tensor of floating point numbers [N, C, *spatial]"
        raise ArgumentError("trace_equivariance", wanted, got, "give a batch of images or signals")
    steps = _checked_shift(shift, x)
    with evaluating(model):
        tape, output = recorded(model, x)
        check_finite(model, tensor_of(model, output))
        _check_repeatable(model, x, tape, output)
        moved_tape, moved_output = recorded(model, moved(of_input(x.shape), x, steps))
        check_finite(model, tensor_of(model, moved_output))
        return _traced(_Run(model, tape, x), steps, output, moved_tape, moved_output)


class _Run:
    """A tape with the layouts of its tensors, on which shifts are measured."""

    def __init__(self, model: Any, tape: Tape, x: Tensor):
        self.model, self.tape, self.x = model, tape, x
        self.layouts: dict[int, Layout | None] = {tape.input: of_input(x.shape)}
        for step in tape.steps:
            self.layouts.update(zip(step.outputs, propagated(step, self.layouts, tape.values)))
        output = tape.values[tape.output]
        if self.layouts[tape.output] is None and output.dim() <= 2:  # no room for positions
            self.layouts[tape.output] = tuple(map(plain, output.shape))

    def moved(self, ref: int, tensor: Tensor, shift: Sequence[int]) -> Tensor | None:
        """A tensor after a shift of the input; None where that is not known."""
        layout = self.layouts[ref]
        try:
            return None if layout is None else moved(layout, tensor, shift)
        except UndefinedError:
            return None

    def shifted(self, shift: Sequence[int]) -> Tensor:
        """The input after a shift."""
        return moved(of_input(self.x.shape), self.x, shift)

    def measured(self, shift: Sequence[int]) -> float | None:
        """The relative error of the model's output."""
        with evaluating(self.model):
            return self._error(lambda x: self.model(x.clone()), shift)

    def replayed(self, shift: Sequence[int], instead: Any) -> float | None:
        """The same with some operations replaced."""
        with evaluating(self.model):
            return self._error(lambda x: self.tape.replay(x, instead), shift)

    def _error(self, model: Callable[[Tensor], Tensor], shift: Sequence[int]) -> float | None:
        wanted = self.moved(self.tape.output, model(self.x).clone(), shift)
        return None if wanted is None else relative(model(self.shifted(shift)), wanted)


def _traced(
    run: _Run, shift: tuple[int, ...], output: Tensor, moved_tape: Tape, moved_output: Tensor
) -> EquivarianceTrace:
    tape, floor = run.tape, FLOORS.get(run.x.dtype, 1e-5)
    direction = tuple((s > 0) - (s < 0) for s in shift)
    exact: tuple[int, ...] | None = tuple(map(abs, direction))
    rows, followed = [], True
    same_way = [(s.name, s.op) for s in tape.steps] == [(s.name, s.op) for s in moved_tape.steps]
    hidden = [step.name or name_of(run.model) for step in tape.steps if not step.seen] + tape.aliased
    for number, step in enumerate(tape.steps):
        ref = step.outputs[0]
        other = moved_tape.steps[number] if same_way else None
        past_torch = other is not None and not same_constants(step, other)
        if past_torch:
            hidden.append(step.name)
        local = _local(run, step, direction, floor)
        followed = followed and local.error is not None and not past_torch
        broken = local.error is not None and local.error > floor
        exact = _combined(exact, local.exact_for)
        wanted = run.moved(ref, tape.values[ref], shift)
        got = None if other is None else moved_tape.values[other.outputs[0]]
        accumulated = None if wanted is None or got is None else relative(got, wanted)
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
                border=0 if small else _border(run, ref, got, wanted, shift, floor),
                causes=causes(step, tape.values, run.layouts, broken, local.border, direction),
                seen=step.seen,
            )
        )
    wanted = run.moved(tape.output, output, shift)
    error = None if wanted is None else relative(moved_output, wanted)
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
    return None


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
        smallest = direction  # no positions left to move
    steps = _generic(smallest, run.x.shape[2:])
    first = _moved_error(run, step, steps, floor)
    if first.error is None or first.error <= floor:
        return _Local(first.error, tuple(map(abs, smallest)), 0)
    for times in _periods(step, first.border):
        if any(s and times * s % n == 0 for s, n in zip(steps, run.x.shape[2:])):
            continue  # once around
        later = _moved_error(run, step, tuple(times * s for s in steps), floor)
        if later.error is not None and later.error <= floor:
            return _Local(first.error, tuple(times * abs(s) for s in smallest), first.border)
    return first


def _generic(smallest: Sequence[int], size: Sequence[int]) -> tuple[int, ...]:
    """Different multiples along the axes, as what is only exact along a diagonal shall not pass."""
    found, times = [], 0
    for step, n in zip(smallest, size):
        times += bool(step)
        found.append(step * times if (step * times) % n else step)
    return tuple(found)


def _moved_error(run: _Run, step: Step, shift: tuple[int, ...], floor: float) -> _Local:
    values, ref = run.tape.values, step.outputs[0]
    inputs = {r: run.moved(r, values[r], shift) for r in step.inputs}
    wanted = run.moved(ref, values[ref], shift)
    if wanted is None or any(tensor is None for tensor in inputs.values()):
        return _Local(None, None, None)
    got = step.run(inputs)[0]  # type: ignore[arg-type]
    error = relative(got, wanted)
    border = 0 if error <= floor else _border(run, ref, got, wanted, shift, floor)
    return _Local(error, None, border)


def _periods(step: Step, border: int | None) -> range:
    """How many smallest steps may together be exact where one is not: of what is periodic in part."""
    sharing = getattr(step.module, "sharing", Full())
    if sharing not in (Full(), Local()) and not isinstance(sharing, LowRank):
        return range(2, 1 + max(step.module.output_size or (1,)) // 2)  # type: ignore[union-attr]
    return range(2, 9) if border is None and step.module is None else range(0)


def _border(
    run: _Run, ref: int, got: Tensor | None, wanted: Tensor | None, shift: Sequence[int], floor: float
) -> int | None:
    """The width of the border outside of which there is no difference; None where there is no such."""
    layout = run.layouts[ref]
    if got is None or wanted is None or layout is None or not strides(layout):
        return None
    if not got.is_complex():
        got, wanted = real(got), real(wanted)
    apart = positions(layout, (got - wanted).abs())
    steps = [round(shift[axis] / stride) for axis, stride in sorted(strides(layout).items())]
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
    got, wanted = real(got), real(wanted)
    apart = torch.linalg.vector_norm(got - wanted, dtype=torch.float64).item()
    length = torch.linalg.vector_norm(wanted, dtype=torch.float64).item()
    return apart / length if length else (float("inf") if apart else 0.0)


def finite(value: float | None) -> float | None:
    """None for what JSON has no number for."""
    return None if value == float("inf") else value


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


def _checked_shift(shift: Size, x: Tensor) -> tuple[int, ...]:
    axes = x.dim() - 2
    steps = signed("trace_equivariance", "shift", shift if is_sequence(shift) else (shift,) * axes, axes)
    if all(s % n == 0 for s, n in zip(steps, x.shape[2:])):
        wanted = f"shift must move something on a circle of {tuple(x.shape[2:])}"
        raise ArgumentError("trace_equivariance", wanted, str(shift), "use 1")
    return tuple(s if abs(s) < n else s % n for s, n in zip(steps, x.shape[2:]))


def _check_repeatable(model: Any, x: Tensor, tape: Tape, output: Tensor) -> None:
    """Run a second time; where it differs, name the first operation that does."""
    second = tensor_of(model, model(x.clone()))
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
