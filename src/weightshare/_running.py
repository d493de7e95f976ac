"""Run a model to observe it, and leave it as it was."""

import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule
from torch.jit import ScriptModule
from torch.nn.parameter import is_lazy


@contextmanager
def evaluating(model: Callable[..., Any], *, warn: bool = True) -> Iterator[None]:
    """Run `model` in evaluation mode and without gradients inside the context, then restore it.

    Restored, also after an error: the mode of every submodule; which parameters, buffers and submodules are
    registered; `requires_grad` and `.grad`; the values of buffers; and torch's random state. A buffer that
    did not change is not written to, so a pending backward pass that saved it still works. A callable that is
    not an `nn.Module`, and an exported program, which has no modes, run as they are. The first run of a lazy
    module initializes its parameters as usual.

    Args:
        warn: Whether to warn if a submodule is in training mode.

    Warns:
        UserWarning: a submodule is in training mode.
    """
    modules = list(model.modules()) if isinstance(model, nn.Module) else []
    modes = [module.training for module in modules]
    plain = [
        module for module in modules if not isinstance(module, ScriptModule)
    ]  # scripted ones keep their own
    registered: Any = [held for m in plain for held in (m._parameters, m._buffers, m._modules)]
    before = [dict(held) for held in registered]
    parameters = [p for m in modules for p in m._parameters.values() if p is not None and not is_lazy(p)]
    grads = [(p, p.requires_grad, p.grad) for p in parameters]
    buffers = [b for m in modules for b in m._buffers.values() if b is not None and not is_lazy(b)]
    values = [(buffer, buffer.detach().clone()) for buffer in buffers]
    try:
        if isinstance(model, nn.Module) and any(modes):
            _set_evaluation_mode(model)
        if warn and any(module.training != mode for module, mode in zip(modules, modes)):
            warnings.warn(
                f"{type(model).__name__} is in training mode: "
                "measured in evaluation mode, its modes are restored",
                UserWarning,
                stacklevel=4,  # past contextlib, to the caller of the measuring function
            )
        with torch.no_grad(), torch.random.fork_rng(_cuda_devices()):
            yield
    finally:
        for held, own in zip(registered, before):
            held.clear()
            held.update(own)
        for parameter, requires_grad, grad in grads:
            if parameter.requires_grad != requires_grad:
                parameter.requires_grad_(requires_grad)
            if parameter.grad is not grad:
                parameter.grad = grad
        for module, mode in zip(modules, modes):
            module.training = mode
        for buffer, kept in values:
            _restore(buffer, kept)


def find_raising_module(model: nn.Module, error: BaseException) -> tuple[str, nn.Module]:
    """Return the name and the module of the innermost forward pass that raised `error`."""
    named = {id(module): (name, module) for name, module in model.named_modules()}
    owners = [id(frame.f_locals.get("self")) for frame, _ in traceback.walk_tb(error.__traceback__)]
    return next((named[owner] for owner in reversed(owners) if owner in named), ("", model))


def _set_evaluation_mode(model: nn.Module) -> None:
    try:
        model.eval()
    except NotImplementedError:  # raised by an exported program, or by one inside the model
        if not isinstance(model, GraphModule):
            for child in model.children():
                _set_evaluation_mode(child)


def _restore(buffer: Tensor, values: Tensor) -> None:
    """Restore a buffer through `.data`, which does not bump the version that a backward pass checks."""
    if buffer.is_meta or (buffer.shape == values.shape and torch.equal(buffer, values)):
        return
    with torch.inference_mode(buffer.is_inference()):
        if buffer.shape == values.shape:
            buffer.data.copy_(values)
        else:
            buffer.data = values


def _cuda_devices() -> list[int]:
    """Return the CUDA devices whose random state is restored."""
    return list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
