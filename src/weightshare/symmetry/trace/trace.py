"""Trace a shift through a model: which operation breaks equivariance, for which shifts it holds, and why."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, overload

import torch
from torch import Tensor

from ..._args import Size
from ..._running import evaluating
from ...errors import ArgumentError
from ...pattern.modules import check_module
from ..outputs import (
    FLOORS,
    check_callable,
    check_dense_input,
    check_finite,
    check_repeatable,
    check_tensor,
    get_name,
)
from ..transforms import Flip, Rotate90, Transform, Translate
from .causes import find_causes
from .claims import LocalError, Verifier, combine, is_multiple, measure_step
from .record import record_forward
from .result import EquivarianceTrace
from .row import Row
from .run import Comparison, Run, find_random_step, parse_shift
from .tape import Tape
from .transformed import TransformTrace, trace_crops, trace_turn
from .turns import Turn

#: The output in float64 may differ by this many times the floor of the model's own precision.
_PRECISION_FACTOR = 1e3

#: Factor of the numbers at the ends of each axis in some random inputs.
_AT_THE_ENDS = 10.0


@overload
def trace_equivariance(
    model: Callable[[Tensor], Tensor], x: Tensor, shift: Size = 1
) -> EquivarianceTrace: ...


@overload
def trace_equivariance(
    model: Callable[[Tensor], Tensor], x: Tensor, shift: Transform
) -> EquivarianceTrace | TransformTrace: ...


def trace_equivariance(
    model: Callable[[Tensor], Tensor], x: Tensor, shift: Size | Transform = 1
) -> EquivarianceTrace | TransformTrace:
    """Trace a circular shift of the input, or another transform, through every operation of a model.

    First, each operation is measured alone: its inputs are shifted by the smallest whole number of positions,
    one axis at a time, and the results are compared with its shifted outputs. This shows for which shifts the
    model should be exact. Then the model itself runs on shifted inputs, and the output of every operation is
    compared, element by element. A shift along an axis is reported as exact only if it passes this test. The
    test uses a random input, since zeros and constants in an image hide differences, and is repeated on `x`.
    The error for the given shift is measured on `x`.

    Everything is computed in float64, whatever the precision of the model, and the model is not changed. A
    model that cannot run in float64, such as a scripted one, runs in its own precision.

    If the output has positions, such as a map or tokens, it should shift with the input. If it has none, such
    as class scores, it should not change.

    Args:
        model: Model that maps [N, C, *spatial] to a tensor. A module in training mode runs in evaluation
            mode, with a warning, and its mode is restored.
        x: Input [N, C, *spatial].
        shift: Shift in pixels, one number for all spatial axes or one per axis, or a transform. Axes with
            shift 0 are not examined. `translate(shift, "crop")` compares two overlapping crops of one image
            and finds the border in which they differ. `rotate90()` and `flip(axis)` find the operation that
            is not equivariant to a rotation or a reflection.

    Returns:
        An `EquivarianceTrace` for a circular shift, and a `TransformTrace` for other transforms.

    Raises:
        ArgumentError: If the model is not callable, or is lazy or on the meta device; if the input has no
            spatial axes, or only one position; if the shift is 0 or a multiple of the input size; if the
            transform is not supported; or if the output is empty.
        SymmetryError: If the output is not finite, or differs in a second run. In that case, the error names
            the first operation that differs.

    Example:
        >>> import torch
        >>> conv = torch.nn.Conv2d(1, 4, 3, padding=1, padding_mode="circular")
        >>> model = torch.nn.Sequential(conv, torch.nn.ReLU(), torch.nn.MaxPool2d(2)).eval()
        >>> trace = trace_equivariance(model, torch.randn(1, 1, 8, 8))
        >>> print(trace.verdict)
        equivariance to shift (1, 1) is first lost at '2' (pooling); ... multiples of 2 are preserved
        >>> trace.exact_for, trace.at(2) < 1e-12
        ((2, 2), True)
        >>> from weightshare.symmetry import translate
        >>> print(trace_equivariance(conv, torch.randn(1, 1, 8, 8), translate((1, 1), "crop")).verdict)
        translate((1, 1), 'crop') is preserved in the interior; ... (1, 1) along axis 0, (1, 1) along axis 1

    Source: the errors per layer follow Lenc and Vedaldi, "Understanding image representations by measuring
    their equivariance and equivalence", IJCV 2019, section 3, and the first loss follows Zhang, "Making
    convolutional networks shift-invariant again", ICML 2019.
    """
    check_callable("trace_equivariance", model)
    if not isinstance(x, Tensor) or x.dim() < 3 or not x.is_floating_point() or not x.numel():
        got = f"{x.dtype} of shape {list(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
        expected = "x must be a floating-point tensor [N, C, *spatial]"
        raise ArgumentError("trace_equivariance", expected, got)
    check_dense_input("trace_equivariance", x)
    if set(x.shape[2:]) == {1}:
        expected = "x must have an axis with more than one position"
        raise ArgumentError("trace_equivariance", expected, str(list(x.shape)))
    check_module("trace_equivariance", model)
    turn = Turn.of(shift, x) if isinstance(shift, Rotate90 | Flip) else None
    steps = parse_shift(_get_shift(shift), x) if turn is None else ()
    if isinstance(shift, Translate) and shift.mode == "crop" and any(map(_exceeds, shift.shift, x.shape[2:])):
        expected = f"two crops must overlap: shift must be less than the input size {tuple(x.shape[2:])}"
        raise ArgumentError("trace_equivariance", expected, str(shift.shift))
    if turn is None and not any(steps):
        expected = f"shift must not be a multiple of the input size {tuple(x.shape[2:])}"
        raise ArgumentError("trace_equivariance", expected, str(shift), "use 1")
    model = getattr(model, "_orig_mod", model)  # the model inside of torch.compile
    with evaluating(model):
        precise, tape, output = _record(model, x)
        low, high = x.min().item(), x.max().item()
        scale = max(abs(low), abs(high))
        small, whole = min(0.2 * scale, 1.0), (low, high - low)
        spreads = (small, -small, whole)  # the model may take the branch of `x` for the opposite
        made = (_record_generic(model, x, tape, precise, spread) for spread in spreads)
        generic = next((each for each in made if each is not None), None)
        run = Run(model, tape, x, output, precise=precise, like=generic)
        runs = [run] if generic is None else [generic, run]
        if turn is not None:
            for each in runs:  # turned weights of the model agree up to its own precision
                each.floor = FLOORS.get(x.dtype, 1e-5)
            return trace_turn(runs, turn, _name(shift))
        if isinstance(shift, Translate) and shift.mode == "crop":
            return trace_crops(runs, steps, _name(shift))

        kinds = [(spread, 1.0) for spread in (whole, scale, 0.1)]
        kinds += [(spread, _AT_THE_ENDS) for spread in (1.0, 0.1, scale)]
        more = (
            _record_generic(model, x, tape, precise, spread, generic, seed, at_ends)
            for seed, (spread, at_ends) in enumerate(kinds, start=1)
        )
        return _build_trace(runs, steps, (each for each in more if each is not None))


def _get_shift(shift: Size | Transform) -> Size:
    """Return the shift of a transform that moves pixels by whole numbers.

    Raises:
        ArgumentError: If it is another transform.
    """
    if isinstance(shift, Translate) and shift.mode != "fractional":
        return shift.shift
    if isinstance(shift, Transform):
        expected = 'the transform must be a shift, translate(shift, "crop"), rotate90() or flip()'
        raise ArgumentError("trace_equivariance", expected, repr(shift), "use equivariance_error")
    return shift


def _exceeds(shift: float, size: int) -> bool:
    return abs(shift) >= size


def _name(transform: Size | Transform) -> str:
    """Return a transform as it was written."""
    if isinstance(transform, Translate):
        return f"translate({transform.shift}, {transform.mode!r})"
    if isinstance(transform, Rotate90):
        return f"rotate90({transform.turns})"
    return f"flip({transform.axis})" if isinstance(transform, Flip) else str(transform)


def _record(model: Callable[[Tensor], Tensor], x: Tensor) -> tuple[bool, Tape, Tensor | None]:
    """Record a run on the input, in float64 if possible.

    Returns:
        Whether it is in float64, the tape without values, and the output; None if it is the same in a second
        run.

    Raises:
        SymmetryError: If the output is not finite, or differs in a second run.
    """
    if x.dtype == torch.float64:
        tape, output = record_forward(model, x, observe=_forget)
        _check_output(model, output)
        return False, tape, output
    output = model(x.clone())
    _check_output(model, output)
    try:
        tape, wide = record_forward(model, x, precise=True, observe=_forget)
        if _is_same_function(output, wide):
            return True, tape, wide
    except (RuntimeError, TypeError, NotImplementedError):
        pass  # it computes in its own precision, such as a scripted model
    tape, again = record_forward(model, x, observe=_forget)
    check_repeatable(get_name(model), output, again, lambda: find_random_step(model, x, False))
    return False, tape, None


def _check_output(model: Callable[[Tensor], Tensor], output: Any) -> None:
    """Raise an error unless a model returned a tensor with elements, all of them finite."""
    if not check_tensor(model, output).numel():
        raise ArgumentError(get_name(model), "the output must have elements", str(list(output.shape)))
    check_finite(model, output)


def _forget(number: int, tensor: Tensor) -> None:
    """Keep no values on a tape."""


def _is_same_function(output: Tensor, wide: Any) -> bool:
    """Return whether an output in float64 is that of the model's own precision, up to its rounding."""
    if not isinstance(wide, Tensor) or wide.shape != output.shape or not wide.isfinite().all():
        return False
    largest = wide.abs().max().item() if wide.numel() else 0.0
    floor = min(1e-1, _PRECISION_FACTOR * FLOORS.get(output.dtype, 1e-5))
    return bool(((output - wide).abs() <= floor * max(largest, 1e-3)).all())


