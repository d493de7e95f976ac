"""State dicts and files of models with ties: each weight once, and old or untied ones resolved."""

from collections.abc import Mapping
from os import PathLike

import torch
from torch import Tensor
from torch.nn import Module

from ..errors import ArgumentError, DataError, MissingExtraError
from .declared import ties_of
from .names import both_ends
from .tie import transformed, undone

CONFLICTS = ("error", "source", "alias", "mean")


def load_state_dict(
    model: Module,
    state: Mapping[str, Tensor],
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
    state = dict(state)
    for alias, tie in ties_of(model):
        ends = both_ends(model, alias, tie.source)
        if ends is None or not {alias, tie.source} & state.keys():
            continue
        shape, source_shape = (getattr(module, name).shape for module, name in ends)
        theirs = undone(tie.transform, state[alias], source_shape) if alias in state else state[tie.source]
        source = state.get(tie.source, theirs)
        if on_conflict == "error" and not torch.equal(source, theirs):
            continue  # the model's own loading refuses it
        chosen = {"alias": theirs, "mean": (source + theirs) / 2}.get(on_conflict, source)
        state |= {tie.source: chosen, alias: transformed(tie.transform, chosen, shape)}
    return model.load_state_dict(state, strict=strict, assign=assign)


def save_safetensors(model: Module, path: str | PathLike[str]) -> None:
    """Write every weight once, with the names of its aliases, as `safetensors.torch.save_model` does.

    Raises:
        MissingExtraError: safetensors is not installed.
    """
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
    wanted = set(model.state_dict())
    state |= {alias: state[kept] for alias, kept in aliases.items() if alias in wanted}
    return load_state_dict(model, state, on_conflict=on_conflict, strict=strict)


def _safetensors(path: object):
    try:
        import safetensors.torch
    except ImportError as error:
        raise MissingExtraError(
            str(path), "needs safetensors", "no such package", "pip install 'weightshare[study]'"
        ) from error
    return safetensors
