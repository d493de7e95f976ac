"""A record of every operation of a forward pass and its inputs, which can be replayed on other inputs."""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from math import isclose
from typing import Any

import torch
from torch import Tensor, equal, nn

from ..._nests import iter_tensors, map_leaves
from ..._torch import tree_leaves
from .precision import Float64Mode

#: Relative differences up to this between two floating-point constants count as rounding.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Ref:
    """A placeholder for a tensor that depends on the input.

    Args:
        number: Key of the tensor in `Tape.values`.
    """

    number: int


@dataclass(frozen=True)
class View:
    """Where a tensor lies in the memory of another one, its root.

    Args:
        size, stride: Size and stride of the tensor.
        offset: Number of elements from the start of the root to the start of the tensor.
    """

    size: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int

    @classmethod
    def of(cls, tensor: Tensor, root: Tensor) -> "View":
        """Describe a tensor that shares the memory of `root`."""
        return cls(tuple(tensor.shape), tensor.stride(), int(tensor.storage_offset() - root.storage_offset()))

    def apply(self, root: Tensor) -> Tensor:
        """Return the same part of the memory of another root."""
        return root.as_strided(self.size, self.stride, root.storage_offset() + self.offset)


def copy_strided(tensor: Tensor, strides: tuple[int, ...] | None = None) -> Tensor:
    """Return a copy with the given strides, or with the same."""
    strides = tensor.stride() if strides is None else strides
    copy = torch.empty_strided(tensor.shape, strides, dtype=tensor.dtype, device=tensor.device)
    return copy.copy_(tensor)


@dataclass(frozen=True, eq=False)
class Step:
    """One operation on the tape.

    Args:
        name: Name of the module in the model, or name of the module around a function followed by the
            function's name.
        op: Class name of the module, or name of the function.
        call: Function that computes the operation, from arguments in which every `Ref` is replaced by a
            tensor.
        args, kwargs: Arguments, with a `Ref` for each tensor that depends on the input.
        inputs, outputs: Numbers of the tensors among the arguments and results.
        module: Module that was called; None for a function.
        views: For an operation that writes into its first argument, the tensors whose values it changes, as
            views of a root: the written tensor, and all others that share its memory. They are the results of
            the step; its first argument is the root.
        strides: Strides of the root.
        before: For each of these tensors, its number before the step; None for a constant.
        precise: Whether to compute in float64, whatever the type of the constants.
        seen: Whether everything that the operation computes was recorded; False for a module that hides
            some of its operations from the tape.
    """

    name: str
    op: str
    call: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    module: nn.Module | None = None
    views: tuple[View, ...] = ()
    strides: tuple[int, ...] | None = None
    before: tuple[int | None, ...] = ()
    precise: bool = False
    seen: bool = True

    def run(self, tensors: Mapping[int, Tensor]) -> list[Tensor]:
        """Compute the operation on other tensors."""
        args, kwargs = map_leaves(
            lambda leaf: tensors[leaf.number] if isinstance(leaf, Ref) else leaf, (self.args, self.kwargs)
        )
        with Float64Mode() if self.precise else nullcontext():
            if not self.views:
                return list(iter_tensors(self.call(*args, **kwargs), dataclasses=False))
            root = copy_strided(args[0], self.strides)
            self.call(self.views[0].apply(root), *args[1:], **kwargs)
            return [view.apply(root) for view in self.views]

    def get_argument(self, place: int, name: str, default: Any = None) -> Any:
        """Return an argument that was passed by position or by name."""
        return self.args[place] if len(self.args) > place else self.kwargs.get(name, default)


@dataclass
class Tape:
    """A record of what a forward pass computed.

    Args:
        steps: Operations in order of execution.
        values: Tensors by number, with the values they had when they were computed; empty if not kept.
        shapes: Shapes of the tensors by number.
        input, output: Numbers of the input and of the output.
        keys: Numbers by what identifies a tensor in every run: the number of steps before it got its values,
            and the number of steps before it and its place among the outputs when it was created.
        decided: Names of the operations that took values out of torch, for example for a branch.
    """

    steps: list[Step] = field(default_factory=list)
    values: dict[int, Tensor] = field(default_factory=dict)
    shapes: dict[int, torch.Size] = field(default_factory=dict)
    keys: dict[tuple[int, tuple[int, int]], int] = field(default_factory=dict)
    input: int = 0
    output: int = 0
    decided: list[str] = field(default_factory=list)

    def prune(self) -> None:
        """Remove the steps that do not contribute to the output."""
        needed = {self.output}
        steps: list[Step] = []
        for step in reversed(self.steps):
            if needed.intersection(step.outputs):
                needed.update(step.inputs)
                steps.append(step)
        self.steps = steps[::-1]

    def replay(
        self,
        x: Tensor,
        instead: Mapping[str, Callable[[Step, Mapping[int, Tensor]], list[Tensor]]] | None = None,
    ) -> Tensor:
        """Compute the output for another input.

        Args:
            x: Input.
            instead: Functions that compute the results of some steps instead, by the name of the step.
        """
        instead = instead or {}
        tensors = {self.input: x}
        last_use = {ref: number for number, step in enumerate(self.steps) for ref in step.inputs}
        last_use[self.output] = len(self.steps)
        for number, step in enumerate(self.steps):
            results = instead[step.name](step, tensors) if step.name in instead else step.run(tensors)
            tensors.update(zip(step.outputs, results))
            for ref in step.inputs:
                if last_use[ref] == number:
                    tensors.pop(ref, None)
        return tensors[self.output]


def has_same_constants(step: Step, other: Step) -> bool:
    """Return whether an operation received the same constants in two runs."""
    ours, theirs = tree_leaves((step.args, step.kwargs)), tree_leaves((other.args, other.kwargs))
    return len(ours) == len(theirs) and all(map(_is_same, ours, theirs))


def _is_same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one is other or _is_close(one, other)
    if isinstance(one, float) and isinstance(other, float):
        return isclose(one, other, rel_tol=_ROUNDING)
    is_plain = isinstance(one, bool | int | float | str | slice | Ref)
    return one == other if is_plain else type(one) is type(other)


def _is_close(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape or not (one.is_floating_point() or one.is_complex()):
        return equal(one, other)
    return torch.allclose(one, other, rtol=_ROUNDING, atol=0.0, equal_nan=True)
