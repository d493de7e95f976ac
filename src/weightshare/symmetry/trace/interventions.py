"""Remove the causes that break equivariance, in all combinations needed, and measure the output again."""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations
from typing import NoReturn

import torch
from torch import Tensor

from ..._running import evaluating
from ..._torch import tree_map_only
from ...errors import SymmetryError
from ...sharing import Full
from ..outputs import is_close
from .causes import find_position_constants, is_mask
from .layout import Layout, get_strides
from .precision import Float64Mode
from .record import record_forward
from .row import Row
from .rules import Kind, find_operation, get_pad_widths, is_circular_pad
from .run import Compute, Run
from .tape import Step
from .windowed import compute_on_circle, pad_circularly, parse_window

#: Replacement for each cause.
CHANGES = {
    "padding": "circular padding",
    "down-sampling": "blur pooling before every stride",
    "position embedding": "its mean over positions",
    "mask": "attention to all positions",
    "unshared weights": "the nearest shared kernel",
    "resizing": "resizing of a map whose ends are joined",
}

#: Why some causes cannot be removed.
_REASONS = {
    "flatten": "each position has its own weights",
    "mask": "it treats positions differently on purpose",
    "mixes positions": "it has no equivariant form",
    "not followed": "its positions are unknown",
    "orientation": "the output is flipped or transposed",
    "recurrence": "it starts at one end",
    "resizing": "it aligns corners, or its factor is not whole",
    "uneven size": "no stride divides the size",
    "valid border": "there is no padding to change",
}

#: Causes of a row that are removed under another name.
_REMOVED_AS = {"stride": "down-sampling", "pooling": "down-sampling"}

#: Function that computes the outputs of a step from its inputs, without some causes.
Change = Callable[[Mapping[int, Tensor], Collection[str]], list[Tensor]]


@dataclass(frozen=True)
class Effect:
    """A frozen record of what one cause contributes to the error of the output.

    Args:
        cause: One of the keys of `CHANGES`.
        operations: Names of the operations that were changed.
        alone: Relative error of the output when all other causes are removed.
        without: Relative error of the output when only this cause is removed.
    """

    cause: str
    operations: tuple[str, ...]
    alone: float
    without: float


@dataclass(frozen=True)
class Interventions:
    """A frozen record of what each cause contributes to the error of the output; `str` is a report.

    Args:
        shift: Shift of the input.
        error: Relative error of the unchanged model.
        effects: One entry for each cause that can be removed.
        rest: Relative error when all of them are removed.
        interaction: `error` minus `rest` minus what each cause alone adds to `rest`. It is negative if causes
            hide each other.
        unchanged: Pairs (operation, cause) of the trace that could not be removed. They still contribute to
            all errors in this record.
    """

    shift: tuple[int, ...]
    error: float
    effects: tuple[Effect, ...]
    rest: float
    interaction: float
    unchanged: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        lines = [f"relative error of the output for shift {self.shift}: {self.error:.2g}"]
        for effect in self.effects:
            count = f"{len(effect.operations)} operation{'s' if len(effect.operations) > 1 else ''}"
            lines.append(
                f"  {effect.cause} ({count}): error {effect.alone:.2g} from this cause alone, "
                f"{effect.without:.2g} with {CHANGES[effect.cause]} instead"
            )
        if self.effects:
            lines.append(f"  all causes removed: error {self.rest:.2g}; interaction {self.interaction:+.2g}")
        elif not self.unchanged:
            lines.append("  no cause to remove")
        if self.unchanged:
            pairs = (
                f"{name} ({cause}{f': {_REASONS[cause]}' if cause in _REASONS else ''})"
                for name, cause in self.unchanged
            )
            lines.append(f"  could not be removed: {', '.join(pairs)}")
        return "\n".join(lines)


