"""Convert the convolutions of Keras, and the activation of any of its layers."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from ..errors import ArgumentError
from ..nn import Conv1d, Conv2d, Conv3d
from .external import check_array_shape, read_array

_CLASSES = {"Conv1D": Conv1d, "Conv2D": Conv2d, "Conv3D": Conv3d}
#: Activations that Keras 2, Keras 3 and torch define in the same way. Softmax is over the last axis in Keras.
_ACTIVATIONS: dict[str, Any] = {
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "mish": nn.Mish,
    "relu": nn.ReLU,
    "selu": nn.SELU,
    "sigmoid": nn.Sigmoid,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "softsign": nn.Softsign,
    "swish": nn.SiLU,
    "tanh": nn.Tanh,
}


def is_convolution(class_name: str) -> bool:
    """Return whether this is the name of a Keras convolution that can be converted."""
    return class_name in _CLASSES


def make_activation(where: str, config: Mapping[str, Any]) -> nn.Module | None:
    """Return the module of a layer's activation; None if it is linear.

    Raises:
        ArgumentError: If torch has no corresponding module.
    """
    activation = config.get("activation")
    if activation in (None, "linear"):
        return None
    if activation == "softmax":
        return nn.Softmax(-1 if config.get("data_format") == "channels_first" else 1)
    if isinstance(activation, str) and activation in _ACTIVATIONS:
        return _ACTIVATIONS[activation]()
    raise ArgumentError(
        where,
        f"activation must be one of 'linear', 'softmax', {', '.join(map(repr, sorted(_ACTIVATIONS)))}",
        repr(activation),
        "set the activation of the Keras layer to 'linear', and apply the activation to the new output",
    )


@torch.no_grad()
def convert_convolution(
    where: str, class_name: str, config: Mapping[str, Any], weights: Sequence[Any], size: Any
) -> nn.Module:
    """Return a convolution with full sharing.

    Args:
        where: Name of the public function and the layer, with which errors start.
        class_name: Name of the Keras class.
        config: Its constructor arguments.
        weights: Kernel [*kernel_size, in/groups, filters] and, if it has one, bias [filters].
        size: Spatial size of the input; None if it is unknown.
    """
    kernel_size, groups = tuple(config["kernel_size"]), config.get("groups", 1)
    kernel, *biases = (read_array(where, name, array) for name, array in zip(("kernel", "bias"), weights))
    hint = "check that the weights belong to this layer"
    expected = (*kernel_size, (1, "in/groups"), config["filters"])
    check_array_shape(where, "kernel", "[*kernel_size, in/groups, filters]", expected, kernel, hint)
    if len(biases) != bool(config["use_bias"]):
        raise ArgumentError(
            where, f"there must be {1 + bool(config['use_bias'])} arrays", str(len(weights)), hint
        )
    layer = _CLASSES[class_name](
        kernel.shape[-2] * groups,
        config["filters"],
        kernel_size,
        tuple(config["strides"]),
        _convert_padding(where, config, size),
        tuple(config["dilation_rate"]),
        groups,
        bias=bool(biases),
        dtype=kernel.dtype,
    )
    layer.weight.copy_(kernel.movedim((-1, -2), (0, 1)))
    if layer.bias is not None:
        check_array_shape(where, "bias", "[filters]", (config["filters"],), biases[0], hint)
        layer.bias.copy_(biases[0])
    return layer


def _convert_padding(where: str, config: Mapping[str, Any], size: Sequence[int] | None) -> Any:
    """Return torch's padding. "same" depends on the input size if the stride is not 1."""
    padding, strides = config["padding"], config["strides"]
    if padding == "valid":
        return 0
    if padding == "same" and set(strides) == {1}:
        return "same"
    if padding != "same" or size is None:
        expected = "padding must be 'valid', or 'same' with stride 1 or a known input size"
        raise ArgumentError(where, expected, repr(padding), "pass input_size=, or pad the input yourself")
    extents = [d * (k - 1) + 1 for d, k in zip(config["dilation_rate"], config["kernel_size"])]
    totals = [max((-(-n // s) - 1) * s + e - n, 0) for n, s, e in zip(size, strides, extents)]
    if any(total % 2 for total in totals):
        expected = "padding must be equal at both ends of each axis"
        hint = "pad the input yourself (Keras pads more at the end), and use padding='valid'"
        raise ArgumentError(where, expected, f"a total of {tuple(totals)}", hint)
    return tuple(total // 2 for total in totals)
