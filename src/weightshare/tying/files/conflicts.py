"""Complete a state dict: values of tied names that it lacks, and one value for ends that differ."""

from collections.abc import MutableMapping
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module

from ...errors import TieError
from ...parameters.references import get_reference
from ..linking import has_equal_values, is_replaced, link_ends
from ..loading import make_conflict_error
from ..model_ties import iter_ties, trace_to_source
from ..names import find_ends, find_owner, get_owner
from ..tie import Tie, apply_transform
from .entries import SharedEntry, share_entries

CONFLICTS = ("error", "source", "alias", "mean")


class KnownTies:
    """All ties of a model that concern its state dict: declared ones, and entries that share elements."""

    def __init__(self, model: Module):
        self.model = model
        state = model.state_dict(keep_vars=True)
        entries = share_entries(model, state)
        declared = {
            alias: tie
            for alias, tie in iter_ties(model)
            if (ends := find_ends(model, alias, tie.source)) is not None and not is_replaced(*ends)
        }
        #: Ties by assignment, by alias.
        self.assigned = {alias: Tie(entry.source) for entry in entries for alias in entry.aliases}
        #: Ties by alias, of which both ends exist.
        self.ties = self.assigned | declared
        #: Entries of which others are views.
        self.views = [entry for entry in entries if entry.views]
        #: Names of the state dict, and those of references.
        self.names = state.keys() | declared.keys()
        dependent = {name for entry in self.views for name in entry.views} | self.ties.keys()
        #: Names whose values do not follow from those of other names.
        self.required = self.names - dependent

    def resolve(self, state: MutableMapping[str, Any], on_conflict: str) -> None:
        """Give all names of each weight the same values, if a state dict has any of these names.

        Raises:
            TieError: If names have different values, and `on_conflict` is "error".
        """
        for root in sorted({tie.source for tie in self.ties.values()} - self.ties.keys()):
            self._resolve_root(state, root, on_conflict)
        for entry in self.views:
            self._resolve_views(state, entry, on_conflict)
        for alias in self.ties:
            owner = find_owner(self.model, alias)
            if owner is not None and get_reference(*owner) is not None:
                state.pop(alias, None)

    def link(self) -> None:
        """Make each tie by assignment hold again."""
        for alias, tie in self.assigned.items():
            link_ends(self.model, alias, tie)

    def _resolve_root(self, state: MutableMapping[str, Any], root: str, on_conflict: str) -> None:
        """Write one value for a root and all its aliases into a state dict.

        Args:
            root: Source at the end of one or more ties.
        """
        aliases = [alias for alias in self.ties if trace_to_source(self.ties, alias)[-1] == root]
        given = {name: state[name] for name in (root, *aliases) if isinstance(state.get(name), Tensor)}
        found = {name: self._transform_to_root(value, name) for name, value in given.items()}
        if not found:
            return
        chosen = next(iter(found.values()))
        for name, value in found.items():
            if has_equal_values(value, chosen):
                continue
            if on_conflict == "error":
                raise make_conflict_error(name, next(iter(found)), (value, chosen))
            if value.shape != chosen.shape:
                continue  # torch reports the wrong shape
            if on_conflict == "mean":
                chosen = torch.stack([part / len(found) for part in found.values()]).sum(0)
                break
            if on_conflict == "alias":
                chosen = value
                break
        state[root] = chosen
        for alias in aliases:
            value = chosen
            for name in reversed(trace_to_source(self.ties, alias)[:-1]):
                value = self._apply(self.ties[name], value, name)
            state[alias] = value

    def _transform_to_root(self, value: Tensor, name: str) -> Tensor:
        """Return the value that the root must have for an alias to have this value."""
        for alias, source in pairwise(trace_to_source(self.ties, name)):
            try:
                value = self._apply(self.ties[alias], value, source)
            except (RuntimeError, IndexError) as error:
                got = str(list(value.shape))
                raise TieError("load_state_dict", f"{name} must have the model's shape", got) from error
        return value

    def _apply(self, tie: Tie, value: Tensor, name: str) -> Tensor:
        """Return the value of a parameter at one end of a tie, from the value at the other end."""
        if tie.transform is None:
            return value
        module, attribute = get_owner(self.model, name, "load_state_dict")
        return apply_transform(tie.transform, value, getattr(module, attribute).shape)

    @staticmethod
    def _resolve_views(state: MutableMapping[str, Any], entry: SharedEntry, on_conflict: str) -> None:
        """Write one value for a source and all views of it into a state dict."""
        source = state.get(entry.source)
        if isinstance(source, Tensor) and source.shape != entry.shape:
            return  # torch reports the wrong shape
        views = {name: view for name, view in entry.views.items() if isinstance(state.get(name), Tensor)}
        views = {name: view for name, view in views.items() if state[name].shape == view.shape}
        given = [*([] if source is None else [source]), *(state[name] for name in views)]
        if not given:
            return
        whole = torch.empty(entry.shape, dtype=given[0].dtype, device=given[0].device)
        is_known = torch.full(entry.shape, source is not None)
        if source is not None:
            whole.copy_(source)
        for name, view in views.items():
            part, value = view.read(whole), state[name]
            if not bool(view.read(is_known).all()):
                part.copy_(value)
                view.read(is_known).fill_(True)
            elif not has_equal_values(part, value):
                if on_conflict == "error":
                    raise make_conflict_error(name, entry.source, (value, part))
                if on_conflict != "source":
                    part.copy_(value if on_conflict == "alias" else (part + value) / 2)
        if bool(is_known.all()):
            state.update(dict.fromkeys((entry.source, *entry.aliases), whole))
            state.update({name: view.read(whole) for name, view in entry.views.items()})
