"""Down-sampling that low-passes first: blur pooling in one to three dimensions."""

from math import comb

import torch.nn.functional as F
from torch import Tensor
from torch.nn import Module

from .._args import Size, per_axis, times
from ..backends.checks import not_a_tensor
from ..errors import ArgumentError, ShapeError
from ..geometry import check_padding_mode

_CONVOLUTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}

#: Inputs that a padding mode needs beyond those it adds behind the last; the others need one in all.
_BEYOND = {"reflect": 1, "circular": 0}


class _BlurPoolNd(Module):
    """What the pools of one to three dimensions have in common."""

    _ndim: int

    def __init__(self, filter_size: Size = 4, stride: Size = 2, padding_mode: str = "reflect"):
        super().__init__()
        where = type(self).__name__
        self.filter_size = per_axis(where, "filter_size", filter_size, self._ndim, least=1)
        self.stride = per_axis(where, "stride", stride, self._ndim, least=1)
        self.padding_mode = check_padding_mode(where, padding_mode)

    def forward(self, input: Tensor) -> Tensor:
        """[N, C, *size] or [C, *size] -> the same with each n of size ceil(n / stride)."""
        ndim = self._ndim
        if not isinstance(input, Tensor):
            raise not_a_tensor(type(self).__name__, input)
        if input.dim() not in (ndim + 1, ndim + 2):
            raise ShapeError(
                type(self).__name__,
                f"input must be [N, C, *size] or [C, *size] with {ndim} spatial axes",
                f"shape {tuple(input.shape)}",
                "give it as many axes",
            )
        if not input.is_floating_point():
            raise ArgumentError(
                type(self).__name__, "input must be floating point", str(input.dtype), "convert it first"
            )
        if input.dim() == ndim + 1:
            return self._blurred(input.unsqueeze(0)).squeeze(0)
        return self._blurred(input)

    def _blurred(self, input: Tensor) -> Tensor:
        """The filter is a product of one an axis, so each axis has its own, already strided, convolution."""
        result, channels = self._padded(input), input.shape[1]
        for axis, (taps, step) in enumerate(zip(self.filter_size, self.stride)):
            if taps == step == 1:
                continue
            ones = [1] * self._ndim
            size, stride = [*ones[:axis], taps, *ones[axis + 1 :]], [*ones[:axis], step, *ones[axis + 1 :]]
            binomial = input.new_tensor([comb(taps - 1, tap) / 2 ** (taps - 1) for tap in range(taps)])
            weight = binomial.view(1, 1, *size).expand(channels, 1, *size)
            result = _CONVOLUTIONS[self._ndim](result, weight, stride=stride, groups=channels)
        return result

    def _padded(self, input: Tensor) -> Tensor:
        pairs = [((taps - 1) // 2, taps // 2) for taps in self.filter_size]
        least = [max(1, after + _BEYOND.get(self.padding_mode, -after)) for _, after in pairs]
        size = input.shape[2:]
        if any(n < needed for n, needed in zip(size, least)):
            raise ShapeError(
                type(self).__name__,
                f"filter_size={self.filter_size} with padding_mode={self.padding_mode!r} needs an input of "
                f"at least {times(least)}",
                times(size),
                "use a smaller filter, or padding_mode='replicate'",
            )
        mode = "constant" if self.padding_mode == "zeros" else self.padding_mode
        return F.pad(input, [n for pair in reversed(pairs) for n in pair], mode=mode)

    def extra_repr(self) -> str:
        return f"filter_size={self.filter_size}, stride={self.stride}, padding_mode={self.padding_mode!r}"


class BlurPool1d(_BlurPoolNd):
    """A binomial low-pass, then a stride, over one axis; see `BlurPool2d`.

    Shape:
        input [N, C, L] or [C, L], output [N, C, ceil(L / stride)] or [C, ceil(L / stride)].

    Example:
        >>> import torch
        >>> BlurPool1d(filter_size=3)(torch.tensor([[0.0, 4, 0, 0, 0, 0]]))
        tensor([[2., 1., 0.]])
    """

    _ndim = 1


class BlurPool2d(_BlurPoolNd):
    """A binomial low-pass, then a stride: down-sampling that shifts of the input disturb less.

    Every channel is filtered on its own by the outer product of binomial coefficients over their sum,
    [1, 1] / 2, [1, 2, 1] / 4, [1, 3, 3, 1] / 8 and so on. The order matters: what makes high frequencies is
    before the blur. In place of a layer with stride 2 write

        convolution, stride 2, then ReLU        ->  convolution, stride 1, ReLU, BlurPool2d()
        MaxPool2d(2)                            ->  MaxPool2d(2, stride=1), BlurPool2d()
        AvgPool2d(2)                            ->  BlurPool2d()

    It has no parameters and nothing in a state dict, so a checkpoint loads before and after the change.
    `filter_size=1` is the stride alone, with `stride=1` the identity.

    Args:
        filter_size: Taps on every axis, at least 1. Even ones keep a map of even size centred under stride 2.
        stride: Inputs from one output position to the next.
        padding_mode: "reflect", "replicate", "circular" or "zeros". On every axis (filter_size - 1) // 2
            inputs are added before the first and filter_size // 2 behind the last (4 taps: 1 and 2).
            "circular" is exactly equivariant to circular shifts by multiples of the stride, if the stride
            divides the size.

    Shape:
        input [N, C, H, W] or [C, H, W], output with ceil(H / stride) and ceil(W / stride), so half of an even
        size.

    Raises:
        ArgumentError: an argument out of its range, or an input that is not floating point.
        ShapeError: in `forward`, an input of another rank, or too small to be padded so.

    Example:
        >>> import torch
        >>> down = torch.nn.Sequential(torch.nn.MaxPool2d(2, stride=1), BlurPool2d())
        >>> down(torch.zeros(1, 8, 32, 32)).shape, dict(down.state_dict())
        (torch.Size([1, 8, 16, 16]), {})

    Source: Zhang, "Making convolutional networks shift-invariant again", ICML 2019, section 3.
    """

    _ndim = 2


class BlurPool3d(_BlurPoolNd):
    """A binomial low-pass, then a stride, over three axes; see `BlurPool2d`.

    Shape:
        input [N, C, D, H, W] or [C, D, H, W], output with each size n as ceil(n / stride).

    Example:
        >>> import torch
        >>> BlurPool3d(stride=(1, 2, 2))(torch.zeros(2, 4, 8, 8, 8)).shape
        torch.Size([2, 4, 8, 4, 4])
    """

    _ndim = 3
