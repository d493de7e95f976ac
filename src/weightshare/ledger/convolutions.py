"""How often each parameter would exist if every convolution of a forward pass were unshared.

Everything follows from the recorded operators: their kernels, biases and output positions.
"""

from collections.abc import Hashable
from dataclasses import dataclass, field
from math import prod
from typing import Any

import torch
from torch import ScriptObject, Tensor

from ..parameters.packed_objects import get_packed_key
from ..parameters.storage import Ranges, get_byte_ranges
from .macs import find_packed_convolution
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
        unknown: `id` of each module with a convolution whose kernel cannot be assigned to parameters.
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
        if call.packet in (aten.add, aten.add_):
            self._observe_addition(call)
        convolution, bare = _read(call), None
        if convolution is not None:
            weight, bias = convolution.weight, convolution.bias
            if not self._add(call, weight, convolution.positions, convolution.packed):
                self.record.unknown.add(id(call.module))
            elif bias is not None:
                self._add(call, bias, convolution.bias_positions, convolution.packed)
            else:
                bare = convolution.bias_positions, convolution.channels, id(call.module)
        windows = convolution is None and self._follow_windows(call)
        if not call.is_view:
            for _, key in call.outputs:
                self._bare.pop(key, None)
                self._windows.discard(key)
            if bare is not None:
                self._bare[call.outputs[0][1]] = bare
            if windows:
                self._windows.update(key for _, key in call.outputs)

    def _add(self, call: Call, tensor: Tensor, positions: int, packed: ScriptObject | None = None) -> bool:
        """Add a use of the parameters in a kernel or bias; return whether they are known.

        A tensor that was computed from parameters, or is packed, is assigned to those with its number of
        elements.
        """
        key = identify(tensor) if packed is None else get_packed_key(packed)
        places = self._origins.find(tensor, key, call.stack)
        if places is None:
            return False
        ranges = None
        if packed is None and key in self._origins.stored and key != id(tensor):
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
            found = [self._origins.find(*each, call.stack) for each in call.inputs]
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


@dataclass(frozen=True)
class _Convolution:
    """The arguments of one convolution.

    Args:
        channels: Number of output channels.
        positions: Number of positions that would have their own kernels.
        bias_positions: Number of positions that would have their own biases.
        packed: Object that contains kernel and bias, if they are quantized.
    """

    weight: Tensor
    bias: Tensor | None
    channels: int
    positions: int
    bias_positions: int
    packed: ScriptObject | None = None


def _read(call: Call) -> _Convolution | None:
    """Read an operator; return None if it is not a convolution."""
    args, packed = call.args, find_packed_convolution(call.args)
    if packed is not None:
        weight, bias = packed.unpack()
        return _make(weight, bias, packed.transpose(), call, packed)
    if call.packet in (aten.convolution, aten._convolution, aten.convolution_overrideable):
        return _make(args[1], args[2], args[6], call)
    if call.packet is aten.mkldnn_convolution:
        return _make(args[1], args[2], False, call)
    if call.packet is aten.conv_tbc:
        steps, _, channels = call.outputs[0][0].shape  # [time, batch, channels]
        return _Convolution(args[1], args[2], channels, steps, steps)
    return None


def _make(
    weight: Tensor, bias: Tensor | None, transposed: bool, call: Call, packed: Any = None
) -> _Convolution:
    """Read the positions from the output, or from the input if the convolution is transposed.

    A transposed convolution has one kernel for each input position, and its bias does not depend on them.
    """
    output = call.outputs[0][0]
    positions = bias_positions = prod(output.shape[2:])
    if transposed:
        positions, bias_positions = prod(call.inputs[0][0].shape[2:]), 1
    return _Convolution(weight, bias, output.shape[1], positions, bias_positions, packed)
