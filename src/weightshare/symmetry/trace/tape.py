"""A record of every operation of a forward pass and its inputs, which can be replayed on other inputs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, equal, nn

from ..._nests import iter_tensors
from ..._torch import tree_leaves, tree_map_only


@dataclass(frozen=True)
class Ref:
    """A placeholder for a tensor that depends on the input.

    Args:
        number: Key of the tensor in `Tape.values`.
    """

    number: int


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
        in_place: Whether the operation writes into its first argument, which is then its result.
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
    in_place: bool = False
    seen: bool = True

    def run(self, tensors: Mapping[int, Tensor]) -> list[Tensor]:
        """Compute the operation on other tensors."""

        def look_up(ref: Ref) -> Tensor:
            tensor = tensors[ref.number]
            return tensor.clone() if self.in_place else tensor

        args, kwargs = tree_map_only(Ref, look_up, (self.args, self.kwargs))
        if self.in_place and isinstance(self.args[0], Tensor):  # do not write into the constant
            args = (self.args[0].clone(), *args[1:])
        result = self.call(*args, **kwargs)
        return list(iter_tensors(args[0] if self.in_place else result, dataclasses=False))

    def get_argument(self, place: int, name: str, default: Any = None) -> Any:
        """Return an argument that was passed by position or by name."""
        return self.args[place] if len(self.args) > place else self.kwargs.get(name, default)


@dataclass
class Tape:
    """A record of what a forward pass computed.

    Args:
        steps: Operations in order of execution.
        values: Tensors by number, with the values they had when they were computed.
        input, output: Numbers of the input and of the output.
        aliased: Names of the steps that read values which another step wrote through another view of
            the tensor. The tape does not record such writes, so a replay differs from the model.
        decided: Names of the operations that took values out of torch, for example for a branch.
    """

    steps: list[Step] = field(default_factory=list)
    values: dict[int, Tensor] = field(default_factory=dict)
    input: int = 0
    output: int = 0
    aliased: list[str] = field(default_factory=list)
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
        return one is other or equal(one, other)
    is_plain = isinstance(one, bool | int | float | str | slice | Ref)
    return one == other if is_plain else type(one) is type(other)
