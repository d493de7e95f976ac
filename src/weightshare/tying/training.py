"""Find parameters that an optimizer or average handles wrongly, e.g. because it was created before tying."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.nn import Module
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer

from .._args import format_size
from .fragile import iter_overlaps
from .linking import has_equal_values
from .report import TieWarning, make_warning
from .tie import Tie


def warn_of_optimizers(model: Module, optimizers: Sequence[Optimizer]) -> Iterator[TieWarning]:
    """Yield parameters that are listed twice, that the model does not have, or that are not updated."""
    if not optimizers:
        return
    named = list(model.named_parameters())
    known = {id(parameter) for _, parameter in named}
    listed = [entry for optimizer in optimizers for entry in _iter_entries(optimizer)]
    counts = Counter(id(parameter) for _, parameter in listed)
    for name, parameter in named:
        if counts[id(parameter)] > 1:
            yield make_warning("DUP_IN_OPTIMIZER", [name])
    if stale := [name for name, parameter in listed if id(parameter) not in known]:
        yield make_warning("STALE_IN_OPTIMIZER", stale)
    if missing := [name for name, p in named if p.requires_grad and id(p) not in counts]:
        yield make_warning("NOT_IN_OPTIMIZER", missing)


def warn_of_ema(
    model: Module, ema: Module | Mapping[str, Any], ties: Mapping[str, Tie]
) -> Iterator[TieWarning]:
    """Yield parameters that an exponential moving average does not have, or would update twice per step.

    Args:
        ema: An averaged model such as `torch.optim.swa_utils.AveragedModel`, or an averaged state dict.
        ties: Ties of the model that hold.
    """
    if isinstance(ema, Module):
        own, averaged = _get_shapes(model), _get_shapes(getattr(ema, "module", ema))
        stale = [name for name in {**own, **averaged} if own.get(name) != averaged.get(name)]
    else:
        entries = {
            _unwrap(name): value
            for name, value in ema.items()
            if isinstance(value, Tensor) and value.is_floating_point()  # not a counter of steps
        }
        stale = _list_stale(model, entries, ties)
        for pair in iter_overlaps(entries):
            yield make_warning("DUP_IN_EMA", pair)
    if stale:
        yield make_warning("STALE_IN_EMA", stale)


def _list_stale(model: Module, entries: Mapping[str, Tensor], ties: Mapping[str, Tie]) -> list[str]:
    """Return the names that are only in an averaged state dict or only in the model, and ends that differ."""
    names: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(_unwrap(name))
    missing = [aliases[0] for aliases in names.values() if entries.keys().isdisjoint(aliases)]
    known = {_unwrap(name) for name in model.state_dict()}.union(*names.values())
    stale = [*missing, *(name for name in entries if name not in known)]
    for alias, tie in ties.items():
        ends = _unwrap(alias), _unwrap(tie.source)
        if tie.transform is None and {*ends} <= entries.keys():
            first, second = (entries[end] for end in ends)
            stale += [] if has_equal_values(first, second) else ends
    return stale


def _get_shapes(model: Module) -> dict[str, tuple[int, ...] | None]:
    """Return the shape of each parameter by name, None while it is lazy."""
    named = model.named_parameters()
    return {_unwrap(name): None if is_lazy(p) else tuple(p.shape) for name, p in named}


def _unwrap(name: str) -> str:
    """Return a name without the prefixes of `DistributedDataParallel` and `torch.compile`.

    >>> _unwrap("module._orig_mod.head.weight")
    'head.weight'
    """
    return re.sub(r"(^|\.)((module|_orig_mod)\.)+", r"\1", name)


def _iter_entries(optimizer: Optimizer) -> Iterator[tuple[str, Tensor]]:
    """Yield each parameter of an optimizer with its name, or its position if the optimizer has no names."""
    for index, group in enumerate(optimizer.param_groups):
        for number, parameter in enumerate(group["params"]):
            size = "lazy" if is_lazy(parameter) else format_size(parameter.shape) or "scalar"
            place = f"optimizer.param_groups[{index}]['params'][{number}] ({size})"
            yield group.get("param_names", {number: place})[number], parameter
