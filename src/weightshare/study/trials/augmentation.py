"""Random shifts of training inputs."""

import torch
from torch import Tensor

from ..data import Examples, pad_inputs


def shift_at_random(
    pair: tuple[Tensor, Tensor], most: int, examples: Examples, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Shift every input, and its targets at positions, by up to `most` steps along each axis.

    Args:
        pair: Inputs [N, C, *size] and targets.
        most: Largest shift; all shifts from `-most` to `most` are equally likely.
        examples: The data, for what fills the gaps.
        generator: Source of the shifts, on the CPU.
    """
    inputs, targets = pair
    ndim = inputs.dim() - 2
    starts = torch.randint(2 * most + 1, (ndim, len(inputs)), generator=generator).to(inputs.device)
    moved = _crop(pad_inputs(inputs, [(most, most)] * ndim, examples.fill), starts, inputs.shape[2:])
    if not examples.task.is_dense:
        return moved, targets
    channels = targets[:, None] if examples.task.has_classes else targets
    padded = pad_inputs(channels, [(most, most)] * ndim, examples.make_unknown(channels))
    cropped = _crop(padded, starts, inputs.shape[2:])
    return moved, cropped[:, 0] if examples.task.has_classes else cropped


def _crop(padded: Tensor, starts: Tensor, size: torch.Size) -> Tensor:
    """Return a part of this size of each input, which begins at its own place."""
    for axis, length in enumerate(size):
        index = starts[axis, :, None] + torch.arange(length, device=padded.device)
        shape = [len(padded)] + [1] * (padded.dim() - 1)
        shape[2 + axis] = length
        padded = padded.take_along_dim(index.view(shape), dim=2 + axis)
    return padded
