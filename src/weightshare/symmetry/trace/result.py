"""The result of a trace: its rows, a verdict, and a table."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..._args import Size
from ...views.numbers import format_error
from ...views.optional import require_matplotlib
from ...views.section import Section
from ...views.text import format_table
from .claims import is_multiple
from .interventions import Interventions, intervene
from .numbers import replace_infinite
from .row import Row, combine_axes
from .run import Run, parse_shift

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_HEAD = (
    "operation",
    "type",
    "output shape",
    "own error",
    "error so far",
    "exact shifts (px)",
    "border (positions)",
    "cause",
)


@dataclass(frozen=True)
class EquivarianceTrace:
    """A frozen record of a shift traced through a model; `str` is a table of what breaks equivariance.

    Args:
        shift: Circular shift of the input, in pixels.
        rows: One row for each operation that contributes to the output, in order of execution.
        first_loss: Name of the first operation after which the shift is not exact; None if it is exact at the
            output, or if the output could not be followed.
        exact_along: For each axis, a shift in input pixels whose multiples are exact at the output, as in
            `Row.exact_along`. It was measured on the model, for a random input and for `x`.
        is_joint: Whether the traced shift is exact, but not along one axis at a time.
        followed: Whether positions could be followed to the output.
        error: Relative error of the output; None if the shift is not a whole number of its positions, or if
            the output could not be followed. If the output is a matrix [N, C] that could not be followed, it
            is expected not to change.
        fractional: Relative difference of the output from its band-limited shift, if the shift is not a whole
            number of output positions.
        untraced: Names of the operations and modules that were not recorded completely, for example because
            they read values out of torch to choose a branch. `exact_for` then holds for the branch that was
            taken. If the model took another path for the shifted input, the last entry states this.
        floor: Relative errors up to this value count as rounding.
    """

    shift: tuple[int, ...]
    rows: tuple[Row, ...]
    first_loss: str | None
    exact_along: tuple[int | None, ...] | None
    is_joint: bool
    followed: bool
    error: float | None
    fractional: float | None
    untraced: tuple[str, ...]
    floor: float
    _run: Run = field(repr=False, compare=False)

    @property
    def exact_for(self) -> tuple[int, ...] | None:
        """For each axis, a shift whose multiples are exact at the output, or 0 for an axis that was not
        examined; None if an axis has no such shift, or if the output could not be followed.
        """
        return combine_axes(self.exact_along)

    @property
    def verdict(self) -> str:
        """One sentence: whether the shift is preserved, where it is lost, and which shifts are exact."""
        parts = [self._describe_exact_shifts()]
        if not self.followed:
            names = [row.name for row in self.rows if not row.followed]
            parts.append(f"positions cannot be followed through {names[0]!r}" if names else "not followed")
        summary = "; ".join(parts)
        if self.first_loss is not None:
            cause = next(row.cause for row in self.rows if row.name == self.first_loss)
            reason = f" ({cause})" if cause else ""
            error = f"{self.error:.2g}" if self.error is not None else "undefined for this stride"
            if self.error is None and self.fractional is not None:
                error += f" ({self.fractional:.2g} from the band-limited shift)"
            return (
                f"equivariance to shift {self.shift} is first lost at {self.first_loss!r}{reason}; "
                f"relative error of the output: {error}; {summary}"
            )
        if self.error is None or (self.error > self.floor and not self._run.is_output_known):
            return f"it is unknown whether shift {self.shift} is preserved: {summary}"
        covered = self.exact_along is not None and is_multiple(self.shift, self.exact_along)
        if not covered and not self.is_joint and self._run.is_output_known:
            return f"shift {self.shift} is preserved on this input, but not on others; {summary}"
        return f"shift {self.shift} is preserved end to end; {summary}"

    def _describe_exact_shifts(self) -> str:
        if self.exact_along is None:
            return "exact shifts could not be checked"
        if self.is_joint:
            return f"multiples of {self.shift} are preserved, but not along one axis at a time"
        if not any(self.exact_along):
            return "no shift is preserved"
        if self.exact_for is not None:
            multiples = _format_multiples(self.exact_for)
            return f"{f'shifts by {multiples}' if multiples else 'all shifts'} are preserved"
        parts = (
            f"{_format_multiples((n,)) or 'all shifts' if n else 'no shift'} along axis {axis}"
            for axis, n in enumerate(self.exact_along)
            if n is not None
        )
        return f"preserved: {', '.join(parts)}"

    def at(self, shift: Size) -> float | None:
        """Measure the relative error of the output for another shift, with two forward passes.

        The model runs in its current state, which may have changed since the trace.

        Returns:
            The error; None if the shift is not a whole number of output positions.
        """
        return self._run.measure(parse_shift(shift, self._run.x))

    def interventions(self) -> Interventions:
        """Remove each cause and measure the output again, to find what each contributes to the error.

        Padding becomes circular, and maps are padded circularly before they are resized. A stride or pool is
        replaced by one with stride 1 and blur pooling, unless the shift is a whole number of positions after
        it. A position embedding is replaced by its mean over positions, an attention mask by attention to all
        positions, and unshared weights by the nearest shared kernel.

        Raises:
            SymmetryError: If the shift is not a whole number of output positions, or if the recorded
                operations do not reproduce the output of the model.
        """
        return intervene(self._run, self.shift, self.rows)

    def plot(self, *, ax: "Axes | None" = None) -> "Figure":
        """Draw the errors of each operation, with the verdict as title and the first loss highlighted.

        Bars show the error of each operation alone, and diamonds the error of its output in the model. Errors
        up to `floor` are drawn as exact, and those that could not be measured are left out. If there are more
        than 40 operations, only those with a cause are drawn.

        Args:
            ax: Axes to draw on. By default, a new figure with a transparent background is created.

        Returns:
            The figure that contains the chart. To save it, call its `savefig`.

        Raises:
            ArgumentError: If `ax` is neither axes nor None.
            MissingExtraError: If matplotlib is not installed.

        Example:
            >>> import torch
            >>> import weightshare as ws
            >>> model = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3, padding=1), torch.nn.ReLU()).double()
            >>> figure = ws.trace_equivariance(model.eval(), torch.randn(1, 1, 8, 8).double()).plot()
            >>> [label.get_text() for label in figure.axes[0].get_yticklabels()]
            ['0  Conv2d', '1  ReLU']
        """
        where = "EquivarianceTrace.plot"
        with require_matplotlib(where):
            from ...views.losses import Step, draw_losses
        steps = [
            Step(
                row.name,
                row.op,
                row.local,
                row.accumulated,
                row.cause if row.seen else "not recorded",
                row.name == self.first_loss,
            )
            for row in self.rows
        ]
        return draw_losses(where, steps, self.floor, title=self.verdict, ax=ax)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data for JSON, with None for an infinite error."""
        names = (
            "first_loss",
            "error",
            "exact_for",
            "exact_along",
            "is_joint",
            "followed",
            "verdict",
            "floor",
        )
        data = {"shift": list(self.shift), **{name: getattr(self, name) for name in names}}
        data["error"] = replace_infinite(self.error)
        rows = [
            {
                **vars(row),
                "exact_for": row.exact_for,
                "border": row.border,
                "local": replace_infinite(row.local),
                "accumulated": replace_infinite(row.accumulated),
            }
            for row in self.rows
        ]
        return {**data, "untraced": list(self.untraced), "rows": rows}

    def __str__(self) -> str:
        shown = [row for row in self.rows if row.causes or not row.seen]
        lines: list[str] = []
        if shown:
            section = Section("", "l" * len(_HEAD), _HEAD, tuple(map(_make_cells, shown)))
            lines += format_table(section, width=120, indent="")
        n_exact = len(self.rows) - len(shown)
        if n_exact:
            lines.append(f"plus {n_exact} fully equivariant operation{'' if n_exact == 1 else 's'}")
        if self.untraced:
            lines.append(f"not recorded completely: {', '.join(self.untraced)}")
        return "\n".join([self.verdict, *(["", *lines] if lines else [])])


