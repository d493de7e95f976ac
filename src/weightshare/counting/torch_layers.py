"""The layers of `torch.nn` that are neither convolutions nor linear.

Each has a signature, and a function that returns its parameters and the size of its output.
"""

from collections.abc import Callable
from functools import partial

from ..errors import ArgumentError, ShapeError
from .arguments import Arguments
from .block import Block, Shape, format_shape
from .formulas import (
    list_attention,
    list_bilinear,
    list_embedding,
    list_norm,
    list_recurrent,
    list_recurrent_cell,
)
from .sizes import check_number
from .torch_sizes import SIZE_FORMS
from .words import Form, read_form

#: Maximum number of layers of one recurrent module.
MAX_LAYERS = 100
GATES = {"RNN": 1, "LSTM": 4, "GRU": 3}
GATE_NAMES = {"LSTM": " (input, forget, cell and output)", "GRU": " (reset, update and new)"}


def _recurrent(arguments: Arguments, shape: Shape | None) -> Block:
    kind = arguments.name
    inputs, hidden = arguments.read_number("input_size"), arguments.read_number("hidden_size")
    layers = arguments.read_number("num_layers")
    bias, bidirectional = arguments.read_flag("bias"), arguments.read_flag("bidirectional")
    projected = arguments.get("proj_size") or 0
    if layers > MAX_LAYERS:
        raise ArgumentError(kind, f"num_layers must be at most {MAX_LAYERS:,}", f"{layers:,}")
    if projected and check_number(kind, "proj_size", projected) >= hidden:
        raise ArgumentError(kind, f"proj_size must be smaller than hidden_size={hidden}", str(projected))
    arguments.check_axes(shape, 1, 2)
    arguments.check_size(shape, -1, "input_size", inputs)
    parameters = list_recurrent(GATES[kind], inputs, hidden, layers, bias, bidirectional, projected)
    directions = 2 if bidirectional else 1
    lines = [_describe_gates(kind)]
    if layers > 1:
        lines.append(
            f"Each of the {layers:,} layers has its own weights, and all but the first one take the "
            f"{directions * (projected or hidden):,} outputs of the layer below."
        )
    if bidirectional:
        lines.append("Each direction has its own weights.")
    if bias:
        lines.append(_describe_biases(kind, layers * directions * GATES[kind] * hidden))
    output = None if shape is None else (*shape[:-1], directions * (projected or hidden))
    return arguments.build(shape, output, parameters, tuple(lines))


def _describe_gates(kind: str) -> str:
    gates = GATES[kind]
    owner = f"Each of the {gates} gates{GATE_NAMES[kind]}" if gates > 1 else "Each unit"
    return (
        f"{owner} has weights for the input and for the previous hidden state. All time steps share them, so "
        "the count does not depend on the length of the sequence."
    )


def _describe_biases(kind: str, biases: int) -> str:
    two = "torch adds two biases, bias_ih and bias_hh."
    if kind == "GRU":
        return f"{two} So does Keras with reset_after=True. Otherwise it has {biases:,} fewer parameters."
    return f"{two} Keras has only one, so it has {biases:,} fewer parameters."


def _recurrent_cell(arguments: Arguments, shape: Shape | None) -> Block:
    kind = arguments.name.removesuffix("Cell")
    inputs, hidden = arguments.read_number("input_size"), arguments.read_number("hidden_size")
    bias = arguments.read_flag("bias")
    arguments.check_axes(shape, 1)
    arguments.check_size(shape, 0, "input_size", inputs)
    lines = (_describe_gates(kind), *([_describe_biases(kind, GATES[kind] * hidden)] if bias else []))
    parameters = list_recurrent_cell(GATES[kind], inputs, hidden, bias)
    return arguments.build(shape, None if shape is None else (hidden,), parameters, lines)


def _attention(arguments: Arguments, shape: Shape | None) -> Block:
    size, heads = arguments.read_number("embed_dim"), arguments.read_number("num_heads")
    if size % heads:
        raise ArgumentError(arguments.name, "num_heads must divide embed_dim", f"{heads} and {size}")
    arguments.check_axes(shape, 2)
    arguments.check_size(shape, -1, "embed_dim", size)
    parameters = list_attention(
        size,
        arguments.read_flag("bias"),
        arguments.read_flag("add_bias_kv"),
        arguments.read_optional_number("kdim"),
        arguments.read_optional_number("vdim"),
    )
    line = (
        f"Query, key and value are projected to {size:,} features each, and the result is projected again. "
        f"The features are divided among the {heads} heads, whose number does not affect the count."
    )
    return arguments.build(shape, shape, parameters, (line,))


def _embedding(arguments: Arguments, shape: Shape | None) -> Block:
    number, features = arguments.read_number("num_embeddings"), arguments.read_number("embedding_dim")
    line = f"Each of the {number:,} embeddings has {features:,} weights. There is no bias."
    indices: Shape = (None,) if shape is None else shape  # a sequence of unknown length
    output = (*(indices if arguments.name == "Embedding" else indices[:-1]), features)
    return arguments.build(shape, output, list_embedding(number, features), (line,))


