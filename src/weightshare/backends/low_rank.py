"""`LowRank` layers: one convolution computes the outputs of all banks, which the coefficients then combine.

The adjoint multiplies the input by the coefficients of each bank and applies one transposed convolution.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from .base import Backend
from .layout import CONV, CONV_TRANSPOSE, with_contiguous_grad


class BasisConvolutions(Backend):
    """The backend of `LowRank`; weight [1 + rank, out, in/groups, *kernel_size].

    The kernels of single positions are never built.
    """

    def __call__(self, input: Tensor, weight: Tensor, coefficients: Tensor | None = None) -> Tensor:
        assert coefficients is not None
        banks, groups = weight.shape[0], self.groups
        conv, stacked = CONV[self.window.ndim], self._stack_banks(weight)
        products = conv(input, stacked, None, self.window.stride, 0, self.window.dilation, groups)
        products = products.unflatten(1, (groups, banks, -1))
        result, *corrections = products.unbind(2)
        for correction, coefficient in zip(corrections, coefficients.to(products.dtype)):
            result = torch.addcmul(result, correction, coefficient)
        return result.flatten(1, 2)

    def apply_adjoint(
        self, input: Tensor, weight: Tensor, result_shape: Sequence[int], coefficients: Tensor | None = None
    ) -> Tensor:
        assert coefficients is not None
        groups, window = self.groups, self.window
        # per group: the input, then the input times the coefficients of each correction
        x = input.unflatten(1, (groups, 1, -1))
        weighted = x * coefficients.to(x.dtype).unsqueeze(1)
        stacked = torch.cat([x, weighted], dim=2).flatten(1, 3)
        extra = [n - low for n, low in zip(result_shape[2:], window.span(self.output_size))]
        conv = CONV_TRANSPOSE[window.ndim]
        return conv(
            stacked, self._stack_banks(weight), None, window.stride, 0, extra, groups, window.dilation
        )

    def _stack_banks(self, weight: Tensor) -> Tensor:
        """Stack [banks, out, ...] to the weight [groups * banks * out/groups, ...] of one convolution."""
        return with_contiguous_grad(weight).unflatten(1, (self.groups, -1)).transpose(0, 1).flatten(0, 2)


def combine_coefficients(terms: Sequence[Tensor]) -> Tensor:
    """Return the coefficients [rank, *size] as the sum of one term [rank, n] per axis."""
    ndim = len(terms)
    parts = [
        with_contiguous_grad(term).view(-1, *(1,) * axis, term.shape[1], *(1,) * (ndim - axis - 1))
        for axis, term in enumerate(terms)
    ]
    return sum(parts[1:], parts[0])
