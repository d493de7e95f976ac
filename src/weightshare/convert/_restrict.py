"""Restrict a layer or model: more weight sharing, nearest kernels, with the error."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from ..errors import ArgumentError
from ..nn.base import SharedLayer
from ..sharing import Full, Sharing
from .convolutions import CONVOLUTIONS, check_module
from .models import replace_modules, resolve_plan
from .restrict_layer import restrict_layer
from .suggestion import Suggestion
from .ties import check_reads_nothing


@dataclass(frozen=True)
class Restricted:
    """A frozen record of the result of `restrict`.

    Args:
        module: New layer or model.
        error: Norm of the difference of the kernels relative to the norm of the original kernels, over the
            taps that touch the input; 0, up to rounding, if nothing was lost. For a model, the largest error
            of its layers.
        bias_error: The same for the biases of all output neurons.
        errors: For a model, the error of each replaced layer by name.
    """

    module: Any
    error: float
    bias_error: float
    errors: dict[str, float] = field(default_factory=dict)


def restrict(
    module: torch.nn.Module,
    plan: Sharing | Mapping[str, Sharing] | Suggestion,
    *,
    bias_sharing: Sharing | None = None,
) -> Restricted:
    """Return the layer or model with another sharing whose kernels are nearest in the least-squares sense.

        a b c d          a b a b          a a a a
        e f g h    ->    c d c d    ->    a a a a
         Local()         Tiled(2)          Full()

    Only taps that touch the input count, because weights at zero padding have no effect. Each tap of a
    bank is the mean of that tap over the bank's positions. Positions where the tap does not touch the
    input are left out, unless it touches the input at none of them. For `LowRank`, the deviations of the
    kernels from their mean are approximated by a truncated SVD, with "free" or "factorized" coefficients.
    If some taps touch no input, a quasi-Newton method finds the nearest approximation of the others, a
    local minimum. Each new bias is the mean of the old biases at the positions that share it.

    In a model, layers with tied kernels or biases, such as a convolution and its
    `weightshare.nn.TiedConvTranspose2d`, stay tied if the plan gives them the same sharing and both have
    the same taps on padding. A model that reads the weight of a convolution directly, as in
    `F.conv_transpose2d(x, self.conv.weight)`, is not detected, because no forward pass runs.

    `restrict(relax(layer, sharing), layer.sharing)` reproduces the kernels of `layer`.

    Args:
        module: A convolution or transposed convolution of `weightshare.nn`, or a model; it is not changed.
        plan: New sharing. For a model, either one sharing for all `weightshare` convolutions that it cannot
            express exactly, a mapping from names in `model.named_modules()` to sharings, or the result of
            `sharing_test`, which restricts the layers with the verdict "share" to `Full()`.
        bias_sharing: New sharing of the bias; by default that of a new layer with this sharing.

    Raises:
        ConversionError: If the layer is a `torch.nn` convolution, which is already fully shared, if a
            convolution has hooks, a parametrization, a custom forward, or parameters that are not finite or
            are on the meta device, or if the module is wrapped by `torch.compile`. For a layer, also if it
            reads a parameter of another module. For a model, also if something else in the model uses the
            parameters of a convolution and cannot be converted with it.
        ArgumentError: If an argument is missing, or does not apply to the module.
        SharingError: If the sharing does not fit the number of positions.

    Example:
        >>> from weightshare import Full, Local, nn
        >>> layer = nn.Conv2d(3, 8, 3, sharing=Local(), input_size=6)
        >>> result = restrict(layer, Full())
        >>> result.module.weight.shape, 0 < result.error < 1
        (torch.Size([8, 3, 3, 3]), True)
    """
    check_module("restrict", module)
    if isinstance(module, CONVOLUTIONS):
        check_reads_nothing("restrict", module)
        if isinstance(plan, Suggestion):
            raise ArgumentError("restrict", "the plan for a layer must be a sharing", type(plan).__name__)
        return Restricted(*restrict_layer(module, plan, bias_sharing))
    if isinstance(plan, Suggestion):
        plan = {name: sharing for name, sharing in plan.plan.items() if sharing == Full()}
    return _restrict_model(module, plan, bias_sharing)


def _restrict_model(
    model: torch.nn.Module, plan: Sharing | Mapping[str, Sharing], bias_sharing: Sharing | None
) -> Restricted:
    resolved = resolve_plan("restrict", model, plan, is_skipped=_can_express)
    errors: dict[str, float] = {}
    bias_errors: list[float] = []

    def make(name: str, layer: torch.nn.Module) -> torch.nn.Module:
        new, errors[name], bias_error = restrict_layer(layer, resolved.sharings[name], bias_sharing)
        bias_errors.append(bias_error)
        return new

    new = replace_modules("restrict", model, resolved, make, same_taps=True)
    return Restricted(new, max(errors.values()), max(bias_errors), errors)


def _can_express(sharing: Sharing, layer: torch.nn.Module) -> bool:
    """Return whether the sharing can express the layer as it is."""
    if not isinstance(layer, SharedLayer) or layer.position_size is None:
        return True  # fully shared
    return sharing.refines(layer.sharing, layer.position_size)
