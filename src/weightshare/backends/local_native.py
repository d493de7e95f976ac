"""`Local` layers in native code on the CPU, and with the other backends of `Local` everywhere else."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from ..geometry import Window
from . import exportable, native
from .base import BilinearBackend
from .layout import to_format_of
from .local_rows import LocalRows
from .local_taps import FEW_PRODUCTS, LocalTaps
from .native.maps import INPUT_GRAD, OUTPUT, WEIGHT_GRAD
from .weight_layout import PER_POSITION


@dataclass(frozen=True)
class LocalNative(BilinearBackend):
    """The backend of `Local` with the native library; weight [P, *kernel_size, in/groups, out].

    It pads with zeros itself: the inputs of its maps and the gradients of the inputs are not padded.

    Args:
        padding: Zeros at both ends of each axis.
    """

    padding: tuple[tuple[int, int], ...]
    weight_layout = PER_POSITION
    pads_zeros = True

    def output(self, input: Tensor, weight: Tensor) -> Tensor:
        if native.is_supported(input, weight):
            shape = (input.shape[0], weight.shape[-1], *self.output_size)
            return self._compute(OUTPUT, input, weight, shape)
        return self._find_other(weight.shape).output(self._pad(input), weight)

    def input_grad(self, grad: Tensor, weight: Tensor, input_shape: Sequence[int]) -> Tensor:
        if native.is_supported(grad, weight):
            return self._compute(INPUT_GRAD, grad, weight, input_shape)
        padded = self._find_other(weight.shape).input_grad(grad, weight, self._pad_shape(input_shape))
        return to_format_of(grad, self._crop(padded))

    def weight_grad(self, input: Tensor, grad: Tensor, weight_shape: Sequence[int]) -> Tensor:
        if native.is_supported(input, grad):
            return self._compute(WEIGHT_GRAD, input, grad, weight_shape)
        return self._find_other(weight_shape).weight_grad(self._pad(input), grad, weight_shape)

    def portable_output(self, input: Tensor, weight: Tensor) -> Tensor:
        geometry = self.window, self.output_size, self.groups
        return exportable.compute_local_output(*geometry, self._pad(input), weight)

    def portable_input_grad(self, grad: Tensor, weight: Tensor, input_shape: Sequence[int]) -> Tensor:
        geometry, shape = (self.window, self.output_size, self.groups), self._pad_shape(input_shape)
        return self._crop(exportable.compute_local_input_grad(*geometry, grad, weight, shape))

    def out_channels(self, weight_shape: Sequence[int]) -> int:
        return weight_shape[-1]

    @property
    def without_padding(self) -> "LocalNative":
        """The backend for inputs that are already padded."""
        return _drop_padding(self)

    def _dump_fields(self) -> Sequence[Any]:
        return (self.padding,)

    @classmethod
    def _load_fields(cls, *fields: list[list[int]]) -> Sequence[Any]:
        (padding,) = fields
        return (tuple((low, high) for low, high in padding),)

    def _compute(self, map: int, first: Tensor, second: Tensor, shape: Sequence[int]) -> Tensor:
        return native.compute(
            map, first, second, self.window, self.padding, self.output_size, self.groups, tuple(shape)
        )

    def _find_other(self, weight_shape: Sequence[int]) -> BilinearBackend:
        """Return the backend that computes the layer without the library."""
        return choose_other(self.window, self.output_size, self.groups, weight_shape[-2], weight_shape[-1])

    def _pad(self, input: Tensor) -> Tensor:
        return F.pad(input, self._get_amounts()) if any(map(any, self.padding)) else input

    def _crop(self, padded: Tensor) -> Tensor:
        return F.pad(padded, [-n for n in self._get_amounts()]) if any(map(any, self.padding)) else padded

    def _get_amounts(self) -> list[int]:
        return [n for pair in reversed(self.padding) for n in pair]

    def _pad_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        return (*shape[:2], *(n + sum(pair) for n, pair in zip(shape[2:], self.padding)))


@lru_cache(maxsize=1024)
def _drop_padding(backend: LocalNative) -> LocalNative:
    return replace(backend, padding=((0, 0),) * len(backend.padding))


def choose_other(
    window: Window, output_size: tuple[int, ...], groups: int, in_per_group: int, out: int
) -> BilinearBackend:
    """Return the backend of an unshared layer that needs no compiled library."""
    products = out // groups * in_per_group
    return (LocalTaps if products <= FEW_PRODUCTS else LocalRows)(window, output_size, groups)
