"""Notes on what the counts of a summary do not cover or cannot show, each with a code."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from .._running import find_raising_module
from ..parameters.groups import Group
from ..parameters.modules import is_convolution
from .forward import ForwardPass
from .rows import is_dead, iter_names


@dataclass(frozen=True)
class Note:
    """A note on the counts of a summary.

    Args:
        code: "LAZY", "VIEW_TIE", "DEAD_PARAM", "NOT_COUNTED", "NOT_UNSHARED" or "FORWARD_FAILED".
        names: Names of the parameters, modules or operators concerned.
        text: The note as a sentence.
    """

    code: str
    names: tuple[str, ...]
    text: str

    def to_dict(self) -> dict[str, Any]:
        """Return the note as a JSON object."""
        return {"code": self.code, "names": list(self.names), "text": self.text}


def collect_notes(model: nn.Module, groups: Sequence[Group], forward: ForwardPass | None) -> tuple[Note, ...]:
    """Return all notes on a model's counts."""
    notes = [*_note_lazy(groups), *_note_views(groups)]
    if forward is not None:
        notes += _note_dead(groups, forward)
        notes += _note_functional_convolutions(model, forward)
        notes += _note_uncounted(forward)
        notes += _note_failure(model, forward)
    return tuple(notes)


def _note_lazy(groups: Sequence[Group]) -> Iterable[Note]:
    if names := tuple(name.name for name in iter_names(groups) if name.kind == "lazy"):
        yield Note("LAZY", names, f"{', '.join(names)}: no shape yet (lazy), counted as 0")


def _note_views(groups: Sequence[Group]) -> Iterable[Note]:
    for group in groups:
        if views := tuple(name.name for name in group.names if name.kind == "view"):
            text = (
                f"{', '.join(views)}: separate Parameter in the storage of {group.owner.name}; "
                "moving, copying or a stateful optimizer will separate them"
            )
            yield Note("VIEW_TIE", (group.owner.name, *views), text)


def _note_dead(groups: Sequence[Group], forward: ForwardPass) -> Iterable[Note]:
    if names := tuple(group.owner.name for group in groups if is_dead(group, forward)):
        yield Note("DEAD_PARAM", names, f"{', '.join(names)}: not read in a forward pass in evaluation mode")


def _note_functional_convolutions(model: nn.Module, forward: ForwardPass) -> Iterable[Note]:
    names = tuple(
        name or "the model itself"
        for name, module in model.named_modules()
        if id(module) in forward.convolving and not is_convolution(module)
    )
    if names:
        text = f"{', '.join(names)}: functional convolutions, which `unshared` counts without change"
        yield Note("NOT_UNSHARED", names, text)


def _note_uncounted(forward: ForwardPass) -> Iterable[Note]:
    if forward.uncounted:
        calls = [f"{name} ({n} call{'s' if n > 1 else ''})" for name, n in forward.uncounted.items()]
        text = f"operators without a MAC formula, not included in `macs`: {', '.join(calls)}"
        yield Note("NOT_COUNTED", tuple(forward.uncounted), text)


def _note_failure(model: nn.Module, forward: ForwardPass) -> Iterable[Note]:
    if forward.error is not None:
        name, module = find_raising_module(model, forward.error)
        where = f"{name or 'the model itself'} ({type(module).__name__})"
        text = f"the forward pass failed in {where}: {type(forward.error).__name__}: {forward.error}"
        yield Note("FORWARD_FAILED", (name,), text)
