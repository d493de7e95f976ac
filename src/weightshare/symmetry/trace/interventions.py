"""Remove the causes that break equivariance, in all combinations needed, and measure the output again."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..._running import evaluating
from ..._torch import tree_map_only
from ...errors import SymmetryError
from ...sharing import Full
from ..outputs import FLOORS, is_close
from .causes import find_position_constants, is_padded
from .layout import Layout
from .row import Row
from .rules import Kind, find_operation, get_pad_widths, is_circular_pad
from .run import Run
from .tape import Step
from .windowed import parse_window

#: Replacement for each cause.
CHANGES = {
    "padding": "circular padding",
    "down-sampling": "blur pooling before every stride",
    "position embedding": "its mean over positions",
    "unshared weights": "the nearest shared kernel",
}

#: Causes of a row that are removed under another name.
_REMOVED_AS = {"stride": "down-sampling", "pooling": "down-sampling"}

#: Function that computes the outputs of a step from its inputs, without some causes.
Change = Callable[[Mapping[int, Tensor], Iterable[str]], list[Tensor]]


@dataclass(frozen=True)
class Effect:
    """A frozen record of what one cause contributes to the error of the output.

    Args:
        cause: One of the keys of `CHANGES`.
        operations: Names of the operations that were changed.
        only_this: Relative error of the output when all other causes are removed.
        without_this: Relative error of the output when only this cause is removed.
    """

    cause: str
    operations: tuple[str, ...]
    only_this: float
    without_this: float


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
        unchanged: Pairs (operation, cause) of the trace that could not be removed. They still contribute to
            all errors in this record.
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
                f"  {effect.cause} ({count}): error {effect.only_this:.2g} from this cause alone, "
                f"{effect.without_this:.2g} with {CHANGES[effect.cause]} instead"
            )
        if self.effects:
            lines.append(f"  all causes removed: error {self.rest:.2g}; interaction {self.interaction:+.2g}")
        elif not self.unchanged:
            lines.append("  no cause to remove")
        if self.unchanged:
            pairs = (f"{name} ({cause})" for name, cause in self.unchanged)
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
            expected = "the shift must be a whole number of positions of the output"
            got = f"{shift}, undefined for this stride"
            raise SymmetryError("interventions", expected, got, "use a multiple of the stride")
        if not is_close(run.model(run.x.clone()), run.tape.replay(run.x)):
            expected = "a replay of the recorded operations must reproduce the output of the model"
            hint = "change the model by hand, and use equivariance_error"
            raise SymmetryError("interventions", expected, "another output", hint)
        return _measure_effects(run, shift, rows, whole)


def _measure_effects(run: Run, shift: tuple[int, ...], rows: Sequence[Row], whole: float) -> Interventions:
    changes = {step.name: found for step in run.tape.steps if (found := _find_changes(step, run))}
    causes = tuple(cause for cause in CHANGES if any(cause in available for available in changes.values()))
    errors = {frozenset(): whole}
    failed: set[tuple[str, str]] = set()
    for size in {1, len(causes) - 1, len(causes)} - {-1, 0}:
        for removed in map(frozenset, combinations(causes, size)):
            instead = {}
            for name, available in changes.items():
                chosen = {cause: available[cause] for cause in causes if cause in removed & available.keys()}
                if chosen:
                    instead[name] = partial(_run_changed, chosen, run, failed)
            error = run.measure_replay(shift, instead)
            assert error is not None  # the shift is defined at the output, or `whole` would be None
            errors[removed] = error
    rest = errors[frozenset(causes)]
    changed = {
        cause: tuple(
            name for name, available in changes.items() if cause in available and (name, cause) not in failed
        )
        for cause in causes
    }
    effects = tuple(
        Effect(cause, operations, errors[frozenset(causes) - {cause}], errors[frozenset({cause})])
        for cause, operations in changed.items()
        if operations
    )
    interaction = whole - rest - sum(effect.only_this - rest for effect in effects)
    unchanged = tuple(
        (row.name, cause)
        for row in rows
        for cause in row.causes
        if rest > FLOORS.get(run.x.dtype, 0.0)
        and row.name not in changed.get(_REMOVED_AS.get(cause, cause), ())
    )
    return Interventions(shift, whole, effects, rest, interaction, unchanged)


def _run_changed(
    changes: Mapping[str, Change],
    run: Run,
    failed: set[tuple[str, str]],
    step: Step,
    tensors: Mapping[int, Tensor],
) -> list[Tensor]:
    """Compute a step without some causes, or without just one of them if removing all changes the shape.

    Args:
        changes: Changes by the cause that they remove.
        run: Recorded model.
        failed: Pairs (step, cause) that cannot be removed; new ones are added.
        step: Step on the tape.
        tensors: Inputs of the step.
    """
    for causes in ({*changes}, *({cause} for cause in changes)):
        if any((step.name, cause) in failed for cause in causes):
            continue
        try:
            results = changes[next(iter(causes))](tensors, causes)
        except (RuntimeError, TypeError, ValueError):  # errors of this package are ValueErrors
            results = None
        if results is not None and results[0].shape == run.shapes[step.outputs[0]]:
            return results
        if len(causes) == 1:
            failed.update((step.name, cause) for cause in causes)
    return step.run(tensors)


def _find_changes(step: Step, run: Run) -> dict[str, Change]:
    """Return a function for each cause that a step may have, which computes the step without it."""
    layout = run.layouts[step.outputs[0]]
    if layout is not None and find_position_constants(step, run.layouts):
        return {"position embedding": lambda tensors, _: _average_constants(step, layout).run(tensors)}
    if find_operation(step.op).kind is Kind.PAD:
        if is_circular_pad(step):
            return {}
        return {"padding": lambda tensors, _: [_pad_circularly(step, tensors)]}
    window = parse_window(step)
    if window is None or len(step.inputs) != 1:
        return {}

    def change(tensors: Mapping[int, Tensor], removed: Iterable[str]) -> list[Tensor]:
        changed = parse_window(step, shared=True) if "unshared weights" in removed else window
        assert changed is not None
        x = tensors[step.inputs[0]]
        return [changed(x, circular="padding" in removed, blur="down-sampling" in removed)]

    in_layout = run.layouts[step.inputs[0]] or ()
    has_halo = any(any(factor.halo) for dim in in_layout for factor in dim.factors)  # already padded
    has_one_stride = len(set(window.stride)) == 1 and window.stride[0] > 1
    applies = {
        "padding": is_padded(step) and window.mode != "circular",
        "down-sampling": has_one_stride and not window.has_fixed_size and not has_halo,
        "unshared weights": getattr(step.module, "sharing", Full()) != Full(),
    }
    return {cause: change for cause, is_present in applies.items() if is_present}


def _average_constants(step: Step, layout: Layout) -> Step:
    """Return the step with its constants replaced by their mean over positions."""

    def average(tensor: Tensor) -> Tensor:
        for d, dim in enumerate(reversed(layout), start=1):
            if d > tensor.dim() or tensor.shape[-d] == 1 or not dim.moves:
                continue
            head = tensor.narrow(-d, 0, dim.prefix)
            tail = tensor.narrow(-d, dim.prefix, tensor.shape[-d] - dim.prefix)
            tail = tail.to(torch.float64).mean(-d, keepdim=True).to(tensor.dtype).expand_as(tail)
            tensor = torch.cat([head, tail], -d)
        return tensor

    args, kwargs = tree_map_only(Tensor, average, (step.args, step.kwargs))
    return Step(step.name, step.op, step.call, args, kwargs, step.inputs, step.outputs)


def _pad_circularly(step: Step, tensors: Mapping[int, Tensor]) -> Tensor:
    """Pad each end with elements from the opposite end."""
    return F.pad(tensors[step.inputs[0]], tuple(get_pad_widths(step)), mode="circular")
