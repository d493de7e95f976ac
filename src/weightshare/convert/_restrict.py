"""Sharing more: the nearest layer, and how far it is."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from ..sharing import Sharing
from .layers import CONVOLUTIONS, OURS, check_module
from .models import planned, replaced
from .restrict_layer import restrict_layer


@dataclass(frozen=True)
class Restricted:
    """What `restrict` gives.

    Args:
        module: The new layer or model.
        error: Norm of the difference of the kernels over the taps that touch the input, relative to the norm
            of the old kernels; 0, to rounding, where nothing was lost. Of a model, its worst layer's.
        bias_error: The same for the biases of all output neurons.
        errors: Of a model, the error of every layer that was replaced, by name.
    """

    module: Any
    error: float
    bias_error: float
    errors: dict[str, float] = field(default_factory=dict)


def restrict(
    module: torch.nn.Module,
    plan: Sharing | Mapping[str, Sharing],
    *,
    bias_sharing: Sharing | None = None,
) -> Restricted:
    """Share more: the layer of another sharing whose kernels are nearest, in least squares.

        a b c d          a b a b          a a a a
        e f g h    ->    c d c d    ->    a a a a
         Local()         Tiled(2)          Full()

    Only taps that touch the input count: at zero padding a weight means nothing. A bank's tap is the mean
    over the bank's positions where it touches; where it touches at none, over all. For `LowRank` the kernels'
    deviations from their mean are cut to the rank by an SVD, with coefficients at every position or in sums
    of one function an axis as the sharing says; entries that touch nothing are filled in from the fit until
    it stops changing. A bias becomes the mean over the positions of its bank.

    `restrict(relax(layer, sharing), layer.sharing)` gives the kernels of `layer` back.

    Args:
        module: A layer of ours, plain or transposed, or a model; left as it is.
        plan: The new sharing; for a model, that of all our convolutions that it does not hold as they are, or
            a mapping from names in `model.named_modules()` to sharings.
        bias_sharing: Which positions share a bias; default as a new layer of this sharing has it.

    Raises:
        ConversionError: a torch convolution, which shares all it can; a convolution with hooks, a
            parametrization or a forward of its own, or with parameters that are not finite or on the meta
            device; in a model also one that is registered under two names or shares a parameter with another
            module; a module wrapped by `torch.compile`.
        ArgumentError: an argument that is missing or of no use.
        SharingError: a sharing that does not fit the number of positions.

    Example:
        >>> from weightshare import Full, Local, nn
        >>> layer = nn.Conv2d(3, 8, 3, sharing=Local(), input_size=6)
        >>> result = restrict(layer, Full())
        >>> result.module.weight.shape, 0 < result.error < 1
        (torch.Size([8, 3, 3, 3]), True)
    """
    check_module("restrict", module)
    if isinstance(module, CONVOLUTIONS):
        return Restricted(*restrict_layer(module, plan, bias_sharing))
    return _restrict_model(module, plan, bias_sharing)


def _restrict_model(model: torch.nn.Module, plan: Any, bias_sharing: Sharing | None) -> Restricted:
    chosen = planned("restrict", model, plan, leaves_alone=_holds)
    errors, bias_errors = {}, []

    def make(name: str, layer: torch.nn.Module) -> torch.nn.Module:
        new, errors[name], bias_error = restrict_layer(layer, chosen[name], bias_sharing)
        bias_errors.append(bias_error)
        return new

    new = replaced("restrict", model, chosen, make)
    return Restricted(new, max(errors.values()), max(bias_errors), errors)


def _holds(sharing: Sharing, layer: Any) -> bool:
    """Whether a plan for the whole model passes over this convolution: it loses nothing by what it has."""
    size = layer.position_size if isinstance(layer, OURS) else None
    return size is None or sharing.refines(layer.sharing, size)
