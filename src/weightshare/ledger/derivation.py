"""Derivation of a parameter's number of elements as a product of labeled factors.

The factors come from the module's attributes, not from the tensor, and are then checked against the tensor.
For an unknown class, or if the product differs, the derivation is the shape alone.
"""

from collections.abc import Callable
from math import prod
from operator import index
from typing import Any

from torch import nn
from torch.ao.nn import quantized
from torch.nn import Module

from ..counting.closed_form import AXIS_NAMES, count_parameters
from ..counting.from_layer import find_class, read_block, read_layer
from ..counting.terms import Factor, Factors
from ..counting.torch_layers import TORCH_FORMS
from ..parameters.modules import is_convolution
from ..pattern import Pattern
from ..sharing import Full


def derive(
    module: Module, name: str, shape: tuple[int, ...] | None, parent: Module | None = None
) -> Factors | None:
    """Return the factors of a parameter's number of elements, or None if only its shape is known.

    Args:
        module: Module that holds the parameter.
        name: Name of the parameter in the module.
        shape: Shape of the parameter; None while it is lazy.
        parent: Parametrized module, if `module` is the `ParametrizationList` of one of its parameters.
    """
    if shape is None:
        return None
    for layer, base in _candidates(module, name, parent):
        for is_kind, rule in _RULES:
            if is_kind(layer):
                try:
                    factors = tuple(Factor(f.label, index(f.n)) for f in rule(layer, base))
                except (AttributeError, KeyError, TypeError, ValueError):
                    factors = None  # a parameter or layer of a subclass
                for found in (factors, _derive_magnitudes(factors, shape)):
                    if found is not None and prod(f.n for f in found) == prod(shape):
                        return found
    return None


def format_shape(shape: tuple[int, ...] | None) -> str:
    """Return the shape as a product, or "?" for the shape of a lazy parameter."""
    return "?" if shape is None else " * ".join(map(str, shape)) or "1"


def format_product(factors: Factors) -> str:
    """Return the product as a Python expression.

    >>> format_product((Factor("output channels", 8), Factor("kernel height", 3), Factor("kernel width", 3)))
    '8 * 3 * 3'
    """
    return " * ".join(str(factor.n) for factor in factors)


def format_words(factors: Factors) -> str:
    """Return the product with the label of each factor.

    >>> format_words((Factor("output features", 8), Factor("input features", 20)))
    '8 output features * 20 input features'
    """
    kernel = [f for f in factors if f.label.startswith("kernel ")]
    parts = [f"{f.n} {f.label}" for f in factors if f not in kernel]
    if kernel:
        parts.append(" * ".join(str(f.n) for f in kernel) + " kernel")
    return " * ".join(parts)


def _candidates(module: Module, name: str, parent: Module | None) -> list[tuple[Module, str]]:
    """Return the layers and parameter names whose rules may apply.

    For a tensor of a parametrization, these are the parametrized module and the parameter computed from it.
    """
    if parent is None:
        base = name.removesuffix("_orig").removesuffix("_g").removesuffix("_v")
        return [(module, name), (module, base)] if base != name else [(module, name)]
    lists = getattr(parent, "parametrizations", {})
    return [(parent, tensor_name) for tensor_name, held in lists.items() if held is module]


def _derive_magnitudes(factors: Factors | None, shape: tuple[int, ...]) -> Factors | None:
    """Return the factors of weight_norm's magnitudes: one number per index of the axis that it keeps."""
    if factors is None or len(shape) < 2 or sum(n > 1 for n in shape) > 1:
        return None
    return (Factor("magnitudes", prod(shape)),)


def _convolution(layer: Any, name: str) -> Factors:
    spec = read_layer(layer)
    if spec.sharing == Full() and name == "weight":
        kernel = zip(AXIS_NAMES[spec.ndim], spec.window.kernel_size)
        taps = (Factor(f"kernel {axis}", n) for axis, n in kernel)
        return Factor(*spec.position_side), Factor(*spec.window_side), *taps
    count = count_parameters(spec, spec.sharing, spec.input_size)
    terms = {term.label: term.factors for term in count.terms}
    factors = terms[{"weight": "weights", "bias": "biases"}.get(name, name)]
    return tuple(factor for factor in factors if factor.n != 1) or factors[:1]


def _linear(layer: Any, name: str) -> Factors:
    outputs = Factor("output features", layer.out_features)
    return {"weight": (outputs, Factor("input features", layer.in_features)), "bias": (outputs,)}[name]


def _shared_linear(layer: Any, name: str) -> Factors:
    counts = {"weight": layer.pattern.n_weights, "bias": layer.pattern.n_biases}
    return (
        Factor(f"classes of {'connections' if name == 'weight' else 'outputs'} that share", counts[name]),
    )


def _block(layer: Any, name: str) -> Factors:
    return {term.label: term.factors for term in read_block(layer).terms}[name]


def _is(*classes: type[Module]) -> Callable[[Module], bool]:
    return lambda layer: isinstance(layer, classes)


def _is_block(layer: Module) -> bool:
    return find_class(layer, TORCH_FORMS) is not None


def _has_pattern(layer: Module) -> bool:
    return isinstance(getattr(layer, "pattern", None), Pattern)


_RULES: tuple[tuple[Callable[[Module], bool], Callable[[Any, str], Factors]], ...] = (
    (is_convolution, _convolution),
    (_is(nn.Linear, quantized.Linear), _linear),
    (_has_pattern, _shared_linear),
    (_is_block, _block),
)


def is_parametrization(module: Module) -> bool:
    """Return whether a module holds the tensors from which a parameter of another module is computed."""
    return isinstance(module, nn.utils.parametrize.ParametrizationList)
