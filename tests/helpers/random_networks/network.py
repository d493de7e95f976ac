"""Networks that were built from recipes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

import tests.helpers.random_networks.heads
import tests.helpers.random_networks.layers
import tests.helpers.random_networks.lines
import tests.helpers.random_networks.mixing
import tests.helpers.random_networks.windows  # noqa: F401 (these files register their operations)
from tests.helpers.random_networks.builder import Builder, OutputDim, Recipe
from tests.helpers.random_networks.registry import OPERATIONS


@dataclass(frozen=True)
class Network:
    """A network, its input, and what its output should do under shifts.

    Args:
        recipe: Recipe of the network.
        program: Program that defines `Net` and the input `x`.
        used: Names of the operations in it.
        output: Dimensions of the output.
        has_lost_positions: Whether a map has one position along an axis. What follows may be read as a map
            or as features, for which other errors are defined.
    """

    recipe: Recipe
    program: str
    used: tuple[str, ...]
    output: tuple[OutputDim, ...]
    has_lost_positions: bool

    @cached_property
    def _values(self) -> dict[str, Any]:
        values: dict[str, Any] = {}
        with torch.random.fork_rng():
            exec(self.program, values)
        return values

    @property
    def model(self) -> nn.Module:
        """The model, in evaluation mode."""
        return self._values["model"]

    @property
    def x(self) -> Tensor:
        """The input."""
        return self._values["x"]

    def shift_output(self, output: Tensor, shift: Sequence[int]) -> Tensor | None:
        """Return an output rolled by shift / stride; None if that is not whole."""
        for d, dim in enumerate(self.output):
            moving = [
                n for n, factor in enumerate(dim.factors) if factor.axis is not None and factor.size > 1
            ]
            by = [shift[dim.factors[n].axis] / dim.factors[n].stride for n in moving]
            if any(steps.denominator > 1 for steps in by):
                return None
            if any(by):
                head, rest = output.tensor_split([dim.prefix], d)
                parts = rest.unflatten(d, [factor.size for factor in dim.factors])
                rolled = parts.roll([int(steps) for steps in by], [d + n for n in moving])
                output = torch.cat([head, rolled.flatten(d, d + len(dim.factors) - 1)], d)
        return output


_PICTURES = {
    "normal": "torch.randn({shape})",
    "positive": "torch.rand({shape})",
    "large": "300 + 20 * torch.randn({shape})",
    "margin": "F.pad(torch.rand({inner}), [1] * {twice})",
    "constant": "torch.ones({shape})",
}


def build(recipe: Recipe) -> Network | None:
    """Build the network of a recipe; None if the head does not fit."""
    builder = Builder(recipe, OPERATIONS)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(recipe.seed)
        builder.add((*recipe.blocks, recipe.head))
    if builder.output is None:
        return None
    shape = recipe.shape
    inner = ", ".join(map(str, (*shape[:2], *(n - 2 for n in shape[2:]))))
    picture = _PICTURES[recipe.picture].format(
        shape=", ".join(map(str, shape)), inner=inner, twice=2 * builder.axes
    )
    layers = "".join(f"        {line}\n" for line in builder.layers)
    lines = "".join(f"        {line}\n" for line in builder.lines)
    program = f"""\
import torch, torch.nn.functional as F, weightshare as ws
from torch import nn
from tests.helpers.random_networks import draw_weights

class Net(nn.Module):
    def __init__(self):
        super().__init__()
{layers}
    def forward(self, h):
{lines}        return h

torch.manual_seed({recipe.seed})
model = draw_weights(Net()).to(torch.{recipe.dtype}).eval()
x = ({picture}).to(torch.{recipe.dtype})
"""
    output = orient(builder.output)
    return Network(recipe, program, tuple(builder.used), output, builder.has_lost_positions)


def orient(output: tuple[OutputDim, ...]) -> tuple[OutputDim, ...]:
    """Return an output that should shift like the input although its axes may have been transposed.

    If its axes have the same size and stride in order, then it is read in that order.
    """
    found = [f for dim in output for f in dim.factors if f.axis is not None and f.size > 1]
    ordered = sorted(found, key=lambda f: f.axis)
    if any((one.size, one.stride) != (other.size, other.stride) for one, other in zip(found, ordered)):
        return output
    queue = iter(ordered)
    return tuple(
        replace(
            dim, factors=tuple(next(queue) if f.axis is not None and f.size > 1 else f for f in dim.factors)
        )
        for dim in output
    )


def draw_weights(model: nn.Module) -> nn.Module:
    """Give all parameters and buffers random values of moderate size."""
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point():
                positive = "var" in name or tensor.dim() < 2
                fan_in = max(1, prod(tensor.shape[1:]))
                tensor.copy_(
                    0.5 + torch.rand(tensor.shape)
                    if positive
                    else torch.randn(tensor.shape) * 1.5 / fan_in**0.5
                )
    return model
