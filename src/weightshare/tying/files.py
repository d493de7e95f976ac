"""State dicts and files of models with ties: each weight once, and old or untied ones resolved."""

import copy
from collections.abc import Mapping, MutableMapping
from itertools import pairwise
from os import PathLike

import torch
from torch import Tensor
from torch.nn import Module

from ..errors import ArgumentError, DataError, MissingExtraError, TieError
from .check import check_tied_weights
from .declared import agree, chain, disagreement, ties_of
from .names import both_ends, owner_of
from .reference import reference_of
from .tie import Tie, transformed

CONFLICTS = ("error", "source", "alias", "mean")


def load_state_dict(
    model: Module,
    state: MutableMapping[str, Tensor],
    *,
    on_conflict: str = "error",
    strict: bool = True,
    assign: bool = False,
):
    """`model.load_state_dict` for checkpoints that have one end of a tie, or two that differ.

    Args:
        on_conflict: What a tie takes where they differ: "error" refuses, "source" and "alias" take that end,
            "mean" takes the mean of both.

    Returns:
        As torch: the missing and the unexpected keys.

    Raises:
        TieError: ends that differ, with "error"; the model is unchanged.
        ArgumentError: another word for `on_conflict`.
    """
    if on_conflict not in CONFLICTS:
        known = ", ".join(map(repr, CONFLICTS))
        raise ArgumentError(
            "load_state_dict", f"on_conflict must be one of {known}", repr(on_conflict), "use one"
        )
    state = copy.copy(state)  # with the versions that torch keeps beside it
    ties = {alias: tie for alias, tie in ties_of(model) if both_ends(model, alias, tie.source) is not None}
    roots = {tie.source for tie in ties.values()} - ties.keys()
    for root in sorted(roots):
        _settle(model, state, root, ties, on_conflict)
    for alias in ties:
        if reference_of(*owner_of(model, alias, "load_state_dict")) is not None:
            state.pop(alias, None)
    return model.load_state_dict(state, strict=strict, assign=assign)


def _settle(
    model: Module, state: MutableMapping[str, Tensor], root: str, ties: Mapping[str, Tie], on_conflict: str
) -> None:
    """Give a root, and all aliases that lead to it, the values that a state dict has for them."""
    aliases = [alias for alias in ties if chain(ties, alias)[-1] == root]
    found = {name: _at_root(model, state[name], name, ties) for name in (root, *aliases) if name in state}
    if not found:
        return
    chosen = next(iter(found.values()))
    for name, value in found.items():
        if agree(value, chosen):
            continue
        if on_conflict == "error":
            raise disagreement(name, next(iter(found)))
        if value.shape != chosen.shape:
            continue  # torch says what is wrong with it
        if on_conflict == "mean":
            chosen = torch.stack([part / len(found) for part in found.values()]).sum(0)
            break
        if on_conflict == "alias":
            chosen = value
            break
    state[root] = chosen
    for alias in aliases:
        value = chosen
        for name in reversed(chain(ties, alias)[:-1]):
            module, attribute = owner_of(model, name, "load_state_dict")
            value = transformed(ties[name].transform, value, getattr(module, attribute).shape)
        state[alias] = value


def _at_root(model: Module, value: Tensor, name: str, ties: Mapping[str, Tie]) -> Tensor:
    """What the root has where a name has this value."""
    for alias, source in pairwise(chain(ties, name)):
        module, attribute = owner_of(model, source, "load_state_dict")
        try:
            value = transformed(ties[alias].transform, value, getattr(module, attribute).shape)
        except (RuntimeError, IndexError) as error:
            got, hint = str(list(value.shape)), "give the checkpoint of this model"
            raise TieError("load_state_dict", f"{name} must have the model's shape", got, hint) from error
    return value


def save_safetensors(model: Module, path: str | PathLike[str]) -> None:
    """Write every weight once, with the names of its aliases, as `safetensors.torch.save_model` does.

    Raises:
        TieError: a weight that is read from a module outside of this model, which the file would not have.
        MissingExtraError: safetensors is not installed.
    """
    if lost := [note.names[0] for note in check_tied_weights(model).broken if note.code == "LOST_SOURCE"]:
        got = f"{', '.join(lost)}, read from outside"
        raise TieError(
            "save_safetensors", "the model must have its weights itself", got, "save the whole model"
        )
    _safetensors(path).torch.save_model(model, str(path))


def load_safetensors(
    model: Module, path: str | PathLike[str], *, on_conflict: str = "error", strict: bool = True
):
    """Load a safetensors file into a model, tied or not, from a model that was tied or not.

    Args:
        on_conflict: As for `load_state_dict`.

    Returns:
        As torch: the missing and the unexpected keys.

    Raises:
        DataError: no such file, or one that is no safetensors file.
        MissingExtraError: safetensors is not installed.
    """
    safetensors = _safetensors(path)
    try:
        with safetensors.safe_open(str(path), framework="pt") as file:
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            aliases = {a: kept for a, kept in (file.metadata() or {}).items() if kept in state}
    except (OSError, safetensors.SafetensorError) as error:
        raise DataError(
            str(path), "must be a safetensors file that can be read", str(error), "check its name"
        ) from error
    expected = set(model.state_dict())
    state |= {a: state[kept] for a, kept in aliases.items() if a in expected and a not in state}
    return load_state_dict(model, state, on_conflict=on_conflict, strict=strict)


def _safetensors(path: object):
    try:
        import safetensors.torch
    except ImportError as error:
        raise MissingExtraError.for_package(str(path), "safetensors", extra="study") from error
    return safetensors
