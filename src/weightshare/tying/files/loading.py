"""Load state dicts and checkpoints into tied models: one end of a tie suffices, and two ends must agree."""

import copy
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from os import PathLike
from typing import Any

from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ..._torch import IncompatibleKeys
from ...errors import ArgumentError
from ...parameters.modules import check_module
from ...views.files import to_path
from .conflicts import CONFLICTS, KnownTies
from .reading import Checkpoint, read_checkpoint
from .sharded import is_full, load_full
from .wrapped import find_state_dict


def load_state_dict(
    model: nn.Module,
    state: Mapping[str, Any],
    *,
    on_conflict: str = "error",
    strict: bool = True,
    assign: bool = False,
) -> IncompatibleKeys:
    """Load a state dict that has only one end of a tie, or two ends that differ.

    Ties are those declared with `tie_weights` and those made by assignment. If no name of the state dict is
    in the model, a nested state dict is looked for (e.g. under "state_dict" or "model"), and a prefix such
    as "module." is removed or added. Otherwise, this function does the same as `model.load_state_dict`.

    If an error is raised, the model is unchanged. For this, its values are copied first, unless `assign` is
    true.

    If `fully_shard` was applied to the model, all processes must call this function. The state dict of the
    first process is then used, and those of the other processes may be empty.

    Args:
        state: State dict, or a checkpoint that contains one.
        on_conflict: What to do if the ends of a tie differ: "error" raises an error, "source" and "alias"
            load the values of that end, and "mean" loads the mean over all ends.

    Returns:
        The missing and unexpected keys, as in torch.

    Raises:
        TieError: If the ends of a tie differ and `on_conflict` is "error".
        DataError: If there is no state dict that fits, or more than one.
        RuntimeError: If names are missing or unexpected, or shapes differ, as in torch.
        ArgumentError: If `model` is not a module, or `on_conflict` is anything else.

    Example:
        >>> import torch
        >>> model = torch.nn.Sequential(torch.nn.Embedding(10, 4), torch.nn.Linear(4, 10, bias=False))
        >>> model[1].weight = model[0].weight
        >>> load_state_dict(model, {"module.0.weight": torch.zeros(10, 4)})
        <All keys matched successfully>
    """
    check_module("load_state_dict", model)
    return load_checkpoint("load_state_dict", model, Checkpoint(state), on_conflict, strict, assign)


def load_safetensors(
    model: nn.Module, path: str | PathLike[str], *, on_conflict: str = "error", strict: bool = True
) -> IncompatibleKeys:
    """Load safetensors files. Both the model and the model that was saved may be tied or untied.

    If an error is raised, the model is unchanged.

    Args:
        path: A file, the index of several files (model.safetensors.index.json), or a folder with one of
            these, as transformers writes it.
        on_conflict: Same as for `load_state_dict`.

    Returns:
        The missing and unexpected keys, as in torch.

    Raises:
        ArgumentError: If `model` is not a module, or `path` is neither text nor a path.
        TieError: If the ends of a tie differ and `on_conflict` is "error".
        DataError: If there is no such file, it is not a safetensors file, or it contains the
            names of another model.
        RuntimeError: If names are missing or unexpected, or shapes differ, as in torch.
        MissingExtraError: If safetensors is not installed.
    """
    check_module("load_safetensors", model)
    where = str(to_path("load_safetensors", path))
    checkpoint = read_checkpoint(where, path, safetensors_only=True)
    return load_checkpoint(where, model, checkpoint, on_conflict, strict)


def load_checkpoint(
    where: str,
    model: nn.Module,
    checkpoint: Checkpoint,
    on_conflict: str = "error",
    strict: bool = True,
    assign: bool = False,
) -> IncompatibleKeys:
    """Load the content of a checkpoint, as `load_state_dict` does.

    Args:
        where: Function or file to name in errors.
    """
    if on_conflict not in CONFLICTS:
        known = ", ".join(map(repr, CONFLICTS))
        raise ArgumentError("load_state_dict", f"on_conflict must be one of {known}", repr(on_conflict))
    ties = KnownTies(model)

    def prepare() -> dict[str, Any]:
        found = find_state_dict(where, checkpoint.content, ties.names, ties.required, strict)
        state: Any = copy.copy(found)  # keeps the version metadata that torch attaches
        for old, new in zip(checkpoint.content, found):
            if old in checkpoint.implied and new not in ties.names:
                del state[new]
        ties.resolve(state, on_conflict)
        return state

    if is_full(model, checkpoint.content):
        with _restoring_values(model):
            return load_full(model, prepare, strict)
    state = prepare()
    with _restoring_tensors(model) if assign else _restoring_values(model):
        keys = model.load_state_dict(state, strict=strict, assign=assign)
        if assign:  # gives each name its own Parameter
            ties.link()
        return keys


@contextmanager
def _restoring_values(model: nn.Module) -> Generator[None]:
    """Return a context that restores the old values of a model if it is left by an error."""
    before = copy.deepcopy(model.state_dict())
    try:
        yield
    except BaseException:
        others: dict[str, Any] = {}
        for name, value in model.state_dict().items():
            if not isinstance(value, Tensor):
                others[name] = before[name]
            elif not is_lazy(before[name]):
                value.copy_(before[name])
        if others:  # extra state, and packed weights of quantized layers
            model.load_state_dict(others, strict=False)
        raise


@contextmanager
def _restoring_tensors(model: nn.Module) -> Generator[None]:
    """Return a context that gives a model its old Parameters and buffers again if it is left by an error."""
    stores: list[Any] = [
        store for module in model.modules() for store in (module._parameters, module._buffers)
    ]
    before = [dict(store.items()) for store in stores]
    try:
        yield
    except BaseException:
        for store, values in zip(stores, before):
            for name, value in values.items():
                store[name] = value
        raise
