"""The interface of all backends, and the base class of those that are bilinear in input and weight."""

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

#: Maximum number of elements in a block of patches (1 MiB in float32), chosen to stay in cache.
BLOCK = 2**18


def widen_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype in which long sums are accumulated: float32 for 16-bit types, else `dtype` itself."""
    return torch.promote_types(dtype, torch.float32) if dtype.itemsize < 4 else dtype


@dataclass(frozen=True)
class Backend(ABC):
    """One way of computing a layer; a frozen value.

    Args:
        window: Window of the layer. The input is already padded.
        output_size: Number of positions per spatial axis.
        groups: Number of channel groups.
    """

    window: Window
    output_size: tuple[int, ...]
    groups: int

    #: Layout of the weight that the backend multiplies.
    weight_layout: ClassVar[WeightLayout]
    #: Whether the backend pads with zeros itself, and takes and returns images without padding.
    pads_zeros: ClassVar[bool] = False

    @property
    def without_padding(self) -> "Backend":
        """The backend for inputs that are already padded."""
        return self

    @abstractmethod
    def __call__(self, input: Tensor, weight: Tensor, coefficients: Tensor | None = None) -> Tensor:
        """Compute the layer without bias; differentiable to any order.

        Args:
            input: Padded input [N, in, *padded].
            weight: Weight in the backend's `weight_layout`.
            coefficients: Coefficients [rank, *output_size], only for `LowRank`.
        """

    @abstractmethod
    def apply_adjoint(
        self, input: Tensor, weight: Tensor, padded_shape: Sequence[int], coefficients: Tensor | None = None
    ) -> Tensor:
        """Compute the adjoint of the layer with respect to its input; differentiable to any order.

        The channels and sizes are those of the layer, so `input` has the shape of the layer's output.

        Args:
            input: [N, out, *output_size].
            weight: Weight in the backend's `weight_layout`.
            padded_shape: Shape of the result, [N, in, *padded].
            coefficients: Coefficients [rank, *output_size], only for `LowRank`.
        """


@dataclass(frozen=True)
class BilinearBackend(Backend):
    """A backend defined by three bilinear maps: the output, and its adjoints in input and weight.

    The derivatives of each map are the other two, so the layer is differentiable to any order. `operators`
    registers the maps as torch operators, which receive the backend as a string, its `text`.
    """

    def __init_subclass__(cls) -> None:
        operators.CLASSES[cls.__name__] = cls

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", self._to_text())

    def __call__(self, input: Tensor, weight: Tensor, coefficients: Tensor | None = None) -> Tensor:
        if exportable.is_portable():
            return self.portable_output(input, weight)
        return operators.output(input, weight, self.text)

    def apply_adjoint(
        self, input: Tensor, weight: Tensor, padded_shape: Sequence[int], coefficients: Tensor | None = None
    ) -> Tensor:
        if exportable.is_portable():
            return self.portable_input_grad(input, weight, padded_shape)
        return operators.input_grad(input, weight, self.text, tuple(padded_shape))

    @abstractmethod
    def output(self, input: Tensor, weight: Tensor) -> Tensor:
        """Compute [N, out, *output_size] from [N, in, *padded] and the weight."""

    @abstractmethod
    def input_grad(self, grad: Tensor, weight: Tensor, input_shape: Sequence[int]) -> Tensor:
        """Compute the adjoint with respect to the input: [N, in, *padded] from [N, out, *output_size]."""

    @abstractmethod
    def weight_grad(self, input: Tensor, grad: Tensor, weight_shape: Sequence[int]) -> Tensor:
        """Compute the adjoint with respect to the weight from [N, in, *padded] and [N, out, *output_size]."""

    @abstractmethod
    def portable_output(self, input: Tensor, weight: Tensor) -> Tensor:
        """Compute `output` with plain torch operators."""

    @abstractmethod
    def portable_input_grad(self, grad: Tensor, weight: Tensor, input_shape: Sequence[int]) -> Tensor:
        """Compute `input_grad` with plain torch operators."""

    @abstractmethod
    def out_channels(self, weight_shape: Sequence[int]) -> int:
        """Return the number of output channels of a weight of this shape."""

    def count_macs(self, batch: int, weight_shape: Sequence[int]) -> int:
        """Return the number of multiply-accumulates of one of the maps."""
        per_bank = prod(weight_shape) // weight_shape[0]
        return batch * prod(self.output_size) * per_bank

    #: The backend as JSON, from which `operators.from_text` rebuilds it, also in another process.
    text: ClassVar[str]

    def _to_text(self) -> str:
        window = (self.window.kernel_size, self.window.stride, self.window.dilation)
        return json.dumps([type(self).__name__, window, self.output_size, self.groups, *self._dump_fields()])

    @classmethod
    def read(
        cls, window: list[list[int]], output_size: list[int], groups: int, *fields: Any
    ) -> "BilinearBackend":
        """Return the backend whose `text` holds these values after the name of the class."""
        kernel_size, stride, dilation = map(tuple, window)
        unpadded = Window(kernel_size, stride, 0, dilation, ndim=len(kernel_size))
        return cls(unpadded, tuple(output_size), groups, *cls._load_fields(*fields))

    def _dump_fields(self) -> Sequence[Any]:
        """Return the fields that a subclass adds, as values for JSON."""
        return ()

    @classmethod
    def _load_fields(cls, *fields: Any) -> Sequence[Any]:
        """Return the fields from the values of `_dump_fields`."""
        return fields
