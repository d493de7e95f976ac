"""Run a module in float64 with other parameters, without copying it, and restore it afterwards.

Not every module can be copied: `copy.deepcopy` refuses the weights that `prune` and the older norms compute,
and attributes such as locks and generators. Moreover, the hooks of a copy may still refer to the original.
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from .._running import evaluating
from ..errors import ArgumentError


def check_module(where: str, f: object) -> None:
    """Raise `ArgumentError` if a module has parameters or buffers without values; any other object passes.

    Args:
        where: Name of the public function, with which the error starts.
    """
    for name, tensor in _list_tensors(f):
        if is_lazy(tensor):
            expected, got = "the sizes of the model must be known", f"{name!r} of a lazy module"
            raise ArgumentError(where, expected, got, "run the model once on an input")
        if tensor.is_meta:
            expected, got = "the model must have values", f"{name!r} on the meta device"
            hint = "build the model on the CPU, or call to_empty() and load its weights"
            raise ArgumentError(where, expected, got, hint)


def check_dense(where: str, f: object) -> None:
    """Raise `ArgumentError` if a module has sparse parameters."""
    for name, tensor in _list_tensors(f):
        if isinstance(tensor, nn.Parameter) and tensor.layout != torch.strided:
            hint = "convert them with to_dense()"
            raise ArgumentError(where, "the parameters must be dense", f"{name!r} with {tensor.layout}", hint)


@contextmanager
def running_in_float64(f: Callable[..., Any]) -> Generator[list[Tensor]]:
    """Return a context in which a module runs in evaluation mode, in float64 on the CPU.

    The context yields the parameters of the module. Their values may be replaced through `.data`, which also
    works for tensors of inference mode. On exit, it restores the values, types and devices of all parameters
    and buffers, and the attributes of all submodules. For a function, it yields an empty list.
    """
    modules = list(f.modules()) if isinstance(f, nn.Module) else []
    tensors = [tensor for _, tensor in _list_tensors(f)]
    values = [tensor.data for tensor in tensors]
    attributes = [dict(vars(module)) for module in modules]
    try:
        for tensor, value in zip(tensors, values):
            tensor.data = value.to("cpu", _get_wide_type(value), copy=True)
        with evaluating(f, warn=False):
            yield [tensor for tensor in tensors if isinstance(tensor, nn.Parameter)]
    finally:
        for tensor, value in zip(tensors, values):
            tensor.data = value
        for module, before in zip(modules, attributes):
            vars(module).clear()
            vars(module).update(before)


def _get_wide_type(tensor: Tensor) -> torch.dtype:
    if tensor.is_complex():
        return torch.complex128
    return torch.float64 if tensor.is_floating_point() else tensor.dtype


def _list_tensors(f: object) -> list[tuple[str, Tensor]]:
    return [*f.named_parameters(), *f.named_buffers()] if isinstance(f, nn.Module) else []
