"""The modules of a model by name, and what each has itself; Keras's layers, which torch sees as one, too."""

import re
from collections.abc import Hashable, Iterator
from typing import Any

from torch import Tensor
from torch.nn import Module

from ..counting.words import FORMS

#: Where a Keras layer on the torch backend lists the parameters of itself and all layers inside.
_KERAS_LIST = "_torch_params"


def modules_of(model: Module) -> Iterator[tuple[str, Module]]:
    """Every module under each of its names, as `named_modules(remove_duplicate=False)`."""
    named = list(model.named_modules(remove_duplicate=False))
    known = {id(module) for _, module in named}
    for name, module in named:
        if name.rpartition(".")[2] == _KERAS_LIST:
            continue
        yield name, module
        if is_keras(module):
            layers: Any = module._flatten_layers(include_self=False)  # type: ignore[operator]
            for layer in layers:
                if id(layer) not in known:
                    known.add(id(layer))
                    yield joined(name, layer.path), layer


def parameters_of(module: Module) -> Iterator[tuple[str, Tensor, Hashable]]:
    """A module's own parameters and what identifies each.

    Torch keeps quantised ones in no Parameter. Of a Keras layer the states of random numbers are left out, as
    Keras does.
    """
    if is_keras(module):
        for variable in [*module._trainable_variables, *module._non_trainable_variables]:  # type: ignore
            yield variable.name, variable.value, id(variable.value)
        return
    for name, parameter in module._parameters.items():
        if parameter is not None:
            yield name, parameter, id(parameter)
    if type(module).__module__.startswith("torch.ao.nn.quantized"):
        for name in ("weight", "bias"):
            read = getattr(module, name, None)
            value = read() if callable(read) else None
            if isinstance(value, Tensor):
                yield name, value.detach(), (id(module), name)


def is_keras(module: Module) -> bool:
    """Whether a module is a layer or model of Keras 3."""
    return any(c.__module__.startswith("keras.") for c in type(module).__mro__)


def is_convolution(module: Module) -> bool:
    """Whether a module is of a class of convolutions, torch's, ours or Keras's."""
    return any(FORMS[c.__name__].ndim for c in type(module).__mro__ if c.__name__ in FORMS)


def declared_name(name: str) -> str:
    """The name that a parameter had before it was parametrized, normed or pruned.

    >>> declared_name("0.parametrizations.weight.original1"), declared_name("0.weight_orig")
    ('0.weight', '0.weight')
    """
    return re.sub(r"parametrizations\.([^.]+)\.original\d*$", r"\1", name).removesuffix("_orig")


def joined(prefix: str, name: str) -> str:
    """A name inside another."""
    return f"{prefix}.{name}" if prefix else name
