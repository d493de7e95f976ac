"""Closed forms of layers that are neither convolutions nor linear.

Each function returns the factors of every parameter, under the name of that parameter in torch or Keras.
"""

from collections.abc import Sequence

from .terms import Factor, Factors

Parameters = dict[str, Factors]


def list_recurrent(
    gates: int,
    input_size: int,
    hidden_size: int,
    num_layers: int = 1,
    bias: bool = True,
    bidirectional: bool = False,
    proj_size: int = 0,
) -> Parameters:
    """Return the parameters of an RNN, LSTM or GRU of torch, which has two biases per gate.

    >>> list(list_recurrent(4, 10, 20, bias=False))
    ['weight_ih_l0', 'weight_hh_l0']
    """
    gate, hidden = Factor("gates", gates), Factor("hidden features", hidden_size)
    out = Factor("projected features", proj_size) if proj_size else hidden
    suffixes = ("", "_reverse") if bidirectional else ("",)
    both = " of both directions" if bidirectional else ""
    below = Factor(f"features of the layer below{both}", len(suffixes) * out.n)
    parameters: Parameters = {}
    for index in range(num_layers):
        inputs = below if index else Factor("input features", input_size)
        for suffix in suffixes:
            end = f"_l{index}{suffix}"
            parameters |= {
                f"weight_ih{end}": (gate, hidden, inputs),
                f"weight_hh{end}": (gate, hidden, out),
            }
            if bias:
                parameters |= {f"bias_ih{end}": (gate, hidden), f"bias_hh{end}": (gate, hidden)}
            if proj_size:
                parameters[f"weight_hr{end}"] = (out, hidden)
    return parameters


def list_recurrent_cell(gates: int, input_size: int, hidden_size: int, bias: bool = True) -> Parameters:
    """Return the parameters of an RNNCell, LSTMCell or GRUCell of torch."""
    layer = list_recurrent(gates, input_size, hidden_size, bias=bias)
    return {name.removesuffix("_l0"): factors for name, factors in layer.items()}


def list_keras_recurrent(gates: int, inputs: int, units: int, use_bias: bool, two_biases: bool) -> Parameters:
    """Return the parameters of a SimpleRNN, LSTM or GRU of Keras.

    Args:
        two_biases: Whether each gate has two biases, as in a GRU with `reset_after=True`.
    """
    gate, unit = Factor("gates", gates), Factor("units", units)
    parameters: Parameters = {
        "kernel": (Factor("input features", inputs), gate, unit),
        "recurrent_kernel": (unit, gate, unit),
    }
    if use_bias:
        parameters["bias"] = (Factor("biases per gate and unit", 1 + two_biases), gate, unit)
    return parameters


def list_attention(
    embed_dim: int,
    bias: bool = True,
    add_bias_kv: bool = False,
    kdim: int | None = None,
    vdim: int | None = None,
) -> Parameters:
    """Return the parameters of a MultiheadAttention of torch."""
    size = Factor("embedding features", embed_dim)
    keys = Factor("key features", embed_dim if kdim is None else kdim)
    values = Factor("value features", embed_dim if vdim is None else vdim)
    three = Factor("query, key and value projections", 3)
    if keys.n == values.n == embed_dim:
        parameters: Parameters = {"in_proj_weight": (three, size, size)}
    else:
        parameters = {
            "q_proj_weight": (size, size),
            "k_proj_weight": (size, keys),
            "v_proj_weight": (size, values),
        }
    if bias:
        parameters["in_proj_bias"] = (three, size)
    if add_bias_kv:
        parameters |= {"bias_k": (size,), "bias_v": (size,)}
    parameters["out_proj.weight"] = (size, size)
    if bias:
        parameters["out_proj.bias"] = (size,)
    return parameters


def list_keras_attention(
    query: int,
    num_heads: int,
    key_dim: int,
    value_dim: int,
    outputs: Sequence[int],
    use_bias: bool,
    use_gate: bool,
) -> Parameters:
    """Return the parameters of a MultiHeadAttention of Keras.

    Query, key and value have the same number of features.
    """
    inputs, heads = Factor("input features", query), Factor("heads", num_heads)
    keys, values = Factor("key features per head", key_dim), Factor("value features per head", value_dim)
    out = tuple(Factor("output features", n) for n in outputs)
    parts = {"query": (heads, keys), "key": (heads, keys), "value": (heads, values)}
    if use_gate:
        parts["gate"] = (heads, values)
    parameters: Parameters = {}
    for name, size in parts.items():
        parameters[f"{name}/kernel"] = (inputs, *size)
        if use_bias:
            parameters[f"{name}/bias"] = size
    parameters["attention_output/kernel"] = (heads, values, *out)
    if use_bias:
        parameters["attention_output/bias"] = out
    return parameters


def list_embedding(num_embeddings: int, embedding_dim: int, name: str = "weight") -> Parameters:
    """Return the table of an Embedding or EmbeddingBag."""
    return {name: (Factor("embeddings", num_embeddings), Factor("features", embedding_dim))}


def list_norm(label: str, size: Sequence[int], names: Sequence[str]) -> Parameters:
    """Return one parameter of the given size per name.

    Args:
        label: Noun for the axes, such as "channels".
    """
    return {name: tuple(Factor(label, n) for n in size) for name in names}


def list_bilinear(in1_features: int, in2_features: int, out_features: int, bias: bool = True) -> Parameters:
    """Return the parameters of a Bilinear layer of torch."""
    outputs = Factor("output features", out_features)
    inputs = Factor("features of input 1", in1_features), Factor("features of input 2", in2_features)
    return {"weight": (outputs, *inputs)} | ({"bias": (outputs,)} if bias else {})


def list_separable(kernel: Factors, inputs: int, multiplier: int, filters: int, use_bias: bool) -> Parameters:
    """Return the parameters of a separable convolution of Keras: one kernel per channel, then a 1 x 1 kernel.

    Args:
        kernel: Number of taps per axis.
        multiplier: Number of depthwise output channels per input channel.
    """
    channels, depth = Factor("input channels", inputs), Factor("depth multiplier", multiplier)
    outputs = Factor("output channels", filters)
    parameters: Parameters = {
        "depthwise_kernel": (*kernel, channels, depth),
        "pointwise_kernel": (channels, depth, outputs),
    }
    return parameters | ({"bias": (outputs,)} if use_bias else {})
