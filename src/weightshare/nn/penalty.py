"""A penalty that pulls the kernels of a layer towards each other."""

from collections import Counter
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import Module

from .._args import check_amount
from ..parameters.modules import check_module
from ..sharing import Full, Local, LowRank, Sharing
from .base import SharedLayer


def sharing_penalty(model: Module, p: float = 1) -> Tensor:
    """Return a penalty on the differences between the kernels of each layer, to add to a loss.

    The penalty of a layer is the mean over its positions i of |W[i] - mean W|^p, where W[i] is the kernel at
    position i and |.| the Euclidean norm over all of its weights. With `p=1` (a group lasso), a strong
    penalty makes whole kernels equal. With `p=2`, it shrinks all distances by the same factor. A bias with
    several values per channel is penalized in the same way. Kernels and biases with `Full` sharing have
    penalty 0.

    Multiply the penalty by a strength: 0 leaves the model free, and larger values pull each layer towards a
    convolution. When its kernels are nearly equal, `restrict` can replace them by a single one.

    Args:
        model: Any model. The result is the sum over its `weightshare` convolutions; other modules have no
            penalty.
        p: Exponent, at least 1.

    Returns:
        A scalar tensor, differentiable with respect to the weights and the coefficients of `LowRank`; 0 if
        every kernel and bias is fully shared. Weights in half precision give a penalty in float32.

    Raises:
        ArgumentError: If the model is not a module or has uninitialized parameters, or if `p` is not a number
            of at least 1.

    Example:
        >>> import torch
        >>> import weightshare as ws
        >>> conv = ws.nn.Conv2d(3, 8, 3)
        >>> local = ws.relax(conv, ws.Local(), input_size=10)
        >>> print(f"{ws.sharing_penalty(local).item():.3f}")
        0.000
        >>> local = ws.nn.LocallyConnected2d(3, 8, 3, input_size=10)
        >>> loss = local(torch.randn(4, 3, 10, 10)).square().mean() + 0.1 * ws.sharing_penalty(local)
        >>> loss.backward()

    Source: group lasso after Yuan and Lin, "Model selection and estimation in regression with grouped
        variables", J. R. Statist. Soc. B 2006, section 2.
    """
    check_module("sharing_penalty", model)
    check_amount("sharing_penalty", "p", p, least=1)
    layers = [module for module in model.modules() if isinstance(module, SharedLayer)]
    terms = [term for layer in layers for term in _list_terms(layer, p)]
    if terms:
        return torch.stack([term.to(terms[0].device) for term in terms]).sum()
    first = next(model.parameters(), None)
    return torch.zeros((), device=None if first is None else first.device)


def _list_terms(layer: SharedLayer, p: float) -> list[Tensor]:
    """Return the penalties of the kernels and of the bias of a layer; none for those that are shared."""
    terms: list[Tensor] = []
    if layer.position_size is not None and layer.sharing != Full():
        if isinstance(layer.sharing, LowRank):
            terms.append(_penalize_low_rank(layer, p))
        else:
            terms.append(_penalize(layer.weight, layer.sharing, layer.position_size, p))
    if layer.bias is not None and layer.output_size is not None and layer.bias_sharing != Full():
        terms.append(_penalize(layer.bias, layer.bias_sharing, layer.output_size, p))
    return terms


def _penalize(banks: Tensor, sharing: Sharing, size: tuple[int, ...], p: float) -> Tensor:
    """Return the penalty of banks [K, ...], of which each position uses one."""
    values = _widen(banks).flatten(1)
    if sharing == Local():
        return torch.linalg.vector_norm(values - values.mean(0), dim=1).pow(p).mean()
    shares = torch.tensor(_count_shares(sharing, size), dtype=values.dtype, device=values.device)
    return shares @ torch.linalg.vector_norm(values - shares @ values, dim=1).pow(p)


@lru_cache(maxsize=64)
def _count_shares(sharing: Sharing, size: tuple[int, ...]) -> list[float]:
    """Return which part of the positions uses each bank."""
    labels = sharing.labels(size)
    counts = Counter(labels)
    return [counts[bank] / len(labels) for bank in range(sharing.banks(size))]


def _penalize_low_rank(layer: SharedLayer, p: float) -> Tensor:
    """Return the penalty of kernels that are not computed: distances follow from products of the banks."""
    corrections = _widen(layer.kernels()[1:]).flatten(1)
    coefficients = layer.assignment()[:, 1:].to(corrections.dtype)
    deviations = coefficients - coefficients.mean(0)
    squares = (deviations @ (corrections @ corrections.T) * deviations).sum(1)
    positive = squares > 0  # the root has no gradient at 0
    return torch.where(positive, squares, 1).pow(p / 2).where(positive, 0).mean()


def _widen(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.element_size() < 4 else tensor
