"""Save and load tied models: each weight is stored once, and checkpoints of untied models can be loaded."""

import copy
from collections.abc import Mapping, MutableMapping
from itertools import pairwise
from os import PathLike
from types import ModuleType

import torch
from torch import Tensor
from torch.nn import Module

from .._torch import IncompatibleKeys
from ..errors import ArgumentError, DataError, MissingExtraError, TieError, describe_exception
from ..parameters.modules import check_module
from ..parameters.references import get_reference
from ..views.files import replacing, to_path
from .check import check_tied_weights
from .linking import has_equal_values
from .loading import make_conflict_error
from .model_ties import iter_ties, trace_to_source
from .names import find_ends, get_owner
from .tie import Tie, apply_transform

CONFLICTS = ("error", "source", "alias", "mean")


def load_state_dict(
    model: Module,
    state: MutableMapping[str, Tensor],
    *,
    on_conflict: str = "error",
    strict: bool = True,
    assign: bool = False,
) -> IncompatibleKeys:
    """Load a state dict that has only one end of a tie, or two ends that differ.

    In all other cases this is the same as `model.load_state_dict`.

    Args:
        on_conflict: What to do if the ends of a tie differ: "error" raises an error, "source" and "alias"
            load the values of that end, and "mean" loads the mean over all ends.

    Returns:
        The missing and unexpected keys, as in torch.

    Raises:
        TieError: If the ends of a tie differ and `on_conflict` is "error". The model is then unchanged.
        ArgumentError: If `model` is not a module, or `on_conflict` is anything else.
    """
    check_module("load_state_dict", model)
    if on_conflict not in CONFLICTS:
        known = ", ".join(map(repr, CONFLICTS))
        raise ArgumentError("load_state_dict", f"on_conflict must be one of {known}", repr(on_conflict))
    state = copy.copy(state)  # keeps the version metadata that torch attaches
    ties = {alias: tie for alias, tie in iter_ties(model) if find_ends(model, alias, tie.source) is not None}
    roots = {tie.source for tie in ties.values()} - ties.keys()
    for root in sorted(roots):
        _resolve(model, state, root, ties, on_conflict)
    for alias in ties:
        if get_reference(*get_owner(model, alias, "load_state_dict")) is not None:
            state.pop(alias, None)
    return model.load_state_dict(state, strict=strict, assign=assign)


def _resolve(
    model: Module, state: MutableMapping[str, Tensor], root: str, ties: Mapping[str, Tie], on_conflict: str
) -> None:
    """Write one value for a root and all its aliases into a state dict.

    Args:
        root: Source at the end of one or more ties.
    """
    aliases = [alias for alias in ties if trace_to_source(ties, alias)[-1] == root]
    found = {
        name: _transform_to_root(model, state[name], name, ties) for name in (root, *aliases) if name in state
    }
    if not found:
        return
    chosen = next(iter(found.values()))
    for name, value in found.items():
        if has_equal_values(value, chosen):
            continue
        if on_conflict == "error":
            raise make_conflict_error(name, next(iter(found)))
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
        for name in reversed(trace_to_source(ties, alias)[:-1]):
            module, attribute = get_owner(model, name, "load_state_dict")
            value = apply_transform(ties[name].transform, value, getattr(module, attribute).shape)
        state[alias] = value


def _transform_to_root(model: Module, value: Tensor, name: str, ties: Mapping[str, Tie]) -> Tensor:
    """Return the value that the root must have for an alias to have this value."""
    for alias, source in pairwise(trace_to_source(ties, name)):
        module, attribute = get_owner(model, source, "load_state_dict")
        try:
            value = apply_transform(ties[alias].transform, value, getattr(module, attribute).shape)
        except (RuntimeError, IndexError) as error:
            got = str(list(value.shape))
            raise TieError("load_state_dict", f"{name} must have the model's shape", got) from error
    return value


def save_safetensors(model: Module, path: str | PathLike[str]) -> None:
    """Write each weight once, together with the names of its aliases, like `safetensors.torch.save_model`.

    Raises:
        ArgumentError: If `model` is not a module, or `path` is neither text nor a path.
        TieError: If a weight is read from a module outside of the model, so that the file would not contain
            it.
        DataError: If the file cannot be written.
        MissingExtraError: If safetensors is not installed.
    """
    check_module("save_safetensors", model)
    file = to_path("save_safetensors", path)
    if lost := [note.names[0] for note in check_tied_weights(model).broken if note.code == "LOST_SOURCE"]:
        got = f"{', '.join(lost)} read from another model"
        expected = "the model must contain all its weights"
        raise TieError("save_safetensors", expected, got, "save the whole model")
    safetensors = _import_safetensors(path)
    try:
        with replacing(file) as temporary:
            temporary.touch()
            mode = temporary.stat().st_mode
            safetensors.torch.save_model(model, str(temporary))
            temporary.chmod(mode)  # safetensors creates files that only their owner can read
    except (OSError, ValueError, safetensors.SafetensorError) as error:  # `ValueError` for a null character
        raise DataError(str(file), "must be a writable file", describe_exception(error)) from error


def load_safetensors(
    model: Module, path: str | PathLike[str], *, on_conflict: str = "error", strict: bool = True
) -> IncompatibleKeys:
    """Load a safetensors file. Both the model and the model that was saved may be tied or untied.

    Args:
        on_conflict: Same as for `load_state_dict`.

    Returns:
        The missing and unexpected keys, as in torch.

    Raises:
        ArgumentError: If `model` is not a module, or `path` is neither text nor a path.
        DataError: If there is no such file, or it is not a safetensors file.
        MissingExtraError: If safetensors is not installed.
    """
    check_module("load_safetensors", model)
    path = to_path("load_safetensors", path)
    safetensors = _import_safetensors(path)
    try:
        with safetensors.safe_open(str(path), framework="pt") as file:
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            aliases = {alias: name for alias, name in (file.metadata() or {}).items() if name in state}
    except (OSError, safetensors.SafetensorError) as error:
        raise DataError(str(path), "must be a readable safetensors file", str(error)) from error
    expected = set(model.state_dict())
    state |= {alias: state[name] for alias, name in aliases.items() if alias in expected - state.keys()}
    return load_state_dict(model, state, on_conflict=on_conflict, strict=strict)


def _import_safetensors(path: object) -> ModuleType:
    try:
        import safetensors.torch  # pyright: ignore[reportUnusedImport]
    except ImportError as error:
        raise MissingExtraError.for_package(str(path), "safetensors", extra="study") from error
    return safetensors
