"""How often each parameter would exist if every convolution of a forward pass were unshared.

Everything follows from the recorded operators: their kernels, biases and output positions.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import torch
from torch import Tensor

from ..parameters.storage import Ranges, get_byte_ranges
from .origins import Call, Origins, Place, identify

aten = torch.ops.aten


@dataclass(frozen=True)
class Use:
    """One use of a parameter by a convolution.

    Args:
        positions: Number of positions, each of which would have its own copy.
        ranges: Bytes of the parameter's storage that are used; None for the whole parameter.
    """

    positions: int
    ranges: Ranges | None


@dataclass
class Convolutions:
    """The convolutions of one forward pass.

    Args:
        uses: Uses of each parameter as a kernel or bias.
        unknown: `id` of each module that computes a convolution whose kernel cannot be assigned to parameters.
    """

    uses: dict[Place, list[Use]] = field(default_factory=dict)
    unknown: set[int] = field(default_factory=set)


class ConvolutionObserver:
    """Records the convolutions among the operators that run."""

    def __init__(self, origins: Origins, record: Convolutions):
        self.record, self._origins = record, origins
        #: Positions, channels and module of each convolution without a bias whose output is unchanged so far.
        self._bare: dict[Hashable, tuple[int, int, int]] = {}
        #: Keys of tensors that contain overlapping windows of an input.
        self._windows: set[Hashable] = set()

    def observe(self, call: Call) -> None:
        """Record one call of an operator."""
        read = _CONVOLUTIONS.get(call.packet)
        if read is None and call.packet in (aten.add, aten.add_):
            self._observe_addition(call)
        bare = None
        if read is not None:
            output = call.outputs[0][0]
            weight, bias, channels, positions, bias_positions = read(call.args, output)
            if not self._add(call, weight, positions):
                self.record.unknown.add(id(call.module))
            if bias is not None:
                self._add(call, bias, bias_positions)
            else:
                bare = bias_positions, channels, id(call.module)
        windows = read is None and self._follow_windows(call)
        if not call.is_view:
            for _, key in call.outputs:
                self._bare.pop(key, None)
                self._windows.discard(key)
            if bare is not None:
                self._bare[call.outputs[0][1]] = bare
            if windows:
                self._windows.update(key for _, key in call.outputs)

    def _add(self, call: Call, tensor: Tensor, positions: int) -> bool:
        """Add a use of the parameters in a kernel or bias; return whether they are known.

        A tensor that was computed from parameters is assigned to those with its number of elements.
        """
        key = identify(tensor)
        places = self._origins.find(key, call.module)
        if places is None:
            return False
        ranges = None
        if key in self._origins.stored and key != id(tensor):
            ranges = get_byte_ranges(tensor)
        elif places:
            places = {place for place in places if self._origins.numels[place] == tensor.numel()}
            if not places:
                return False
        for place in places:
            self.record.uses.setdefault(place, []).append(Use(positions, ranges))
        return True

    def _observe_addition(self, call: Call) -> None:
        """Record a bias that is added to the output of a convolution in the same module."""
        keys = [identify(x) if isinstance(x, Tensor) else None for x in call.args[:2]]
        for key, other in zip(keys, call.args[1::-1]):
            positions, channels, module = self._bare.get(key, (0, 0, 0))
            if module == id(call.module) and isinstance(other, Tensor) and other.numel() == channels:
                self._add(call, other, positions)

    def _follow_windows(self, call: Call) -> bool:
        """Return whether the output contains overlapping windows; record their products with parameters."""
        if call.packet is aten.im2col:
            return True
        windows = [t for t, key in call.inputs if key in self._windows or _is_overlapping(t)]
        if windows and call.macs is not None:
            found = [self._origins.find(key, call.module) for _, key in call.inputs]
            if any(found):
                self.record.unknown.add(id(call.module))
            return False
        largest = max((t.numel() for t in windows), default=0)
        return bool(windows) and any(t.numel() >= largest for t, _ in call.outputs)


def _is_overlapping(tensor: Tensor) -> bool:
    """Return whether a strided tensor has an element at several indices, other than by expansion."""
    if tensor.layout != torch.strided or tensor.is_nested or tensor.is_contiguous():
        return False
    reach = 0
    for stride, n in sorted(
        (stride, n) for stride, n in zip(tensor.stride(), tensor.shape) if stride and n > 1
    ):
        if stride <= reach:
            return True
        reach += stride * (n - 1)
    return False


#: Kernel, bias, output channels, positions of the kernel, positions of the bias.
_Parts = tuple[Tensor, Tensor | None, int, int, int]


def _read_convolution(args: Sequence[Any], output: Tensor) -> _Parts:
    """Read a convolution of any rank; only the kernels of a transposed one belong to input positions."""
    input, weight, bias, transposed = *args[:3], args[6]
    if transposed:
        return weight, bias, output.shape[1], prod(input.shape[2:]), 1
    positions = prod(output.shape[2:])
    return weight, bias, output.shape[1], positions, positions


def _read_plain_convolution(args: Sequence[Any], output: Tensor) -> _Parts:
    """Read a convolution that cannot be transposed, from input, weight and bias."""
    positions = prod(output.shape[2:])
    return args[1], args[2], output.shape[1], positions, positions


def _read_conv_tbc(args: Sequence[Any], output: Tensor) -> _Parts:
    """Read a convolution of [time, batch, channels]."""
    return args[1], args[2], output.shape[2], output.shape[0], output.shape[0]


_CONVOLUTIONS: dict[Any, Callable[[Sequence[Any], Tensor], _Parts]] = {
    aten.convolution: _read_convolution,
    aten._convolution: _read_convolution,
    aten.convolution_overrideable: _read_convolution,
    aten.mkldnn_convolution: _read_plain_convolution,
    aten.conv_tbc: _read_conv_tbc,
}
