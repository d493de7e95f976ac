"""What every backend promises, and what the bilinear ones share: three maps, called as operators of torch."""

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..geometry import Window
from . import exportable, operators
from .weight_layout import WeightLayout

#: Elements that a block of patches may have (1 MiB in float32): small enough to stay in cache.
BLOCK = 2**18


def summing_dtype(dtype: torch.dtype) -> torch.dtype:
    """The dtype in which many numbers are added up: float32 for those of 16 bits."""
    return torch.promote_types(dtype, torch.float32) if dtype.itemsize < 4 else dtype


@dataclass(frozen=True)
class Backend(ABC):
    """A way of computing one layer; a frozen value.

    Args:
        window: Where each position looks; its padding is already in the input.
        output_size: Output positions on every spatial axis.
        groups: Groups of channels.
    """

    window: Window
    output_size: tuple[int, ...]
    groups: int

    #: How the weight that it multiplies is stored.
    weight_layout: ClassVar[WeightLayout]

    @abstractmethod
    def __call__(self, input: Tensor, weight: Tensor, coefficients: Tensor | None = None) -> Tensor:
        """The layer without bias, with every derivative.

        Args:
            input: [N, in, *padded].
            weight: In the backend's `weight_layout`.
            coefficients: [rank, *output_size], for low rank only.
        """

    @abstractmethod
    def transposed(
        self, input: Tensor, weight: Tensor, padded_shape: Sequence[int], coefficients: Tensor | None = None
    ) -> Tensor:
        """The adjoint of the layer in its input, as a layer of its own, with every derivative.

        Args:
            input: [N, out, *output_size] (`out` and `output_size` of the layer that this is the adjoint of).
            weight: As above.
            padded_shape: Of the result, [N, in, *padded].
            coefficients: As above.
        """


@dataclass(frozen=True)
class BilinearBackend(Backend):
    """A backend given by three maps, each bilinear; their derivatives are each other, to any order.

    `operators` registers the maps with torch; an operator takes the backend as its `text`.
    """

    def __init_subclass__(cls) -> None:
        operators.KINDS[cls.__name__] = cls

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", self._written())

    def __call__(self, input: Tensor, weight: Tensor, coefficients: Tensor | None = None) -> Tensor:
        if exportable.is_wanted():
            return self.portable_output(input, weight)
        return operators.output(input, weight, self.text)

    def transposed(
        self, input: Tensor, weight: Tensor, padded_shape: Sequence[int], coefficients: Tensor | None = None
    ) -> Tensor:
        if exportable.is_wanted():
            return self.portable_transposed(input, weight, padded_shape)
        return operators.input_grad(input, weight, self.text, tuple(padded_shape))

    @abstractmethod
    def output(self, input: Tensor, weight: Tensor) -> Tensor:
        """[N, in, *padded] and the weight -> [N, out, *output_size]."""

    @abstractmethod
    def input_grad(self, grad: Tensor, weight: Tensor, input_shape: Sequence[int]) -> Tensor:
        """The adjoint in the input: [N, out, *output_size] and the weight -> [N, in, *padded]."""

    @abstractmethod
    def weight_grad(self, input: Tensor, grad: Tensor, weight_shape: Sequence[int]) -> Tensor:
        """The adjoint in the weight: [N, in, *padded] and [N, out, *output_size] -> the weight's layout."""

    @abstractmethod
    def portable_output(self, input: Tensor, weight: Tensor) -> Tensor:
        """`output` in plain operators of torch."""

    @abstractmethod
    def portable_transposed(self, input: Tensor, weight: Tensor, padded_shape: Sequence[int]) -> Tensor:
        """`input_grad` in plain operators of torch."""

    @abstractmethod
    def out_channels(self, weight_shape: Sequence[int]) -> int:
        """Channels of the output, from the shape of a weight."""

    def macs(self, batch: int, weight_shape: Sequence[int]) -> int:
        """Multiplications of one of the maps."""
        per_bank = prod(weight_shape) // weight_shape[0]
        return batch * prod(self.output_size) * per_bank

    #: The backend as text, from which `operators.from_text` makes it again, in another process too.
    text: ClassVar[str]

    def _written(self) -> str:
        window = (self.window.kernel_size, self.window.stride, self.window.dilation)
        return json.dumps([type(self).__name__, window, self.output_size, self.groups, *self._further()])

    @classmethod
    def read(cls, window: list, output_size: list[int], groups: int, *further: Any) -> "BilinearBackend":
        """The backend from the numbers of its text."""
        kernel_size, stride, dilation = map(tuple, window)
        seen = Window(kernel_size, stride, 0, dilation, ndim=len(kernel_size))
        return cls(seen, tuple(output_size), groups, *cls._fields(*further))

    def _further(self) -> Sequence[Any]:
        """What a subclass adds to the text: its own fields, as JSON has them."""
        return ()

    @classmethod
    def _fields(cls, *further: Any) -> Sequence[Any]:
        """The inverse of `_further`."""
        return further
