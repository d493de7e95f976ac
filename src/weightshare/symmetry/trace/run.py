"""A recorded model on which shifts are measured."""

from collections.abc import Callable, Sequence
from math import isfinite
from typing import Any

import torch
from torch import Tensor

from ..._args import Size, is_sequence
from ..._running import evaluating
from ...pattern.shifts import border_of, signed
from ..outputs import to_real
from ..transforms import UndefinedError
from .layout import Layout, by_sizes, moved, of_input, positions, strides
from .propagate import propagated
from .tape import Tape


class Run:
    """A tape with the layouts of its tensors, on which shifts are measured."""

    def __init__(self, model: Any, tape: Tape, x: Tensor):
        self.model, self.tape, self.x = model, tape, x.clone()
        self.layouts: dict[int, Layout | None] = {tape.input: of_input(x.shape)}
        for step in tape.steps:
            self.layouts.update(zip(step.outputs, propagated(step, self.layouts, tape.values)))
        self.shapes = {ref: tensor.shape for ref, tensor in tape.values.items()}
        self.used = {tape.output, *(ref for step in tape.steps for ref in step.inputs)}
        if self.layouts[tape.output] is None:
            self.layouts[tape.output] = by_sizes(x.shape, tape.values[tape.output].shape)

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
        expected = self.moved(self.tape.output, model(self.x).clone(), shift)
        return None if expected is None else relative(model(self.shifted(shift)), expected)


def border_width(
    run: Run, ref: int, got: Tensor | None, expected: Tensor | None, shift: Sequence[int], floor: float
) -> int | None:
    """The width of the border outside of which there is no difference; None where there is no such."""
    layout = run.layouts[ref]
    if got is None or expected is None or layout is None or not strides(layout):
        return None
    if not got.is_complex():
        got, expected = to_real(got), to_real(expected)
    apart, largest = (got - expected).abs_(), expected.abs().max().item()
    if not isfinite(largest):  # equal infinities are no difference
        apart, largest = (
            apart.masked_fill_(got == expected, 0),
            expected[expected.isfinite()].abs().max().item(),
        )
    apart = positions(layout, apart)
    steps = [round(shift[axis] / stride) for axis, stride in sorted(strides(layout).items())]
    if apart.dim() != len(steps):
        return None
    inside = tuple(slice(max(0, s), max(0, n + min(0, s))) for s, n in zip(steps, apart.shape))
    exact = (apart[inside] <= floor * largest).cpu().numpy()
    widths = border_of(exact)
    return None if widths is None else max(max(pair) for pair in widths)


def relative(got: Tensor, expected: Tensor) -> float:
    """The length of the difference over that of what is expected; equal infinities are no difference."""
    got, expected = to_real(got), to_real(expected)
    apart, length = _length(got - expected), _length(expected)
    if not (isfinite(apart) and isfinite(length)):
        apart = _length(torch.where(got == expected, 0, got - expected))
        length = _length(expected.masked_fill(expected.isinf(), 0))
        apart = apart if isfinite(apart) else float("inf")
    return apart / length if length else (float("inf") if apart else 0.0)


def _length(tensor: Tensor) -> float:
    return torch.linalg.vector_norm(tensor, dtype=torch.float64).item()


def checked_shift(shift: Size, x: Tensor) -> tuple[int, ...]:
    """A shift for every axis, once around the circle left out."""
    axes = x.dim() - 2
    steps = signed("trace_equivariance", "shift", shift if is_sequence(shift) else (shift,) * axes, axes)
    return tuple(s if abs(s) < n else s % n for s, n in zip(steps, x.shape[2:]))
