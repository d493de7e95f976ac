"""Trace shifted crops, rotations and flips through a model."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Generator

from ...views.numbers import format_error
from ...views.section import Section
from ...views.text import format_table
from .match import Match
from .numbers import replace_infinite
from .run import Comparison, Run
from .turns import Turn

_HEAD = ("operation", "type", "output shape", "own error", "error so far", "border (low, high)")


@dataclass(frozen=True)
class TransformedRow:
    """A frozen record of what one operation does to a transform.

    Args:
        name, op, shape: As in `Row`.
        local: Relative error of this operation alone on transformed inputs; None for crops, or if it is
            unknown.
        accumulated: Relative error of its output in the model; None if the transform is not defined here, or
            if positions cannot be followed. For crops, it is the largest difference at the positions that
            both crops contain, including the border, relative to the largest element.
        borders: For crops, the widths (low, high) along each axis of the border in which the crops differ,
            on `x` or on a random input; empty if they agree everywhere, and None if there is no exact
            interior. Always None for other transforms.
        seen: False for a module whose operations could not be recorded.
    """

    name: str
    op: str
    shape: tuple[int, ...]
    local: float | None
    accumulated: float | None
    borders: tuple[tuple[int, int], ...] | None = None
    seen: bool = True


@dataclass(frozen=True)
class TransformTrace:
    """A frozen record of a shifted crop, a rotation or a flip traced through a model; `str` is a table.

    Args:
        transform: The transform as text.
        rows: One row for each operation that contributes to the output, in order of execution.
        first_loss: Name of the first operation whose output is not exact, or for crops has no exact interior;
            None if there is none, or if the output could not be followed.
        error: Relative error of the output, as in `TransformedRow.accumulated`.
        borders: Border of the output, as in `TransformedRow.borders`.
        is_exact: Whether the output, or for crops its interior, is exact; None if it is unknown.
        floor: Relative errors up to this value count as rounding.
    """

    transform: str
    rows: tuple[TransformedRow, ...]
    first_loss: str | None
    error: float | None
    borders: tuple[tuple[int, int], ...] | None
    is_exact: bool | None
    floor: float

    @property
    def verdict(self) -> str:
        """One sentence: whether the transform is preserved, and where it is lost."""
        if self.is_exact is None:
            reason = "its effect on the output is not defined"
            return f"it is unknown whether {self.transform} is preserved: {reason}"
        error = f"relative error of the output: {0.0 if self.error is None else self.error:.2g}"
        if not self.is_exact:
            lost = f"first lost at {self.first_loss!r}" if self.first_loss else "lost"
            if self.error is not None and self.error <= self.floor:
                return f"{self.transform} is preserved on this input, but on others it is {lost}"
            return f"equivariance to {self.transform} is {lost}; {error}"
        if not self.borders:
            return f"{self.transform} is preserved end to end"
        widths = ", ".join(
            f"({low}, {high}) along axis {axis}" for axis, (low, high) in enumerate(self.borders)
        )
        return f"{self.transform} is preserved in the interior; border widths (low, high): {widths}"

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data for JSON, with None for an infinite error."""
        rows = [
            {
                **vars(row),
                "local": replace_infinite(row.local),
                "accumulated": replace_infinite(row.accumulated),
            }
            for row in self.rows
        ]
        return {**vars(self), "error": replace_infinite(self.error), "verdict": self.verdict, "rows": rows}

    def __str__(self) -> str:
        shown = [
            row for row in self.rows if row.accumulated is None or row.accumulated > self.floor or row.borders
        ]
        lines: list[str] = []
        if shown:
            section = Section("", "l" * len(_HEAD), _HEAD, tuple(map(_make_cells, shown)))
            lines += ["", *format_table(section, width=120, indent="")]
        n_exact = len(self.rows) - len(shown)
        if n_exact:
            lines += ["", f"plus {n_exact} exact operation{'' if n_exact == 1 else 's'}"][bool(shown) :]
        return "\n".join([self.verdict, *lines])


