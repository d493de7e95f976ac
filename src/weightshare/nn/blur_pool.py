"""Blur pooling: a low-pass filter followed by a stride, in one to three dimensions."""

from collections.abc import Sequence
from math import comb
from typing import Any

from torch import Tensor
from torch.nn import Module

from .._args import Size, check_per_axis, format_size
from ..backends import PaddingMode, pad_axes
from ..backends.layout import CONV
from ..errors import ArgumentError, ShapeError
from ..geometry import PaddingModes, check_padding_mode, split_padding_mode
from .fx import Call, record_call

#: Minimum input size minus the padding after the last input, by padding mode. Other padding modes need only
#: one input.
_ADDITIONAL = {"reflect": 1, "circular": 0}


class _BlurPoolNd(Module):
    """Blur pooling over one to three spatial axes; subclasses define the number of axes."""

    filter_size: tuple[int, ...]
    stride: tuple[int, ...]
    padding_mode: str | tuple[str, ...]

    _ndim: int

    def __init__(
        self,
        filter_size: Size = 4,
        stride: Size = 2,
        padding_mode: PaddingMode | Sequence[PaddingMode] = "reflect",
    ):
        super().__init__()
        where = type(self).__name__
        self.filter_size = check_per_axis(where, "filter_size", filter_size, self._ndim, least=1)
        self.stride = check_per_axis(where, "stride", stride, self._ndim, least=1)
        self.padding_mode = check_padding_mode(where, padding_mode, self._ndim)

    def forward(self, input: Tensor) -> Tensor:
        """Map [N, C, *size] or [C, *size] to the same with each size n replaced by ceil(n / stride)."""
        if not isinstance(input, Tensor):
            return record_call(self, (input,), self._as_function)
        function, args, _ = self._as_function(None, input)
        return function(*args)

    def _as_function(self, tracer: object, input: Any) -> Call:
        return blur, (input, type(self).__name__, self.filter_size, self.stride, self.padding_mode), {}

    def extra_repr(self) -> str:
        return f"filter_size={self.filter_size}, stride={self.stride}, padding_mode={self.padding_mode!r}"


def blur(
    input: Tensor,
    where: str,
    filter_size: tuple[int, ...],
    stride: tuple[int, ...],
    padding_mode: PaddingModes,
) -> Tensor:
    """Apply one strided convolution per axis, since the filter is a product of one filter per axis."""
    ndim = len(filter_size)
    if input.dim() not in (ndim + 1, ndim + 2):
        raise ShapeError(
            where,
            f"input must be [N, C, *size] or [C, *size] with {ndim} spatial axes",
            f"shape {tuple(input.shape)}",
        )
    if not input.is_floating_point():
        raise ArgumentError(where, "input must be floating point", str(input.dtype))
    if input.dim() == ndim + 1:
        return blur(input.unsqueeze(0), where, filter_size, stride, padding_mode).squeeze(0)
    result, channels = _pad(input, where, filter_size, padding_mode), input.shape[1]
    for axis, (taps, step) in enumerate(zip(filter_size, stride)):
        if taps == step == 1:
            continue
        ones = [1] * ndim
        size, steps = [*ones[:axis], taps, *ones[axis + 1 :]], [*ones[:axis], step, *ones[axis + 1 :]]
        binomial = input.new_tensor([comb(taps - 1, tap) / 2 ** (taps - 1) for tap in range(taps)])
        weight = binomial.view(1, 1, *size).expand(channels, 1, *size)
        result = CONV[ndim](result, weight, stride=steps, groups=channels)
    return result


def _pad(input: Tensor, where: str, filter_size: tuple[int, ...], padding_mode: PaddingModes) -> Tensor:
    pairs = [((taps - 1) // 2, taps // 2) for taps in filter_size]
    modes = split_padding_mode(padding_mode, len(pairs))
    least = [max(1, after + _ADDITIONAL.get(mode, -after)) for mode, (_, after) in zip(modes, pairs)]
    size = input.shape[2:]
    if any(n < needed for n, needed in zip(size, least)):
        raise ShapeError(
            where,
            f"filter_size={filter_size} with padding_mode={padding_mode!r} needs an input of "
            f"at least {format_size(least)}",
            format_size(size),
            "use a smaller filter, or padding_mode='replicate'",
        )
    return pad_axes(input, pairs, padding_mode)


class BlurPool1d(_BlurPoolNd):
    """A binomial low-pass filter followed by a stride, over one axis; see `BlurPool2d`.

    Shape:
        Input [N, C, L] or [C, L], output [N, C, ceil(L / stride)] or [C, ceil(L / stride)].

    Example:
        >>> import torch
        >>> BlurPool1d(filter_size=3)(torch.tensor([[0.0, 4, 0, 0, 0, 0]]))
        tensor([[2., 1., 0.]])
    """

    _ndim = 1


class BlurPool2d(_BlurPoolNd):
    """A binomial low-pass filter followed by a stride: downsampling that is less sensitive to shifts.

    Each channel is filtered separately by an outer product of normalized binomial coefficients: [1, 1] / 2,
    [1, 2, 1] / 4, [1, 3, 3, 1] / 8 and so on. The blur has to follow the operation that produces high
    frequencies. Replace a layer with stride 2 as follows:

        convolution with stride 2, ReLU         ->  convolution with stride 1, ReLU, BlurPool2d()
        MaxPool2d(2)                            ->  MaxPool2d(2, stride=1), BlurPool2d()
        AvgPool2d(2)                            ->  BlurPool2d()

    The layer has no parameters and no entries in a state dict, so a checkpoint loads before and after the
    replacement. `filter_size=1` is a stride without a filter; with `stride=1` it is the identity.

    Args:
        filter_size: Number of taps per axis, at least 1. With stride 2, even filter sizes keep maps of even
            size centered.
        stride: Distance in inputs between neighboring outputs, at least 1.
        padding_mode: "reflect", "replicate", "circular" or "zeros"; or a tuple with one mode per axis. Each
            axis is padded with (filter_size - 1) // 2 inputs before and filter_size // 2 inputs after it (1
            and 2 for 4 taps). With "circular", the layer is exactly equivariant to circular shifts by
            multiples of the stride if the stride divides the size.

    Shape:
        Input [N, C, H, W] or [C, H, W], output the same with ceil(H / stride) and ceil(W / stride).

    Parameters:
        None.

    Raises:
        ArgumentError: If an argument is invalid. In `forward`, if the input is not floating point.
        ShapeError: In `forward`, if the input has the wrong rank, or is too small for its padding.

    Example:
        >>> import torch
        >>> down = torch.nn.Sequential(torch.nn.MaxPool2d(2, stride=1), BlurPool2d())
        >>> down(torch.zeros(1, 8, 32, 32)).shape, dict(down.state_dict())
        (torch.Size([1, 8, 16, 16]), {})

    Source: Zhang, "Making convolutional networks shift-invariant again", ICML 2019, section 3.
    """

    _ndim = 2


class BlurPool3d(_BlurPoolNd):
    """A binomial low-pass filter followed by a stride, over three axes; see `BlurPool2d`.

    Shape:
        Input [N, C, D, H, W] or [C, D, H, W], output the same with each size n replaced by ceil(n / stride).

    Example:
        >>> import torch
        >>> BlurPool3d(stride=(1, 2, 2))(torch.zeros(2, 4, 8, 8, 8)).shape
        torch.Size([2, 4, 8, 4, 4])
    """

    _ndim = 3
