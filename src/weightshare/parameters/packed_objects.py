"""Weights that torch keeps in packed objects of quantized operators, instead of Parameters."""

from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import Any

from torch import ScriptObject, Tensor
from torch.jit import ScriptModule
from torch.nn import Module

from .._torch import tree_iter
from .storage import get_storage_key
from .stored import Stored, describe_dtype, get_logical_shape

#: Attributes in which the modules of `torch.ao` keep packed objects.
_TORCH_AO = ("_packed_params", "_packed_weight", "_packed_weight_ih", "_packed_weight_hh", "param")
#: Namespaces of the classes of packed objects that hold a weight and possibly a bias.
_NAMESPACES = ("mkldnn", "quantized", "sparse", "xnnpack")


def iter_packed_objects(module: Module) -> Iterator[Stored]:
    """Yield the weights and biases in the packed objects of a module.

    These are modules of `torch.ao`, modules that torch.fx quantized, and scripted forms of both.
    """
    if is_torch_ao(module):
        storage = _find_packed_key(module)
        for name, value in _iter_torch_ao(module):
            if module._parameters.get(name) is None:
                key = get_storage_key(value) if storage is None else storage
                shape, layout = get_logical_shape(value), describe_dtype(value)
                yield Stored(name, value.detach(), (id(module), name), shape, key, layout)
        return
    for attribute, packed in _list_packed(module).items():
        yield from unpack(attribute, packed)


def unpack(attribute: str, packed: ScriptObject) -> Iterator[Stored]:
    """Yield the weights and biases in one packed object, named after the attribute that holds it."""
    storage = get_packed_key(packed)
    for name, value in _unpack(packed):
        name = f"{attribute}.{name}"
        shape, layout = get_logical_shape(value), describe_dtype(value)
        yield Stored(name, value.detach(), (storage, name), shape, storage, layout)


def get_packed_key(packed: ScriptObject) -> Hashable:
    """Return a key of a packed object, which is the same for every Python object that refers to it."""
    return "packed", hash(packed)


def get_packed_keys(values: Any) -> set[Hashable]:
    """Return the keys of all packed objects in nested containers."""
    return {get_packed_key(leaf) for leaf in tree_iter(values) if isinstance(leaf, ScriptObject)}


def is_torch_ao(module: Module) -> bool:
    """Return whether a module is a quantized module of `torch.ao`, or of a class derived from one."""
    return any(c.__module__.startswith("torch.ao.nn.") for c in type(module).__mro__)


def _iter_torch_ao(module: Any) -> Iterator[tuple[str, Tensor]]:
    """Yield the weights and biases of a `torch.ao` module under the names of the float module."""
    for name in ("weight", "bias"):
        value = getattr(module, name, None)
        value = value() if callable(value) else value
        if isinstance(value, Tensor):
            yield name, value
        group = getattr(module, f"get_{name}", None)  # recurrent modules
        values = group() if callable(group) else None
        if isinstance(values, Mapping):
            yield from ((key, value) for key, value in values.items() if isinstance(value, Tensor))


def _find_packed_key(module: Module) -> Hashable | None:
    """Return the key of the first packed object in a module or its submodules."""
    found = (packed for part in module.modules() for packed in _list_packed(part).values())
    return next(map(get_packed_key, found), None)


def _list_packed(module: Module) -> dict[str, ScriptObject]:
    """Return the packed objects among the attributes of a module, by attribute."""
    attributes: Iterable[str] = vars(module)
    if isinstance(module, ScriptModule):
        attributes = {**dict.fromkeys(_TORCH_AO), **dict.fromkeys(_iter_read_attributes(module))}
    found = {name: getattr(module, name, None) for name in attributes}
    return {name: value for name, value in found.items() if isinstance(value, ScriptObject)}


def _iter_read_attributes(module: Any) -> Iterator[str]:
    """Yield the attributes that a scripted module reads. Torch cannot list the attributes that it has."""
    for method in module._c._method_names():
        for node in module._c._get_method(method).graph.findAllNodes("prim::GetAttr"):
            yield node.s("name")


def _unpack(packed: Any) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors in a packed object by name; nothing if torch cannot unpack it."""
    class_name = packed._type().qualified_name()
    if class_name.endswith(".rnn.CellParamsBase"):
        for suffix, part in zip(("ih", "hh"), packed.__getstate__()[0][4]):
            yield from ((f"{name}_{suffix}", value) for name, value in _unpack(part))
    elif class_name.split(".")[-2] in _NAMESPACES and packed._has_method("unpack"):
        values = packed.unpack()
        for name, value in zip(("weight", "bias"), values if isinstance(values, tuple) else (values,)):
            if value is not None:
                yield name, value
