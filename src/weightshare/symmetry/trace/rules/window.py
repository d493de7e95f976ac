"""Rules for operations whose output positions each see a window of the input, and for resizing."""

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from ..layout import Dim, Factor, Layout, make_fixed
from ..tape import Step
from .operation import Case, Kind

_CIRCULAR_PADS = (nn.CircularPad1d, nn.CircularPad2d, nn.CircularPad3d)


def slide(case: Case) -> Layout | None:
    """Divide the positions by the stride of a convolution or pool."""
    axes = _count_axes(case)
    return _scale(case, axes, _get_strides(case, axes))


def resize(case: Case) -> Layout | None:
    """Divide the positions by the ratio of the sizes before and after resizing, or by a given one."""
    axes, read = _count_axes(case), case.operation.read
    factor = read(case.step, "scale_factor")
    if factor is None or read(case.step, "mode") == "area" or read(case.step, "recompute_scale_factor"):
        return _scale(case, axes, None)
    return _scale(case, axes, [1 / Fraction(f).limit_denominator(1000) for f in _expand(factor, axes)])


def unpool(case: Case) -> Layout | None:
    """Multiply the positions by the stride of the pool that is inverted."""
    axes = _count_axes(case)
    strides = _get_strides(case, axes)
    return None if strides is None else _scale(case, axes, [1 / stride for stride in strides])


