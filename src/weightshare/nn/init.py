"""Initial values like those of `torch.nn` convolutions: the output variance is the same for every sharing."""

import math

import torch
from torch import Tensor

from ..sharing import LowRank, Sharing

#: Initial value of corrections. In float16, the square of any negligible value is zero.
_NEGLIGIBLE = {torch.float16: 2**-24, torch.float64: 2**-200}


def compute_bound(fan_in: int) -> float:
    """Return the bound of the uniform distribution from which `torch.nn.Conv2d` initializes its weight.

    Args:
        fan_in: Number of inputs of one output element, taps x in/groups. It does not depend on the number of
            banks.

    Source: `torch.nn.modules.conv._ConvNd.reset_parameters`, kaiming_uniform with a = sqrt(5), after
    He et al., "Delving deep into rectifiers", ICCV 2015, section 2.2.
    """
    gain = torch.nn.init.calculate_gain("leaky_relu", math.sqrt(5))
    return math.sqrt(3.0) * (gain / math.sqrt(fan_in))


@torch.no_grad()
def reset_weight(weight: Tensor, sharing: Sharing, fan_in: int) -> None:
    """Initialize each bank like the kernel of a torch convolution, and `LowRank`'s corrections near zero."""
    if isinstance(sharing, LowRank):
        reset_corrections(weight[1:])
        weight = weight[:1]
    weight.uniform_(-compute_bound(fan_in), compute_bound(fan_in))


@torch.no_grad()
def reset_corrections(corrections: Tensor) -> None:
    """Set the corrections of `LowRank` to a value that is lost by rounding when it is added to a kernel.

    Zero has no direction, so `torch.nn.utils.parametrizations.weight_norm` would compute 0 / 0.
    The squares of the value do not underflow in float32 and float64, nor in bfloat16.
    """
    corrections.fill_(_NEGLIGIBLE.get(corrections.dtype, 2**-60))


@torch.no_grad()
def reset_bias(bias: Tensor, fan_in: int) -> None:
    """Initialize a bias like that of a torch convolution."""
    limit = 1 / math.sqrt(fan_in)
    bias.uniform_(-limit, limit)


@torch.no_grad()
def reset_coefficients(coefficients: list[Tensor]) -> None:
    """Draw normally distributed coefficients whose sum over the terms has variance 1 at each position."""
    for term in coefficients:
        term.normal_(0, 1 / math.sqrt(len(coefficients)))