def _record_generic(
    model: Callable[[Tensor], Tensor],
    x: Tensor,
    tape: Tape,
    precise: bool,
    spread: float | tuple[float, float],
    like: Run | None = None,
    seed: int = 0,
    at_ends: float = 1.0,
) -> Run | None:
    """Record a run on a random input; None if the model does something else there.

    The numbers are uniform from a start over a width, or normal with a standard deviation, so that they are
    of both signs: a model may be constant in a part of the range, as after saturation. At both ends of each
    axis they are multiplied by `at_ends`: the maximum of a map is then where its border is.
    """
    generator = torch.Generator(x.device).manual_seed(seed)
    dtype = torch.float64 if precise else x.dtype
    if isinstance(spread, tuple):
        start, width = spread
        generic = (
            torch.rand(x.shape, generator=generator, device=x.device, dtype=dtype) * (width or 1.0) + start
        )
    else:
        generic = torch.randn(x.shape, generator=generator, device=x.device, dtype=dtype) * (spread or 1.0)
    for d in range(2, x.dim() if at_ends != 1 else 2):
        generic.select(d, 0).mul_(at_ends)
        generic.select(d, -1).mul_(at_ends)
    try:
        other, output = record_forward(model, generic, precise=precise)
    except Exception:  # a model may refuse what is not a picture
        return None
    is_same = [(s.name, s.op, len(s.outputs)) for s in other.steps] == [
        (s.name, s.op, len(s.outputs)) for s in tape.steps
    ]
    shapes_agree = is_same and all(
        shape == tape.shapes[ref] for ref, shape in other.shapes.items() if ref in tape.shapes
    )
    if not shapes_agree or not isinstance(output, Tensor) or not output.isfinite().all():
        return None
    return Run(model, other, generic, precise=precise, like=like)