def intervene(run: Run, shift: tuple[int, ...], rows: Sequence[Row]) -> Interventions:
    """Remove each cause alone, all others, and all of them, and measure the output each time.

    Args:
        run: Recorded model.
        shift: Shift of the input.
        rows: Rows of the trace.

    Raises:
        SymmetryError: If the shift is not a whole number of output positions, or if a replay of the recorded
            operations does not reproduce the output of the model.
    """
    with evaluating(run.model):
        whole = run.measure(shift)
        if whole is None:
            _refuse_shift(run, shift, rows)
        if not is_close(run.forward(run.x), run.tape.replay(run.x)):
            expected = "a replay of the recorded operations must reproduce the output of the model"
            hint = "change the model by hand, and use equivariance_error"
            raise SymmetryError("interventions", expected, "another output", hint)
        return _measure_effects(run, shift, rows, whole)


def _refuse_shift(run: Run, shift: tuple[int, ...], rows: Sequence[Row]) -> NoReturn:
    """Raise an error that says why the error of the output is not defined for a shift."""
    if run.layouts[run.tape.output] is None:
        name = next((row.name for row in rows if not row.followed), "the model")
        raise SymmetryError(
            "interventions",
            "the positions of the output must be known",
            f"an output that cannot be followed through {name!r}",
            "trace a function that returns the tensor before it",
        )
    expected = "the shift must be a whole number of positions of the output"
    got = f"{shift}, undefined for this stride"
    raise SymmetryError("interventions", expected, got, "use a multiple of the stride")


@dataclass(frozen=True)
class _Change:
    """An operation that can be computed without some of its causes.

    Args:
        step: Step on the tape.
        causes: Causes that can be removed.
        compute: Function that computes the outputs without some causes.
        pads: Padding operations before it that are part of it.
    """

    step: Step
    causes: tuple[str, ...]
    compute: Change
    pads: tuple[Step, ...] = ()


def _measure_effects(run: Run, shift: tuple[int, ...], rows: Sequence[Row], whole: float) -> Interventions:
    exact = _find_exact_steps(run, shift)
    whole_steps = {step.name for step in run.tape.steps if _is_whole(run.layouts[step.outputs[0]], shift)}
    changes = [
        change
        for step in run.tape.steps
        if (change := _find_change(step, run, exact, step.name in whole_steps)) is not None
    ]
    causes = tuple(cause for cause in CHANGES if any(cause in change.causes for change in changes))
    errors = {frozenset(): whole}
    failed: set[tuple[str, str]] = set()
    for size in {1, len(causes) - 1, len(causes)} - {-1, 0}:
        for removed in map(frozenset, combinations(causes, size)):
            instead: dict[str, Compute] = {}
            for change in changes:
                chosen = removed.intersection(change.causes)
                if chosen:
                    instead[change.step.name] = partial(_run_changed, change, chosen, run, failed)
                    instead |= dict.fromkeys((pad.name for pad in change.pads), _skip)
            error = run.measure_replay(shift, instead)
            assert error is not None  # the shift is defined at the output, or `whole` would be None
            errors[removed] = error
    rest = errors[frozenset(causes)]
    changed = {
        cause: tuple(
            change.step.name
            for change in changes
            if cause in change.causes and (change.step.name, cause) not in failed
        )
        for cause in causes
    }
    effects = tuple(
        Effect(cause, operations, errors[frozenset(causes) - {cause}], errors[frozenset({cause})])
        for cause, operations in changed.items()
        if operations
    )
    interaction = whole - rest - sum(effect.alone - rest for effect in effects)
    unchanged = tuple(
        (row.name, cause)
        for row in rows
        for cause in row.causes
        if rest > run.floor
        and row.name not in exact
        and not (cause in _REMOVED_AS and row.name in whole_steps)
        and row.name not in changed.get(_REMOVED_AS.get(cause, cause), ())
    )
    return Interventions(shift, whole, effects, rest, interaction, unchanged)


def _find_exact_steps(run: Run, shift: Sequence[int]) -> set[str]:
    """Return the names of the operations that alone are exact for a shift."""
    tape, _ = record_forward(run.model, run.x, precise=run.precise)
    run.tape.values.update(tape.values)
    try:
        return {step.name for step in run.tape.steps if _is_exact(run, step, shift)}
    finally:
        run.tape.values.clear()


