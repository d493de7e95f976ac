"""Operations computed without what breaks their equivariance."""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..._torch import tree_map_only
from ...sharing import Full
from .causes import find_position_constants, is_mask
from .layout import Layout
from .precision import Float64Mode
from .rules import Kind, find_operation, get_pad_widths, is_circular_pad
from .run import Run
from .tape import Step
from .windowed import compute_on_circle, pad_circularly, parse_window

#: Function that computes the outputs of a step from its inputs, without some causes.
ComputeWithout = Callable[[Mapping[int, Tensor], Collection[str]], list[Tensor]]


@dataclass(frozen=True)
class Change:
    """An operation that can be computed without some of its causes.

    Args:
        step: Step on the tape.
        causes: Causes that can be removed.
        compute: Function that computes the outputs without some causes.
        pads: Padding operations before it that are part of it.
    """

    step: Step
    causes: tuple[str, ...]
    compute: ComputeWithout
    pads: tuple[Step, ...] = ()


def skip_pad(step: Step, tensors: Mapping[int, Tensor]) -> list[Tensor]:
    """Leave out a padding operation that is computed as a part of a later one."""
    return [tensors[step.inputs[0]]]


def run_changed(
    change: Change,
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


def _compute_changed(change: Change, tensors: Mapping[int, Tensor], causes: Collection[str]) -> list[Tensor]:
    """Compute a step without some causes, in the precision in which it was recorded."""
    with Float64Mode() if change.step.precise else nullcontext():
        return change.compute(tensors, causes)


def find_change(step: Step, run: Run, exact: Collection[str], is_whole: bool) -> Change | None:
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
            Change(
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
        permit = _get_smallest if _blocks_where_true(step, constants) else _get_largest
        cause, reduce = ("mask", permit) if has_mask else ("position embedding", _get_mean)
        return Change(step, (cause,), lambda tensors, _: _reduce_constants(step, layout, reduce).run(tensors))
    if kind in (Kind.TRANSPOSED_CONVOLUTION, Kind.RESIZE) and len(step.inputs) == 1:
        cause = "padding" if kind is Kind.TRANSPOSED_CONVOLUTION else "resizing"
        return Change(step, (cause,), lambda tensors, _: _join_ends(step, tensors))
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
    return Change(step, causes, compute, pads) if causes else None


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


def _blocks_where_true(step: Step, constants: Sequence[Tensor]) -> bool:
    """Return whether the masks of attention exclude positions where they are true, and not where false."""
    is_function = step.op == "scaled_dot_product_attention"
    return not is_function and all(constant.dtype == torch.bool for constant in constants)


def _get_mean(tensor: Tensor, d: int) -> Tensor:
    return tensor.to(torch.float64).mean(d, keepdim=True).to(tensor.dtype)


def _get_smallest(tensor: Tensor, d: int) -> Tensor:
    return tensor.amin(d, keepdim=True)


def _get_largest(tensor: Tensor, d: int) -> Tensor:
    return tensor.amax(d, keepdim=True)
