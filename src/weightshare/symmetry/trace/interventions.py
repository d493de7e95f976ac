"""Change what loses a shift, one cause after the other, and measure the output again."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..._running import evaluating
from ..._torch import tree_map_only
from ...errors import SymmetryError
from ...sharing import Full
from ..outputs import FLOORS, is_close
from .causes import constants, pads
from .layout import Layout
from .tape import Step
from .windows import WindowOf

#: What is changed for every cause.
CHANGES = {
    "padding": "circular padding",
    "down-sampling": "blur pooling before every stride",
    "position embedding": "its mean over positions",
    "unshared weights": "the nearest shared kernel",
}


@dataclass(frozen=True)
class Effect:
    """One cause.

    Args:
        cause: A key of `CHANGES`.
        operations: That are changed.
        alone: Relative error of the output when all other causes are removed.
        without: Relative error when only this one is removed.
    """

    cause: str
    operations: tuple[str, ...]
    alone: float
    without: float


@dataclass(frozen=True)
class Interventions:
    """What every cause contributes to the error of the output.

    Args:
        shift: Of the input.
        error: Of the model as it is.
        effects: One for every cause that can be removed.
        rest: The error when all of them are removed.
        interaction: What is left of `error` when `rest` and what every cause adds to it alone are taken off:
            negative where two causes hide each other.
        unchanged: (operation, cause) that the trace names and no change reaches; they stay in all figures.
    """

    shift: tuple[int, ...]
    error: float
    effects: tuple[Effect, ...]
    rest: float
    interaction: float
    unchanged: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        lines = [f"relative error of the output for the shift {self.shift}: {self.error:.2g}"]
        for e in self.effects:
            count = f"{len(e.operations)} operation{'s' if len(e.operations) > 1 else ''}"
            figures = f"alone {e.alone:.2g}, without it {e.without:.2g}"
            lines.append(f"  {e.cause} ({count}): {figures}; changed to {CHANGES[e.cause]}")
        if self.effects:
            lines.append(f"  all removed: {self.rest:.2g}; interaction {self.interaction:+.2g}")
        elif not self.unchanged:
            lines.append("  nothing to remove")
        if self.unchanged:
            lines.append("  not changed: " + ", ".join(f"{name} ({cause})" for name, cause in self.unchanged))
        return "\n".join(lines)


def intervened(run: Any, shift: tuple[int, ...], rows: Sequence[Any]) -> Interventions:
    """What `EquivarianceTrace.interventions` says."""
    with evaluating(run.model):
        return _intervened(run, shift, rows)


def _intervened(run: Any, shift: tuple[int, ...], rows: Sequence[Any]) -> Interventions:
    whole = run.measured(shift)
    if whole is None:
        expected, got = "the shift must be whole at the output", f"{shift}, undefined for this stride"
        raise SymmetryError("interventions", expected, got, "use a multiple of the stride")
    if not is_close(run.model(run.x.clone()), run.tape.replay(run.x)):
        expected = "the operations must give the model's output when they are computed again"
        hint = "change the model by hand, and use equivariance_error"
        raise SymmetryError("interventions", expected, "another output", hint)
    changes = {step.name: found for step in run.tape.steps if (found := _candidates(step, run))}
    names = tuple(cause for cause in CHANGES if any(cause in of for of in changes.values()))
    errors = {frozenset(): whole}
    failed: set[tuple[str, str]] = set()
    for size in {1, len(names) - 1, len(names)} - {-1, 0}:
        for removed in map(frozenset, combinations(names, size)):
            kept = {
                name: {c: of[c] for c in names if c in removed & of.keys()} for name, of in changes.items()
            }
            instead = {name: partial(_changed, of, run, failed) for name, of in kept.items() if of}
            errors[removed] = run.replayed(shift, instead)
    rest = errors[frozenset(names)]
    done = {c: tuple(n for n, of in changes.items() if c in of and (n, c) not in failed) for c in names}
    effects = tuple(
        Effect(cause, operations, errors[frozenset(names) - {cause}], errors[frozenset({cause})])
        for cause, operations in done.items()
        if operations
    )
    interaction = whole - rest - sum(e.alone - rest for e in effects)
    unchanged = tuple(
        (row.name, cause)
        for row in rows
        for cause in row.causes
        if rest > FLOORS.get(run.x.dtype, 0.0)
        and row.name not in done.get(str(_REMOVES.get(cause, cause)), ())
    )
    return Interventions(shift, whole, effects, rest, interaction, unchanged)


_REMOVES = {"stride": "down-sampling", "pooling": "down-sampling"}

#: From a step's inputs, and the causes to remove, to its outputs.
Change = Callable[[Mapping[int, Tensor], Iterable[str]], list[Tensor]]


def _changed(
    of: Mapping[str, Change],
    run: Any,
    failed: set[tuple[str, str]],
    step: Step,
    tensors: Mapping[int, Tensor],
) -> list[Tensor]:
    """What a step computes without some causes; each by itself where all at once do not keep the shape."""
    for causes in ({*of}, *({cause} for cause in of)):
        if any((step.name, cause) in failed for cause in causes):
            continue
        try:
            results = of[next(iter(causes))](tensors, causes)
        except (RuntimeError, TypeError, ValueError):  # errors of this package are ValueErrors
            results = None
        if results is not None and results[0].shape == run.shapes[step.outputs[0]]:
            return results
        if len(causes) == 1:
            failed.update((step.name, cause) for cause in causes)
    return step.run(tensors)


def _candidates(step: Step, run: Any) -> dict[str, Change]:
    """For every cause at a step what removes it."""
    if constants(step, run.layouts):
        layout = run.layouts[step.outputs[0]]
        return {"position embedding": lambda given, _: _evened(step, layout).run(given)}
    if step.op == "pad" or step.op.startswith(_PADS):
        return {"padding": lambda given, _: [_repadded(step, given)]} if _pads_otherwise(step) else {}
    window = WindowOf.of(step)
    if window is None or len(step.inputs) != 1:
        return {}

    def change(given: Mapping[int, Tensor], removed: Iterable[str]) -> list[Tensor]:
        shared = "unshared weights" in removed
        changed = WindowOf.of(step, shared=True) if shared else window
        assert changed is not None
        return [changed(given[step.inputs[0]], "padding" in removed, "down-sampling" in removed)]

    layout = run.layouts[step.inputs[0]] or ()
    on_circle = any(any(f.halo) for dim in layout for f in dim.factors)  # padded apart: blur cannot know it
    blurs = window.changeable and len(set(window.stride)) == 1 and window.stride[0] > 1 and not on_circle
    causes = {
        "padding": pads(step) and window.mode != "circular",
        "down-sampling": blurs,
        "unshared weights": getattr(step.module, "sharing", Full()) != Full(),
    }
    return {cause: change for cause, there in causes.items() if there}


def _evened(step: Step, layout: Layout) -> Step:
    """The same step with the mean over positions of the constants in it."""

    def mean(tensor: Tensor) -> Tensor:
        for d, dim in enumerate(reversed(layout), start=1):
            if d > tensor.dim() or tensor.shape[-d] == 1 or not dim.moves:
                continue
            head = tensor.narrow(-d, 0, dim.prefix)
            tail = tensor.narrow(-d, dim.prefix, tensor.shape[-d] - dim.prefix)
            tail = tail.to(torch.float64).mean(-d, keepdim=True).to(tensor.dtype).expand_as(tail)
            tensor = torch.cat([head, tail], -d)
        return tensor

    args, kwargs = tree_map_only(Tensor, mean, (step.args, step.kwargs))
    return Step(step.name, step.op, step.call, args, kwargs, step.inputs, step.outputs)


_PADS = ("ZeroPad", "ReflectionPad", "ReplicationPad", "ConstantPad")


def _pads_otherwise(step: Step) -> bool:
    return step.op != "pad" or step.argument(2, "mode", "constant") != "circular"


def _repadded(step: Step, tensors: Mapping[int, Tensor]) -> Tensor:
    """Padded from the other end."""
    pairs = getattr(step.module, "padding", None) or step.argument(1, "pad", ())
    return F.pad(tensors[step.inputs[0]], tuple(pairs), mode="circular")
