"""What every kernel promises, and the derivatives that all bilinear ones share."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..geometry import Window

#: Elements that a block of patches may have (1 MiB in float32): small enough to stay in cache.
BLOCK = 2**18


def summing_dtype(dtype: torch.dtype) -> torch.dtype:
    """The dtype in which many numbers are added up: float32 for those of 16 bits."""
    return torch.promote_types(dtype, torch.float32) if dtype.itemsize < 4 else dtype


@dataclass(frozen=True)
class Kernel(ABC):
    """A way of computing one layer; a frozen value.

    Args:
        window: Where each position looks; its padding is already in the input.
        output_size: Output positions on every spatial axis.
        groups: Groups of channels.
    """

    window: Window
    output_size: tuple[int, ...]
    groups: int

    @abstractmethod
    def __call__(self, input: Tensor, weight: Tensor, coefficients: Tensor | None = None) -> Tensor:
        """The layer without bias, with every derivative.

        Args:
            input: [N, in, *padded].
            weight: In the layout that the kernel's class names.
            coefficients: [rank, *output_size], for low rank only.
        """


class Bilinear(Kernel):
    """A kernel given by three maps, each bilinear; their derivatives are each other, to any order."""

    def __call__(self, input: Tensor, weight: Tensor, coefficients: Tensor | None = None) -> Tensor:
        device = input.device.type
        if torch.is_autocast_enabled(device) and input.dtype != torch.float64:
            dtype = torch.get_autocast_dtype(device)
            input, weight = input.to(dtype), weight.to(dtype)
        return _Output.apply(input, weight, self)  # type: ignore[return-value]

    @abstractmethod
    def output(self, input: Tensor, weight: Tensor) -> Tensor:
        """[N, in, *padded] and the weight -> [N, out, *output_size]."""

    @abstractmethod
    def input_grad(self, grad: Tensor, weight: Tensor, input_shape: Sequence[int]) -> Tensor:
        """The adjoint in the input: [N, out, *output_size] and the weight -> [N, in, *padded]."""

    @abstractmethod
    def weight_grad(self, input: Tensor, grad: Tensor, weight_shape: Sequence[int]) -> Tensor:
        """The adjoint in the weight: [N, in, *padded] and [N, out, *output_size] -> the weight's layout."""


def _as_given(tensor: Tensor) -> torch.autocast:
    """Inside, no operation changes its operands' dtype."""
    return torch.autocast(tensor.device.type, enabled=False)


class _Output(torch.autograd.Function):
    @staticmethod
    def forward(ctx, input, weight, kernel):
        ctx.kernel = kernel
        ctx.save_for_backward(input, weight)
        with _as_given(input):
            return kernel.output(input, weight)

    @staticmethod
    def backward(ctx, grad):  # type: ignore[override]
        input, weight = ctx.saved_tensors
        for_input, for_weight, _ = ctx.needs_input_grad
        return (
            _InputGrad.apply(grad, weight, ctx.kernel, input.shape) if for_input else None,
            _WeightGrad.apply(input, grad, ctx.kernel, weight.shape) if for_weight else None,
            None,
        )


class _InputGrad(torch.autograd.Function):
    @staticmethod
    def forward(ctx, grad, weight, kernel, input_shape):
        ctx.kernel = kernel
        ctx.save_for_backward(grad, weight)
        with _as_given(grad):
            return kernel.input_grad(grad, weight, input_shape)

    @staticmethod
    def backward(ctx, direction):  # type: ignore[override]
        grad, weight = ctx.saved_tensors
        for_grad, for_weight = ctx.needs_input_grad[:2]
        return (
            _Output.apply(direction, weight, ctx.kernel) if for_grad else None,
            _WeightGrad.apply(direction, grad, ctx.kernel, weight.shape) if for_weight else None,
            None,
            None,
        )


class _WeightGrad(torch.autograd.Function):
    @staticmethod
    def forward(ctx, input, grad, kernel, weight_shape):
        ctx.kernel = kernel
        ctx.save_for_backward(input, grad)
        with _as_given(input):
            return kernel.weight_grad(input, grad, weight_shape)

    @staticmethod
    def backward(ctx, direction):  # type: ignore[override]
        input, grad = ctx.saved_tensors
        for_input, for_grad = ctx.needs_input_grad[:2]
        return (
            _InputGrad.apply(grad, direction, ctx.kernel, input.shape) if for_input else None,
            _Output.apply(input, direction, ctx.kernel) if for_grad else None,
            None,
            None,
        )
