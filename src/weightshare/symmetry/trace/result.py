"""What a trace says: a row for every operation, the verdict, the table."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

from ..._args import Size
from ...views.numbers import format_error
from .interventions import Interventions, intervened
from .run import checked_shift


@dataclass(frozen=True)
class Row:
    """One operation.

    Args:
        name: The module's in the model, or the module around it and the function; a number behind it counts
            its calls.
        op: Type of the module, or the function.
        shape: Of its output.
        local: Its own relative error for the smallest steps by which the positions of its inputs and outputs
            move as a whole: of a layer of torch's along all axes at once, of any other the largest of all
            axes. None where the positions cannot be followed through it.
        accumulated: Relative error of its output in the model for the shift traced. None where that shift is
            a part of a position here, or positions cannot be followed.
        exact_for: For every axis the step of the shifts for which everything up to here is exact, in pixels
            of the input: 4 for shifts by multiples of 4; 0 for an axis that was not shifted. None for none.
            It follows from the operations one by one: together they may be exact for more.
        followed: Whether positions could be followed up to here; `exact_for` says nothing where not.
        border: Positions at the borders of its map that the shift reaches differently, all operations before
            it included, what wrapped around left out; 0 for none, None where more than a border differs.
        causes: What it does to shifts: "padding", "valid border" (no padding: the map is no circle), "uneven
            size" (no multiple of the stride), "stride", "pooling", "windows", "flatten", "position
            embedding", "unshared weights", "mixes positions", "not followed"; empty for nothing.
        seen: False for a module whose inside could not be recorded.
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
        """All causes, in words."""
        return ", ".join(self.causes)


@dataclass(frozen=True)
class EquivarianceTrace:
    """What became of a shift on its way through a model; `str` is the table of what changed it.

    Args:
        shift: Of the input, in pixels, circular.
        rows: Of all operations on the way to the output, in order.
        first_loss: Name of the first operation behind which the shift is not exact, where the output is not;
            None where it is. Where that is not known, the first operation that could not be followed.
        exact_for: The shifts for which all operations are exact, as of a row; so is the model, at least.
        followed: Whether positions could be followed through all operations; `exact_for` is None where not.
        error: Relative error of the output; None where the shift is a part of a position of it.
        untraced: Operations or modules that could not be recorded, and what takes numbers of the input out
            of torch, as for a branch: `exact_for` is for the way that was taken.
        floor: Relative errors up to this are rounding.
    """

    shift: tuple[int, ...]
    rows: tuple[Row, ...]
    first_loss: str | None
    exact_for: tuple[int, ...] | None
    followed: bool
    error: float | None
    untraced: tuple[str, ...]
    floor: float
    _run: Any = field(repr=False, compare=False)

    @property
    def verdict(self) -> str:
        """One sentence."""
        which = (
            f"every operation keeps {group(self.exact_for)}" if self.exact_for else "no shift passes them all"
        )
        if not self.followed:
            behind = next(row.name for row in self.rows if not row.followed)
            which = f"behind {behind!r} positions cannot be followed"
        if self.first_loss is None:
            return f"the shift {self.shift} is kept; {which}"
        why = next(row.cause for row in self.rows if row.name == self.first_loss)
        if self.error is None and not self.followed:
            return f"whether the shift {self.shift} is kept is not known: {which}"
        error = "undefined for this stride" if self.error is None else f"relative error {self.error:.2g}"
        reason = f" ({why})" if why else ""
        return (
            f"the shift {self.shift} is lost at {self.first_loss!r}{reason}: {error} at the output; {which}"
        )

    def at(self, shift: Size) -> float | None:
        """The relative error of the output for another shift; None where it is a part of a position.

        Two forward passes of the model as it is now.
        """
        return self._run.measured(checked_shift(shift, self._run.x))

    def interventions(self) -> Interventions:
        """Change one cause after the other and measure the output again: what each contributes.

        Padding becomes circular; a stride or pool becomes one by 1 with blur pooling behind it; a position
        embedding its mean; weights that are not shared their mean.

        Raises:
            SymmetryError: a shift that is a part of a position of the output.
        """
        return intervened(self._run, self.shift, self.rows)

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain data, for JSON; an infinite error is None there."""
        names = ("first_loss", "error", "exact_for", "followed", "verdict", "floor")
        found = {"shift": list(self.shift), **{n: getattr(self, n) for n in names}}
        found["error"] = finite(self.error)
        rows = [
            {**vars(row), "local": finite(row.local), "accumulated": finite(row.accumulated)}
            for row in self.rows
        ]
        return {**found, "untraced": list(self.untraced), "rows": rows}

    def __str__(self) -> str:
        shown = [row for row in self.rows if row.causes or not row.seen]
        table = [("operation", "type", "output", "local", "so far", "exact for", "border", "cause")]
        for row in shown:
            exact = "no shift" if row.exact_for is None else group(row.exact_for).removeprefix("shifts in ")
            border = "" if not row.border else str(row.border)
            sizes = " x ".join(map(str, row.shape[1:]))
            table.append(
                (
                    row.name,
                    row.op,
                    sizes,
                    format_error(row.local),
                    format_error(row.accumulated),
                    exact,
                    border,
                    row.cause,
                )
            )
        widths = [max(map(len, column)) for column in zip(*table)]
        lines = ["  ".join(cell.ljust(w) for cell, w in zip(line, widths)).rstrip() for line in table]
        hidden = len(self.rows) - len(shown)
        if hidden:
            lines.append(
                f"and {hidden} operation{'s' * (hidden > 1)} that keep{'s' * (hidden == 1)} all shifts"
            )
        if self.untraced:
            lines.append(f"not seen inside: {', '.join(self.untraced)}")
        return "\n".join([self.verdict, "", *lines])


def finite(value: float | None) -> float | None:
    """None for what JSON has no number for."""
    return value if value is not None and isfinite(value) else None


def group(exact: Sequence[int] | None) -> str:
    """A group of shifts in words.

    >>> group((4, 4)), group((1, 1)), group((0, 2)), group((2, 4))
    ('shifts in 4Z', 'all shifts', 'shifts in 2Z', 'shifts in 2Z x 4Z')
    """
    steps = [s for s in exact or () if s]
    if all(s == 1 for s in steps):
        return "all shifts"
    parts = ["Z" if s == 1 else f"{s}Z" for s in steps]
    return f"shifts in {parts[0] if len(set(parts)) == 1 else ' x '.join(parts)}"
