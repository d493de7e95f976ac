"""Weights that `torch.jit.freeze` turned into constants of a scripted module."""

from collections.abc import Iterator
from typing import Any

from torch import ScriptObject, Tensor
from torch.jit import ScriptModule
from torch.nn import Module

from .packed_objects import unpack
from .stored import Stored, get_logical_shape

#: Operator of an optimized scripted module that runs without torch's dispatcher.
HIDDEN_CONVOLUTION = "prim::mkldnn_convolution"


def count_hidden_convolutions(module: Any) -> int:
    """Return the number of convolutions of a scripted module that no dispatch mode sees."""
    return sum(
        len(module._c._get_method(method).graph.findAllNodes(HIDDEN_CONVOLUTION))
        for method in module._c._method_names()
    )


def iter_constants(module: Module) -> Iterator[Stored]:
    """Yield the constants of a scripted module that were its parameters before it was frozen.

    Freezing keeps the names of parameters, with a prefix, until the module is saved. If there are none, and
    the module has no members, every floating-point tensor of more than one element is yielded.
    """
    if not isinstance(module, ScriptModule):
        return
    constants = dict(_iter_tensors(module))
    named = {name[len("self.") :]: value for name, value in constants.items() if name.startswith("self.")}
    if not named and not any(True for _ in module.parameters()) and not any(True for _ in module.children()):
        named = {f"constant_{name}": value for name, value in constants.items()}
    for name, value in named.items():
        if isinstance(value, ScriptObject):
            yield from unpack(name, value)
        elif value.is_floating_point() and value.numel() > 1:
            # without a storage, since the compiler removes constants that are not read
            yield Stored(name, value, id(value), get_logical_shape(value), storage=None)


def _iter_tensors(module: Any) -> Iterator[tuple[str, Tensor | ScriptObject]]:
    """Yield the tensors and packed objects that are constants in the methods of one scripted module."""
    for method in module._c._method_names():
        graph = module._c._get_method(method).graph
        for node in graph.findAllNodes("prim::ConstantMKLDNNTensor"):
            yield node.output().debugName(), node.t("value")
        for node in graph.findAllNodes("prim::Constant"):
            name, value = node.output().debugName(), node.output().toIValue()
            members = (
                {f"{name}.{index}": member for index, member in enumerate(value)}
                if isinstance(value, list)
                else {name: value}
            )
            for member_name, member in members.items():
                if isinstance(member, Tensor | ScriptObject):
                    yield member_name, member
