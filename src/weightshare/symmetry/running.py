"""Running a model to measure it, and leaving it as it was."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


@contextmanager
def evaluating(model: Callable[..., Any]) -> Iterator[None]:
    """Inside, `model` runs in evaluation mode and without gradients; afterwards it is as it was.

    What is put back, also after an error: the mode of every submodule, the buffers, and the state of torch's
    random generators. A callable that is no `nn.Module` runs as it is.

    Warns:
        UserWarning: a submodule is in training mode.
    """
    modules = list(model.modules()) if isinstance(model, nn.Module) else []
    modes = [module.training for module in modules]
    buffers = [
        (m._buffers, name, b, b.clone()) for m in modules for name, b in m._buffers.items() if b is not None
    ]
    if any(modes):
        name = type(model).__name__
        warnings.warn(
            f"{name} is in training mode: measured in evaluation mode, its modes are restored",
            UserWarning,
            stacklevel=4,  # past contextlib, to who called the measuring function
        )
        model.eval()  # type: ignore[attr-defined]
    try:
        with torch.no_grad(), torch.random.fork_rng(_devices()):
            yield
    finally:
        for module, mode in zip(modules, modes):
            module.training = mode
        with torch.no_grad():
            for holder, name, buffer, values in buffers:
                buffer.copy_(values)
                holder[name] = buffer


def _devices() -> list[int]:
    """The CUDA devices whose generators are put back."""
    return list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
