"""`save_safetensors`: write each weight once, in the format that transformers and accelerate read."""

import json
from collections.abc import Hashable
from os import PathLike
from typing import Any

from torch import Tensor
from torch.nn import Module
from torch.nn.parameter import is_lazy

from ..._torch import is_sharded
from ...errors import DataError, TieError, describe_exception
from ...parameters.modules import check_module
from ...parameters.storage import get_storage_key, is_plain
from ...views.files import replacing, to_path
from ..check import check_tied_weights
from .entries import share_entries
from .reading import LAYOUTS, import_safetensors


def save_safetensors(model: Module, path: str | PathLike[str]) -> None:
    """Write each weight once under the name of its source, together with the names of its aliases.

    `safetensors.torch.load_model`, transformers (`from_pretrained`, with a config.json next to it) and
    accelerate (`load_checkpoint_in_model`) read the file.

    Args:
        path: File to write; an existing file is replaced.

    Raises:
        ArgumentError: If `model` is not a module, or `path` is neither text nor a path.
        TieError: If a weight is read from a module outside the model, so that the file would not contain
            it.
        DataError: If the file cannot be written, or an entry of the state dict is not a tensor in memory.
        MissingExtraError: If safetensors is not installed.

    Example:
        >>> import os, tempfile, torch
        >>> from safetensors.torch import load_file
        >>> model = torch.nn.Sequential(torch.nn.Embedding(10, 4), torch.nn.Linear(4, 10, bias=False))
        >>> model[1].weight = model[0].weight
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = os.path.join(folder, "model.safetensors")
        ...     save_safetensors(model, file)
        ...     list(load_file(file))
        ['0.weight']
    """
    check_module("save_safetensors", model)
    file = to_path("save_safetensors", path)
    if lost := [note.names[0] for note in check_tied_weights(model).broken if note.code == "LOST_SOURCE"]:
        got = f"{', '.join(lost)} read from another model"
        expected = "the model must contain all its weights"
        raise TieError("save_safetensors", expected, got, "save the whole model")
    safetensors = import_safetensors(path)
    entries, metadata = _pack(model)
    try:
        with replacing(file) as temporary:
            temporary.touch()
            mode = temporary.stat().st_mode
            safetensors.torch.save_file(entries, str(temporary), metadata=metadata)
            temporary.chmod(mode)  # safetensors creates files that only their owner can read
    except (OSError, ValueError, safetensors.SafetensorError) as error:  # `ValueError` for a null character
        raise DataError(str(file), "must be a writable file", describe_exception(error)) from error


def _pack(model: Module) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the entries to write, and the metadata: the format, the aliases, and the layouts of views."""
    state = model.state_dict(keep_vars=True)
    for name, value in state.items():
        _check_entry(name, value)
    metadata: dict[str, str] = {}
    layouts: dict[str, Any] = {}
    entries: dict[str, Tensor] = {}
    stored: set[Hashable] = set()
    for entry in share_entries(model, state):
        entries[entry.source] = _pack_tensor(state[entry.source].detach(), stored)
        if not state[entry.source].numel():  # safetensors does not notice that these share a storage
            entries |= {name: state[name].detach().contiguous() for name in (*entry.aliases, *entry.views)}
            continue
        metadata |= dict.fromkeys((*entry.aliases, *entry.views), entry.source)
        layouts |= {name: [view.shape, view.strides, view.offset] for name, view in entry.views.items()}
    if layouts:
        metadata[LAYOUTS] = json.dumps(layouts)
    return entries, metadata | {"format": "pt"}


def _check_entry(name: str, value: Any) -> None:
    """Raise `DataError` if safetensors cannot store an entry of a state dict."""
    if not isinstance(value, Tensor):
        got, hint = type(value).__name__, "save the state dict with torch.save"
    elif is_lazy(value):
        got, hint = "a lazy parameter without a shape", "call the model once first"
    elif value.is_meta:
        got, hint = "a tensor on the meta device", "load or initialize the model first"
    elif is_sharded(value):
        got = "a sharded tensor"
        hint = "collect the full state dict with torch.distributed.checkpoint.state_dict.get_model_state_dict"
    elif not is_plain(value):
        got, hint = (
            f"a {type(value).__name__} of layout {value.layout}",
            "save the state dict with torch.save",
        )
    else:
        return
    raise DataError(f"save_safetensors: {name!r}", "must be a dense tensor in memory", got, hint)


def _pack_tensor(tensor: Tensor, stored: set[Hashable]) -> Tensor:
    """Return a contiguous tensor with a storage of its own.

    Args:
        stored: Storages that other entries have; that of this one is added.
    """
    tensor = tensor.resolve_conj().resolve_neg().contiguous()
    storage = get_storage_key(tensor)
    is_whole = tensor.numel() * tensor.element_size() == tensor.untyped_storage().nbytes()
    if storage in stored or not is_whole:
        return tensor.clone()
    stored.add(storage)
    return tensor
