"""One operation by itself: for which shifts it is exact, on the numbers that it got."""

from collections.abc import Sequence
from dataclasses import dataclass

from ...sharing import Full, Local, LowRank
from .layout import unit
from .run import Run, border_width, relative
from .tape import Step


@dataclass(frozen=True)
class OfStep:
    """An operation by itself: its error, the shifts for which it is exact, and the border where not."""

    error: float | None
    exact_for: tuple[int, ...] | None
    border: int | None


def of_step(run: Run, step: Step, direction: tuple[int, ...], floor: float) -> OfStep:
    """Move the inputs of an operation and compare its output with its moved output.

    Args:
        direction: Which axes to move along, and to which side.
        floor: Relative errors up to this are rounding.
    """
    layouts = [run.layouts[ref] for ref in (*step.inputs, step.outputs[0])]
    if any(layout is None for layout in layouts):
        return OfStep(None, None, None)
    smallest = unit(layouts, direction)  # type: ignore[arg-type]
    if not any(smallest):
        smallest = direction  # no positions left to move
    steps = _generic(smallest, run.x.shape[2:])
    first = _moved_error(run, step, steps, floor)
    if first.error is None or first.error <= floor:
        return OfStep(first.error, tuple(map(abs, smallest)), 0)
    for times in _periods(step, first.border):
        if any(s and times * s % n == 0 for s, n in zip(steps, run.x.shape[2:])):
            continue  # once around
        later = _moved_error(run, step, tuple(times * s for s in steps), floor)
        if later.error is not None and later.error <= floor:
            return OfStep(first.error, tuple(times * abs(s) for s in smallest), first.border)
    return first


def _generic(smallest: Sequence[int], size: Sequence[int]) -> tuple[int, ...]:
    """Different multiples along the axes, as what is only exact along a diagonal shall not pass."""
    found, times = [], 0
    for step, n in zip(smallest, size):
        times += bool(step)
        found.append(step * times if (step * times) % n else step)
    return tuple(found)


def _moved_error(run: Run, step: Step, shift: tuple[int, ...], floor: float) -> OfStep:
    values, ref = run.tape.values, step.outputs[0]
    inputs = {r: run.moved(r, values[r], shift) for r in step.inputs}
    wanted = run.moved(ref, values[ref], shift)
    if wanted is None or any(tensor is None for tensor in inputs.values()):
        return OfStep(None, None, None)
    got = step.run(inputs)[0]  # type: ignore[arg-type]
    error = relative(got, wanted)
    border = 0 if error <= floor else border_width(run, ref, got, wanted, shift, floor)
    return OfStep(error, None, border)


def _periods(step: Step, border: int | None) -> range:
    """How many smallest steps may together be exact where one is not: of what is periodic in part."""
    sharing = getattr(step.module, "sharing", Full())
    if sharing not in (Full(), Local()) and not isinstance(sharing, LowRank):
        return range(2, 1 + max(step.module.output_size or (1,)) // 2)  # type: ignore[union-attr]
    return range(2, 9) if border is None and step.module is None else range(0)
