"""A recorded model on which shifts are measured."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ..._args import Size, is_sequence
from ...errors import ArgumentError
from ...pattern.shifts import border_of, signed
from ..error import real
from ..running import evaluating
from ..transforms import UndefinedError
from .layout import Layout, moved, of_input, plain, positions, strides
from .propagate import propagated
from .tape import Tape


class Run:
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


def border_width(
    run: Run, ref: int, got: Tensor | None, wanted: Tensor | None, shift: Sequence[int], floor: float
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


def relative(got: Tensor, wanted: Tensor) -> float:
    """The length of the difference over that of what is wanted."""
    got, wanted = real(got), real(wanted)
    apart = torch.linalg.vector_norm(got - wanted, dtype=torch.float64).item()
    length = torch.linalg.vector_norm(wanted, dtype=torch.float64).item()
    return apart / length if length else (float("inf") if apart else 0.0)


def checked_shift(shift: Size, x: Tensor) -> tuple[int, ...]:
    axes = x.dim() - 2
    steps = signed("trace_equivariance", "shift", shift if is_sequence(shift) else (shift,) * axes, axes)
    if all(s % n == 0 for s, n in zip(steps, x.shape[2:])):
        wanted = f"shift must move something on a circle of {tuple(x.shape[2:])}"
        raise ArgumentError("trace_equivariance", wanted, str(shift), "use 1")
    return tuple(s if abs(s) < n else s % n for s, n in zip(steps, x.shape[2:]))
