"""One row of a trace."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """A frozen record of what one operation does to a shift.

    Args:
        name: Name of the module in the model, or name of the module around a function followed by the
            function's name. Repeated calls are numbered, as in "relu (2)".
        op: Class name of the module, or name of the function.
        shape: Shape of the output.
        local: Relative error of this operation alone, for the smallest shifts that are whole numbers of
            positions in its inputs and outputs. For layers of `torch.nn`, and for `weightshare.nn` layers
            with sharing `Full`, all axes are shifted at once; for other operations, each axis is shifted in
            turn and the largest error is kept. It is None if positions cannot be followed through the
            operation.
        accumulated: Relative error of its output in the model, for the traced shift; None if that shift is a
            fraction of a position here, or if positions cannot be followed.
        exact_for: Shifts, in input pixels, for which all operations so far are exact: those that are
            multiples of these numbers along each axis, with 0 for an axis that was not shifted. If there are
            none, it is None. The shifts are computed from the operations one by one; together the operations
            may be exact for more shifts.
        followed: Whether positions could be followed up to and including this operation. If not, `exact_for`
            is None because it is unknown.
        border: Width of the border, in positions of the output, to which the error of the output in the model
            is confined: 0 if there is no error, None if it is not confined to a border. This includes the
            effect of all previous operations, and ignores positions that wrapped around.
        causes: Why the operation breaks equivariance: "padding", "valid border" (no padding, so the map is
            not a circle), "uneven size" (the size is not a multiple of the stride), "stride", "pooling",
            "windows", "flatten", "position embedding", "unshared weights", "mixes positions" or "not
            followed". Empty if the operation preserves all shifts.
        seen: False for a module whose operations could not be recorded.
    """

    name: str
    op: str
    shape: tuple[int, ...]
    local: float | None
    accumulated: float | None
    exact_for: tuple[int, ...] | None
    followed: bool
    border: int | None
    causes: tuple[str, ...] = ()
    seen: bool = True

    @property
    def cause(self) -> str:
        """All causes, separated by commas."""
        return ", ".join(self.causes)