def _format_multiples(exact_for: Sequence[int]) -> str | None:
    """Describe the shifts that are multiples of some numbers; None for all shifts.

    >>> [_format_multiples(exact_for) for exact_for in ((4, 4), (2, 4), (0, 2), (1, 1))]
    ['multiples of 4', 'multiples of 2 x 4', 'multiples of 2', None]
    """
    steps = [step for step in exact_for if step]
    if all(step == 1 for step in steps):
        return None
    return f"multiples of {steps[0] if len(set(steps)) == 1 else ' x '.join(map(str, steps))}"


def _format_exact(exact_along: Sequence[int | None] | None) -> str:
    """Describe the exact shifts of a row.

    >>> [_format_exact(exact_along) for exact_along in ((1, 1), (2, 4), (0, 1), (0, 0), None)]
    ['all', 'multiples of 2 x 4', 'none x all', 'none', '-']
    """
    if exact_along is None:
        return "-"
    if not any(exact_along):
        return "none"
    exact_for = combine_axes(exact_along)
    if exact_for is not None:
        return _format_multiples(exact_for) or "all"
    words = {0: "none", 1: "all"}
    return " x ".join(words.get(n, str(n)) for n in exact_along if n is not None)


def _make_cells(row: Row) -> tuple[str, ...]:
    unknown = "-" if row.accumulated is None else "everywhere"
    return (
        row.name,
        row.op,
        " x ".join(map(str, row.shape[1:])),
        format_error(row.local),
        format_error(row.accumulated),
        _format_exact(row.exact_along),
        unknown if row.border is None else str(row.border),
        row.cause,
    )
