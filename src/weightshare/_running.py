"""Run a model in order to measure it, and restore its state afterwards."""

import traceback
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule
from torch.jit import ScriptModule
from torch.nn.parameter import is_lazy


@contextmanager
def evaluating(model: Callable[..., Any], *, warn: bool = True) -> Generator[None]:
    """Return a context in which `model` is in evaluation mode and gradients are disabled.

    On exit, even after an error, the context restores the mode of every submodule, the registered parameters,
    buffers and submodules, `requires_grad` and `.grad`, the values of buffers, and torch's random state.
    Parameters and submodules that the run added stay, because a module may build them in its first forward
    pass. A buffer that did not change is not written to, so a pending backward pass that saved it still
    works. The values of nested, sparse, quantized and packed buffers, which torch cannot compare, are not
    restored.
    Callables that are not modules, and exported programs, have no modes and run as they are. The first run of
    a lazy module initializes its parameters as usual.

    Args:
        warn: Whether to warn if a submodule is in training mode.

    Warns:
        UserWarning: If a submodule is in training mode.
    """
    modules = list(model.modules()) if isinstance(model, nn.Module) else []
    modes = [getattr(module, "training", None) for module in modules]  # frozen scripted modules have no mode
    # scripted modules keep their members in C++, so they cannot be replaced from here
    plain = [module for module in modules if not isinstance(module, ScriptModule)]
    buffer_registries = [m._buffers for m in plain]
    buffers_before = [dict(registry) for registry in buffer_registries]
    part_registries: Any = [registry for m in plain for registry in (m._parameters, m._modules)]
    parts_before = [dict(registry) for registry in part_registries]
    parameters = [p for m in modules for p in m._parameters.values() if p is not None and not is_lazy(p)]
    grads = [(p, p.requires_grad, p.grad) for p in parameters]
    buffers = [b for m in modules for b in m._buffers.values() if b is not None and not is_lazy(b)]
    values = [(buffer, value) for buffer in buffers if (value := _copy(buffer)) is not None]
    try:
        if isinstance(model, nn.Module) and any(modes):
            _set_evaluation_mode(model)
        if warn and any(mode and not module.training for module, mode in zip(modules, modes)):
            warnings.warn(
                f"{type(model).__name__} is in training mode; "
                "it is measured in evaluation mode, and its modes are restored",
                UserWarning,
                stacklevel=4,  # skip contextlib and point to the caller of the measuring function
            )
        with torch.no_grad(), torch.random.fork_rng(list_cuda_devices()):
            yield
    finally:
        for registry, members in zip(buffer_registries, buffers_before):
            registry.clear()
            registry.update(members)
        for registry, members in zip(part_registries, parts_before):
            added = {name: value for name, value in registry.items() if members.get(name) is None}
            registry.clear()
            registry.update({**members, **added})
        for parameter, requires_grad, grad in grads:
            if parameter.requires_grad != requires_grad:
                parameter.requires_grad_(requires_grad)
            if parameter.grad is not grad:
                parameter.grad = grad
        for module, mode in zip(modules, modes):
            if mode is None:
                vars(module).pop("training", None)
            else:
                module.training = mode
        for buffer, value in values:
            _restore(buffer, value)


def find_raising_module(model: nn.Module, error: BaseException) -> tuple[str, nn.Module]:
    """Return the name and the module of the innermost forward pass that raised `error`."""
    named = {id(module): (name, module) for name, module in model.named_modules()}
    callers = [id(frame.f_locals.get("self")) for frame, _ in traceback.walk_tb(error.__traceback__)]
    return next((named[caller] for caller in reversed(callers) if caller in named), ("", model))


def _set_evaluation_mode(model: nn.Module) -> None:
    try:
        model.eval()
    except NotImplementedError:  # exported programs raise it, also inside a model
        if not isinstance(model, GraphModule):
            for child in model.children():
                _set_evaluation_mode(child)


def _copy(buffer: Tensor) -> Tensor | None:
    """Return a copy of a buffer, or None if torch cannot copy it or compare the two."""
    try:
        value = buffer.detach().clone()
        torch.equal(buffer, value)
    except (RuntimeError, AttributeError):  # the latter is raised by jagged tensors
        return None
    return value


def _restore(buffer: Tensor, value: Tensor) -> None:
    """Restore a buffer through `.data`, which does not bump the version that a backward pass checks."""
    if buffer.shape == value.shape and torch.equal(buffer, value):
        return
    with torch.inference_mode(buffer.is_inference()):
        if buffer.shape == value.shape:
            buffer.data.copy_(value)
        else:
            buffer.data = value


def list_cuda_devices() -> list[int]:
    """Return the CUDA devices whose random state is restored."""
    return list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
