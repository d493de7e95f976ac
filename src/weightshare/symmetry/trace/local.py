"""Measure a single operation: its own error, and the shifts for which it is exact."""

from collections.abc import Sequence
from dataclasses import dataclass

from ...sharing import Full, Local, LowRank
from .layout import find_smallest_shift
from .run import Run, compute_error, measure_border
from .tape import Step


@dataclass(frozen=True)
class LocalError:
    """A frozen record of how one operation alone responds to shifts of its inputs.

    Args:
        error: Relative error; None if positions cannot be followed through the operation.
        exact_for: For each axis, the number for whose multiples the operation is exact; None if there is
            none.
        border: Width of the border to which the error is confined; None if it is not confined to a border, or
            if the border was not measured.
    """

    error: float | None
    exact_for: tuple[int, ...] | None
    border: int | None


def measure_step(run: Run, step: Step, direction: tuple[int, ...], floor: float) -> LocalError:
    """Shift the inputs of an operation along each axis in turn, and compare the outputs.

    Args:
        run: Recorded model.
        step: Operation to measure.
        direction: Sign of the shift along each axis; 0 for an axis that is not shifted.
        floor: Relative errors up to this count as rounding errors.
    """
    outputs = [(place, ref) for place, ref in enumerate(step.outputs) if ref in run.used]
    layouts = [run.layouts[ref] for ref in (*step.inputs, *(ref for _, ref in outputs))]
    known = [layout for layout in layouts if layout is not None]
    if len(known) < len(layouts):
        return LocalError(None, None, None)
    smallest = find_smallest_shift(known, direction)
    if not any(smallest):
        smallest = direction  # no positions are left to move
    if _is_same_at_all_positions(step):  # one shift along all axes is enough
        shift = _choose_multiples(smallest, run.x.shape[2:])
        error, _ = _measure_shift(run, step, outputs, shift, None)
        exact = tuple(map(abs, smallest)) if error is not None and error <= floor else None
        return LocalError(error, exact, None)
    measured = [_measure_axis(run, step, outputs, axis, s, floor) for axis, s in enumerate(smallest) if s]
    errors, periods, borders = zip(*measured)
    if any(error is None for error in errors):
        return LocalError(None, None, None)
    remaining = iter(periods)
    exact = None if None in periods else tuple(next(remaining) if s else 0 for s in smallest)
    return LocalError(max(errors), exact, None if None in borders else max(borders))


def _is_same_at_all_positions(step: Step) -> bool:
    """Return whether an operation is a layer with the same weights at all positions."""
    if not step.seen or step.module is None:
        return False
    is_torch_layer = type(step.module).__module__.startswith("torch.nn.modules.")
    sharings = (getattr(step.module, "bias_sharing", None), getattr(step.module, "sharing", None))
    return is_torch_layer or sharings == (Full(), Full())


def _choose_multiples(smallest: Sequence[int], size: Sequence[int]) -> tuple[int, ...]:
    """Return a different multiple of the smallest shift for each axis, so that swapped axes are detected."""
    shift: list[int] = []
    times = 0
    for step, n in zip(smallest, size):
        times += bool(step)
        shift.append(step * times if (step * times) % n else step)
    return tuple(shift)


def _measure_axis(
    run: Run, step: Step, outputs: Sequence[tuple[int, int]], axis: int, smallest: int, floor: float
) -> tuple[float | None, int | None, int | None]:
    """Measure an operation along one axis.

    Returns:
        The error for the smallest shift, the number for whose multiples the operation is exact, and the width
        of the border if it is not exact for the smallest shift.
    """
    size = run.x.shape[2 + axis]

    def measure(steps: int) -> tuple[float | None, int | None]:
        shift = [0] * (run.x.dim() - 2)
        shift[axis] = steps
        return _measure_shift(run, step, outputs, shift, floor)

    if smallest % size == 0:
        return float("inf"), None, None  # the smallest whole shift goes once around the circle
    error, width = measure(smallest)
    if error is None or error <= floor:
        return error, abs(smallest), 0
    for times in _list_multiples(step, width):
        if times * smallest % size:
            multiple_error, _ = measure(times * smallest)
            if multiple_error is not None and multiple_error <= floor:
                return error, abs(times * smallest), width
    return error, None, width


def _measure_shift(
    run: Run, step: Step, outputs: Sequence[tuple[int, int]], shift: Sequence[int], floor: float | None
) -> tuple[float | None, int | None]:
    """Return the largest error of the outputs, and the width of the border there if `floor` is not None."""
    refs = {*step.inputs, *(ref for _, ref in outputs)}
    shifted = {ref: run.shift(ref, run.tape.values[ref], shift) for ref in refs}
    tensors = {ref: tensor for ref, tensor in shifted.items() if tensor is not None}
    if len(tensors) < len(refs):
        return None, None
    results = step.run(tensors)
    errors = [(compute_error(results[place], tensors[ref]), place, ref) for place, ref in outputs]
    error, place, ref = max(errors)
    if floor is None:
        return error, None
    width = 0 if error <= floor else measure_border(run, ref, results[place], tensors[ref], shift, floor)
    return error, width


def _list_multiples(step: Step, border: int | None) -> range:
    """Return the multiples to try if the smallest shift is not exact, for operations that may be periodic."""
    sharing = getattr(step.module, "sharing", Full())
    if sharing not in (Full(), Local()) and not isinstance(sharing, LowRank):
        return range(2, 1 + max(getattr(step.module, "output_size", None) or (1,)) // 2)
    return range(2, 9) if border is None and step.module is None else range(0)
