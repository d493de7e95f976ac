"""Record layers in programs of `torch.fx`, whose tracer treats only torch modules as single calls.

A layer checks its input and chooses how to compute, which is impossible with a symbolic input. Therefore, a
layer in a model is recorded as a call of the layer, as the tracer does for the layers of `torch.nn`. A layer
that is traced on its own is recorded as a call of a function with its parameters.
"""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, tensor
from torch.fx import Proxy
from torch.nn import Module

from .. import functional
from .._args import Size
from ..backends.checks import not_a_tensor
from ..geometry import Window
from ..sharing import Full, Mapped, Sharing
from . import checks

#: The functions by number of axes. During a trace, `functional` contains others, which record their calls.
_CONV = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
_CONV_TRANSPOSE = {
    1: functional.conv_transpose1d,
    2: functional.conv_transpose2d,
    3: functional.conv_transpose3d,
}
#: A function with its positional and keyword arguments.
Call = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]


def record_call(layer: Module, inputs: tuple[object, ...], as_function: Callable[..., Call]) -> Any:
    """Record the call of a layer with symbolic inputs.

    Args:
        layer: The layer.
        inputs: Arguments of its `forward`. The first one is not a tensor.
        as_function: Function of the tracer and the inputs that returns an equivalent call without the layer.

    Raises:
        ArgumentError: If the first input is not symbolic either.
    """
    input = inputs[0]
    if not isinstance(input, Proxy):
        raise not_a_tensor(type(layer).__name__, input)
    tracer: Any = input.tracer
    if layer is not tracer.root:
        return tracer.create_proxy("call_module", tracer.path_of_module(layer), inputs, {})
    function, args, kwargs = as_function(tracer, *inputs)
    return record_function(tracer, function, args, kwargs)


def record_function(
    tracer: Any, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Record the call of a function that is not traced into, even when the program is traced again."""
    result = tracer.create_proxy("call_function", function, args, kwargs)
    result.node.meta["is_wrapped"] = True  # as `torch.fx.wrap` does
    return result


def record_sharing(tracer: Any, sharing: Sharing) -> Any:
    """Return a sharing as an argument of a recorded call. `torch.fx` records a frozen value by its fields."""
    if not isinstance(sharing, Mapped):
        return sharing
    labels = tensor(sharing.flat).view(sharing.shape).tolist()
    return tracer.create_proxy("call_function", Mapped, (labels,), {})


def as_conv(layer: Any, tracer: Any, input: Proxy) -> Call:
    """Return the call of a function such as `functional.conv2d` that computes the layer."""
    geometry = (layer.stride, layer.padding, layer.dilation, layer.groups)
    kwargs = _record_options(layer, tracer) | {"padding_mode": layer.padding_mode}
    return _CONV[layer.window.ndim], (input, layer.weight, layer.bias, *geometry), kwargs


def as_conv_transpose(layer: Any, tracer: Any, input: Proxy, output_size: Any = None) -> Call:
    """Return the call of a function such as `functional.conv_transpose2d` that computes the layer."""
    function = _CONV_TRANSPOSE[layer.window.ndim]
    extra = layer.output_padding
    if output_size is not None:
        window = (layer.kernel_size, layer.stride, layer.padding, layer.dilation)
        args = (type(layer).__name__, input, output_size, extra, *window)
        extra = record_function(tracer, choose_output_padding, args, {})
    geometry = (layer.stride, layer.padding, extra, layer.groups, layer.dilation)
    return function, (input, layer.weight, layer.bias, *geometry), _record_options(layer, tracer)


def choose_output_padding(
    where: str, input: Tensor, output_size: Sequence[int] | None, default: tuple[int, ...], *window: Size
) -> tuple[int, ...]:
    """Return the output padding for an output size, or `default` for None; recorded programs call this."""
    if output_size is None:
        return default
    return checks.find_output_padding(where, Window(*window, where=where), input.shape, output_size)


def _record_options(layer: Any, tracer: Any) -> dict[str, Any]:
    terms = tuple(getattr(layer, name) for name in layer._coefficient_names)
    return {
        "sharing": record_sharing(tracer, layer.sharing),
        "bias_sharing": record_sharing(tracer, layer.bias_sharing if layer.bias is not None else Full()),
        "coefficients": terms[0] if len(terms) == 1 else terms or None,
    }
