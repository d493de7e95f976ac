"""Memory formats of tensors, and the inputs that each tap reads."""

import itertools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ..geometry import Window

#: Convolution functions of torch by number of spatial axes.
CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
CONV_TRANSPOSE = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}
#: Torch's channels-last memory format [N, *size, C], by number of tensor axes.
CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}


def is_channels_last(tensor: Tensor) -> bool:
    """Return whether [N, C, *size] is stored as [N, *size, C]; False if it is contiguous in both orders."""
    if tensor.is_contiguous() or tensor.dim() not in CHANNELS_LAST:
        return False
    return tensor.is_contiguous(memory_format=CHANNELS_LAST[tensor.dim()])


def to_format_of(like: Tensor, tensor: Tensor) -> Tensor:
    """Return [N, C, *size] in the memory format of `like`: channels last if it is, else contiguous."""
    if is_channels_last(like):
        return tensor.contiguous(memory_format=CHANNELS_LAST[tensor.dim()])
    return tensor.contiguous()


def with_contiguous_grad(parameter: Tensor) -> Tensor:
    """Return a view of a parameter that makes the gradient of the parameter contiguous."""
    return parameter.flatten().view(parameter.shape)


def slice_taps(window: Window, output_size: Sequence[int]) -> list[tuple[slice, ...]]:
    """Return, for each tap, the slices of the inputs that the positions read with it."""
    return [
        tuple(
            slice(t * d, t * d + (n - 1) * s + 1, s)
            for t, d, n, s in zip(tap, window.dilation, output_size, window.stride)
        )
        for tap in itertools.product(*map(range, window.kernel_size))
    ]
