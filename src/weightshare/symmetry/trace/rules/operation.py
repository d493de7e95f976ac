"""What the table of operations holds, and the case to which a rule is applied."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

import torch
from torch import Tensor

from ..layout import Layout, Layouts
from ..tape import Step


class Kind(Enum):
    """A family of operations for which shifts are followed, and causes named, in the same way."""

    ELEMENTWISE = auto()
    JOIN = auto()  # combines its inputs position by position, so a constant can act as a position embedding
    NORMALIZATION = auto()
    CONVOLUTION = auto()
    TRANSPOSED_CONVOLUTION = auto()
    MAX_POOL = auto()
    AVERAGE_POOL = auto()
    POOL = auto()  # any other pooling
    PAD = auto()
    RESIZE = auto()
    LINEAR = auto()  # combines the elements of the last dimension
    MATRIX_PRODUCT = auto()
    ATTENTION = auto()
    RESHAPE = auto()
    PERMUTE = auto()
    REDUCE = auto()
    INDEX = auto()
    WINDOWS = auto()  # puts windows into columns, or back
    RECURRENT = auto()
    SCAN = auto()  # keeps the positions, but treats them differently
    FLIP = auto()
    MEASURED = auto()  # the arguments do not show where the positions are afterwards
    UNKNOWN = auto()  # the operation is not in the table

    @property
    def is_pool(self) -> bool:
        """Whether it is a kind of pooling."""
        return self in (Kind.MAX_POOL, Kind.AVERAGE_POOL, Kind.POOL)

    @property
    def has_window(self) -> bool:
        """Whether each output position sees a window of the input, so that the border may differ."""
        return self.is_pool or self in (Kind.CONVOLUTION, Kind.TRANSPOSED_CONVOLUTION, Kind.PAD, Kind.WINDOWS)


@dataclass(frozen=True)
class Operation:
    """An entry in the table of operations.

    Args:
        kind: Family of the operation.
        rule: Function that finds the layout of an output.
        arguments: Names of a function's arguments in order; a module has them as attributes.
        axes: Number of spatial axes; None if it is not fixed.
    """

    kind: Kind
    rule: "Rule"
    arguments: tuple[str, ...] = ()
    axes: int | None = None

    def read(self, step: Step, name: str, default: Any = None) -> Any:
        """Return a setting of a step: an attribute of its module, or an argument of its function."""
        if step.module is not None:
            return getattr(step.module, name, default)
        if name not in self.arguments:
            return default
        return step.get_argument(self.arguments.index(name), name, default)


@dataclass(frozen=True)
class Case:
    """One output of a step, whose layout a rule has to find.

    Args:
        step: Step on the tape.
        operation: Entry in the table of operations.
        place: Index of the output among the outputs of the step.
        layouts: Layouts of the tensors before this step.
        values: Tensors on the tape.
    """

    step: Step
    operation: Operation
    place: int
    layouts: Layouts
    values: Mapping[int, Tensor]

    @property
    def output(self) -> Tensor:
        """Values of the output."""
        return self.values[self.step.outputs[self.place]]

    @property
    def shape(self) -> torch.Size:
        """Shape of the output."""
        return self.output.shape

    @property
    def in_shape(self) -> torch.Size:
        """Shape of the first input."""
        return self.values[self.step.inputs[0]].shape

    @property
    def layout(self) -> Layout:
        """Layout of the first input.

        Raises:
            LookupError: If the layout is unknown.
        """
        layout = self.layouts[self.step.inputs[0]]
        if layout is None:
            raise LookupError(f"the first input of {self.step.name!r} has no known layout")
        return layout

    def list_inputs(self) -> list[tuple[torch.Size, Layout]]:
        """Return shape and layout of the inputs that have positions, or of all inputs if none has."""
        known = [
            (self.values[ref].shape, layout)
            for ref in self.step.inputs
            if (layout := self.layouts[ref]) is not None
        ]
        return [(shape, layout) for shape, layout in known if any(dim.moves for dim in layout)] or known


#: Returns the layout of the output of a case, or None if it cannot be followed.
Rule = Callable[[Case], Layout | None]
