"""Running a model to measure it, and leaving it as it was."""

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
def evaluating(model: Callable[..., Any]) -> Iterator[None]:
    """Inside, `model` runs in evaluation mode and without gradients; afterwards it is as it was.

    What is put back, also after an error: the mode of every submodule, the buffers, and the state of torch's
    random generators. A buffer that did not change is not written to, so a backward pass that waits for it
    goes on. A callable that is no `nn.Module` runs as it is, and so does an exported program, which has no
    modes; a lazy module gets its shapes by its first run, as always.

    Warns:
        UserWarning: a submodule is in training mode.
    """
    modules = list(model.modules()) if isinstance(model, nn.Module) else []
    modes = [module.training for module in modules]
    buffers = [dict(module._buffers) for module in modules]
    kept = [(b, b.clone()) for held in buffers for b in held.values() if b is not None and not is_lazy(b)]
    try:
        if isinstance(model, nn.Module) and any(modes):
            _to_evaluation(model)
        if any(module.training != mode for module, mode in zip(modules, modes)):
            name = type(model).__name__
            warnings.warn(
                f"{name} is in training mode: measured in evaluation mode, its modes are restored",
                UserWarning,
                stacklevel=4,  # past contextlib, to who called the measuring function
            )
        with torch.no_grad(), torch.random.fork_rng(_devices()):
            yield
    finally:
        for module, mode, held in zip(modules, modes, buffers):
            module.training = mode
            if not isinstance(module, ScriptModule):
                module._buffers.clear()  # a scripted module keeps its own
                module._buffers.update(held)
        for buffer, values in kept:
            _put_back(buffer, values)


def _to_evaluation(model: nn.Module) -> None:
    try:
        model.eval()
    except NotImplementedError:  # of an exported program, or one inside
        if not isinstance(model, GraphModule):
            for child in model.children():
                _to_evaluation(child)


def _put_back(buffer: Tensor, values: Tensor) -> None:
    """By `.data`, which leaves the count of writes that a backward pass looks at."""
    if buffer.is_meta or (buffer.shape == values.shape and torch.equal(buffer, values)):
        return
    with torch.inference_mode(buffer.is_inference()):
        if buffer.shape == values.shape:
            buffer.data.copy_(values)
        else:
            buffer.data = values


def _devices() -> list[int]:
    """The CUDA devices whose generators are put back."""
    return list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
