"""Rules for operations whose output positions each see a window of the input, and for resizing."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction

from torch import nn

from ...transforms import infer_stride
from ..layout import Dim, Layout, make_fixed
from ..tape import Step
from .elementwise import keep_layout
from .operation import Case, Kind

_CIRCULAR_PADS = (nn.CircularPad1d, nn.CircularPad2d, nn.CircularPad3d)


def slide(case: Case) -> Layout | None:
    """Divide the positions by the stride of a convolution or pool."""
    return _scale(case, infer_stride)


def resize(case: Case) -> Layout | None:
    """Divide the positions by the ratio of the sizes before and after resizing."""
    return _scale(case, Fraction)


def pad(case: Case) -> Layout | None:
    """Add a halo for circular padding; any other padding adds elements that are not on the circle."""
    layout = case.layout
    if case.shape == case.in_shape:
        return layout
    has_plain_dims = all(
        len(dim.factors) == 1 and not dim.prefix and not any(dim.first.halo) for dim in layout
    )
    if not (is_circular_pad(case.step) and has_plain_dims):
        return tuple(_lengthen(dim, n) for dim, n in zip(layout, case.shape))
    pairs = get_pad_widths(case.step)
    dims = list(layout)
    for number in range(len(pairs) // 2):
        d = len(dims) - 1 - number
        dims[d] = Dim((replace(dims[d].first, halo=(pairs[2 * number], pairs[2 * number + 1])),))
    return tuple(dims)


def is_circular_pad(step: Step) -> bool:
    """Return whether a padding operation pads with the opposite end."""
    return isinstance(step.module, _CIRCULAR_PADS) or (
        step.module is None and step.get_argument(2, "mode", "constant") == "circular"
    )


def get_pad_widths(step: Step) -> Sequence[int]:
    """Return the widths of a padding operation in the format of `torch.nn.functional.pad`."""
    return getattr(step.module, "padding", None) or step.get_argument(1, "pad", ())


def _scale(case: Case, infer: Callable[[int, int], Fraction]) -> Layout | None:
    """Divide the positions of the last dimensions, one axis each, by a stride.

    Args:
        case: Output whose layout is to be found.
        infer: Function that computes the stride from the sizes before and after, for an operation without a
            stride.
    """
    if case.operation.kind.is_pool and not case.output.is_floating_point():
        return None  # this output contains the indices of the maxima
    kept = keep_layout(case)
    if kept is not None:
        return kept
    in_shape, layout = case.list_inputs()[0]
    first = next((d for d, dim in enumerate(layout) if dim.moves), len(layout))
    spatial = layout[first:]
    if len(case.shape) != len(in_shape) or any(
        len(dim.factors) != 1 or dim.prefix or dim.first.axis is None for dim in spatial
    ):
        return None
    strides = _get_strides(case, len(spatial))
    dims = [make_fixed(n) for n in case.shape[:first]]
    for number, (n, dim) in enumerate(zip(case.shape[first:], spatial)):
        factor = dim.first
        stride = strides[number] if strides else infer(factor.size, n)
        dims.append(Dim((replace(factor, size=n, stride=factor.stride * stride, halo=(0, 0)),)))
    return tuple(dims)


def _get_strides(case: Case, axes: int) -> list[Fraction] | None:
    """Return the strides that a convolution or pool was given; None if it has none."""
    step, operation = case.step, case.operation
    value = operation.read(step, "stride")
    if step.module is None and "stride" in operation.arguments:
        value = value or operation.read(step, "kernel_size", 1)
    if value is None:
        return None
    values = list(value) if isinstance(value, Sequence) else [value] * axes
    values = values * axes if len(values) == 1 else values
    if len(values) != axes:
        return None
    is_transposed = operation.kind is Kind.TRANSPOSED_CONVOLUTION
    return [1 / Fraction(stride) if is_transposed else Fraction(stride) for stride in values]


def _lengthen(dim: Dim, size: int) -> Dim:
    """Return a dimension with additional elements at its ends that are not on the circle."""
    if dim.size == size:
        return dim
    if dim.moves and len(dim.factors) == 1 and not dim.prefix:
        return Dim((replace(dim.first, size=size),))
    return make_fixed(size)
