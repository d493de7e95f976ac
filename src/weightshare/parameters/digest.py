"""Digests of models, by which stored results are recognized."""

import hashlib

import torch
from torch import Tensor, nn


def digest_model(model: nn.Module) -> str:
    """Return a digest of the modules, parameters and buffers of a model, in 16 hex digits."""
    parameters = [(name, parameter.requires_grad) for name, parameter in model.named_parameters()]
    state = hashlib.blake2b(repr((str(model), parameters)).encode(), digest_size=8)
    for name, tensor in model.state_dict().items():
        if isinstance(tensor, Tensor):
            # `repr`, because names can contain lone surrogates
            state.update(repr((name, tensor.dtype, tuple(tensor.shape))).encode())
            state.update(to_bytes(tensor))
    return state.hexdigest()


def to_bytes(tensor: Tensor) -> bytes:
    """Return the values of a tensor."""
    return tensor.detach().to_dense().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
