"""Weights in integers: how many logical elements a quantized layer packs into each."""

from collections.abc import Iterator
from math import prod
from typing import Any

import torch
from torch import Size, Tensor
from torch.nn import Module
from torch.nn.modules.conv import _ConvNd
from torch.nn.parameter import is_lazy

from .storage import get_storage_key, is_integer, is_plain, iter_wrapped
from .stored import Layout, Stored, describe_bits, store

#: Names of the attributes that hold the output and input size of a layer with one weight per pair.
_SIZES = (("out_features", "in_features"), ("outfeatures", "infeatures"), ("num_embeddings", "embedding_dim"))
#: Names of the attributes that hold the bits per weight.
_BITS = ("bits", "w_bit", "wbits", "nbits")
#: Bits per weight of the known layouts.
_KNOWN_BITS = range(1, 9)
_UNKNOWN = Layout("UNKNOWN_LAYOUT", "integers that may hold several weights each, counted as stored")


def read_parameter(module: Module, name: str, parameter: Tensor) -> Stored:
    """Return a registered parameter, with its logical shape if its module or class reports one."""
    if not _may_hold_weights(name, parameter) and getattr(parameter, "quant_state", None) is None:
        wrapped = [part for part in iter_wrapped(parameter) if is_integer(part)]
        values = max(wrapped, key=Tensor.numel, default=None)
        layout = None if values is None else describe_bits(parameter.numel(), values)
        return store(name, parameter, id(parameter), layout)
    shape = _read_shape(module, name, parameter)
    if shape is not None:
        return _make(name, parameter, shape)
    has_weight = find_packed_weight(module) is not None
    return store(name, parameter, id(parameter), None if has_weight else _UNKNOWN)


def iter_packed_buffers(module: Module) -> Iterator[Stored]:
    """Yield the packed weight that a module registers as a buffer, and the bias beside it."""
    name = find_packed_weight(module)
    if name is None or name in module._parameters:
        return
    weight = module._buffers[name]
    assert weight is not None
    shape = _read_shape(module, name, weight)
    assert shape is not None
    yield _make(name, weight, shape)
    bias = module._buffers.get("bias")
    if bias is not None and bias.is_floating_point():
        yield store("bias", bias, id(bias))


def iter_unknown_buffers(module: Module) -> Iterator[tuple[str, Tensor]]:
    """Yield name and value of each integer buffer that may hold weights in an unknown layout."""
    if find_packed_weight(module) is not None or _has_matrix(module):
        return
    for name, buffer in module._buffers.items():
        if buffer is not None and _may_hold_weights(name, buffer):
            yield name, buffer


def find_packed_weight(module: Module) -> str | None:
    """Return the name of the integer parameter or buffer that holds a module's weight in a known layout.

    None if a floating-point parameter of the module may be its weight. Of several candidates, it is the one
    with "weight" in its name, then the largest.
    """
    if _has_matrix(module):
        return None
    members = {**module._parameters, **module._buffers}
    found = {
        name: tensor
        for name, tensor in members.items()
        if tensor is not None and _may_hold_weights(name, tensor) and _read_shape(module, name, tensor)
    }
    return max(found, key=lambda name: ("weight" in name, found[name].nbytes), default=None)


def _has_matrix(module: Module) -> bool:
    """Return whether a module has a floating-point parameter of at least two axes."""
    return any(
        p is not None and not is_lazy(p) and p.is_floating_point() and p.dim() > 1
        for p in module._parameters.values()
    )


def _may_hold_weights(name: str, tensor: Tensor) -> bool:
    """Return whether a tensor is a matrix of integers, or has any shape and "weight" in its name.

    Matrices of 64-bit integers are usually indices.
    """
    if not is_plain(tensor) or not is_integer(tensor):
        return False
    return "weight" in name or (tensor.dim() > 1 and tensor.dtype != torch.int64)


def _read_shape(module: Module, name: str, tensor: Tensor) -> tuple[int, ...] | None:
    """Return the logical shape of a packed weight; None if its layout is unknown."""
    declared = _find_declared_shape(module, name, tensor)
    if declared is not None:
        return declared
    bits = next((n for word in _BITS if isinstance(n := getattr(module, word, None), int)), 0)
    stored_bits = 8 * tensor.numel() * tensor.element_size()
    for shape in _list_shapes(module):
        per_weight, rest = divmod(stored_bits, max(1, prod(shape)))
        is_packed = rest == 0 and per_weight in ([bits] if bits else _KNOWN_BITS)
        if is_packed or tensor.numel() == prod(shape):
            return shape
    return (stored_bits // bits,) if bits in _KNOWN_BITS else None


def _find_declared_shape(module: Any, name: str, tensor: Any) -> tuple[int, ...] | None:
    """Return the shape that a library records beside a packed weight.

    bitsandbytes records it in `quant_state`, HQQ in `meta` and compressed-tensors in a tensor.
    """
    state, meta = getattr(tensor, "quant_state", None), getattr(module, "meta", None)
    recorded = getattr(module, f"{name.removesuffix('_packed')}_shape", None)
    if isinstance(recorded, Tensor) and not recorded.is_meta:
        recorded = recorded.tolist()
    options = (getattr(state, "shape", None), recorded, meta.get("shape") if isinstance(meta, dict) else None)
    return next((tuple(map(int, shape)) for shape in options if isinstance(shape, Size | tuple | list)), None)


def _list_shapes(module: Any) -> list[tuple[int, ...]]:
    """Return the shapes that a module's weight may have according to its attributes."""
    if isinstance(module, _ConvNd):
        return [(module.out_channels, module.in_channels // module.groups, *module.kernel_size)]
    found: list[tuple[Any, ...]] = [tuple(getattr(module, word, None) for word in words) for words in _SIZES]
    return [shape for shape in found if all(isinstance(n, int) for n in shape)]


def _make(name: str, tensor: Tensor, shape: tuple[int, ...]) -> Stored:
    layout = describe_bits(prod(shape), tensor)
    return Stored(name, tensor, id(tensor), shape, get_storage_key(tensor), layout)
