"""A recorded model on which shifts are measured."""

from collections.abc import Callable, Mapping, Sequence
from math import isfinite

import torch
from torch import Tensor

from ..._args import Size, is_sequence
from ..._running import evaluating
from ...pattern.shifts import check_shift, find_border
from ..outputs import to_real
from ..transforms import UndefinedError
from .layout import Layout, get_strides, guess_layout, lay_out_input, reduce_to_positions, shift_tensor
from .rules import propagate
from .tape import Step, Tape

#: Function from a step and the tensors so far to the results of the step.
Compute = Callable[[Step, Mapping[int, Tensor]], list[Tensor]]


class Run:
    """A recorded model, its input, and the layouts of all tensors.

    Args:
        model: Model as it was called.
        tape: Record of `model(x)`.
        x: Input [N, C, *spatial].
    """

    def __init__(self, model: Callable[[Tensor], Tensor], tape: Tape, x: Tensor):
        self.model, self.tape, self.x = model, tape, x.clone()
        self.layouts: dict[int, Layout | None] = {tape.input: lay_out_input(x.shape)}
        for step in tape.steps:
            self.layouts.update(zip(step.outputs, propagate(step, self.layouts, tape.values)))
        self.shapes = {ref: tensor.shape for ref, tensor in tape.values.items()}
        self.used = {tape.output, *(ref for step in tape.steps for ref in step.inputs)}
        if self.layouts[tape.output] is None:
            self.layouts[tape.output] = guess_layout(x.shape, tape.values[tape.output].shape)

    def shift(self, ref: int, tensor: Tensor, shift: Sequence[int]) -> Tensor | None:
        """Shift a tensor in the way that a shift of the input would; None if that is unknown or undefined."""
        layout = self.layouts[ref]
        try:
            return None if layout is None else shift_tensor(layout, tensor, shift)
        except UndefinedError:
            return None

    def measure(self, shift: Sequence[int]) -> float | None:
        """Return the relative error of the model's output; None if the shift is undefined there."""
        with evaluating(self.model):
            return self._measure(lambda x: self.model(x.clone()), shift)

    def measure_replay(self, shift: Sequence[int], instead: Mapping[str, Compute]) -> float | None:
        """Return the relative error of the output after replacing some operations, given by name."""
        with evaluating(self.model):
            return self._measure(lambda x: self.tape.replay(x, instead), shift)

    def _measure(self, model: Callable[[Tensor], Tensor], shift: Sequence[int]) -> float | None:
        expected = self.shift(self.tape.output, model(self.x).clone(), shift)
        if expected is None:
            return None
        shifted = shift_tensor(lay_out_input(self.x.shape), self.x, shift)
        return compute_error(model(shifted), expected)


def measure_border(
    run: Run, ref: int, got: Tensor | None, expected: Tensor | None, shift: Sequence[int], floor: float
) -> int | None:
    """Return the width of the border to which differences are confined; None if they are not confined to one.

    Args:
        run: Recorded model.
        ref: Number of the tensor on the tape.
        got, expected: Tensor for the shifted input, and shifted tensor; None if unknown.
        shift: Shift of the input. Positions that wrapped around are ignored.
        floor: Differences up to this, relative to the largest element, count as rounding errors.
    """
    layout = run.layouts[ref]
    if got is None or expected is None or layout is None or not get_strides(layout):
        return None
    if not got.is_complex():
        got, expected = to_real(got), to_real(expected)
    difference, largest = (got - expected).abs_(), expected.abs().max().item()
    if not isfinite(largest):  # equal infinities count as equal
        difference.masked_fill_(got == expected, 0)
        largest = expected[expected.isfinite()].abs().max().item()
    difference = reduce_to_positions(layout, difference)
    steps = [round(shift[axis] / stride) for axis, stride in sorted(get_strides(layout).items())]
    if difference.dim() != len(steps):
        return None
    not_wrapped = tuple(slice(max(0, s), max(0, n + min(0, s))) for s, n in zip(steps, difference.shape))
    exact = (difference[not_wrapped] <= floor * largest).cpu().numpy()
    widths = find_border(exact)
    return None if widths is None else max(max(pair) for pair in widths)


def compute_error(got: Tensor, expected: Tensor) -> float:
    """Return the norm of the difference relative to the norm of `expected`, ignoring equal infinities."""
    got, expected = to_real(got), to_real(expected)
    difference, length = _compute_norm(got - expected), _compute_norm(expected)
    if not (isfinite(difference) and isfinite(length)):
        difference = _compute_norm(torch.where(got == expected, 0, got - expected))
        length = _compute_norm(expected.masked_fill(expected.isinf(), 0))
        difference = difference if isfinite(difference) else float("inf")
    return difference / length if length else (float("inf") if difference else 0.0)


def parse_shift(shift: Size, x: Tensor) -> tuple[int, ...]:
    """Return one shift per spatial axis of `x`; a shift of a whole axis or more is taken modulo its size."""
    axes = x.dim() - 2
    given = shift if is_sequence(shift) else (shift,) * axes
    steps = check_shift("trace_equivariance", "shift", given, axes)
    return tuple(s if abs(s) < n else s % n for s, n in zip(steps, x.shape[2:]))


def _compute_norm(tensor: Tensor) -> float:
    return torch.linalg.vector_norm(tensor, dtype=torch.float64).item()
