"""Where the number of a parameter's elements comes from: a product of labelled factors.

The factors are read from the module's attributes, not from the tensor, and checked against it: where they
do not give its number, or the class is not known, only the shape is said.
"""

from collections.abc import Callable
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module
from torch.nn.parameter import is_lazy

from ..counting.closed_form import AXIS_NAMES, Factor, scheme
from ..counting.from_layer import spec_of
from ..counting.words import FORMS
from ..sharing import Full

Factors = tuple[Factor, ...]


def factors_of(module: Module, name: str, parameter: Tensor, parent: Module | None = None) -> Factors | None:
    """What a parameter's number of elements is the product of; None where only its shape is known.

    Args:
        module: That has the parameter, as `name`.
        parent: The module whose parameter a parametrization computes, where `module` is one's list.
    """
    if is_lazy(parameter):
        return None
    shape = tuple(parameter.shape)
    for layer, base in _read_as(module, name, parent):
        for kind, rule in _RULES.items():
            if _is_a(layer, kind):
                try:
                    factors = rule(layer, base)
                except (AttributeError, KeyError, TypeError, ValueError):
                    factors = None  # a subclass of that name with other attributes
                for found in (factors, _magnitude(factors, shape)):
                    if found is not None and prod(f.n for f in found) == prod(shape):
                        return found
    return None


def shape_text(parameter: Tensor) -> str:
    """A shape as a product, "?" for a lazy one."""
    if is_lazy(parameter):
        return "?"
    return " * ".join(map(str, parameter.shape)) or "1"


def expression(factors: Factors) -> str:
    """A product that Python evaluates to the number.

    >>> expression((Factor("output channels", 8), Factor("kernel height", 3), Factor("kernel width", 3)))
    '8 * 3 * 3'
    """
    return " * ".join(str(factor.n) for factor in factors)


def words(factors: Factors) -> str:
    """The same with what each number counts.

    >>> words((Factor("output features", 8), Factor("input features", 20)))
    '8 output features * 20 input features'
    """
    kernel = [f for f in factors if f.label.startswith("kernel ")]
    parts = [f"{f.n} {f.label}" for f in factors if f not in kernel]
    if kernel:
        parts.append(" * ".join(str(f.n) for f in kernel) + " kernel")
    return " * ".join(parts)


def _read_as(module: Module, name: str, parent: Module | None) -> list[tuple[Module, str]]:
    """The layers and names that a parameter may be explained as: of a parametrization, its parent's."""
    if parent is None:
        base = name.removesuffix("_orig").removesuffix("_g").removesuffix("_v")
        return [(module, name), (module, base)] if base != name else [(module, name)]
    lists = getattr(parent, "parametrizations", {})
    return [(parent, tensor_name) for tensor_name, held in lists.items() if held is module]


def _is_a(layer: Module, kind: str) -> bool:
    return any(c.__name__ == kind for c in type(layer).__mro__)


def _magnitude(factors: Factors | None, shape: tuple[int, ...]) -> Factors | None:
    """Of weight_norm: one number for every index of the first axis that it keeps."""
    if factors is None or len(shape) < 2 or sum(n > 1 for n in shape) > 1:
        return None
    return (Factor("magnitudes", prod(shape)),)


def _convolution(layer: Any, name: str) -> Factors:
    spec = spec_of(layer)
    if spec.sharing == Full() and name == "weight":
        kernel = zip(AXIS_NAMES[spec.ndim], spec.window.kernel_size)
        near, far = Factor(*spec.near), Factor(*spec.far)
        return near, far, *(Factor(f"kernel {axis}", n) for axis, n in kernel)
    terms = {term.label: term.factors for term in scheme(spec, spec.sharing, spec.input_size).terms}
    found = terms[{"weight": "weights", "bias": "biases"}.get(name, name)]
    return tuple(factor for factor in found if factor.n != 1) or found[:1]


def _linear(layer: Any, name: str) -> Factors:
    outputs = Factor("output features", layer.out_features)
    return {"weight": (outputs, Factor("input features", layer.in_features)), "bias": (outputs,)}[name]