def _build_trace(runs: Sequence[Run], shift: tuple[int, ...], more: Iterator[Run]) -> EquivarianceTrace:
    """Derive and verify the claims; the last run is that of the given input."""
    run, axes = runs[-1], [bool(s) for s in shift]
    tape = run.tape
    runs[0].load()
    local = [measure_step(runs[0], step, axes) for step in runs[0].tape.steps]
    runs[0].mover.computed.clear()
    verifier = Verifier(runs, more)
    derived = _derive(local, axes)
    expected = derived[-1] if derived else tuple(map(int, axes))
    found = [
        verifier.search(axis, expected[axis]) if axes[axis] else None for axis in range(len(axes))
    ]  # all of it on the first run, so that the values of one run are in memory at a time
    given = verifier.use(len(runs) - 1).compare(shift, borders=True)
    claims = tuple(
        None if best is None else verifier.confirm(axis, best, expected[axis])
        for axis, best in enumerate(found)
    )
    rows: list[Row] = []
    followed = given.takes_same_path
    for number, step in enumerate(tape.steps):
        ref = run.get_output(step)
        followed = given.takes_same_path and local[number].error is not None
        followed = followed and (ref != tape.output or run.is_output_known)
        exact = tuple(
            verifier.find_row_claim(axis, number, hypothesis) if axes[axis] else None
            for axis, hypothesis in enumerate(derived[number])
        )
        rows.append(
            Row(
                name=step.name,
                op=step.op,
                shape=tuple(run.shapes[ref]),
                local=local[number].error,
                accumulated=given.steps[number].error,
                exact_along=exact if followed else None,
                followed=followed,
                borders=given.steps[number].borders,
                causes=find_causes(step, ref, run.layouts, local[number], axes),
                seen=step.seen,
            )
        )
    untraced = [step.name for step in tape.steps if not step.seen] + tape.decided + [*given.changed]
    if not given.takes_same_path:
        untraced.append("the other path taken for the shifted input")
    is_joint = given.output.is_exact and not is_multiple(shift, claims)
    is_joint = is_joint and verifier.holds_jointly(shift)
    verifier.release()
    return EquivarianceTrace(
        shift=shift,
        rows=tuple(rows),
        first_loss=_find_first_loss(rows, given, run.is_output_known),
        exact_along=claims if run.is_output_known else None,
        is_joint=bool(is_joint),
        followed=followed,
        error=given.output.error,
        fractional=given.output.fractional,
        untraced=tuple(dict.fromkeys(untraced)),
        floor=run.floor,
        _run=run,
    )


def _derive(local: Sequence[LocalError], axes: Sequence[bool]) -> list[tuple[int, ...]]:
    """Return what the operations up to each one allow, as measured on each of them alone."""
    derived: list[tuple[int, ...]] = []
    so_far = tuple(map(int, axes))
    for each in local:
        so_far = combine(so_far, each.claims)
        derived.append(so_far)
    return derived


def _find_first_loss(rows: Sequence[Row], given: Comparison, is_output_known: bool) -> str | None:
    """Return the first operation that loses the shift, as far as that is known."""
    if given.output.is_exact or not is_output_known:
        return None
    for row, match in zip(rows, given.steps):
        if match.is_exact is False or (match.is_exact is None and row.followed):
            return row.name
    return rows[-1].name if rows else None