def _channel_norm(lengths: tuple[int, ...], arguments: Arguments, shape: Shape | None) -> Block:
    """Build a norm with one scale and one shift per channel."""
    word = "num_channels" if arguments.name == "GroupNorm" else "num_features"
    channels = arguments.read_number(word)
    arguments.check_axes(shape, *lengths)
    arguments.check_size(shape, 0, word, channels)
    lines: list[str] = []
    if word == "num_channels":
        groups = arguments.read_number("num_groups")
        if channels % groups:
            raise ArgumentError(
                arguments.name, "num_groups must divide num_channels", f"{groups} and {channels}"
            )
        lines.append("The number of groups does not affect the count.")
    affine = arguments.read_flag("affine")
    has_bias = affine and arguments.read_flag("bias")
    if affine:
        lines.insert(0, f"Each channel has one scale (weight){' and one shift (bias)' if has_bias else ''}.")
    if arguments.get("track_running_stats"):
        lines.append(
            f"The running mean and variance ({2 * channels:,} numbers) are buffers, not parameters. "
            "Keras counts them as non-trainable parameters."
        )
    parameters = list_norm("channels", (channels,), ("weight", "bias")[: affine + has_bias])
    return arguments.build(shape, shape, parameters, tuple(lines))


def _layer_norm(arguments: Arguments, shape: Shape | None) -> Block:
    size = arguments.read_sizes("normalized_shape")
    end = () if shape is None else shape[-len(size) :]
    if shape is not None and (len(end) != len(size) or any(n not in (None, m) for n, m in zip(end, size))):
        raise ShapeError(
            arguments.name, f"the input must end with normalized_shape={size}", format_shape(shape)
        )
    names: tuple[str, ...] = ()
    if arguments.read_flag("elementwise_affine"):
        has_bias = arguments.name == "LayerNorm" and arguments.read_flag("bias")
        names = ("weight", "bias") if has_bias else ("weight",)
    lines = {
        0: (),
        1: ("Each feature has one scale (weight).",),
        2: ("Each feature has one scale (weight) and one shift (bias).",),
    }[len(names)]
    return arguments.build(shape, shape, list_norm("features", size, names), lines)


def _bilinear(arguments: Arguments, shape: Shape | None) -> Block:
    sizes = [arguments.read_number(word) for word in ("in1_features", "in2_features", "out_features")]
    line = "Each output has one weight for each pair of a feature of input 1 and a feature of input 2."
    return arguments.build(None, None, list_bilinear(*sizes, bias=arguments.read_flag("bias")), (line,))


def _prelu(arguments: Arguments, shape: Shape | None) -> Block:
    number = arguments.read_number("num_parameters")
    line = "All channels share one slope." if number == 1 else "Each channel has one slope."
    return arguments.build(shape, shape, list_norm("slopes", (number,), ("weight",)), (line,))


Builder = Callable[[Arguments, Shape | None], Block]

_RECURRENT = "input_size hidden_size num_layers=1 bias=True -batch_first -dropout bidirectional=False"
_NORM = "num_features -eps -momentum affine=True track_running_stats=True"
_END = " -device -dtype"
_EMBEDDING = "num_embeddings embedding_dim"


def _list_layers() -> list[tuple[str, str, Builder]]:
    layers: list[tuple[str, str, Builder]] = [
        ("RNN", _RECURRENT.replace("bias=", "-nonlinearity bias="), _recurrent),
        ("LSTM", f"{_RECURRENT} proj_size=0", _recurrent),
        ("GRU", _RECURRENT, _recurrent),
        ("RNNCell", "input_size hidden_size bias=True -nonlinearity", _recurrent_cell),
        ("LSTMCell", "input_size hidden_size bias=True", _recurrent_cell),
        ("GRUCell", "input_size hidden_size bias=True", _recurrent_cell),
        (
            "MultiheadAttention",
            "embed_dim num_heads -dropout bias=True add_bias_kv=False -add_zero_attn kdim=None vdim=None "
            "-batch_first",
            _attention,
        ),
        (
            "Embedding",
            f"{_EMBEDDING} -padding_idx -max_norm -norm_type -scale_grad_by_freq -sparse -_weight -_freeze",
            _embedding,
        ),
        (
            "EmbeddingBag",
            f"{_EMBEDDING} -max_norm -norm_type -scale_grad_by_freq -mode -sparse -_weight "
            "-include_last_offset -padding_idx",
            _embedding,
        ),
        ("SyncBatchNorm", f"{_NORM} -process_group{_END} bias=True", partial(_channel_norm, (1, 2, 3, 4))),
        (
            "GroupNorm",
            f"num_groups num_channels -eps affine=True{_END} bias=True",
            partial(_channel_norm, (1, 2, 3, 4)),
        ),
        ("LayerNorm", "normalized_shape -eps elementwise_affine=True bias=True", _layer_norm),
        ("RMSNorm", "normalized_shape -eps elementwise_affine=True", _layer_norm),
        ("Bilinear", "in1_features in2_features out_features bias=True", _bilinear),
        ("PReLU", "num_parameters=1 -init", _prelu),
    ]
    for n in (1, 2, 3):
        lengths = {1: (1, 2), 2: (3,), 3: (4,)}[n]
        layers += [
            (f"BatchNorm{n}d", f"{_NORM}{_END} bias=True", partial(_channel_norm, lengths)),
            (
                f"InstanceNorm{n}d",
                f"{_NORM.replace('True', 'False')}{_END} bias=True",
                partial(_channel_norm, (n + 1,)),
            ),
        ]
    return layers


#: The other layers of torch, by name.
TORCH_FORMS: dict[str, Form] = {
    **{
        name: read_form(name, text if _END in text else text + _END, build=build)
        for name, text, build in _list_layers()
    },
    **SIZE_FORMS,
}
