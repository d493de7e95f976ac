"""Sharing less: the same function, with more weights of its own."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from .._args import Size
from ..errors import ArgumentError
from ..sharing import Sharing
from .layers import CONVOLUTIONS, OURS, check_module
from .models import check_used, input_sizes, planned, replaced
from .relax_layer import relax_layer


def relax(
    module: torch.nn.Module,
    plan: Sharing | Mapping[str, Sharing],
    *example_inputs: Any,
    input_size: Size | None = None,
    bias_sharing: Sharing | None = None,
) -> Any:
    """Share less: a new layer or model that computes the same, free to become different at every position.

        a a a a          a b a b          a b c d
        a a a a    ->    c d c d    ->    e f g h
         Full()          Tiled(2)         Local()

    The kernel of every position is the same bit for bit (to rounding where one side is `LowRank`); so are
    dtype, device, `requires_grad` and the training flag. The module given is left as it is.

    A convolution of torch's or ours gives a layer. Of any other module, one forward pass of a copy in
    evaluation mode, on `example_inputs`, finds the size of every chosen convolution's input; the result is a
    copy with these convolutions replaced and all else as it was. A second pass, of a copy of the result,
    checks that it calls the new layers.

    Args:
        module: A convolution, plain or transposed, or a model.
        plan: The new sharing, which must refine the old one; for a model, that of all its convolutions that
            it refines, or a mapping from names in `model.named_modules()` to sharings.
        example_inputs: What the model is called with; for models alone.
        input_size: Spatial size of the input; for layers alone, where the layer itself does not know it.
        bias_sharing: Which positions share a bias; default as a new layer of this sharing has it, or the old
            one's where that would not hold its biases.

    A `LowRank` layer made of a layer with one kernel has that kernel, corrections of zero, and coefficients
    drawn as from scratch: every correction has a gradient at once.

    Raises:
        ConversionError: a sharing that does not refine the old one; a convolution with hooks, a
            parametrization or a forward of its own; in a model also one that is called never or more than
            once, is registered under two names, is also held in a plain list or the like, or shares a
            parameter with another module; a model that fails on `example_inputs`; a module wrapped by
            `torch.compile`.
        ArgumentError: an argument that is missing or of no use.
        SharingError: a sharing that does not fit the number of positions.

    Example:
        >>> from weightshare import Local
        >>> layer = relax(torch.nn.Conv2d(3, 8, 3), Local(), input_size=6)
        >>> layer.weight.shape
        torch.Size([16, 3, 3, 3, 8])
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.Conv2d(4, 4, 3))
        >>> relax(model, {"2": Local()}, torch.zeros(1, 1, 8, 8))[2].sharing
        Local()

    Source: d'Ascoli, Sagun, Biroli and Bruna, "Finding the needle in the haystack with convolutions: on the
    benefits of architectural bias", NeurIPS 2019, for the same step from a convolution to a dense layer.
    """
    check_module("relax", module)
    if not isinstance(module, CONVOLUTIONS):
        if input_size is not None:
            got, hint = f"input_size={input_size!r}", "give example inputs instead of input_size"
            raise ArgumentError("relax", "a model's layers get their sizes from a forward pass", got, hint)
        return _relax_model(module, plan, example_inputs, bias_sharing)
    if example_inputs:
        hint = "give input_size=, the input's spatial size"
        raise ArgumentError("relax", "a single layer takes no example inputs", str(len(example_inputs)), hint)
    return relax_layer(module, plan, input_size, bias_sharing)


def _relax_model(model: torch.nn.Module, plan: Any, example_inputs: Sequence[Any], bias_sharing: Any) -> Any:
    chosen = planned("relax", model, plan, leaves_alone=_cannot_refine)
    sizes = input_sizes("relax", model, chosen, example_inputs)

    def make(name: str, layer: torch.nn.Module) -> torch.nn.Module:
        return relax_layer(layer, chosen[name], sizes[name], bias_sharing)

    result = replaced("relax", model, chosen, make)
    check_used("relax", result, chosen, example_inputs)
    return result


def _cannot_refine(sharing: Sharing, layer: Any) -> bool:
    """Whether a plan for the whole model passes over this convolution."""
    size = layer.position_size if isinstance(layer, OURS) else None
    return size is not None and not sharing.refines(layer.sharing, size)
