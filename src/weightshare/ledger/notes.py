"""What the counts of a summary leave open, as notes with a code."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch.nn import Module

from .._running import find_raising_module
from ..parameters.groups import Group
from ..parameters.modules import is_convolution
from .forward import Watched
from .rows import all_names, is_dead


@dataclass(frozen=True)
class Note:
    """Something to know about the counts.

    Args:
        code: "LAZY", "VIEW_TIE", "DEAD_PARAM", "NOT_COUNTED", "NOT_UNSHARED" or "FORWARD_FAILED".
        names: Of the parameters, modules or operators it is about.
    """

    code: str
    names: tuple[str, ...]
    text: str

    def to_dict(self) -> dict[str, Any]:
        return {"code": self.code, "names": list(self.names), "text": self.text}


def notes_of(model: Module, groups: Sequence[Group], watched: Watched | None) -> list[Note]:
    """What the counts leave open."""
    names = list(all_names(groups))
    notes = []
    if lazy := tuple(name.name for name in names if name.kind == "lazy"):
        notes.append(
            Note("LAZY", lazy, f"{', '.join(lazy)}: no shape before the first call, counted as none")
        )
    for group in groups:
        if views := tuple(name.name for name in group.names if name.kind == "view"):
            text = (
                f"{', '.join(views)}: another Parameter on the memory of {group.owner.name}; "
                "moving, copying or an optimiser with state parts them"
            )
            notes.append(Note("VIEW_TIE", (group.owner.name, *views), text))
    if watched is None:
        return notes
    if dead := tuple(group.owner.name for group in groups if is_dead(group, watched)):
        text = f"{', '.join(dead)}: nothing read them in a forward pass in evaluation mode"
        notes.append(Note("DEAD_PARAM", dead, text))
    known = [m for m in model.modules() if id(m) in watched.convolving and not is_convolution(m)]
    if known:
        names_of = tuple(name or "the model itself" for name, m in model.named_modules() if m in known)
        text = f"{', '.join(names_of)}: convolutions that are no layers are left as they are in unshared"
        notes.append(Note("NOT_UNSHARED", names_of, text))
    if watched.uncounted:
        text = ", ".join(f"{name} ({count} calls)" for name, count in watched.uncounted.items())
        notes.append(Note("NOT_COUNTED", tuple(watched.uncounted), f"no formula for the products of {text}"))
    if watched.failed is not None:
        name, module = find_raising_module(model, watched.failed)
        where = f"{name or 'the model itself'} ({type(module).__name__})"
        text = f"the forward pass stopped in {where}: {type(watched.failed).__name__}: {watched.failed}"
        notes.append(Note("FORWARD_FAILED", (name,), text))
    return notes
