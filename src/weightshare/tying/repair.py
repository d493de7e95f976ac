"""`retie_weights`: repair declared ties that are broken."""

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import nn

from ..errors import ArgumentError
from ..parameters.modules import check_module
from ..parameters.references import Reference, get_chain
from .check import check_tied_weights
from .faults import find_fault
from .linking import link_ends
from .model_ties import Link, forget_ties, get_links, record_ties
from .names import find_ends
from .report import TieReport
from .tie import Tie, apply_transform


def retie_weights(model: nn.Module, *, keep: str | Mapping[str, str] | None = None) -> TieReport:
    """Repair the declared ties that are broken, by default with the values of their sources.

    If the module or Parameter at one end was replaced, the weights there are not known to belong to the tie,
    so nothing is overwritten unless `keep` names the end whose values are used. Ends that were changed by a
    parametrization, pruning, quantization or offloading, and ends of different shapes, are left unchanged and
    reported. Two Parameters that are the same elements in memory become one, even if their tie was not
    declared. Create the optimizer after the repair.

    Args:
        keep: "source" or "alias", the end whose values all broken ties keep; or a mapping from the aliases of
            some ties to one of these.

    Returns:
        The report on the model after the repair.

    Raises:
        ArgumentError: If `model` is not a module, or `keep` is not an end or names an alias that the model
            does not have. The model is then unchanged.

    Example:
        >>> from weightshare.tying import tie_weights
        >>> model = nn.Sequential(nn.Embedding(10, 4), nn.Linear(4, 10, bias=False))
        >>> tie_weights(model, {"1.weight": "0.weight"})[1] = nn.Linear(4, 10, bias=False)
        >>> retie_weights(model).broken[0].code
        'REPLACED_END'
        >>> retie_weights(model, keep="source").ok
        True
    """
    check_module("retie_weights", model)
    links = get_links(model)
    chosen = _read_choice(keep, list(links))
    found_again: dict[str, Tie] = {}
    for alias, link in links.items():
        code, end = find_fault(model, link), chosen.get(alias)
        if code in ("BROKEN_TIE", "ZOMBIE_TIE") or (code == "REPLACED_END" and end is not None):
            if end == "alias":
                _copy_to_source(model, link)
            link_ends(model, alias, link.tie)
            if not link.is_known:
                found_again[alias] = link.tie
    if found_again:
        forget_ties(model, found_again)
        record_ties(model, found_again)
    for note in check_tied_weights(model).warnings:
        if note.code == "ZOMBIE_TIE":
            source, alias = note.names
            link_ends(model, alias, Tie(source))
    return check_tied_weights(model)


def _read_choice(keep: Any, aliases: list[str]) -> Mapping[str, str]:
    """Return the end to keep for each alias that has a choice."""
    if keep is None:
        return {}
    chosen = keep if isinstance(keep, Mapping) else dict.fromkeys(aliases, keep)
    for end in chosen.values() if chosen is keep else [keep]:
        if end not in ("source", "alias"):
            expected = "keep must be None, 'source', 'alias' or a mapping from aliases to these"
            raise ArgumentError("retie_weights", expected, repr(end))
    for alias in chosen:
        if alias not in aliases:
            hint = f"use one of {', '.join(map(repr, aliases))}" if aliases else "this model has no ties"
            raise ArgumentError("retie_weights", "keep must name aliases of the model", repr(alias), hint)
    return cast(Mapping[str, str], chosen)


@torch.no_grad()
def _copy_to_source(model: nn.Module, link: Link) -> None:
    """Write the values of an alias to the parameter at the end of its ties, which may be a meta tensor."""
    ends = find_ends(model, link.alias, link.tie.source)
    if ends is None:
        return
    (module, attribute), (source, source_attribute) = ends
    value = getattr(module, attribute)
    chain = get_chain(Reference(source, source_attribute, link.tie.transform))
    for step in chain:
        value = apply_transform(step.transform, value, getattr(step.module, step.name).shape)
    end, name = chain[-1].module, chain[-1].name
    old = getattr(end, name)
    if old.is_meta and not value.is_meta:
        end._parameters[name] = nn.Parameter(value.detach().to(old.dtype, copy=True), old.requires_grad)
    else:
        old.copy_(value.clone())
