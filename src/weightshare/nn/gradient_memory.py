"""Reuse the memory of large gradients, on request."""

from torch import nn

from ..backends import gradient_memory
from ..errors import ArgumentError
from ..parameters.modules import check_module
from ..sharing import Local
from .base import SharedLayer


def reuse_gradient_memory(model: nn.Module, reuse: bool = True) -> None:
    """Let unshared layers write the gradient of their weight to the same memory in every training step.

    The weight of an unshared layer can be very large. Usually, its gradient is written to new memory in each
    step, and on a CPU it takes about as long to get this memory from the operating system as to compute the
    gradient. After this call, the memory stays allocated when `zero_grad` removes the gradient, and the next
    gradient is written to it. The largest amount of memory during training is the same; between steps, the
    memory of the gradients is not available to others.

    The memory is used again only if no tensor refers to it, so gradients that you keep are not overwritten.
    It belongs to the parameters of the layers: it is freed with them, and copies of the model do not use it.
    The call affects the native backend for plain parameters of at least 1 MB. It affects neither compiled
    models nor weights that are computed from others, for example by weight norm.

    Args:
        model: Model with unshared layers. Its other layers are not affected.
        reuse: False frees the memory that no gradient uses and restores the usual behavior.

    Raises:
        ArgumentError: If the model is not a module or has no unshared layer, or if `reuse` is not a bool.

    Example:
        >>> import torch
        >>> import weightshare as ws
        >>> model = ws.nn.LocallyConnected2d(16, 16, 3, input_size=32)
        >>> ws.reuse_gradient_memory(model)
        >>> for _ in range(2):
        ...     model.zero_grad()
        ...     model(torch.ones(4, 16, 32, 32)).sum().backward()
    """
    check_module("reuse_gradient_memory", model)
    if not isinstance(reuse, bool):
        raise ArgumentError("reuse_gradient_memory", "reuse must be True or False", repr(reuse))
    layers = [m for m in model.modules() if isinstance(m, SharedLayer) and m.sharing == Local()]
    if not layers:
        expected = "model must contain a layer with sharing=Local()"
        raise ArgumentError("reuse_gradient_memory", expected, type(model).__name__)
    for layer in layers:
        if reuse:
            gradient_memory.keep(layer.weight)
        else:
            gradient_memory.release(layer.weight)
