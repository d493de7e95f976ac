"""One forward pass on a tape: every operation with its inputs, to be computed again on other numbers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, equal, nn

from ..._nests import tensors_in
from ..._torch import tree_leaves, tree_map_only


@dataclass(frozen=True)
class Ref:
    """The place of a tensor that depends on the input."""

    number: int


@dataclass(frozen=True, eq=False)
class Step:
    """An operation.

    Args:
        name: Of the module in the model, or of the module around it and the function.
        op: Type of the module, or name of the function.
        call: Computes it, from arguments in which every `Ref` is a tensor.
        inputs, outputs: The refs among the arguments and results.
        module: The module; None for a function.
        in_place: Whether it writes into its first argument, which is then its result.
        seen: False for a module that hides operations from the tape.
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
        """The results for other tensors."""

        def given(ref: Ref) -> Tensor:
            tensor = tensors[ref.number]
            return tensor.clone() if self.in_place else tensor

        args, kwargs = tree_map_only(Ref, given, (self.args, self.kwargs))
        if self.in_place and isinstance(self.args[0], Tensor):  # a constant that is written into
            args = (self.args[0].clone(), *args[1:])
        result = self.call(*args, **kwargs)
        return list(tensors_in(args[0] if self.in_place else result, dataclasses=False))

    def argument(self, place: int, name: str, default: Any = None) -> Any:
        """An argument of a function, by place or name."""
        return self.args[place] if len(self.args) > place else self.kwargs.get(name, default)


@dataclass
class Tape:
    """What a forward pass computed.

    Args:
        steps: In order.
        values: Tensors by ref, as they were when they were made.
        input, output: Refs.
        aliased: Steps that read numbers which another step wrote through another view of them. The tape
            does not know that, so a replay is not the model.
        decided: What took numbers out of torch, as for a branch.
    """

    steps: list[Step] = field(default_factory=list)
    values: dict[int, Tensor] = field(default_factory=dict)
    input: int = 0
    output: int = 0
    aliased: list[str] = field(default_factory=list)
    decided: list[str] = field(default_factory=list)

    def prune(self) -> None:
        """Leave out what does not reach the output."""
        needed, steps = {self.output}, []
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
        """The output for another input.

        Args:
            instead: By the name of a step what computes its results.
        """
        instead = instead or {}
        tensors = {self.input: x}
        last = {ref: number for number, step in enumerate(self.steps) for ref in step.inputs}
        last[self.output] = len(self.steps)
        for number, step in enumerate(self.steps):
            results = instead[step.name](step, tensors) if step.name in instead else step.run(tensors)
            tensors.update(zip(step.outputs, results))
            for ref in step.inputs:
                if last[ref] == number:
                    tensors.pop(ref, None)
        return tensors[self.output]


def same_constants(step: Step, other: Step) -> bool:
    """Whether two runs gave an operation the same numbers beside those that depend on the input."""
    mine, theirs = tree_leaves((step.args, step.kwargs)), tree_leaves((other.args, other.kwargs))
    return len(mine) == len(theirs) and all(map(_alike, mine, theirs))


def _alike(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one is other or equal(one, other)
    plain = isinstance(one, bool | int | float | str | slice | Ref)
    return one == other if plain else type(one) is type(other)
