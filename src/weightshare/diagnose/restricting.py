"""Layers with several kernels: whether they can be restricted to one, and how their kernels differ."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..convert import restrict
from ..convert.kernels import find_inputs, gather_kernels
from ..errors import ConversionError, WeightshareError
from ..nn.base import SharedLayer
from ..sharing import Full
from .deviations import VALUES


@dataclass(frozen=True)
class Restriction:
    """What one shared kernel would change in a layer.

    Args:
        map: Norm of the difference of the kernel at each position from the shared one [*size], without taps
            on padding.
        spectrum: Largest singular values of these differences.
        parameters: Number of parameters of the layer.
        extra_parameters: Number of parameters that sharing adds; it is negative.
    """

    map: Tensor
    spectrum: tuple[float, ...]
    parameters: int
    extra_parameters: int


def has_several_kernels(layer: nn.Module) -> bool:
    """Return whether a layer is a convolution with a sharing other than `Full`."""
    return isinstance(layer, SharedLayer) and layer.sharing != Full()


@torch.no_grad()
def examine_restriction(where: str, model: nn.Module, name: str) -> Restriction:
    """Return what restricting a layer to one kernel would change.

    Raises:
        ConversionError: If the layer cannot be restricted, is frozen or has one kernel.
    """
    layer: Any = model.get_submodule(name)
    try:
        restricted: Any = restrict(model, {name: Full()}).module.get_submodule(name)
    except WeightshareError as error:
        raise ConversionError(where, error.expected, error.got) from error
    if not layer.weight.requires_grad:
        raise ConversionError(where, "the weight of the layer must require gradients", "a frozen weight")
    size = layer.position_size
    if layer.sharing.banks(size) == 1:
        raise ConversionError(where, "the layer must have several kernels", "one")
    is_used = (find_inputs(layer) >= 0).to(layer.weight.device)
    kernels = gather_kernels(layer, size).double() - restricted.kernels().double()
    differences = (kernels.flatten(3) * is_used[:, None, None]).flatten(1)
    values = torch.svd_lowrank(differences, q=min(2 * VALUES, *differences.shape), niter=4)[1]
    counts = [sum(p.numel() for p in one.parameters()) for one in (layer, restricted)]
    return Restriction(
        differences.norm(dim=1).unflatten(0, tuple(size)),
        tuple(values[:VALUES].tolist()),
        counts[0],
        counts[1] - counts[0],
    )
