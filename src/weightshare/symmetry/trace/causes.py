"""Find out why an operation breaks equivariance."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..._torch import tree_iter
from ...sharing import Full
from .claims import LocalError
from .layout import Layout, Layouts, get_strides
from .rules import Kind, find_operation
from .tape import Step

#: The exponential of smaller numbers is within the rounding of float64.
_NEGLIGIBLE = -36.0


def find_causes(
    step: Step, ref: int, layouts: Layouts, local: LocalError, axes: Sequence[bool]
) -> tuple[str, ...]:
    """Return the reasons why an operation breaks equivariance; empty if it preserves all shifts.

    Args:
        step: Operation.
        ref: Number of the output that the model uses.
        layouts: Layouts of the tensors on the tape.
        local: How the operation alone responds to shifts.
        axes: Whether each axis is examined.
    """
    causes: list[str] = []
    known = [layout for number in step.inputs if (layout := layouts[number]) is not None]
    after = layouts[ref]
    if len(known) < len(step.inputs) or after is None or local.error is None:
        return ("not followed",) if known else ()
    if getattr(step.module, "sharing", Full()) != Full():
        causes.append("unshared weights")
    elif not local.is_exact:
        causes.append(_name_cause(step, layouts, local.borders is not None))
        if causes == ["padding"] and _is_uneven(step, layouts):
            causes.append("uneven size")
    strides_before = {axis: stride for layout in known for axis, stride in get_strides(layout).items()}
    strides_after = get_strides(after)
    if any(
        axis in strides_after and abs(strides_after[axis].numerator) > abs(stride.numerator)
        for axis, stride in strides_before.items()
        if axes[axis]
    ):
        kind = find_operation(step.op).kind
        causes.append("pooling" if kind.is_pool else "windows" if kind is Kind.RESHAPE else "stride")
    return tuple(causes)


def find_position_constants(step: Step, layouts: Layouts) -> list[Tensor]:
    """Return the constants that differ between positions, of a function that joins them with its input or of
    attention.
    """
    after, kind = layouts[step.outputs[0]], find_operation(step.op).kind
    if after is None or not (kind is Kind.ATTENTION or (kind is Kind.JOIN and step.module is None)):
        return []
    leaves = tree_iter((step.args, step.kwargs))
    return [leaf for leaf in leaves if isinstance(leaf, Tensor) and _is_position_dependent(leaf, after)]


def is_mask(constant: Tensor) -> bool:
    """Return whether a constant excludes positions: booleans, or numbers whose exponential is negligible."""
    if not constant.is_floating_point():
        return constant.dtype == torch.bool
    return bool((constant < _NEGLIGIBLE).any())


def is_padded(step: Step) -> bool:
    """Return whether an operation pads its input, other than a layer with circular padding."""
    operation = find_operation(step.op)
    if operation.kind is Kind.PAD:
        return True
    module: Any = step.module
    mode = getattr(module, "padding_mode", "zeros")
    if mode == "circular":
        return False
    padding = operation.read(step, "padding", 0)
    if not isinstance(mode, str):  # one mode per axis
        pairs = module.window.padding
        return any(any(pair) and of_axis != "circular" for pair, of_axis in zip(pairs, mode))
    if isinstance(padding, str):
        return padding != "valid"
    if not isinstance(padding, Sequence):
        return bool(padding)
    return any(any(pair) if isinstance(pair, Sequence) else pair for pair in padding)


def _name_cause(step: Step, layouts: Layouts, has_border: bool) -> str:
    """Return why an operation with shared weights is inexact even for the smallest shift."""
    kind, before = find_operation(step.op).kind, layouts[step.inputs[0]] or ()
    if kind is Kind.LINEAR and before and before[-1].moves:
        return "flatten"
    constants = find_position_constants(step, layouts)
    if constants:
        return "mask" if any(map(is_mask, constants)) else "position embedding"
    if kind is Kind.ATTENTION and _has_mask(step):
        return "mask"
    if kind.has_window:  # on a small map, the border may be everything
        if (
            kind is Kind.TRANSPOSED_CONVOLUTION
            or is_padded(step)
            or any(any(dim.first.margin) for dim in before)
        ):
            return "padding"
        return "uneven size" if _is_uneven(step, layouts) else "valid border"
    if kind in (Kind.FLIP, Kind.PERMUTE):
        return "orientation"
    if kind is Kind.NORMALIZATION:
        return "unshared weights"
    if kind is Kind.RESIZE:
        return "resizing"
    if kind is Kind.RECURRENT:
        return "recurrence"
    if step.views:
        return "mask"
    return "valid border" if kind is Kind.INDEX and has_border else "mixes positions"


def _is_position_dependent(tensor: Tensor, layout: Layout) -> bool:
    """Return whether a tensor that broadcasts to a layout has different values along a moving dimension."""
    aligned = list(zip(reversed(tensor.shape), reversed(layout)))
    fits = tensor.dim() <= len(layout) and all(n in (1, dim.size) or not dim.moves for n, dim in aligned)
    return fits and any(n > 1 and dim.moves for n, dim in aligned)


def _has_mask(step: Step) -> bool:
    """Return whether attention excludes some positions."""
    is_causal = step.module is None and step.get_argument(5, "is_causal")
    leaves = tree_iter((step.args, step.kwargs))
    return bool(is_causal) or any(isinstance(leaf, Tensor) and is_mask(leaf) for leaf in leaves)


def _is_uneven(step: Step, layouts: Layouts) -> bool:
    """Return whether the size of the input is not a multiple of the stride along an axis."""
    before, after = layouts[step.inputs[0]] or (), layouts[step.outputs[0]] or ()
    strides = get_strides(after)
    factors = [factor for dim in before for factor in dim.factors if factor.moves and factor.axis is not None]
    return any(
        (factor.size * factor.stride / strides[factor.axis]).denominator > 1
        for factor in factors
        if factor.axis in strides
    )