def _is_exact(run: Run, step: Step, shift: Sequence[int]) -> bool:
    shifted = {ref: run.shift(ref, run.tape.values[ref], shift) for ref in step.inputs}
    tensors = {ref: tensor for ref, tensor in shifted.items() if tensor is not None}
    if len(tensors) < len(shifted):
        return False
    results = step.run(tensors)
    pairs = ((ref, result) for ref, result in zip(step.outputs, results) if ref in run.used)
    return all(run.match(ref, result, shift).is_exact for ref, result in pairs)


def _is_whole(layout: Layout | None, shift: Sequence[int]) -> bool:
    """Return whether a shift is a whole number of positions in a tensor."""
    strides = {} if layout is None else get_strides(layout)
    return all((shift[axis] / stride).denominator == 1 for axis, stride in strides.items())


def _skip(step: Step, tensors: Mapping[int, Tensor]) -> list[Tensor]:
    """Leave out a padding operation that is computed as a part of a later one."""
    return [tensors[step.inputs[0]]]


def _run_changed(
    change: _Change,
    causes: Collection[str],
    run: Run,
    failed: set[tuple[str, str]],
    step: Step,
    tensors: Mapping[int, Tensor],
) -> list[Tensor]:
    """Compute a step without some causes, or without just one of them if removing all changes the shape.

    Args:
        change: The step and how to compute it.
        causes: Causes to remove.
        run: Recorded model.
        failed: Pairs (step, cause) that cannot be removed; new ones are added.
        step: Step on the tape.
        tensors: Inputs of the step.
    """
    for removed in ({*causes}, *({cause} for cause in causes)):
        if any((step.name, cause) in failed for cause in removed):
            continue
        try:
            results = _compute_changed(change, tensors, removed)
        except (RuntimeError, TypeError, ValueError):  # errors of this package are ValueErrors
            results = None
        if results is not None and results[0].shape == run.shapes[step.outputs[0]]:
            return results
        if len(removed) == 1:
            failed.update((step.name, cause) for cause in removed)
    if change.pads:  # they were left out
        return _compute_changed(change, tensors, ())
    return step.run(tensors)


def _compute_changed(change: _Change, tensors: Mapping[int, Tensor], causes: Collection[str]) -> list[Tensor]:
    """Compute a step without some causes, in the precision in which it was recorded."""
    with Float64Mode() if change.step.precise else nullcontext():
        return change.compute(tensors, causes)


def _find_change(step: Step, run: Run, exact: Collection[str], is_whole: bool) -> _Change | None:
    """Return how a step can be computed without its causes; None if there are none, or if it is exact.

    Args:
        step: Step on the tape.
        run: Recorded model.
        exact: Names of the steps that are exact for the shift.
        is_whole: Whether the shift is a whole number of positions in the output of the step, so that its
            stride does no harm.
    """
    layout, kind = run.layouts[step.outputs[0]], find_operation(step.op).kind
    if kind is Kind.PAD:
        is_alone = not is_circular_pad(step) and any(get_pad_widths(step)) and not _feeds_window(step, run)
        return (
            _Change(
                step,
                ("padding",),
                lambda tensors, _: [pad_circularly(tensors[step.inputs[0]], get_pad_widths(step))],
            )
            if is_alone
            else None
        )
    if step.name in exact:
        return None
    constants = find_position_constants(step, run.layouts)
    has_mask = any(map(is_mask, constants))
    if layout is not None and constants and has_mask == (kind is Kind.ATTENTION):
        cause, reduce = ("mask", _get_largest) if has_mask else ("position embedding", _get_mean)
        return _Change(
            step, (cause,), lambda tensors, _: _reduce_constants(step, layout, reduce).run(tensors)
        )
    if kind in (Kind.TRANSPOSED_CONVOLUTION, Kind.RESIZE) and len(step.inputs) == 1:
        cause = "padding" if kind is Kind.TRANSPOSED_CONVOLUTION else "resizing"
        return _Change(step, (cause,), lambda tensors, _: _join_ends(step, tensors))
    pads = _find_pads(step, run)
    window = parse_window(step, pads)
    if window is None:
        pads, window = (), parse_window(step)
    if window is None or len(step.inputs) != 1:
        return None

    def compute(tensors: Mapping[int, Tensor], removed: Collection[str]) -> list[Tensor]:
        changed = parse_window(step, pads, shared=True) if "unshared weights" in removed else window
        assert changed is not None
        return [
            changed(tensors[step.inputs[0]], circular="padding" in removed, blur="down-sampling" in removed)
        ]

    in_layout = run.layouts[step.inputs[0]] or ()
    has_halo = not pads and any(any(f.halo) or any(f.margin) for dim in in_layout for f in dim.factors)
    has_one_stride = len(set(window.stride)) == 1 and window.stride[0] > 1
    modes = window.mode if isinstance(window.mode, tuple) else (window.mode,) * len(window.padding)
    applies = {
        "padding": any(any(pair) and mode != "circular" for pair, mode in zip(window.padding, modes)),
        "down-sampling": has_one_stride and not (is_whole or window.has_fixed_size or has_halo),
        "unshared weights": getattr(step.module, "sharing", Full()) != Full(),
    }
    causes = tuple(cause for cause, is_present in applies.items() if is_present)
    return _Change(step, causes, compute, pads) if causes else None


