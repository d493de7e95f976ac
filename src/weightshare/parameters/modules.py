"""Modules by name and the parameters that each one holds, including Keras layers and quantized modules."""

import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any, TypeGuard

import torch
from torch.nn import Module

from .._torch import remove_wrappers
from ..counting.from_layer import read_layer
from ..errors import ArgumentError
from .constants import iter_constants
from .packed import iter_packed_buffers, read_keras, read_parameter
from .packed_objects import iter_packed_objects
from .sharded import FLAT, Shard, read_sharded
from .stored import Stored

#: Submodule in which a Keras layer on the torch backend lists its own and all nested parameters.
_KERAS_LIST = "_torch_params"
_KERAS_CONVOLUTIONS = (
    *(f"Conv{n}D{suffix}" for n in (1, 2, 3) for suffix in ("", "Transpose")),
    *(f"{kind}Conv{n}D" for kind in ("Depthwise", "Separable") for n in (1, 2)),
)


def check_module(where: str, model: object) -> None:
    """Raise `ArgumentError` if `model` is not a module."""
    if not isinstance(model, Module):
        hint = "pass the result of its module()" if isinstance(model, torch.export.ExportedProgram) else None
        raise ArgumentError(where, "model must be a torch.nn.Module", type(model).__name__, hint)


def iter_modules(model: Module) -> Iterator[tuple[str, Module]]:
    """Yield every module under each of its names, including the layers nested in Keras layers.

    A module wrapped by FSDP1 or for activation checkpointing follows its wrapper and has the same name. For
    all other modules, this is the same as `model.named_modules(remove_duplicate=False)`.
    """
    named = [(remove_wrappers(name), m) for name, m in model.named_modules(remove_duplicate=False)]
    known = {id(module) for _, module in named}
    for name, module in named:
        if name.rpartition(".")[2] == _KERAS_LIST:
            continue
        yield name, module
        if is_keras(module):
            for layer in module._flatten_layers(include_self=False):
                if id(layer) not in known:
                    known.add(id(layer))
                    yield join_names(name, layer.path), layer


def iter_parameters(module: Module, shards: Mapping[str, Shard] | None = None) -> Iterator[Stored]:
    """Yield each parameter that a module holds itself.

    Weights that libraries do not store as Parameters are included: those in the packed objects that quantized
    operators of torch read, in integer buffers, and in the constants of frozen scripted modules. States of
    random number generators in Keras layers are left out, as in Keras's own counts.

    Args:
        shards: Parameters of this module that FSDP1 keeps in a flat parameter, by name.
    """
    if is_keras(module):
        for variable in [*module._trainable_variables, *module._non_trainable_variables]:
            yield read_keras(module, variable)
        return
    shards = shards or {}
    for name, parameter in module._parameters.items():
        if parameter is not None and name not in shards and name != FLAT:
            yield read_sharded(name, parameter) or read_parameter(module, name, parameter)
    for name, shard in shards.items():
        yield shard.store(name, module._parameters.get(name))
    yield from iter_packed_buffers(module)
    yield from iter_packed_objects(module)
    yield from iter_constants(module)


def is_keras(module: Module) -> TypeGuard[Any]:  # the attributes of Keras layers have no types
    """Return whether a module is a Keras 3 layer or model."""
    keras: Any = sys.modules.get("keras")  # if it is not loaded, there are no Keras layers
    return isinstance(module, getattr(keras, "Layer", ()))


def is_keras_list(name: str) -> bool:
    """Return whether a parameter has its name from the list of a Keras layer, which keeps it elsewhere."""
    return name.rpartition(".")[0].rpartition(".")[2] == _KERAS_LIST


def is_convolution(module: Module) -> bool:
    """Return whether a module is a `torch.nn`, `weightshare.nn` or Keras convolution."""
    if is_keras(module):
        layers = sys.modules["keras"].layers
        return isinstance(module, tuple(getattr(layers, name) for name in _KERAS_CONVOLUTIONS))
    try:
        return read_layer(module).ndim > 0
    except ArgumentError:
        return False


def get_original_name(name: str) -> str:
    """Return the name that a parameter had before it was parametrized, normalized or pruned.

    >>> get_original_name("0.parametrizations.weight.original1"), get_original_name("0.weight_orig")
    ('0.weight', '0.weight')
    """
    return re.sub(r"parametrizations\.([^.]+)\.original\d*$", r"\1", name).removesuffix("_orig")


def join_names(prefix: str, name: str) -> str:
    """Return the full name of something inside the module named `prefix`.

    >>> join_names("encoder", "weight"), join_names("", "weight")
    ('encoder.weight', 'weight')
    """
    return f"{prefix}.{name}" if prefix else name
