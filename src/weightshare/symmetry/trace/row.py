"""One row of a trace."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """A frozen record of what one operation does to a shift.

    Args:
        name: Name of the module in the model. A function has the name of its enclosing module followed by its
            own. Repeated calls are numbered, as in "relu (2)".
        op: Class name of the module, or name of the function.
        shape: Shape of the output.
        local: Relative error of this operation alone, for the smallest shift that is a whole number of
            positions in its inputs and outputs; the largest error over the axes. It is None if positions
            cannot be followed through the operation.
        accumulated: Relative error of its output in the model, for the traced shift; None if that shift is
            not a whole number of positions here, or if positions cannot be followed.
        exact_along: For each axis, a shift in input pixels whose multiples are exact at its output in the
            model; 0 if there is none, and None for an axis that was not examined. None instead of a tuple if
            positions cannot be followed.
        followed: Whether the positions of its output could be followed or measured.
        borders: For each axis that the output has, the widths (low, high) of the border to which the error of
            the output in the model is confined; empty if there is no error; None if there is no exact
            interior, or if it could not be measured. The border includes the effect of all previous
            operations, and ignores positions that wrapped around.
        causes: Why the operation breaks equivariance: "padding", "valid border" (without padding, the output
            is smaller and does not wrap around), "uneven size" (the size is not a multiple of the stride),
            "stride", "pooling", "windows", "resizing", "flatten" (a linear layer on flattened positions),
            "position embedding", "mask", "recurrence", "orientation" (the output is flipped or transposed),
            "unshared weights", "mixes positions" or "not followed". It is empty if the operation preserves
            all shifts.
        seen: False for a module whose operations could not be recorded.
    """

    name: str
    op: str
    shape: tuple[int, ...]
    local: float | None
    accumulated: float | None
    exact_along: tuple[int | None, ...] | None
    followed: bool
    borders: tuple[tuple[int, int], ...] | None
    causes: tuple[str, ...] = ()
    seen: bool = True

    @property
    def exact_for(self) -> tuple[int, ...] | None:
        """For each axis, a shift whose multiples are exact at the output, or 0 for an axis that was not
        examined; None if an axis has no such shift, or if positions cannot be followed.
        """
        return combine_axes(self.exact_along)

    @property
    def border(self) -> int | None:
        """Width of the widest border; 0 if there is no error, None if there is no exact interior."""
        return (
            None
            if self.borders is None
            else max((width for pair in self.borders for width in pair), default=0)
        )

    @property
    def cause(self) -> str:
        """All causes, separated by commas."""
        return ", ".join(self.causes)


def combine_axes(exact_along: Sequence[int | None] | None) -> tuple[int, ...] | None:
    """Return the shifts that are exact along all axes at once, if there are any for each axis.

    >>> combine_axes((2, None)), combine_axes((2, 0))
    ((2, 0), None)
    """
    if exact_along is None or 0 in exact_along or not any(exact_along):
        return None
    return tuple(number or 0 for number in exact_along)
