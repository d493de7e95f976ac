"""Random networks whose positions are known, printed as short programs.

A network is built from a recipe: an input, a list of blocks with a seed each, and a head. While it is built, it
runs, so that every block sees the shape that it has to continue. What the blocks do to the positions of the
input is recorded by hand in `random_operations`, and so independent of everything in `weightshare`.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from math import prod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import weightshare as ws

_NAMES = {"torch": torch, "nn": nn, "F": F, "ws": ws}
_MOST_ELEMENTS, _MOST_CHANNELS, _LONGEST = 1500, 24, 24

#: Function that adds one block to a network.
Operation = Callable[["Builder"], None]


class DoesNotFitError(Exception):
    """A block cannot continue the network at this place."""


@dataclass(frozen=True)
class Block:
    """An operation, with the seed of its settings and the blocks that it contains."""

    name: str
    seed: int
    inner: tuple["Block", ...] = ()


@dataclass(frozen=True)
class Recipe:
    """Everything that determines a network, its input, and the shift to trace."""

    seed: int
    shape: tuple[int, ...]
    picture: str
    dtype: str
    shift: tuple[int, ...]
    share_circular: float  # of the paddings
    blocks: tuple[Block, ...]
    head: Block


@dataclass(frozen=True)
class Factor:
    """Part of a dimension of the output: an axis of the input, if any, and the pixels from one element to the next."""

    size: int
    axis: int | None = None
    stride: Fraction = Fraction(1)


@dataclass(frozen=True)
class OutputDim:
    """A dimension of the output: elements that no shift moves, and then some factors, row-major."""

    factors: tuple[Factor, ...]
    prefix: int = 0


@dataclass
class Builder:
    """Builds a network line by line, and runs each line.

    Args:
        recipe: Recipe of the network.
        operations: Operations by name.
    """

    recipe: Recipe
    operations: dict[str, Operation]
    rng: random.Random = field(default_factory=random.Random)
    inner: tuple[Block, ...] = ()
    used: list[str] = field(default_factory=list)
    layers: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    output: tuple[OutputDim, ...] | None = None

    def __post_init__(self):
        self.values: dict[str, Any] = {"self": nn.Module(), "h": torch.randn(self.recipe.shape), **_NAMES}
        self.order: list[int | None] = [*range(self.axes)]  # axis of the input in each spatial dimension of `h`
        self.strides = [Fraction(1)] * self.axes

    @property
    def axes(self) -> int:
        """Number of spatial axes."""
        return len(self.recipe.shape) - 2

    @property
    def h(self) -> Tensor:
        """Map [N, C, *spatial] that the next block continues."""
        return self.values["h"]

    @property
    def channels(self) -> int:
        """Number of channels of `h`."""
        return self.h.shape[1]

    @property
    def size(self) -> tuple[int, ...]:
        """Spatial size of `h`."""
        return tuple(self.h.shape[2:])

    def pick(self, *choices: Any) -> Any:
        """Return one of some choices."""
        return self.rng.choice(choices)

    def is_circular(self) -> bool:
        """Draw whether a padding is circular."""
        return self.rng.random() < self.recipe.share_circular

    def layer(self, text: str) -> str:
        """Add a layer or parameter, and return its name in `forward`."""
        name = f"self.layer{len(self.layers)}"
        exec(f"{name} = {text}", self.values)
        self.layers.append(f"{name} = {text}")
        return name

    def parameter(self, *shape: int) -> str:
        """Add a parameter, and return its name in `forward`."""
        return self.layer(f"nn.Parameter(torch.randn({', '.join(map(str, shape))}))")

    def run(self, *lines: str) -> None:
        """Add lines to `forward`."""
        for line in lines:
            exec(line, self.values)
            self.lines.append(line)

    def scale(self, *factors: Fraction | int) -> None:
        """Multiply the strides of the spatial dimensions."""
        given = factors * self.axes if len(factors) == 1 else factors
        self.strides = [stride * factor for stride, factor in zip(self.strides, given)]

    def scale_from(self, before: Sequence[int]) -> None:
        """Multiply the strides by the ratio of the sizes before and now."""
        if 0 in self.size:
            raise DoesNotFitError
        self.scale(*(Fraction(n, m) for n, m in zip(before, self.size)))

    def add(self, blocks: Sequence[Block]) -> None:
        """Add blocks, and leave out those that do not fit."""
        for block in blocks:
            state = (len(self.layers), len(self.lines), dict(self.values), self.order, self.strides, len(self.used))
            before = self.rng, self.inner
            self.rng, self.inner = random.Random(block.seed), block.inner
            try:
                self.operations[block.name](self)
                self._check_size()
                self.used.append(block.name)
            except (DoesNotFitError, RuntimeError, ValueError, IndexError, NotImplementedError, AssertionError):
                layers, lines, self.values, self.order, self.strides, used = state
                for number in range(layers, len(self.layers)):
                    delattr(self.values["self"], f"layer{number}")
                del self.layers[layers:], self.lines[lines:], self.used[used:]
                self.output = None
            self.rng, self.inner = before

    def _check_size(self) -> None:
        h = self.h
        if self.output is None and (
            h.dim() != self.axes + 2
            or not 0 < h[0, 0].numel() <= _MOST_ELEMENTS
            or max(self.size) > _LONGEST
            or h.shape[1] > _MOST_CHANNELS
        ):
            raise DoesNotFitError

    def read_map(self) -> list[Factor]:
        """Return the spatial dimensions of `h`."""
        return [Factor(n, axis, stride) for n, axis, stride in zip(self.size, self.order, self.strides)]


@dataclass(frozen=True)
class Network:
    """A network, its input, and what its output should do under shifts.

    Args:
        recipe: Recipe of the network.
        program: Program that defines `Net` and the input `x`.
        used: Names of the operations in it.
        output: Dimensions of the output.
    """

    recipe: Recipe
    program: str
    used: tuple[str, ...]
    output: tuple[OutputDim, ...]

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
            moving = [n for n, factor in enumerate(dim.factors) if factor.axis is not None and factor.size > 1]
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
    from tests.helpers.random_operations import OPERATIONS

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
    return Network(recipe, program, tuple(builder.used), orient(builder.output))


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
                tensor.copy_(0.5 + torch.rand(tensor.shape) if positive else torch.randn(tensor.shape) * 1.5 / fan_in**0.5)
    return model


def draw(seed: int) -> Recipe:
    """Draw a recipe."""
    from tests.helpers.random_operations import BREAKING, BRANCHES, HEADS, KEEPING

    rng = random.Random(seed)
    axes = rng.choice((1, 2, 2, 2, 3))
    sizes = ((5, 6, 7, 8, 9, 12, 16), (4, 5, 6, 7, 8, 8, 8), (4, 4, 5, 6))[axes - 1]
    size = [rng.choice(sizes)] * axes if rng.random() < 0.5 else [rng.choice(sizes) for _ in range(axes)]
    share_breaking = rng.choice((0, 0, 0.2, 0.5))

    def draw_block(depth: int = 0) -> Block:
        names = BREAKING if rng.random() < share_breaking else KEEPING
        name = rng.choice(BRANCHES if depth < 2 and rng.random() < 0.15 else names)
        inner = [draw_block(depth + 1) for _ in range(rng.randint(1, 2))] if name in BRANCHES else ()
        return Block(name, rng.randrange(10**6), tuple(inner))

    shift = [min(rng.choice((1, 1, 1, 2, 2, 3, 4)), *(n - 1 for n in size))] * axes
    if axes > 1 and rng.random() < 0.3:
        shift = [rng.choice((0, 1, 2)) for _ in range(axes)]
        shift = shift if any(shift) else [1] * axes
    return Recipe(
        seed=seed,
        shape=(rng.choice((1, 1, 2)), rng.choice((1, 2, 3, 4)), *size),
        picture=rng.choice(("normal", "normal", "normal", "positive", "large", "margin", "constant")),
        dtype=rng.choice(("float64", "float64", "float32")),
        shift=tuple(shift),
        share_circular=rng.choice((1.0, 1.0, 0.9, 0.5)),
        blocks=tuple(draw_block() for _ in range(rng.randint(1, 6))),
        head=Block(rng.choice(HEADS), rng.randrange(10**6)),
    )


def shrink(recipe: Recipe, is_faulty: Callable[[Recipe], bool]) -> Recipe:
    """Remove blocks from a recipe as long as it stays faulty."""
    while True:
        smaller = next((r for r in _list_smaller(recipe) if is_faulty(r)), None)
        if smaller is None:
            return recipe
        recipe = smaller


def _list_smaller(recipe: Recipe) -> Iterator[Recipe]:
    for blocks in _list_shorter(recipe.blocks):
        yield replace(recipe, blocks=blocks)
    if recipe.picture != "normal":
        yield replace(recipe, picture="normal")
    if recipe.dtype != "float64":
        yield replace(recipe, dtype="float64")
    if recipe.shape[0] > 1:
        yield replace(recipe, shape=(1, *recipe.shape[1:]))
    if recipe.head.name != "map":
        yield replace(recipe, head=Block("map", 0))


def _list_shorter(blocks: tuple[Block, ...]) -> Iterator[tuple[Block, ...]]:
    for n, block in enumerate(blocks):
        yield (*blocks[:n], *blocks[n + 1 :])
        yield from ((*blocks[:n], *block.inner, *blocks[n + 1 :]) for _ in block.inner[:1])
        for inner in _list_shorter(block.inner):
            yield (*blocks[:n], replace(block, inner=inner), *blocks[n + 1 :])
