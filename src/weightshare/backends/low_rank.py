"""`LowRank` layers: one convolution computes the outputs of all banks, which the coefficients then combine.

The adjoint multiplies the input by the coefficients of each bank and applies one transposed convolution.
"""

from collections.abc import Callable, Sequence
from math import prod

import torch
from torch import Tensor
from torch.jit import is_tracing  # pyright: ignore[reportPrivateImportUsage]

from .base import Backend
from .exportable import is_portable
from .layout import CONV, CONV_TRANSPOSE, with_contiguous_grad

#: Most elements in the outputs of all banks that are computed at a time (8 MiB in float32).
CHUNK = 2**21


class BasisConvolutions(Backend):
    """The backend of `LowRank`; weight [1 + rank, out, in/groups, *kernel_size].

    The kernels of single positions are never built.
    """

    def __call__(self, input: Tensor, weight: Tensor, coefficients: Tensor | None = None) -> Tensor:
        assert coefficients is not None
        conv, stacked, groups = CONV[self.window.ndim], self._stack_banks(weight), self.groups
        weighting = coefficients

        def compute(images: Tensor) -> Tensor:
            products = conv(images, stacked, None, self.window.stride, 0, self.window.dilation, groups)
            products = products.unflatten(1, (groups, len(weight), -1))
            result, *corrections = products.unbind(2)
            for correction, coefficient in zip(corrections, weighting.to(products.dtype)):
                result = torch.addcmul(result, correction, coefficient)
            return result.flatten(1, 2)

        return _compute_in_chunks(compute, input, len(stacked) * prod(self.output_size))

    def apply_adjoint(
        self, input: Tensor, weight: Tensor, result_shape: Sequence[int], coefficients: Tensor | None = None
    ) -> Tensor:
        assert coefficients is not None
        groups, window, stacked = self.groups, self.window, self._stack_banks(weight)
        extra = [n - low for n, low in zip(result_shape[2:], window.span(self.output_size))]
        conv, weighting = CONV_TRANSPOSE[window.ndim], coefficients

        def compute(images: Tensor) -> Tensor:
            # per group: the input, then the input times the coefficients of each correction
            x = images.unflatten(1, (groups, 1, -1))
            weighted = x * weighting.to(x.dtype).unsqueeze(1)
            x = torch.cat([x, weighted], dim=2).flatten(1, 3)
            return conv(x, stacked, None, window.stride, 0, extra, groups, window.dilation)

        return _compute_in_chunks(compute, input, len(stacked) * prod(self.output_size))

    def _stack_banks(self, weight: Tensor) -> Tensor:
        """Stack [banks, out, ...] to the weight [groups * banks * out/groups, ...] of one convolution."""
        return with_contiguous_grad(weight).unflatten(1, (self.groups, -1)).transpose(0, 1).flatten(0, 2)


def _compute_in_chunks(compute: Callable[[Tensor], Tensor], input: Tensor, each: int) -> Tensor:
    """Apply a function to images: on the CPU to a few at a time, so that intermediate results stay in cache.

    Args:
        compute: The function.
        input: Images [N, C, *size].
        each: Number of elements per image in its intermediate results.
    """
    step = max(1, CHUNK // max(1, each))
    records = torch.compiler.is_compiling() or is_tracing() or is_portable()  # programs for any batch size
    if records or input.device.type != "cpu" or input.shape[0] <= step:
        return compute(input)
    return torch.cat([compute(images) for images in input.split(step)])


def combine_coefficients(terms: Sequence[Tensor]) -> Tensor:
    """Return the coefficients [rank, *size] as the sum of one term [rank, n] per axis."""
    ndim = len(terms)
    parts = [
        with_contiguous_grad(term).view(-1, *(1,) * axis, term.shape[1], *(1,) * (ndim - axis - 1))
        for axis, term in enumerate(terms)
    ]
    return sum(parts[1:], parts[0])
