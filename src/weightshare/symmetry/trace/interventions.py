"""Remove the causes that break equivariance, in all combinations needed, and measure the output again."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from typing import NoReturn

from ..._running import evaluating
from ...errors import SymmetryError
from ..outputs import is_close
from .changes import find_change, run_changed, skip_pad
from .layout import Layout, get_strides
from .row import Row
from .run import Compute, Run
from .tape import Step

#: Replacement for each cause.
CHANGES = {
    "padding": "circular padding",
    "down-sampling": "blur pooling before every stride",
    "position embedding": "its mean over positions",
    "mask": "attention to all positions",
    "unshared weights": "the nearest shared kernel",
    "resizing": "resizing of a circularly padded map",
}

#: Why some causes cannot be removed.
_REASONS = {
    "flatten": "each position has its own weights",
    "mask": "it treats positions differently on purpose",
    "mixes positions": "it has no equivariant form",
    "not followed": "its positions are unknown",
    "orientation": "the output is flipped or transposed",
    "padding": "with circular padding, its output would have another size",
    "pooling": "blur pooling cannot replace it",
    "recurrence": "it starts at one end",
    "resizing": "it aligns corners, or its scale factor is not an integer",
    "stride": "blur pooling cannot replace it",
    "uneven size": "the size is not a multiple of the stride",
    "valid border": "it does not pad",
}

#: Causes of a row that are removed under another name.
_REMOVED_AS = {"stride": "down-sampling", "pooling": "down-sampling"}


@dataclass(frozen=True)
class Effect:
    """A frozen record of what one cause contributes to the error of the output.

    Args:
        cause: One of the keys of `CHANGES`.
        operations: Names of the operations that were changed.
        alone: Relative error of the output when all other causes are removed.
        without: Relative error of the output when only this cause is removed.
    """

    cause: str
    operations: tuple[str, ...]
    alone: float
    without: float


@dataclass(frozen=True)
class Interventions:
    """A frozen record of what each cause contributes to the error of the output; `str` is a report.

    Args:
        shift: Shift of the input.
        error: Relative error of the unchanged model.
        effects: One entry for each cause that can be removed.
        rest: Relative error when all of them are removed.
        interaction: `error` minus `rest` minus what each cause alone adds to `rest`. It is negative if causes
            hide each other.
        unchanged: Pairs (operation, cause) of the trace that could not be removed. They contribute to all
            errors in this record.
    """

    shift: tuple[int, ...]
    error: float
    effects: tuple[Effect, ...]
    rest: float
    interaction: float
    unchanged: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        lines = [f"relative error of the output for shift {self.shift}: {self.error:.2g}"]
        for effect in self.effects:
            count = f"{len(effect.operations)} operation{'s' if len(effect.operations) > 1 else ''}"
            lines.append(
                f"  {effect.cause} ({count}): error {effect.alone:.2g} from this cause alone, "
                f"{effect.without:.2g} with {CHANGES[effect.cause]} instead"
            )
        if self.effects:
            lines.append(
                f"  all of these causes removed: error {self.rest:.2g}; interaction {self.interaction:+.2g}"
            )
        elif not self.unchanged:
            lines.append("  no cause to remove")
        if self.unchanged:
            pairs = (
                f"{name} ({cause}{f': {_REASONS[cause]}' if cause in _REASONS else ''})"
                for name, cause in self.unchanged
            )
            lines.append(f"  could not be removed: {', '.join(pairs)}")
        return "\n".join(lines)


def intervene(run: Run, shift: tuple[int, ...], rows: Sequence[Row]) -> Interventions:
    """Remove each cause alone, all others, and all of them, and measure the output each time.

    Args:
        run: Recorded model.
        shift: Shift of the input.
        rows: Rows of the trace.

    Raises:
        SymmetryError: If the shift is not a whole number of output positions, or if a replay of the recorded
            operations does not reproduce the output of the model.
    """
    with evaluating(run.model):
        whole = run.measure(shift)
        if whole is None:
            _refuse_shift(run, shift, rows)
        if not is_close(run.forward(run.x), run.tape.replay(run.x)):
            expected = "a replay of the recorded operations must reproduce the output of the model"
            hint = "remove the causes by hand, and measure with equivariance_error"
            raise SymmetryError("interventions", expected, "a different output", hint)
        return _measure_effects(run, shift, rows, whole)


def _refuse_shift(run: Run, shift: tuple[int, ...], rows: Sequence[Row]) -> NoReturn:
    """Raise an error that states why the error of the output is not defined for a shift."""
    if run.layouts[run.tape.output] is None:
        name = next((row.name for row in rows if not row.followed), "the model")
        raise SymmetryError(
            "interventions",
            "the positions of the output must be known",
            f"an output that cannot be followed through {name!r}",
            "trace a function that returns the tensor before it",
        )
    expected = "the shift must be a whole number of positions of the output"
    got = f"{shift}, undefined for this stride"
    raise SymmetryError("interventions", expected, got, "use a multiple of the stride")


def _measure_effects(run: Run, shift: tuple[int, ...], rows: Sequence[Row], whole: float) -> Interventions:
    exact = _find_exact_steps(run, shift).union(row.name for row in rows if not row.causes)
    whole_steps = {step.name for step in run.tape.steps if _is_whole(run.layouts[step.outputs[0]], shift)}
    changes = [
        change
        for step in run.tape.steps
        if (change := find_change(step, run, exact, step.name in whole_steps)) is not None
    ]
    causes = tuple(cause for cause in CHANGES if any(cause in change.causes for change in changes))
    errors = {frozenset(): whole}
    failed: set[tuple[str, str]] = set()
    for size in {1, len(causes) - 1, len(causes)} - {-1, 0}:
        for removed in map(frozenset, combinations(causes, size)):
            instead: dict[str, Compute] = {}
            for change in changes:
                chosen = removed.intersection(change.causes)
                if chosen:
                    instead[change.step.name] = partial(run_changed, change, chosen, run, failed)
                    instead |= dict.fromkeys((pad.name for pad in change.pads), skip_pad)
            error = run.measure_replay(shift, instead)
            assert error is not None  # the shift is defined at the output, or `whole` would be None
            errors[removed] = error
    rest = errors[frozenset(causes)]
    changed = {
        cause: tuple(
            change.step.name
            for change in changes
            if cause in change.causes and (change.step.name, cause) not in failed
        )
        for cause in causes
    }
    effects = tuple(
        Effect(cause, operations, errors[frozenset(causes) - {cause}], errors[frozenset({cause})])
        for cause, operations in changed.items()
        if operations
    )
    interaction = whole - rest - sum(effect.alone - rest for effect in effects)
    unchanged = tuple(
        (row.name, cause)
        for row in rows
        for cause in row.causes
        if rest > run.floor
        and row.name not in exact
        and not (cause in _REMOVED_AS and row.name in whole_steps)
        and row.name not in changed.get(_REMOVED_AS.get(cause, cause), ())
    )
    return Interventions(shift, whole, effects, rest, interaction, unchanged)


def _find_exact_steps(run: Run, shift: Sequence[int]) -> set[str]:
    """Return the names of the operations that alone are exact for a shift."""
    run.load()
    try:
        return {step.name for step in run.tape.steps if _is_exact(run, step, shift)}
    finally:
        run.release()


def _is_exact(run: Run, step: Step, shift: Sequence[int]) -> bool:
    shifted = {ref: run.shift(ref, run.tape.values[ref], shift) for ref in step.inputs}
    tensors = {ref: tensor for ref, tensor in shifted.items() if tensor is not None}
    if len(tensors) < len(shifted):
        return False
    results = step.run(tensors)
    pairs = ((ref, result) for ref, result in zip(step.outputs, results) if ref in run.used)
    return all(run.match(ref, result, shift).is_exact for ref, result in pairs)


def _is_whole(layout: Layout | None, shift: Sequence[int]) -> bool:
    """Return whether a shift is a whole number of positions in a tensor."""
    strides = {} if layout is None else get_strides(layout)
    return all((shift[axis] / stride).denominator == 1 for axis, stride in strides.items())
