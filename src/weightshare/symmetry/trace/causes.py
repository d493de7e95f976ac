"""Find out why an operation breaks equivariance."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from ..._torch import tree_iter
from ...sharing import Full
from .layout import Layout, Layouts, get_strides
from .rules import Kind, find_operation
from .tape import Step


def find_causes(
    step: Step,
    ref: int,
    layouts: Layouts,
    is_inexact: bool,
    border: int | None,
    direction: Sequence[int],
) -> tuple[str, ...]:
    """Return the reasons why an operation breaks equivariance; empty if it preserves all shifts.

    Args:
        step: Operation.
        ref: Number of the output that the model uses.
        layouts: Layouts of the tensors on the tape.
        is_inexact: Whether the operation is inexact for the smallest shifts of its positions.
        border: Width of the border to which errors are confined; None if they are not confined to a border.
        direction: Sign of the shift along each axis; 0 for an axis that is not shifted.
    """
    causes: list[str] = []
    known = [layout for number in step.inputs if (layout := layouts[number]) is not None]
    after = layouts[ref]
    if len(known) < len(step.inputs) or after is None:
        return ("not followed",) if known else ()
    if getattr(step.module, "sharing", Full()) != Full():
        causes.append("unshared weights")
    elif is_inexact:
        causes.append(_name_cause(step, layouts, border))
    strides_before = {axis: stride for layout in known for axis, stride in get_strides(layout).items()}
    strides_after = get_strides(after)
    if any(
        axis in strides_after and strides_after[axis].numerator > stride.numerator
        for axis, stride in strides_before.items()
        if direction[axis]
    ):
        kind = find_operation(step.op).kind
        causes.append("pooling" if kind.is_pool else "windows" if kind is Kind.RESHAPE else "stride")
    return tuple(causes)


def find_position_constants(step: Step, layouts: Layouts) -> list[Tensor]:
    """Return the constants that a function joins with its input and that differ between positions."""
    after = layouts[step.outputs[0]]
    if step.module is not None or after is None or find_operation(step.op).kind is not Kind.JOIN:
        return []
    leaves = tree_iter((step.args, step.kwargs))
    return [leaf for leaf in leaves if isinstance(leaf, Tensor) and _is_position_dependent(leaf, after)]


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


def _name_cause(step: Step, layouts: Layouts, border: int | None) -> str:
    """Return why an operation with shared weights is inexact even for the smallest shift."""
    kind, before = find_operation(step.op).kind, layouts[step.inputs[0]]
    if kind is Kind.LINEAR and before is not None and before[-1].moves:
        return "flatten"
    if find_position_constants(step, layouts):
        return "position embedding"
    if border is not None or kind.has_window:  # on a small map, the border may be everything
        return (
            "padding" if is_padded(step) else "uneven size" if _is_uneven(step, layouts) else "valid border"
        )
    return "mixes positions"


def _is_position_dependent(tensor: Tensor, layout: Layout) -> bool:
    """Return whether a tensor that broadcasts to a layout has different values along a moving dimension."""
    aligned = list(zip(reversed(tensor.shape), reversed(layout)))
    fits = tensor.dim() <= len(layout) and all(n in (1, dim.size) or not dim.moves for n, dim in aligned)
    return fits and any(n > 1 and dim.moves for n, dim in aligned)


def _is_uneven(step: Step, layouts: Layouts) -> bool:
    """Return whether the size of the input is not a multiple of the stride."""
    before, after = (layouts[step.inputs[0]] or (), layouts[step.outputs[0]] or ())
    if get_strides(after) == get_strides(before):
        return False
    lengths_before, lengths_after = _get_lengths(before), _get_lengths(after)
    return any(lengths_after.get(axis, length) != length for axis, length in lengths_before.items())


def _get_lengths(layout: Layout) -> dict[int | None, object]:
    """Return the length of each axis in input pixels."""
    return {f.axis: f.size * f.stride for dim in layout for f in dim.factors if f.moves}
