"""Remove a cause from a network by hand, to compare with the interventions of a trace."""

import copy
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor, nn

#: Filter of blur pooling with four taps, by distance from the position that is kept (Zhang 2019).
BLUR = {-1: 1 / 8, 0: 3 / 8, 1: 3 / 8, 2: 1 / 8}


def wrap(x: Tensor, widths: Sequence[tuple[int, int]]) -> Tensor:
    """Continue a map [N, C, *spatial] with elements from its opposite ends (low and high, for each axis)."""
    for dim, (low, high) in enumerate(widths, start=2):
        n = x.shape[dim]
        x = x.index_select(dim, torch.arange(-low, n + high) % n)
    return x


def pad_circularly(x: Tensor, pad: Sequence[int], mode: str = "constant", value: float = 0.0) -> Tensor:
    """Replace `torch.nn.functional.pad`."""
    pairs = [*zip(pad[::2], pad[1::2])][::-1]
    return wrap(x, [(0, 0)] * (x.dim() - 2 - len(pairs)) + pairs)


@contextmanager
def without_padding(model: nn.Module) -> Generator[nn.Module]:
    """Return a copy that pads circularly, in convolutions, max pools and calls of `pad`."""
    model = copy.deepcopy(model)
    for module in model.modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.ConvTranspose2d | nn.MaxPool2d):
            padding: Any = module.padding
            sizes = padding if isinstance(padding, tuple) else (padding, padding)
            if isinstance(module, nn.ConvTranspose2d):  # the outputs of one more input at each end are cut
                module.padding = tuple(p + s for p, s in zip(sizes, module.stride))
                sizes = (1, 1)
            else:
                module.padding = 0 if isinstance(module, nn.MaxPool2d) else (0,) * len(sizes)
            widths = [(p, p) for p in sizes]
            module.register_forward_pre_hook(lambda _, args, widths=widths: (wrap(args[0], widths),))
    with mock.patch.object(F, "pad", pad_circularly):
        yield model


@contextmanager
def without_position_embedding(model: nn.Module) -> Generator[nn.Module]:
    """Return a copy of a ViT whose patches have the same position embedding, the mean of all."""
    model = copy.deepcopy(model)
    with torch.no_grad():
        embeddings = next(p for name, p in model.named_parameters() if name.endswith("position_embeddings"))
        embeddings[:, 1:] = embeddings[:, 1:].mean(1, keepdim=True)
    yield model


@contextmanager
def without_mask(model: nn.Module) -> Generator[nn.Module]:
    """Return a copy of a Swin transformer whose shifted windows have no mask."""
    model = copy.deepcopy(model)
    for module in model.modules():
        if hasattr(module, "get_attn_mask"):
            module.get_attn_mask = lambda *_, **__: None
    yield model


@contextmanager
def without_strides(model: nn.Module) -> Generator[nn.Module]:
    """Return a copy of a network with circular padding, with blur pooling after layers of stride 1.

    Its strides must be those of max pools and convolutions without padding.
    """
    model = copy.deepcopy(model)
    for module in model.modules():
        if isinstance(module, nn.MaxPool2d | nn.Conv2d):
            (kernel, _), (stride, _) = (n if isinstance(n, tuple) else (n, n) for n in _get_window(module))
            if stride > 1:
                module.stride = (1, 1)
                widths = [(0, kernel - 1)] * 2
                module.register_forward_pre_hook(lambda _, args, widths=widths: (wrap(args[0], widths),))
                module.register_forward_hook(lambda _, __, output, stride=stride: blur(output, stride))
    yield model


def _get_window(module: nn.MaxPool2d | nn.Conv2d) -> tuple[Any, Any]:
    return module.kernel_size, module.stride


def blur(x: Tensor, stride: int) -> Tensor:
    """Blur a map on the circle, and keep the positions of a stride."""
    for dim in (2, 3):
        x = torch.stack([weight * x.roll(-k, dim) for k, weight in BLUR.items()]).sum(0)
    return x[:, :, ::stride, ::stride]


#: Ways to remove a cause.
REMOVE = {
    "padding": without_padding,
    "position embedding": without_position_embedding,
    "mask": without_mask,
    "down-sampling": without_strides,
}