def _shared_linear(layer: Any, name: str) -> Factors:
    counts = {"weight": layer.pattern.n_weights, "bias": layer.pattern.n_biases}
    return (
        Factor(f"classes of {'connections' if name == 'weight' else 'outputs'} that share", counts[name]),
    )


def _bilinear(layer: Any, name: str) -> Factors:
    outputs = Factor("output features", layer.out_features)
    first = Factor("features of input 1", layer.in1_features)
    return {
        "weight": (outputs, first, Factor("features of input 2", layer.in2_features)),
        "bias": (outputs,),
    }[name]


def _embedding(layer: Any, name: str) -> Factors:
    return Factor("embeddings", layer.num_embeddings), Factor("features", layer.embedding_dim)


def _norm(attribute: str, label: str) -> Callable[[Any, str], Factors]:
    def rule(layer: Any, name: str) -> Factors:
        value = getattr(layer, attribute)
        sizes = value if isinstance(value, tuple | list) else (value,)
        return tuple(Factor(label, n) for n in sizes)

    return rule


def _recurrent(layer: Any, name: str) -> Factors:
    gates = Factor("gates", {"LSTM": 4, "GRU": 3}.get(layer.mode, 1))
    kind, index, *_ = name.removesuffix("_reverse").rsplit("_l", 1)
    hidden = Factor("hidden features", layer.hidden_size)
    out = Factor("projected features", layer.proj_size) if layer.proj_size else hidden
    directions = 2 if layer.bidirectional else 1
    input = Factor("input features", layer.input_size)
    if int(index):
        both = " of both directions" if directions == 2 else ""
        input = Factor(f"features of the layer below{both}", directions * out.n)
    return {
        "weight_ih": (gates, hidden, input),
        "weight_hh": (gates, hidden, out),
        "weight_hr": (out, hidden),
        "bias_ih": (gates, hidden),
        "bias_hh": (gates, hidden),
    }[kind]


def _recurrent_cell(layer: Any, name: str) -> Factors:
    gates = Factor("gates", {"LSTMCell": 4, "GRUCell": 3}.get(type(layer).__name__, 1))
    hidden = Factor("hidden features", layer.hidden_size)
    last = {"weight_ih": (Factor("input features", layer.input_size),), "weight_hh": (hidden,)}
    return gates, hidden, *last.get(name, ())


def _attention(layer: Any, name: str) -> Factors:
    size = Factor("embedding features", layer.embed_dim)
    three = Factor("query, key and value", 3)
    return {
        "in_proj_weight": (three, size, size),
        "in_proj_bias": (three, size),
        "q_proj_weight": (size, size),
        "k_proj_weight": (size, Factor("key features", layer.kdim)),
        "v_proj_weight": (size, Factor("value features", layer.vdim)),
        "bias_k": (size,),
        "bias_v": (size,),
    }[name]


def _prelu(layer: Any, name: str) -> Factors:
    return (Factor("slopes", layer.num_parameters),)


_RULES: dict[str, Callable[[Any, str], Factors]] = {
    **dict.fromkeys((name for name, form in FORMS.items() if form.ndim and not form.keras), _convolution),
    "Linear": _linear,
    "SharedLinear": _shared_linear,
    "Bilinear": _bilinear,
    "Embedding": _embedding,
    "EmbeddingBag": _embedding,
    "_NormBase": _norm("num_features", "channels"),
    "GroupNorm": _norm("num_channels", "channels"),
    "LayerNorm": _norm("normalized_shape", "features"),
    "RMSNorm": _norm("normalized_shape", "features"),
    "RNNBase": _recurrent,
    "RNNCellBase": _recurrent_cell,
    "MultiheadAttention": _attention,
    "PReLU": _prelu,
}


def is_parametrization(module: Module) -> bool:
    """Whether a module keeps what another's parameter is computed from."""
    return isinstance(module, torch.nn.utils.parametrize.ParametrizationList)
