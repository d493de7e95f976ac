"""Parameter groups for an optimizer: weight decay for kernels only."""

import math
from typing import Any

from torch import Tensor, nn
from torch.nn import Module
from torch.nn.modules.conv import _ConvNd as TorchConvolution
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrize

from .._torch import BatchNormBase
from ..errors import ArgumentError
from ..parameters.modules import check_module
from .base import SharedLayer

_SCALES = (BatchNormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.PReLU)
_EMBEDDINGS = (nn.Embedding, nn.EmbeddingBag)
_PRODUCTS = (
    nn.Linear,
    nn.Bilinear,
    TorchConvolution,
    nn.RNNBase,
    nn.RNNCellBase,
    nn.MultiheadAttention,
)
#: Suffixes that pruning and the older norms of torch append to the name of the tensor that they compute.
_SUFFIXES = ("_orig", "_g", "_v")


def param_groups(model: Module, weight_decay: float) -> list[dict[str, Any]]:
    """Divide the trainable parameters of a model into those with weight decay and those without.

    Weight decay suits the parameters that are multiplied by inputs, the kernels. A rule based on the number
    of axes finds them in `torch.nn`, but not here: the weight of a `SharedLinear` has one axis, and biases
    with one value per position have several. Here the parameters are divided by their meaning:

    | parameter | weight decay |
    |---|---|
    | `weight` of convolutions, linear layers, `SharedLinear`, recurrent layers and attention | yes |
    | biases of all layers, with any bias sharing | no |
    | coefficients of `LowRank`, because their product with the banks shrinks when the banks decay | no |
    | scales of norms and `PReLU` | no |
    | embeddings, unless a layer with weight decay uses the same parameter | no |
    | any other parameter with at least two axes, unless its name contains "bias" | yes |
    | any other parameter | no |

    Args:
        model: Any model. Frozen parameters are left out, and a tied parameter is listed once.
        weight_decay: Weight decay of the first group, at least 0.

    Returns:
        The groups with and without weight decay, in this order, each with "params" and "weight_decay". Groups
        without parameters are left out.

    Raises:
        ArgumentError: If the model is not a module or has uninitialized parameters, or if `weight_decay` is
            not a number of at least 0.

    Example:
        >>> import torch
        >>> import weightshare as ws
        >>> layer = ws.nn.Conv2d(3, 8, 3, sharing=ws.LowRank(2), input_size=8)
        >>> model = torch.nn.Sequential(layer, torch.nn.BatchNorm2d(8))
        >>> [len(group["params"]) for group in ws.param_groups(model, weight_decay=0.01)]
        [1, 5]
        >>> optimizer = torch.optim.AdamW(ws.param_groups(model, weight_decay=0.01), lr=1e-3)
    """
    check_module("param_groups", model)
    is_number = isinstance(weight_decay, int | float) and not isinstance(weight_decay, bool)
    if not is_number or not 0 <= weight_decay < math.inf:
        raise ArgumentError("param_groups", "weight_decay must be a number of at least 0", repr(weight_decay))
    decays: dict[Tensor, bool] = {}
    for name, module in model.named_modules():
        for tensor_name, parameters in _list_parameters(module):
            for parameter in parameters:
                if is_lazy(parameter):
                    where = f"{name}.{tensor_name}".lstrip(".")
                    hint = "run the model once before building the optimizer"
                    raise ArgumentError("param_groups", f"{where} must be initialized", "a lazy one", hint)
                is_kernel = _is_kernel(module, tensor_name, parameter)
                decays[parameter] = decays.get(parameter, False) or is_kernel
    groups = [
        {"params": [p for p, decay in decays.items() if decay == kind and p.requires_grad], "weight_decay": w}
        for kind, w in ((True, float(weight_decay)), (False, 0.0))
    ]
    return [group for group in groups if group["params"]]


def _list_parameters(module: Module) -> list[tuple[str, list[Tensor]]]:
    """Return the names of a module's tensors with the parameters that they are or are computed from."""
    if isinstance(module, parametrize.ParametrizationList):
        return []  # listed with the module that it belongs to
    named: list[tuple[str, list[Tensor]]] = [
        (name, [p]) for name, p in module.named_parameters(recurse=False)
    ]
    computed: Any = module.parametrizations if parametrize.is_parametrized(module) else {}
    return named + [(name, list(parts.parameters())) for name, parts in computed.items()]


def _is_kernel(module: Module, name: str, parameter: Tensor) -> bool:
    for suffix in _SUFFIXES:
        name = name.removesuffix(suffix)
    if "bias" in name or isinstance(module, _SCALES + _EMBEDDINGS):
        return False
    if isinstance(module, SharedLayer) or hasattr(module, "pattern_digest"):
        return name == "weight"
    if isinstance(module, _PRODUCTS):
        return "weight" in name
    return parameter.dim() > 1