def _find_pads(step: Step, run: Run) -> tuple[Step, ...]:
    """Return the padding operations, in order, that feed a step and nothing else."""
    pads: list[Step] = []
    ref = step.inputs[0]
    while True:
        source = next((s for s in run.tape.steps if ref in s.outputs), None)
        readers = sum(s.inputs.count(ref) for s in run.tape.steps)
        if source is None or find_operation(source.op).kind is not Kind.PAD or readers > 1:
            return tuple(reversed(pads))
        pads.append(source)
        ref = source.inputs[0]


def _feeds_window(step: Step, run: Run) -> bool:
    """Return whether a padding operation is part of a convolution or pool that it feeds."""
    ref = step.outputs[0]
    reader = next((s for s in run.tape.steps if ref in s.inputs), None)
    while reader is not None and find_operation(reader.op).kind is Kind.PAD:
        after = reader.outputs[0]
        reader = next((s for s in run.tape.steps if after in s.inputs), None)
    if reader is None:
        return False
    pads = _find_pads(reader, run)
    return step in pads and parse_window(reader, pads) is not None


def _join_ends(step: Step, tensors: Mapping[int, Tensor]) -> list[Tensor]:
    """Compute a step on a map whose ends are joined.

    Raises:
        ValueError: If it cannot be computed like that.
    """
    result = compute_on_circle(step, tensors[step.inputs[0]])
    if result is None:
        raise ValueError(step.name)
    return [result]


def _reduce_constants(step: Step, layout: Layout, reduce: Callable[[Tensor, int], Tensor]) -> Step:
    """Return the step with its constants reduced over positions, along each dimension that moves."""

    def change(tensor: Tensor) -> Tensor:
        for d, dim in enumerate(reversed(layout), start=1):
            if d > tensor.dim() or tensor.shape[-d] == 1 or not dim.moves:
                continue
            head = tensor.narrow(-d, 0, dim.prefix)
            tail = tensor.narrow(-d, dim.prefix, tensor.shape[-d] - dim.prefix)
            tensor = torch.cat([head, reduce(tail, -d).expand_as(tail)], -d)
        return tensor

    args, kwargs = tree_map_only(Tensor, change, (step.args, step.kwargs))
    return replace(step, args=args, kwargs=kwargs)


def _get_mean(tensor: Tensor, d: int) -> Tensor:
    return tensor.to(torch.float64).mean(d, keepdim=True).to(tensor.dtype)


def _get_largest(tensor: Tensor, d: int) -> Tensor:
    return tensor.amax(d, keepdim=True)
