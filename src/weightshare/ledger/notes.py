"""Notes on what the counts of a summary do not cover or cannot show, each with a code."""

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from .._running import find_raising_module
from ..parameters.groups import Group
from ..parameters.modules import iter_modules, join_names
from ..parameters.packed import iter_unknown_buffers
from ..parameters.stored import Layout
from .forward import ForwardPass
from .rows import is_dead, iter_names
from .unshared import iter_specs

#: Number of names that a note lists if there are many.
_SHOWN = 3


@dataclass(frozen=True)
class Note:
    """A note on the counts of a summary.

    Args:
        code: "LAZY", "VIEW_TIE", "PACKED", "SHARDED", "UNKNOWN_LAYOUT", "NESTED", "DEAD_PARAM",
            "NOT_COUNTED", "NOT_UNSHARED", "EXPERTS" or "FORWARD_FAILED".
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
    modules = dict(iter_modules(model))
    notes = [*_note_lazy(groups), *_note_views(groups), *_note_layouts(groups), *_note_buffers(modules)]
    if forward is not None:
        notes += _note_nested(forward)
        notes += _note_dead(groups, forward)
        notes += _note_not_unshared(modules, forward)
        notes += _note_experts(modules, forward)
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


def _note_layouts(groups: Sequence[Group]) -> Iterable[Note]:
    by_layout: dict[Layout, list[str]] = {}
    for group in groups:
        if group.owner.stored is not None and group.owner.stored.layout is not None:
            by_layout.setdefault(group.owner.stored.layout, []).append(group.owner.name)
    for layout, names in by_layout.items():
        yield Note(layout.code, tuple(names), f"{_join(names)}: {layout.text}")


def _note_buffers(modules: Mapping[str, nn.Module]) -> Iterable[Note]:
    found = {
        join_names(path, name): buffer
        for path, module in modules.items()
        for name, buffer in iter_unknown_buffers(module)
    }
    if found:
        count = sum(buffer.numel() for buffer in found.values())
        text = f"{_join([*found])}: {count:,} integers in buffers that may hold weights; not counted"
        yield Note("UNKNOWN_LAYOUT", tuple(found), text)


def _join(names: Sequence[str]) -> str:
    """Join names; if there are many, only the first few.

    >>> _join(["0.weight", "1.weight", "2.weight", "3.weight", "4.weight"])
    '0.weight, 1.weight, 2.weight and 2 more'
    """
    if len(names) <= _SHOWN + 1:
        return ", ".join(names)
    return f"{', '.join(names[:_SHOWN])} and {len(names) - _SHOWN:,} more"


def _note_nested(forward: ForwardPass) -> Iterable[Note]:
    if forward.is_nested:
        text = "nested inputs: MACs are counted for the given lengths, and nested outputs have no shape"
        yield Note("NESTED", (), text)


def _note_dead(groups: Sequence[Group], forward: ForwardPass) -> Iterable[Note]:
    if names := tuple(group.owner.name for group in groups if is_dead(group, forward)):
        yield Note("DEAD_PARAM", names, f"{', '.join(names)}: not read in a forward pass in evaluation mode")


def _note_not_unshared(modules: Mapping[str, nn.Module], forward: ForwardPass) -> Iterable[Note]:
    shared = {id(modules[path]) for path, _ in iter_specs(modules, forward)}
    if names := _list_names(modules, forward.convolutions.unknown - shared):
        text = (
            f"{_join(names)}: convolutions that `unshared` counts unchanged, because their kernels "
            "are not parameters, or because they multiply unfolded windows"
        )
        yield Note("NOT_UNSHARED", names, text)


def _note_experts(modules: Mapping[str, nn.Module], forward: ForwardPass) -> Iterable[Note]:
    kinds = dict.fromkeys((experts.count, experts.active) for experts in forward.experts)
    for count, active in kinds:
        chosen = {e.module for e in forward.experts if (e.count, e.active) == (count, active)}
        names = _list_names(modules, chosen)
        text = f"{_join(names)}: {count} experts, of which each token uses {active}"
        if active is None:
            text = f"{_join(names)}: {count} experts; it is not known how many of them each token uses"
        yield Note("EXPERTS", names, text)


def _list_names(modules: Mapping[str, nn.Module], chosen: Container[int]) -> tuple[str, ...]:
    """Return the first name of each of the modules whose `id` is given."""
    first: dict[int, str] = {}
    for name, module in modules.items():
        if id(module) in chosen:
            first.setdefault(id(module), name or "the model itself")
    return tuple(first.values())


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
