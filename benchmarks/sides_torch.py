"""The layers of weightshare, common alternatives in torch, and the shared convolution of torch.

Each `sides_*` module has a function `build(section, shape)`, which returns for each side a function that
builds it, or the reason why it is skipped.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

import alternatives
from arrays import make_input, make_weight
from shapes import Shape
from summary import OURS, REUSING, SHARED
from weightshare import Full, Local, LowRank, Regional, SharedAlong, Tiled, nn, reuse_gradient_memory

ALTERNATIVES = {
    "unfold + einsum": alternatives.unfold_einsum,
    "F.unfold + bmm": alternatives.unfold_bmm,
    "broadcast": alternatives.broadcast,
}
PARTIAL = (Tiled(2), Regional(4), SharedAlong(1), LowRank(1), LowRank(4))
#: Maximum size of a temporary in bytes.
MOST_BYTES = 2 * 2**30


class Side:
    """A timed function of the input and its weights."""

    compiles_late = False
    no_training = None

    def __init__(self, function: Callable[[Tensor], Tensor], weights: list[Tensor], shape: Shape):
        self.function = function
        self.input = torch.from_numpy(make_input(shape)).requires_grad_()
        self.leaves = [self.input, *weights]
        self.grad: Tensor | None = None

    @torch.no_grad()
    def forward(self) -> Tensor:
        return self.function(self.input)

    def prepare_training(self) -> None:
        """Create the gradient of the output, which a loss would provide."""
        self.grad = torch.ones_like(self.forward())

    def training(self) -> Tensor:
        """Run a forward and a backward pass, with gradients in new tensors as after `zero_grad`."""
        for leaf in self.leaves:
            leaf.grad = None
        out = self.function(self.input)
        out.backward(self.grad)
        return out.detach()

    def result(self) -> np.ndarray:
        return self.forward().numpy()

    def input_grad(self) -> np.ndarray:
        """Return the gradient of the input from the last training step."""
        return self.input.grad.numpy()  # type: ignore[union-attr]

    def result_bytes(self, what: str) -> int:
        """Return the size of the tensors that remain: the output and, after training, all gradients."""
        tensors = [self.forward(), *(self.leaves if what == "training" else [])]
        return sum(t.numel() * t.element_size() for t in tensors)


def build(section: str, shape: Shape) -> dict[str, Callable[[], Side] | str]:
    return {
        "local": _build_local,
        "grouped": _build_local,
        "transposed": _build_transposed,
        "partial": _build_partial,
        "full": _build_full,
    }[section](shape)


def get_versions() -> dict[str, str]:
    return {"torch": torch.__version__, "threads": str(torch.get_num_threads())}


def _build_local(shape: Shape) -> dict[str, Callable[[], Side] | str]:
    sides: dict[str, Callable[[], Side] | str] = {
        OURS: lambda: _build_weightshare(shape),
        REUSING: lambda: _build_weightshare(shape, reuse=True),
    }
    for name, function in ALTERNATIVES.items():
        sides[name] = lambda f=function: _build_alternative(f, shape)
    if alternatives.count_broadcast_bytes(shape) > MOST_BYTES:
        sides["broadcast"] = f"a temporary of {alternatives.count_broadcast_bytes(shape) / 2**30:.0f} GiB"
    return {**sides, SHARED: lambda: _build_layer(_get_class(torch.nn, shape), shape, bias=False)}


def _build_weightshare(shape: Shape, reuse: bool = False) -> Side:
    side = _build_layer(_get_class(nn, shape), shape, bias=False, sharing=Local(), input_size=shape.size)
    _fill(side, torch.from_numpy(make_weight(shape)))
    if reuse:
        reuse_gradient_memory(side.function)  # type: ignore[arg-type]
    return side


@torch.no_grad()
def _fill(side: Side, weight: Tensor) -> None:
    side.function.weight.copy_(weight)  # type: ignore[attr-defined]


def _build_alternative(function: Callable, shape: Shape) -> Side:
    weight = torch.from_numpy(make_weight(shape)).requires_grad_()
    return Side(lambda x: function(x, weight, shape), [weight], shape)


def _build_partial(shape: Shape) -> dict[str, Callable[[], Side] | str]:
    partial = {
        str(s): lambda s=s: _build_layer(_get_class(nn, shape), shape, sharing=s, input_size=shape.size)
        for s in PARTIAL
    }
    return {**partial, SHARED: lambda: _build_layer(_get_class(torch.nn, shape), shape)}


def _build_full(shape: Shape) -> dict[str, Callable[[], Side] | str]:
    return {
        "weightshare": lambda: _build_layer(_get_class(nn, shape), shape, sharing=Full()),
        SHARED: lambda: _build_layer(_get_class(torch.nn, shape), shape),
    }


def _build_transposed(shape: Shape) -> dict[str, Callable[[], Side] | str]:
    """Build transposed layers, whose positions are their inputs."""
    shared = {SHARED: lambda: _build_layer(torch.nn.ConvTranspose2d, shape, bias=False)}
    return {
        "weightshare": lambda: _build_weightshare_transposed(shape),
        "einsum + F.fold": lambda: _build_fold(shape),
        **shared,
    }


def _build_weightshare_transposed(shape: Shape) -> Side:
    side = _build_layer(nn.ConvTranspose2d, shape, bias=False, sharing=Local(), input_size=shape.size)
    _fill(side, _make_transposed_weight(shape).mT)
    return side


def _build_fold(shape: Shape) -> Side:
    weight = _make_transposed_weight(shape).movedim((-1, -2), (1, 2)).contiguous().requires_grad_()
    return Side(lambda x: alternatives.fold(x, weight, shape), [weight], shape)


def _make_transposed_weight(shape: Shape) -> Tensor:
    """Return a weight [input positions, *kernel, C, O]."""
    return torch.from_numpy(make_weight(shape, shape.size**shape.ndim))


def _build_layer(make: Callable[..., torch.nn.Module], shape: Shape, **arguments: object) -> Side:
    numbers = (shape.channels, shape.out, shape.kernel, shape.stride, shape.padding)
    layer = make(*numbers, groups=shape.groups, **arguments)
    return Side(layer, list(layer.parameters()), shape)


def _get_class(module: object, shape: Shape) -> Callable[..., torch.nn.Module]:
    return getattr(module, f"Conv{shape.ndim}d")
