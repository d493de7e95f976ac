"""Low rank: one convolution to all banks' channels, then a weighted sum at every position."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .base import Kernel

_CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


class BasisConvolutions(Kernel):
    """Weight [1 + rank, out, in/groups, *kernel_size]; the kernel of a position is never built."""

    def __call__(self, input: Tensor, weight: Tensor, coefficients: Tensor | None = None) -> Tensor:
        assert coefficients is not None
        banks, groups = weight.shape[0], self.groups
        # channels ordered group, bank, output: a grouped convolution keeps its groups together
        stacked = weight.unflatten(1, (groups, -1)).transpose(0, 1).flatten(0, 2)
        conv = _CONV[self.window.ndim]
        products = conv(input, stacked, None, self.window.stride, 0, self.window.dilation, groups)
        products = products.unflatten(1, (groups, banks, -1))
        result, *corrections = products.unbind(2)
        for correction, coefficient in zip(corrections, coefficients.to(products.dtype)):
            result = torch.addcmul(result, correction, coefficient)
        return result.flatten(1, 2)
