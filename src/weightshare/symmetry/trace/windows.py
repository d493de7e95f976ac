"""Convolutions and pools as windows, to be computed with other padding and without their stride."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from ...convert import restrict
from ...nn import BlurPool1d, BlurPool2d, BlurPool3d
from ...sharing import Full
from .tape import Step

_BLUR = {1: BlurPool1d, 2: BlurPool2d, 3: BlurPool3d}
_CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_POOLS = ("MaxPool", "AvgPool", "max_pool", "avg_pool")


@dataclass
class WindowOf:
    """A convolution or pool: what is padded around, and what computes the rest with any stride.

    Args:
        compute: From a padded input and a stride to the output; of a layer of ours from the input alone.
        fill: What zero padding means: minus infinity for maxima.
    """

    compute: Callable[..., Tensor]
    extent: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    mode: str
    fill: float = 0.0
    changeable: bool = True

    @classmethod
    def of(cls, step: Step, shared: bool = False) -> "WindowOf | None":
        """The window of a step; None for anything else."""
        module: Any = step.module
        plain = isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d)
        if hasattr(module, "bias_sharing"):
            plain = not module.transposed and module.sharing == module.bias_sharing == Full()
            if not plain:
                return _ours(module, shared)
        if plain:
            values = (
                module.weight,
                module.bias,
                module.stride,
                module.padding,
                module.dilation,
                module.groups,
            )
            return _convolution(values, module.padding_mode)
        if step.op in ("conv1d", "conv2d", "conv3d"):
            names = (
                ("weight", None),
                ("bias", None),
                ("stride", 1),
                ("padding", 0),
                ("dilation", 1),
                ("groups", 1),
            )
            return _convolution(tuple(step.argument(k + 1, n, d) for k, (n, d) in enumerate(names)), "zeros")
        if step.op.startswith(_POOLS) and len(step.inputs) == 1:
            return _pool(step)
        return None

    def __call__(self, x: Tensor, circular: bool, blur: bool) -> Tensor:
        mode = "circular" if circular else self.mode
        if not self.changeable:
            return self.compute(x, mode)
        axes, sizes = len(self.extent), x.shape[-len(self.extent) :]
        ends = zip(sizes, self.padding, self.extent, self.stride)
        whole = all((n + lo + hi - e) // s + 1 == n / s for n, (lo, hi), e, s in ends)
        circle = whole and (mode == "circular" or not any(map(any, self.padding)))
        padding = list(self.padding)
        if blur and circle:  # as many positions as a stride of 1 has on a circle
            padding = [(lo, max(hi, e - 1 - lo)) for (lo, hi), e in zip(padding, self.extent)]
        x = _padded(x, padding, "circular" if circle else mode, self.fill)
        if not blur:
            return self.compute(x, self.stride)
        blur_pool = _BLUR[axes](stride=self.stride[0], padding_mode="circular" if circle else "reflect")
        return blur_pool(self.compute(x, (1,) * axes))


def _padded(x: Tensor, padding: Sequence[tuple[int, int]], mode: str, fill: float) -> Tensor:
    pairs = [n for pair in reversed(list(padding)) for n in pair]
    if not any(pairs):
        return x
    return F.pad(x, pairs, value=fill) if mode == "zeros" else F.pad(x, pairs, mode=mode)


def _convolution(values: tuple[Any, ...], mode: str) -> WindowOf | None:
    weight, bias, stride, padding, dilation, groups = values
    axes = weight.dim() - 2
    stride, dilation = _each(stride, axes), _each(dilation, axes)
    extent = tuple(d * (k - 1) + 1 for k, d in zip(weight.shape[2:], dilation))
    if padding == "same":
        pairs = tuple(((e - 1) // 2, e - 1 - (e - 1) // 2) for e in extent)
    else:
        pairs = tuple((p, p) for p in _each(0 if padding == "valid" else padding, axes))

    def compute(x: Tensor, stride: Sequence[int]) -> Tensor:
        return _CONV[axes](x, weight, bias, tuple(stride), 0, dilation, groups)

    return WindowOf(compute, extent, stride, pairs, mode)


def _pool(step: Step) -> WindowOf | None:
    """Maxima and means over windows; none with ceil_mode, indices, a divisor, or without the padding."""
    module, axes = step.module, int(step.op.lower().rstrip("d")[-1])

    def value(name: str, place: int, default: Any) -> Any:
        return getattr(module, name, default) if module is not None else step.argument(place, name, default)

    kernel = _each(value("kernel_size", 1, 1), axes)
    stride = value("stride", 2, None)
    stride = kernel if stride in (None, (), []) else _each(stride, axes)
    largest = "max" in step.op.lower()
    dilation = _each(value("dilation", 4, 1), axes) if largest else (1,) * axes
    padding = _each(value("padding", 3, 0), axes)
    unusual = [
        value("ceil_mode", 5 if largest else 4, False),
        value("return_indices" if largest else "divisor_override", 6, None),
        not largest and any(padding) and not value("count_include_pad", 5, True),
    ]
    if any(unusual):
        return None
    pool: Any = getattr(F, f"{'max' if largest else 'avg'}_pool{axes}d")
    options = {"dilation": dilation} if largest else {}

    def compute(x: Tensor, stride: Sequence[int]) -> Tensor:
        return pool(x, kernel, tuple(stride), 0, **options)

    pairs = tuple((p, p) for p in padding)
    extent = tuple(d * (k - 1) + 1 for k, d in zip(kernel, dilation))
    return WindowOf(compute, extent, stride, pairs, "zeros", float("-inf") if largest else 0.0)


def _ours(module: Any, shared: bool) -> WindowOf | None:
    """A layer of ours, whose size is fixed: its padding can be changed, not its stride."""
    if module.transposed:
        return None
    layer = restrict(module, Full()).module if shared else module

    def compute(x: Tensor, mode: str) -> Tensor:
        changed = copy.copy(layer)
        changed.padding_mode = mode
        return changed(x)

    window = module.window
    return WindowOf(
        compute, window.extent, window.stride, window.padding, module.padding_mode, changeable=False
    )


def _each(value: Any, axes: int) -> tuple[int, ...]:
    values = tuple(value) if isinstance(value, Sequence) else (value,) * axes
    return values * axes if len(values) == 1 else values
