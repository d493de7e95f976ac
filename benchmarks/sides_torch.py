"""Our layers, what people write in torch today, and torch's shared convolution.

Every `sides_*` module has `build(section, shape)`: by name, what makes a side, or why it is left out.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

import alternatives
from arrays import input_array, weight_array
from shapes import Shape
from weightshare import Full, Local, LowRank, Regional, SharedAlong, Tiled, nn

ALTERNATIVES = {
    "unfold + einsum": alternatives.unfold_einsum,
    "F.unfold + bmm": alternatives.unfold_bmm,
    "broadcast": alternatives.broadcast,
}
PARTIAL = (Tiled(2), Regional(4), SharedAlong(1), LowRank(1), LowRank(4))
MOST_BYTES = 2 * 2**30


class Side:
    """A function of the input and its weights, as it is timed."""

    compiles_late = False
    no_training = None

    def __init__(self, function: Callable[[Tensor], Tensor], weights: list[Tensor], shape: Shape):
        self.function = function
        self.input = torch.from_numpy(input_array(shape)).requires_grad_()
        self.leaves = [self.input, *weights]
        self.grad: Tensor | None = None

    @torch.no_grad()
    def forward(self) -> Tensor:
        return self.function(self.input)

    def prepare_training(self) -> None:
        """The gradient of the output, which a user's loss would give."""
        self.grad = torch.ones_like(self.forward())

    def training(self) -> Tensor:
        """Forward and the gradients of input and weights, into fresh tensors as a user's step has them."""
        for leaf in self.leaves:
            leaf.grad = None
        out = self.function(self.input)
        out.backward(self.grad)
        return out.detach()

    def result(self) -> np.ndarray:
        return self.forward().numpy()

    def input_grad(self) -> np.ndarray:
        """The gradient of the input by the last `training`."""
        return self.input.grad.numpy()  # type: ignore[union-attr]

    def result_bytes(self, what: str) -> int:
        """Of the tensors that stay: the output and, in training, all gradients."""
        kept = [self.forward(), *(self.leaves if what == "training" else [])]
        return sum(t.numel() * t.element_size() for t in kept)


def build(section: str, shape: Shape) -> dict[str, Callable[[], Side] | str]:
    return {
        "local": _local,
        "grouped": _local,
        "transposed": _transposed,
        "partial": _partial,
        "full": _full,
    }[section](shape)


def versions() -> dict[str, str]:
    return {"torch": torch.__version__, "threads": str(torch.get_num_threads())}


def _local(shape: Shape) -> dict[str, Callable[[], Side] | str]:
    sides: dict[str, Callable[[], Side] | str] = {"ours": lambda: _ours(shape)}
    for name, function in ALTERNATIVES.items():
        sides[name] = lambda f=function: _alternative(f, shape)
    if alternatives.broadcast_bytes(shape) > MOST_BYTES:
        sides["broadcast"] = f"a temporary of {alternatives.broadcast_bytes(shape) / 2**30:.0f} GiB"
    return {**sides, "shared conv": lambda: _layer(_class(torch.nn, shape), shape, bias=False)}


def _ours(shape: Shape) -> Side:
    side = _layer(_class(nn, shape), shape, bias=False, sharing=Local(), input_size=shape.size)
    _fill(side, torch.from_numpy(weight_array(shape)))
    return side


@torch.no_grad()
def _fill(side: Side, weight: Tensor) -> None:
    side.function.weight.copy_(weight)  # type: ignore[attr-defined]


def _alternative(function: Callable, shape: Shape) -> Side:
    weight = torch.from_numpy(weight_array(shape)).requires_grad_()
    return Side(lambda x: function(x, weight, shape), [weight], shape)


def _partial(shape: Shape) -> dict[str, Callable[[], Side] | str]:
    ours = {
        str(s): lambda s=s: _layer(_class(nn, shape), shape, sharing=s, input_size=shape.size)
        for s in PARTIAL
    }
    return {**ours, "shared conv": lambda: _layer(_class(torch.nn, shape), shape)}


def _full(shape: Shape) -> dict[str, Callable[[], Side] | str]:
    return {
        "ours": lambda: _layer(_class(nn, shape), shape, sharing=Full()),
        "shared conv": lambda: _layer(_class(torch.nn, shape), shape),
    }


def _transposed(shape: Shape) -> dict[str, Callable[[], Side] | str]:
    """The shape's input is that of the transposed layer, whose positions are the input's."""
    shared = {"shared conv": lambda: _layer(torch.nn.ConvTranspose2d, shape, bias=False)}
    return {"ours": lambda: _ours_transposed(shape), "einsum + F.fold": lambda: _fold(shape), **shared}


def _ours_transposed(shape: Shape) -> Side:
    side = _layer(nn.ConvTranspose2d, shape, bias=False, sharing=Local(), input_size=shape.size)
    _fill(side, _transposed_weight(shape).mT)
    return side


def _fold(shape: Shape) -> Side:
    weight = _transposed_weight(shape).movedim((-1, -2), (1, 2)).contiguous().requires_grad_()
    return Side(lambda x: alternatives.fold(x, weight, shape), [weight], shape)


def _transposed_weight(shape: Shape) -> Tensor:
    """[positions of the input, *kernel, C, O]."""
    return torch.from_numpy(weight_array(shape, shape.size**shape.ndim))


def _layer(make: Callable[..., torch.nn.Module], shape: Shape, **arguments: object) -> Side:
    numbers = (shape.channels, shape.out, shape.kernel, shape.stride, shape.padding)
    layer = make(*numbers, groups=shape.groups, **arguments)
    return Side(layer, list(layer.parameters()), shape)


def _class(module: object, shape: Shape) -> Callable[..., torch.nn.Module]:
    return getattr(module, f"Conv{shape.ndim}d")
