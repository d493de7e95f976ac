"""Private parts of torch that the package uses, in one file, since a new torch release may change them."""

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch._C import DisableTorchFunction
from torch._ops import OpOverload
from torch.autograd import _profiler_enabled, forward_ad  # pyright: ignore[reportPrivateImportUsage]
from torch.nn.modules import module as _module
from torch.nn.modules.batchnorm import _BatchNorm as BatchNorm
from torch.nn.modules.batchnorm import _NormBase as BatchNormBase
from torch.nn.modules.module import _IncompatibleKeys as IncompatibleKeys
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter, tree_leaves, tree_map, tree_map_only

__all__ = [
    "BatchNorm",
    "BatchNormBase",
    "DisableTorchFunction",
    "IncompatibleKeys",
    "OpOverload",
    "TorchDispatchMode",
    "get_fsdp_state",
    "get_local",
    "get_storage_id",
    "is_forward_mode_active",
    "is_functorch_active",
    "is_plain",
    "is_sharded",
    "is_watched",
    "iter_flat_parameter",
    "remove_wrappers",
    "reshards_after_forward",
    "shard_like",
    "tree_iter",
    "tree_leaves",
    "tree_map",
    "tree_map_only",
    "watch_modules",
]

#: Names under which wrappers hold the modules that they wrap.
_WRAPPED = ("_checkpoint_wrapped_module", "_fsdp_wrapped_module")


def get_storage_id(tensor: Tensor) -> int:
    """Return a number that identifies the storage of a live tensor, also on the meta device."""
    return tensor.untyped_storage()._cdata


def is_watched() -> bool:
    """Return whether something records operators as they are called: a mode, a tracer or a profiler."""
    return (
        torch._C._len_torch_dispatch_stack() > 0
        or torch._C._is_torch_function_mode_enabled()
        or torch._C._get_tracing_state() is not None
        or _profiler_enabled()
    )


def is_plain(tensor: Tensor) -> bool:
    """Return whether a tensor is an ordinary one: no subclass, wrapper, lazy zero or negative view."""
    keys = torch._C._dispatch_keys(tensor).raw_repr()
    return type(tensor) in (Tensor, torch.nn.Parameter) and keys in _get_plain_keys(tensor.device.type)


@cache
def _get_plain_keys(device_type: str) -> set[int]:
    """Return the dispatch keys of tensors made outside and inside of inference mode."""
    keys: set[int] = set()
    for mode in (False, True):
        with torch.inference_mode(mode):
            keys.add(torch._C._dispatch_keys(torch.empty(0, device=device_type)).raw_repr())
    return keys


def is_functorch_active() -> bool:
    """Return whether a `torch.func` transform is running."""
    return torch._C._are_functorch_transforms_active()


def is_forward_mode_active() -> bool:
    """Return whether forward-mode differentiation is running."""
    return forward_ad._current_level >= 0


@contextmanager
def watch_modules(enter: Callable[..., None], leave: Callable[..., None]) -> Generator[None]:
    """Call `enter(module, args)` before each forward pass and `leave(module, args, kwargs, output)` after it.

    If a forward pass raises an error, torch calls `leave` without the keyword arguments.
    """
    before = register_module_forward_pre_hook(enter)
    after = register_module_forward_hook(leave, with_kwargs=True, always_call=True)
    try:
        yield
    finally:
        before.remove()
        after.remove()
        for marks in (_module._global_forward_hooks_with_kwargs, _module._global_forward_hooks_always_called):
            marks.pop(after.id, None)  # torch does not remove these marks together with the hook


def remove_wrappers(name: str) -> str:
    """Return the name that a module had before FSDP1 or activation checkpointing wrapped modules."""
    return ".".join(part for part in name.split(".") if part not in _WRAPPED)


def iter_flat_parameter(
    module: torch.nn.Module,
) -> Iterator[tuple[Tensor, torch.nn.Module, str, tuple[int, ...], int, int]]:
    """Yield the parameters in the flat parameter of an FSDP1 module, aliases included.

    Each one is the flat parameter, the module and name of the original, its shape, its index in the flat
    parameter, and the number of processes.
    """
    handle: Any = vars(module).get("_handle")
    flat: Any = getattr(handle, "flat_param", None)
    if not hasattr(flat, "_param_infos"):
        return
    places = {(id(info.module), info.param_name): index for index, info in enumerate(flat._param_infos)}
    originals = [(info, index) for index, info in enumerate(flat._param_infos)]
    aliases = [(i, places[id(i.prim_module), i.prim_param_name]) for i in flat._shared_param_infos]
    for info, index in originals + aliases:
        yield flat, info.module, info.param_name, tuple(flat._shapes[index]), index, handle.world_size


def get_fsdp_state(module: Any) -> Any:
    """Return the FSDP2 state of a module, or None if `fully_shard` was not applied to it."""
    return module._get_fsdp_state() if hasattr(module, "_get_fsdp_state") else None


def is_sharded(value: Any) -> bool:
    """Return whether a value is a `torch.distributed.tensor.DTensor`."""
    return hasattr(value, "full_tensor")


def shard_like(value: Tensor, like: Tensor) -> Tensor:
    """Return a full tensor sharded like another one, without communication.

    If the other one is not sharded, or the tensor already is, it is returned unchanged.
    """
    if is_sharded(value) or not is_sharded(like):
        return value
    from torch.distributed.tensor import distribute_tensor

    sharding: Any = like
    return distribute_tensor(value, sharding.device_mesh, sharding.placements, src_data_rank=None)


def get_local(tensor: Tensor) -> Tensor:
    """Return the part of a sharded tensor that this process has, and any other tensor unchanged."""
    sharded: Any = tensor
    return sharded.to_local() if is_sharded(tensor) else tensor


def reshards_after_forward(state: Any) -> bool:
    """Return whether the group of an FSDP2 state frees its full weights after the forward pass."""
    parts = getattr(state, "_fsdp_param_groups", None) or [state._fsdp_param_group]
    return not all(getattr(part, "post_forward_mesh_info", part) is None for part in parts)
