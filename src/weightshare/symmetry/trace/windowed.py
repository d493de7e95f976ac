"""Convolutions and pools that can be computed again with other padding and without their stride."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...convert.restrict_layer import restrict_layer
from ...nn import BlurPool1d, BlurPool2d, BlurPool3d
from ...sharing import Full
from .rules import Kind, Operation, find_operation, get_pad_mode, get_pad_widths
from .tape import Step

_BLUR_POOLS = {1: BlurPool1d, 2: BlurPool2d, 3: BlurPool3d}
_CONVOLUTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_TRANSPOSED: dict[int, Any] = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}
_MAX_POOLS = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
_AVERAGE_POOLS = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}

#: Number of elements around a position that a resizing may use.
_REACH = 3


@dataclass(frozen=True)
class WindowedOperation:
    """A convolution or pool, split into its padding, its stride and the remaining computation.

    Args:
        compute: Function from a padded input and a stride to the output; if `has_fixed_size`, from an input
            and a padding mode to the output.
        extent: Number of input positions that the window spans along each axis.
        stride: Stride along each axis.
        padding: Padding (low, high) along each axis.
        mode: Padding mode, or one per axis.
        fill: Value of zero padding: minus infinity for a max pool.
        has_fixed_size: Whether the input size is fixed, so that only the padding mode can be changed.
    """

    compute: Callable[..., Tensor]
    extent: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    mode: str | tuple[str, ...]
    fill: float = 0.0
    has_fixed_size: bool = False

    def __call__(self, x: Tensor, *, circular: bool, blur: bool) -> Tensor:
        """Compute the operation.

        Args:
            x: Input [N, C, *spatial].
            circular: Whether to pad circularly.
            blur: Whether to replace the stride by a stride of 1 and blur pooling.
        """
        mode = "circular" if circular else self.mode
        if self.has_fixed_size:
            return self.compute(x, mode)
        axes, sizes = len(self.extent), x.shape[-len(self.extent) :]
        ends = zip(sizes, self.padding, self.extent, self.stride)
        is_whole = all((n + low + high - e) // s + 1 == n / s for n, (low, high), e, s in ends)
        is_circle = is_whole and (mode == "circular" or not any(map(any, self.padding)))
        padding = list(self.padding)
        if blur and is_circle:  # pad so that a stride of 1 keeps all positions of the circle
            padding = [(low, max(high, e - 1 - low)) for (low, high), e in zip(padding, self.extent)]
        x = _pad(x, padding, "circular" if is_circle else mode, self.fill)
        if not blur:
            return self.compute(x, self.stride)
        padding_mode = "circular" if is_circle else "reflect"
        blur_pool = _BLUR_POOLS[axes](stride=self.stride[0], padding_mode=padding_mode)
        return blur_pool(self.compute(x, (1,) * axes))


def parse_window(step: Step, pads: Sequence[Step] = (), *, shared: bool = False) -> WindowedOperation | None:
    """Return a step as a windowed operation; None if it is not one, or cannot be computed in parts.

    Args:
        step: Step on the tape.
        pads: Padding operations that feed it, which become part of it.
        shared: Whether to replace unshared weights by the nearest shared kernel.
    """
    window = _parse(step, shared)
    for pad in reversed(pads):
        window = None if window is None or window.has_fixed_size else _add_padding(window, pad)
    return window


def _parse(step: Step, shared: bool) -> WindowedOperation | None:
    module: Any = step.module
    operation = find_operation(step.op)
    if operation.kind in (Kind.MAX_POOL, Kind.AVERAGE_POOL):
        return _parse_pool(step, operation) if len(step.inputs) == 1 else None
    if operation.kind is not Kind.CONVOLUTION:
        return None
    has_sharing = hasattr(module, "bias_sharing")
    if has_sharing and not module.sharing == module.bias_sharing == Full():
        return _parse_unshared(module, shared)
    if not (module is None or has_sharing or isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d)):
        return None  # a quantized convolution has no plain weight
    return None if operation.read(step, "transposed", False) else _parse_convolution(step, operation)


def _add_padding(window: WindowedOperation, pad: Step) -> WindowedOperation | None:
    """Return a windowed operation together with the padding before it; None if both pad the same axis."""
    axes = len(window.extent)
    widths = [*get_pad_widths(pad)]
    widths += [0] * (2 * axes - len(widths))
    pairs = [(widths[2 * k], widths[2 * k + 1]) for k in reversed(range(axes))]
    mode, fill = get_pad_mode(pad)
    if len(widths) > 2 * axes or any(any(own) and any(new) for own, new in zip(window.padding, pairs)):
        return None
    has_own = any(map(any, window.padding))
    if has_own and fill != window.fill and "zeros" in (mode, *_spread(window.mode, axes)):
        return None
    modes = tuple(
        mode if any(new) else own if any(old) else mode
        for own, old, new in zip(_spread(window.mode, axes), window.padding, pairs)
    )
    padding = tuple(new if any(new) else old for old, new in zip(window.padding, pairs))
    single = modes[0] if len(set(modes)) == 1 else modes
    return replace(window, padding=padding, mode=single, fill=window.fill if has_own else fill)


def _spread(mode: str | tuple[str, ...], axes: int) -> tuple[str, ...]:
    return (mode,) * axes if isinstance(mode, str) else mode


def _pad(x: Tensor, padding: Sequence[tuple[int, int]], mode: str | tuple[str, ...], fill: float) -> Tensor:
    widths = [n for pair in reversed(list(padding)) for n in pair]
    if not any(widths):
        return x
    if not isinstance(mode, str):
        for axis, (pair, of_axis) in enumerate(zip(padding, mode)):
            x = _pad(x, [pair if a == axis else (0, 0) for a in range(len(mode))], of_axis, fill)
        return x
    if mode == "circular":
        return pad_circularly(x, widths)
    return F.pad(x, widths, value=fill) if mode == "zeros" else F.pad(x, widths, mode=mode)


def pad_circularly(x: Tensor, widths: Sequence[int]) -> Tensor:
    """Pad each end with elements from the opposite end, any number of times around the circle.

    Args:
        x: Tensor.
        widths: Widths in the format of `torch.nn.functional.pad`.
    """
    for d, (low, high) in enumerate(zip(widths[::2], widths[1::2]), start=1):
        if low or high:
            n = x.shape[-d]
            x = x.index_select(x.dim() - d, torch.arange(-low, n + high, device=x.device) % n)
    return x


def _parse_convolution(step: Step, operation: Operation) -> WindowedOperation:
    weight, bias = operation.read(step, "weight"), operation.read(step, "bias")
    axes = weight.dim() - 2
    stride = _expand(operation.read(step, "stride", 1), axes)
    dilation = _expand(operation.read(step, "dilation", 1), axes)
    groups = operation.read(step, "groups", 1)
    padding = operation.read(step, "padding", 0)
    extent = tuple(d * (k - 1) + 1 for k, d in zip(weight.shape[2:], dilation))
    if padding == "same":
        pairs = tuple(((e - 1) // 2, e - 1 - (e - 1) // 2) for e in extent)
    else:
        values = _expand(0 if padding == "valid" else padding, axes)
        pairs = tuple(tuple(p) if isinstance(p, Sequence) else (p, p) for p in values)

    def compute(x: Tensor, stride: Sequence[int]) -> Tensor:
        return _CONVOLUTIONS[axes](x, weight, bias, tuple(stride), 0, dilation, groups)

    mode = getattr(step.module, "padding_mode", "zeros")
    return WindowedOperation(compute, extent, stride, pairs, mode)


def _parse_pool(step: Step, operation: Operation) -> WindowedOperation | None:
    """Return a pool, unless it rounds its output size up or returns indices.

    Of a pool that does not count its padding, only the padding mode can be changed.
    """
    axes, is_max = operation.axes or 0, operation.kind is Kind.MAX_POOL
    kernel_size = _expand(operation.read(step, "kernel_size", 1), axes)
    stride = operation.read(step, "stride")
    stride = kernel_size if stride in (None, (), []) else _expand(stride, axes)
    dilation = _expand(operation.read(step, "dilation", 1), axes) if is_max else (1,) * axes
    padding = _expand(operation.read(step, "padding", 0), axes)
    counts_padding = is_max or not any(padding) or operation.read(step, "count_include_pad", True)
    has_indices = len(step.outputs) > 1
    has_divisor = not is_max and operation.read(step, "divisor_override")
    if operation.read(step, "ceil_mode", False) or has_indices or has_divisor:
        return None
    pairs = tuple((p, p) for p in padding)

    def compute(x: Tensor, stride: Sequence[int]) -> Tensor:
        if is_max:
            return _MAX_POOLS[axes](x, kernel_size, tuple(stride), 0, dilation)
        return _AVERAGE_POOLS[axes](x, kernel_size, tuple(stride), 0)

    def compute_whole(x: Tensor, mode: str) -> Tensor:
        if mode != "circular":
            return step.run({step.inputs[0]: x})[0]
        return compute(_pad(x, pairs, mode, 0.0), stride)

    extent = tuple(d * (k - 1) + 1 for k, d in zip(kernel_size, dilation))
    if not counts_padding:
        return WindowedOperation(compute_whole, extent, stride, pairs, "zeros", has_fixed_size=True)
    return WindowedOperation(compute, extent, stride, pairs, "zeros", float("-inf") if is_max else 0.0)


def _parse_unshared(module: Any, shared: bool) -> WindowedOperation:
    """Return a `weightshare.nn` layer, whose input size is fixed."""
    layer = restrict_layer(module, Full())[0] if shared else module

    def compute(x: Tensor, mode: str) -> Tensor:
        changed = copy.copy(layer)
        changed.padding_mode = mode
        return changed(x)

    window = module.window
    return WindowedOperation(
        compute, window.extent, window.stride, window.padding, module.padding_mode, has_fixed_size=True
    )


def _expand(value: Any, axes: int) -> tuple[int, ...]:
    """Return a value for each axis, from one value or one value per axis."""
    values = tuple(value) if isinstance(value, Sequence) else (value,) * axes
    return values * axes if len(values) == 1 else values


def compute_on_circle(step: Step, x: Tensor) -> Tensor | None:
    """Compute a transposed convolution or a resizing on a map whose ends are joined; None if it cannot be.

    The map is continued with elements from its opposite ends, and the result is cut.
    """
    kind = find_operation(step.op).kind
    if kind is Kind.TRANSPOSED_CONVOLUTION:
        return _transpose_on_circle(step, x)
    return _resize_on_circle(step, x) if kind is Kind.RESIZE else None


def _transpose_on_circle(step: Step, x: Tensor) -> Tensor | None:
    operation, module = find_operation(step.op), step.module
    if not isinstance(module, nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d | None):
        return None
    weight, bias = operation.read(step, "weight"), operation.read(step, "bias")
    axes, groups = weight.dim() - 2, operation.read(step, "groups", 1)
    stride, padding, dilation = (
        _expand(operation.read(step, name, default), axes)
        for name, default in (("stride", 1), ("padding", 0), ("dilation", 1))
    )
    more = [-(-(d * (k - 1) + 1) // s) for k, d, s in zip(weight.shape[2:], dilation, stride)]
    wide = pad_circularly(x, [n for q in reversed(more) for n in (q, q)])
    full = _TRANSPOSED[axes](wide, weight, bias, stride, 0, 0, groups, dilation)
    for d, q, s, p in zip(range(x.dim() - axes, x.dim()), more, stride, padding):
        full = full.narrow(d, q * s + p, x.shape[d] * s)
    return full


def _resize_on_circle(step: Step, x: Tensor) -> Tensor | None:
    operation, axes = find_operation(step.op), x.dim() - 2
    after = step.run({step.inputs[0]: x})[0].shape[2:]
    factors = [m // n for n, m in zip(x.shape[2:], after)]
    is_whole = all(m == n * factor for n, m, factor in zip(x.shape[2:], after, factors))
    if not is_whole or operation.read(step, "align_corners"):
        return None
    wide = pad_circularly(x, (_REACH,) * (2 * axes))
    mode = operation.read(step, "mode", "nearest")
    full = F.interpolate(wide, scale_factor=[float(factor) for factor in factors], mode=mode)
    for axis, factor in enumerate(factors):
        full = full.narrow(2 + axis, _REACH * factor, x.shape[2 + axis] * factor)
    return full