def trace_crops(runs: Sequence[Run], shift: Sequence[int], transform: str) -> TransformTrace:
    """Compare an image with a shifted crop of the same scene, whose new pixels are random.

    Args:
        runs: Recorded runs; the last one is that of the given input.
        shift: Shift of the crop, in pixels.
        transform: Name of the transform.
    """
    comparisons: list[Comparison] = []
    for run in runs:
        entering = Generator(run.x.device).manual_seed(1)
        comparisons.append(run.compare(shift, borders=True, entering=entering))
        run.release()
    rows = tuple(
        _make_row(runs[-1], number, None, [c.steps[number] for c in comparisons])
        for number in range(len(runs[-1].tape.steps))
    )
    lost = (row.name for row in rows if row.accumulated is not None and row.borders is None)
    return _conclude(transform, runs[-1], rows, comparisons, next(lost, None), is_crop=True)


def trace_turn(runs: Sequence[Run], turn: Turn, transform: str) -> TransformTrace:
    """Compare the tensors of a turned or flipped input with the turned or flipped tensors.

    Args:
        runs: Recorded runs; the last one is that of the given input.
        turn: The rotation or reflection.
        transform: Name of the transform.
    """
    comparisons: list[Comparison] = []
    local: list[float | None] = []
    for run in runs:
        comparisons.append(run.compare_turned(turn))
        local = local or [_measure_alone(run, number, turn) for number in range(len(run.tape.steps))]
        run.release()
    rows = tuple(
        _make_row(runs[-1], number, error, [c.steps[number] for c in comparisons])
        for number, error in enumerate(local)
    )
    lost = (
        row.name
        for number, row in enumerate(rows)
        if any(c.steps[number].is_exact is False for c in comparisons)
    )
    return _conclude(transform, runs[-1], rows, comparisons, next(lost, None), is_crop=False)


def _make_row(run: Run, number: int, local: float | None, matches: Sequence[Match]) -> TransformedRow:
    step = run.tape.steps[number]
    return TransformedRow(
        step.name,
        step.op,
        tuple(run.shapes[run.get_output(step)]),
        local,
        matches[-1].error,
        _find_widest(matches),
        step.seen,
    )


def _find_widest(matches: Sequence[Match]) -> tuple[tuple[int, int], ...] | None:
    """Return borders that contain those of all matches; None if one has no exact interior."""
    found = [match.borders for match in matches if match.borders != ()]
    known = [borders for borders in found if borders is not None]
    if len(known) < len(found):
        return None
    return tuple((max(low for low, _ in pairs), max(high for _, high in pairs)) for pairs in zip(*known))


def _measure_alone(run: Run, number: int, turn: Turn) -> float | None:
    """Return the relative error of one operation for turned inputs; None if it is unknown."""
    step = run.tape.steps[number]
    turned = {ref: run.turn(ref, run.tape.values[ref], turn) for ref in step.inputs}
    tensors = {ref: tensor for ref, tensor in turned.items() if tensor is not None}
    if len(tensors) < len(turned):
        return None
    try:
        results = step.run(tensors)
    except (RuntimeError, TypeError, ValueError):  # it has the size of the map written into it
        return None
    ref = run.get_output(step)
    return run.match_turned(ref, results[step.outputs.index(ref)], turn).error


def _conclude(
    transform: str,
    run: Run,
    rows: tuple[TransformedRow, ...],
    comparisons: Sequence[Comparison],
    first_loss: str | None,
    *,
    is_crop: bool,
) -> TransformTrace:
    outputs = [comparison.output for comparison in comparisons]
    is_exact = None
    borders = None
    if all(match.error is not None for match in outputs) and run.is_output_known:
        borders = _find_widest(outputs)
        is_exact = borders is not None if is_crop else all(match.is_exact for match in outputs)
    return TransformTrace(
        transform,
        rows,
        first_loss if is_exact is False else None,
        outputs[-1].error,
        borders,
        is_exact,
        run.floor,
    )


def _make_cells(row: TransformedRow) -> tuple[str, ...]:
    borders = "-" if row.borders is None else ", ".join(map(str, row.borders))
    return (
        row.name,
        row.op,
        " x ".join(map(str, row.shape[1:])),
        format_error(row.local),
        format_error(row.accumulated),
        borders,
    )
