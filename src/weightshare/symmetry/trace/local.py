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
    """Move the inputs of an operation along every axis by itself and compare its outputs with its moved ones.

    Args:
        direction: Which axes to move along, and to which side.
        floor: Relative errors up to this are rounding.
    """
    outputs = [(place, ref) for place, ref in enumerate(step.outputs) if ref in run.used]
    layouts = [run.layouts[ref] for ref in (*step.inputs, *(ref for _, ref in outputs))]
    if any(layout is None for layout in layouts):
        return OfStep(None, None, None)
    smallest = unit(layouts, direction)  # type: ignore[arg-type]
    if not any(smallest):
        smallest = direction  # no positions left to move
    if _alike_everywhere(step):  # one shift along all axes tells as much
        error, _ = _moved_error(run, step, outputs, _generic(smallest, run.x.shape[2:]), None)
        exact = tuple(map(abs, smallest)) if error is not None and error <= floor else None
        return OfStep(error, exact, None)
    found = [_along(run, step, outputs, axis, s, floor) for axis, s in enumerate(smallest) if s]
    errors, periods, borders = zip(*found)
    if any(error is None for error in errors):
        return OfStep(None, None, None)
    left = iter(periods)
    exact = None if None in periods else tuple(next(left) if s else 0 for s in smallest)
    return OfStep(max(errors), exact, None if None in borders else max(borders))


def _alike_everywhere(step: Step) -> bool:
    """Whether an operation is a layer whose weights know no positions: torch's, or ours and `Full`."""
    if not step.seen or step.module is None:
        return False
    of_torch = type(step.module).__module__.startswith("torch.nn.modules.")
    ours = getattr(step.module, "bias_sharing", None) == getattr(step.module, "sharing", None) == Full()
    return of_torch or ours


def _generic(smallest: Sequence[int], size: Sequence[int]) -> tuple[int, ...]:
    """Different multiples along the axes."""
    found, times = [], 0
    for step, n in zip(smallest, size):
        times += bool(step)
        found.append(step * times if (step * times) % n else step)
    return tuple(found)


def _along(
    run: Run, step: Step, outputs: Sequence[tuple[int, int]], axis: int, smallest: int, floor: float
) -> tuple[float | None, int | None, int | None]:
    """(error of the smallest step along one axis, the step for which it is exact, the border where not)."""
    size = run.x.shape[2 + axis]

    def moved(steps: int) -> tuple[float | None, int | None]:
        shift = [0] * (run.x.dim() - 2)
        shift[axis] = steps
        return _moved_error(run, step, outputs, shift, floor)

    if smallest % size == 0:
        return float("inf"), None, None  # once around is the smallest whole step
    error, width = moved(smallest)
    if error is None or error <= floor:
        return error, abs(smallest), 0
    for times in _periods(step, width):
        if times * smallest % size:
            later, _ = moved(times * smallest)
            if later is not None and later <= floor:
                return error, abs(times * smallest), width
    return error, None, width


def _moved_error(
    run: Run, step: Step, outputs: Sequence[tuple[int, int]], shift: Sequence[int], floor: float | None
) -> tuple[float | None, int | None]:
    """(the largest error of the outputs, the width of the border where it is), the latter with a floor."""
    values = run.tape.values
    inputs = {ref: run.moved(ref, values[ref], shift) for ref in step.inputs}
    expected = {ref: run.moved(ref, values[ref], shift) for _, ref in outputs}
    if any(tensor is None for tensor in (*inputs.values(), *expected.values())):
        return None, None
    results = step.run(inputs)  # type: ignore[arg-type]
    errors = [(relative(results[place], expected[ref]), place, ref) for place, ref in outputs]  # type: ignore
    error, place, ref = max(errors)
    if floor is None:
        return error, None
    width = 0 if error <= floor else border_width(run, ref, results[place], expected[ref], shift, floor)
    return error, width


def _periods(step: Step, border: int | None) -> range:
    """How many smallest steps may together be exact where one is not: of what is periodic in part."""
    sharing = getattr(step.module, "sharing", Full())
    if sharing not in (Full(), Local()) and not isinstance(sharing, LowRank):
        return range(2, 1 + max(step.module.output_size or (1,)) // 2)  # type: ignore[union-attr]
    return range(2, 9) if border is None and step.module is None else range(0)
