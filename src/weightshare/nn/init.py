"""Initial values: those of torch's convolution, whose output variance every sharing then has."""

import math

import torch
from torch import Tensor

from ..sharing import LowRank, Sharing


def bound(fan_in: int) -> float:
    """Half-width of the uniform distribution that `torch.nn.Conv2d` draws from, for weights and biases alike.

    Args:
        fan_in: Inputs of one output neuron, taps x in/groups: never multiplied by the number of banks.

    Source: `torch.nn.modules.conv._ConvNd.reset_parameters`, kaiming_uniform with a = sqrt(5), after
    He et al., "Delving deep into rectifiers", ICCV 2015, section 2.2.
    """
    gain = torch.nn.init.calculate_gain("leaky_relu", math.sqrt(5))
    return math.sqrt(3.0) * (gain / math.sqrt(fan_in))


@torch.no_grad()
def reset_weight(weight: Tensor, sharing: Sharing, fan_in: int) -> None:
    """Every bank as torch initialises its one kernel; of low rank the first so, and the corrections zero."""
    if isinstance(sharing, LowRank):
        weight[1:].zero_()
        weight = weight[:1]
    weight.uniform_(-bound(fan_in), bound(fan_in))


@torch.no_grad()
def reset_bias(bias: Tensor, fan_in: int) -> None:
    """As torch initialises a convolution's bias."""
    limit = 1 / math.sqrt(fan_in)
    bias.uniform_(-limit, limit)


@torch.no_grad()
def reset_coefficients(coefficients: list[Tensor]) -> None:
    """Standard normal divided by sqrt(number of terms), for a sum of variance 1 at every position."""
    for term in coefficients:
        term.normal_(0, 1 / math.sqrt(len(coefficients)))
