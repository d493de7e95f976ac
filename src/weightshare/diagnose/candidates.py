"""The candidates that are trained: the model, the model with one layer or tie changed, and controls.

Each candidate computes the function of the model until it is trained, except for "restrict", which starts
from the least-squares approximation with one kernel.
"""

import copy
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import register_parametrization

from .. import nn as layers
from ..convert import relax, restrict
from ..convert.convolutions import as_shared, get_arguments, get_class_name
from ..sharing import LowRank, Sharing

#: "start" and "continue" are the model as it is, before and after it is trained further. "relax" has a layer
#: that shares less, "restrict" has a layer that shares more, and "untie" has a copy of a tied parameter for
#: each use. Of the controls, "blind" has as many weights that act the same at all positions or uses, and
#: "wide" has additional channels.
Kind = Literal["start", "continue", "relax", "restrict", "untie", "blind", "wide"]


def build_candidate(
    model: nn.Module, kind: Kind, layer: str, sharing: Sharing | None, example: Tensor
) -> nn.Module:
    """Return a copy of the model that is ready to be trained as this candidate.

    Args:
        model: The trained model.
        kind: Kind of the candidate.
        layer: Name of the layer that is changed; ignored for "start" and "continue".
        sharing: New sharing of the layer, or the one whose number of weights a control has; None for
            "start" and "continue".
        example: Input of the model [N, ...].
    """
    if kind == "relax" and sharing is not None:
        return relax(model, {layer: sharing}, example)
    if kind == "restrict" and sharing is not None:
        return restrict(model, {layer: sharing}).module
    result = copy.deepcopy(model)
    if isinstance(sharing, LowRank):
        convolution: Any = result.get_submodule(layer)
        if kind == "blind":
            corrections = BlindCorrections(convolution.weight, sharing.rank)
            register_parametrization(convolution, "weight", corrections)
        else:
            convolution.add_module("branch", _make_branch(convolution, sharing.rank))
            convolution.register_forward_hook(_add_branch, with_kwargs=True)
    return result


class BlindCorrections(nn.Module):
    """A weight with the corrections of `LowRank`, with the same coefficients at all positions or uses."""

    def __init__(self, weight: Tensor, rank: int):
        super().__init__()
        self.corrections = nn.Parameter(weight.new_zeros(rank, *weight.shape))
        self.coefficients = nn.Parameter(torch.randn(rank, device="cpu").to(weight))

    def forward(self, weight: Tensor) -> Tensor:
        return weight + torch.tensordot(self.coefficients, self.corrections, 1)


def _make_branch(convolution: nn.Module, rank: int) -> nn.Module:
    """Return a layer of hidden channels next to a convolution, with about as many weights as corrections.

    Its output is zero until it is trained.
    """
    layer = as_shared(convolution)
    weight = layer.weight
    per_channel = layer.in_channels * weight[0, 0].numel() + layer.out_channels
    hidden = max(1, round(rank * weight.numel() / per_channel))
    kind, arguments = get_class_name(layer), get_arguments(layer)
    arguments |= {"out_channels": hidden, "groups": 1, "device": weight.device, "dtype": weight.dtype}
    ndim = len(layer.kernel_size)
    last = getattr(nn, f"Conv{ndim}d")(
        hidden, layer.out_channels, 1, bias=False, device=weight.device, dtype=weight.dtype
    )
    nn.init.zeros_(last.weight)
    return nn.Sequential(getattr(layers, kind)(**arguments), nn.ReLU(), last)


def _add_branch(convolution: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> Tensor:
    return output + convolution.branch(args[0] if args else kwargs["input"])
