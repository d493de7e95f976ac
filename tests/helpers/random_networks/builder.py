"""Builds random networks line by line. Each line runs, so that every block sees the shape it continues."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
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
    """Part of a dimension of the output: an axis of the input or None, and the pixels between elements."""

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
    has_lost_positions: bool = False  # of an axis, in a map of one position

    def __post_init__(self):
        self.values: dict[str, Any] = {"self": nn.Module(), "h": torch.randn(self.recipe.shape), **_NAMES}
        self.order: list[int | None] = [
            *range(self.axes)
        ]  # axis of the input in each spatial dimension of `h`
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
            if self.h.dim() == self.axes + 2 and 1 in self.size:
                self.has_lost_positions = True

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
            state = (
                len(self.layers),
                len(self.lines),
                dict(self.values),
                self.order,
                self.strides,
                len(self.used),
            )
            before = self.rng, self.inner
            self.rng, self.inner = random.Random(block.seed), block.inner
            try:
                self.operations[block.name](self)
                self._check_size()
                self.used.append(block.name)
            except (
                DoesNotFitError,
                RuntimeError,
                ValueError,
                IndexError,
                NotImplementedError,
                AssertionError,
            ):
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