def pad(case: Case) -> Layout | None:
    """Add a halo for circular padding, and a margin for any other."""
    dims, pairs = list(case.layout), get_pad_widths(case.step)
    is_circular = is_circular_pad(case.step)
    for number in range(len(pairs) // 2):
        low, high = pairs[2 * number : 2 * number + 2]
        d = len(dims) - 1 - number
        if low or high:
            padded = _pad_dim(dims[d], low, high, is_circular)
            if padded is None:
                return None
            dims[d] = padded
    return tuple(dims)


def unfold(case: Case) -> Layout | None:
    """Put the windows of a map into columns, or those of one dimension into an additional one."""
    step, layout = case.step, case.layout
    if step.module is None and step.call is not functional.unfold:
        d, stride = step.args[1] % len(layout), step.args[3]
        dim = layout[d]
        if len(dim.factors) > 1 or dim.prefix or any(dim.first.halo) or any(dim.first.margin):
            return None
        factor = replace(dim.first, size=case.shape[d], stride=dim.first.stride * stride)
        after = Dim((factor,)) if dim.moves else make_fixed(case.shape[d])
        return (*layout[:d], after, *layout[d + 1 :], make_fixed(case.shape[-1]))
    read = case.operation.read
    axes = len(layout) - 2
    factors: list[Factor] = []
    for number, dim in enumerate(layout[2:]):
        kernel, stride, padding, dilation = (
            _expand(read(step, name, default), axes)[number]
            for name, default in (("kernel_size", 1), ("stride", 1), ("padding", 0), ("dilation", 1))
        )
        if len(dim.factors) > 1 or dim.prefix:
            return None
        size = (dim.size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
        factors.append(_slide_factor(dim.first, size, Fraction(stride)))
    return (layout[0], make_fixed(case.shape[1]), Dim(tuple(factors)))


def fold(case: Case) -> Layout | None:
    """Put columns back into a map."""
    columns = case.layout[-1]
    strides = _expand(case.operation.read(case.step, "stride", 1), len(case.shape) - 2)
    if len(columns.factors) != len(strides) or columns.prefix:
        return None
    spatial = [
        Dim((replace(factor, size=n, stride=factor.stride / stride),))
        for factor, n, stride in zip(columns.factors, case.shape[2:], strides)
    ]
    return (case.layout[0], make_fixed(case.shape[1]), *spatial)


def recur(case: Case) -> Layout | None:
    """Keep the dimension of the sequence; the last states [layers, N, features] have no positions."""
    layout = case.layout
    if len(case.shape) != len(layout):
        return None
    if not case.place:
        return (*layout[:-1], make_fixed(case.shape[-1]))
    batch = layout[0 if getattr(case.step.module, "batch_first", False) else 1 : len(layout) - 1]
    return (make_fixed(case.shape[0]), *batch[: len(layout) - 2], make_fixed(case.shape[-1]))


def is_circular_pad(step: Step) -> bool:
    """Return whether a padding operation pads with the opposite end."""
    return isinstance(step.module, _CIRCULAR_PADS) or (
        step.module is None and step.get_argument(2, "mode", "constant") == "circular"
    )


def get_pad_mode(step: Step) -> tuple[str, float]:
    """Return the mode of a padding operation, as layers call it, and the value of its zeros."""
    for prefix, mode in (("circular", "circular"), ("reflection", "reflect"), ("replication", "replicate")):
        if step.op.lower().startswith(prefix):
            return mode, 0.0
    if step.module is not None:
        return "zeros", float(getattr(step.module, "value", 0.0))
    if step.op == "constant_pad_nd":
        return "zeros", float(step.get_argument(2, "value") or 0.0)
    mode = step.get_argument(2, "mode", "constant")
    return ("zeros" if mode == "constant" else mode), float(step.get_argument(3, "value") or 0.0)


def get_pad_widths(step: Step) -> Sequence[int]:
    """Return the widths of a padding operation in the format of `torch.nn.functional.pad`."""
    return getattr(step.module, "padding", None) or step.get_argument(1, "pad", ())


def _pad_dim(dim: Dim, low: int, high: int, is_circular: bool) -> Dim | None:
    """Return a padded dimension; None if its positions are not the elements of one axis."""
    if not dim.moves:
        return make_fixed(dim.size + low + high)
    if len(dim.factors) > 1 or dim.prefix:
        return None
    first = dim.first
    is_plain = not any(first.halo) and not any(first.margin)
    if low < 0 or high < 0 or (is_circular and not is_plain):
        return Dim((Factor(dim.size + low + high, first.axis, first.stride),))
    if is_circular:
        return Dim((replace(first, halo=(low, high)),))
    return Dim((replace(first, margin=(first.margin[0] + low, first.margin[1] + high)),))


def _scale(case: Case, axes: int, strides: Sequence[Fraction] | None) -> Layout | None:
    """Divide the positions of the last dimensions by a stride.

    Args:
        case: Output whose layout is to be found.
        axes: Number of these dimensions.
        strides: Stride along each axis; None to take it from the sizes before and after.
    """
    if case.operation.kind.is_pool and not case.output.is_floating_point():
        return None  # this output contains the indices of the maxima
    layout = case.layout
    if len(case.shape) != len(layout) or axes >= len(layout):
        return None
    mixes_channels = case.operation.kind in (Kind.CONVOLUTION, Kind.TRANSPOSED_CONVOLUTION)
    dims = [*layout[:-axes]]
    if mixes_channels:
        dims[-1] = make_fixed(case.shape[-axes - 1])
    for number, (n, dim) in enumerate(zip(case.shape[-axes:], layout[-axes:])):
        if all(factor.axis is None for factor in dim.factors):
            dims.append(make_fixed(n))
        elif len(dim.factors) > 1 or dim.prefix:
            return None
        else:
            stride = Fraction(dim.first.length, n) if strides is None else strides[number]
            dims.append(Dim((_slide_factor(dim.first, n, stride),)))
    return tuple(dims)


def _slide_factor(factor: Factor, size: int, stride: Fraction) -> Factor:
    """Return the positions of windows that slide over an axis with its halo or margin."""
    circle = Fraction(factor.size) / stride
    if any(factor.halo) and not any(factor.margin) and circle.denominator == 1 and size > circle:
        halo = (0, size - int(circle))
        return Factor(int(circle), factor.axis, factor.stride * stride, halo)
    return Factor(size, factor.axis, factor.stride * stride)


def _count_axes(case: Case) -> int:
    """Return the number of dimensions over which windows slide."""
    weight = case.operation.read(case.step, "weight")
    if case.operation.axes is not None:
        return case.operation.axes
    return (weight.dim() if isinstance(weight, Tensor) else len(case.shape)) - 2


def _get_strides(case: Case, axes: int) -> list[Fraction] | None:
    """Return the strides that a convolution or pool was given; None if it has none."""
    step, operation = case.step, case.operation
    value = operation.read(step, "stride")
    if step.module is None and "stride" in operation.arguments:
        value = value or operation.read(step, "kernel_size", 1)
    if value is None:
        return None
    is_transposed = operation.kind is Kind.TRANSPOSED_CONVOLUTION or bool(
        operation.read(step, "transposed", False)
    )
    return [1 / Fraction(stride) if is_transposed else Fraction(stride) for stride in _expand(value, axes)]


def _expand(value: Any, axes: int) -> list[Any]:
    """Return one value per axis."""
    values = list(value) if isinstance(value, Sequence) else [value]
    return values * axes if len(values) == 1 else values
