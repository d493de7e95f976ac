"""The layers of `torch.nn` that are neither convolutions nor linear.

Each has a signature, and a function that returns its parameters and the size of its output.
"""

from collections.abc import Callable
from functools import partial

from .._args import is_sequence
from ..errors import ArgumentError, ShapeError
from .arguments import Arguments
from .block import Block, Shape, format_shape, multiply
from .formulas import (
    list_attention,
    list_bilinear,
    list_embedding,
    list_norm,
    list_recurrent,
    list_recurrent_cell,
)
from .resizing import check_positive, count_windows, resolve_sizes
from .sizes import check_number
from .words import Form, read_form

#: Most layers of one recurrent module.
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
        return (
            f"{two} Keras does the same with reset_after=True, and has {biases:,} parameters fewer without."
        )
    return f"{two} Keras has only one, so it has {biases:,} parameters fewer."


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
        f"Query, key and value are projected to {size:,} features each, and the result once more. The "
        f"{heads} heads divide these features, so their number does not affect the count."
    )
    return arguments.build(shape, shape, parameters, (line,))


def _embedding(arguments: Arguments, shape: Shape | None) -> Block:
    number, features = arguments.read_number("num_embeddings"), arguments.read_number("embedding_dim")
    line = f"Each of the {number:,} embeddings has {features:,} weights. There is no bias."
    if shape is None:
        output = None
    elif arguments.name == "Embedding":
        output = (*shape, features)
    else:
        output = (*shape[:-1], features)
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
    if affine:
        lines.insert(0, "Each channel has one scale (weight) and one shift (bias).")
    if arguments.get("track_running_stats"):
        lines.append(
            f"The running mean and variance ({2 * channels:,} numbers) are buffers, not parameters. "
            "Keras counts them as non-trainable parameters."
        )
    parameters = list_norm("channels", (channels,), ("weight", "bias") if affine else ())
    return arguments.build(shape, shape, parameters, tuple(lines))


def _layer_norm(arguments: Arguments, shape: Shape | None) -> Block:
    size = arguments.read_sizes("normalized_shape")
    if shape is not None and any(n not in (None, m) for n, m in zip(shape[-len(size) :], size, strict=False)):
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
    line = "Each output has one weight for each pair of an input 1 and an input 2."
    return arguments.build(None, None, list_bilinear(*sizes, bias=arguments.read_flag("bias")), (line,))


def _prelu(arguments: Arguments, shape: Shape | None) -> Block:
    number = arguments.read_number("num_parameters")
    line = "All channels share one slope." if number == 1 else "Each channel has one slope."
    return arguments.build(shape, shape, list_norm("slopes", (number,), ("weight",)), (line,))


def _keep(arguments: Arguments, shape: Shape | None) -> Block:
    return arguments.build(shape, shape)


def _pool(ndim: int, arguments: Arguments, shape: Shape | None) -> Block:
    arguments.check_axes(shape, ndim + 1)
    kernel = arguments.read_axes("kernel_size", ndim)
    stride = kernel if arguments.get("stride") in (None, ()) else arguments.read_axes("stride", ndim)
    padding = arguments.read_axes("padding", ndim, least=0)
    has_dilation = "dilation" in arguments.form.words
    dilation = arguments.read_axes("dilation", ndim) if has_dilation else (1,) * ndim
    rounds_up = arguments.read_flag("ceil_mode")
    if shape is None:
        return arguments.build(None, None)
    windows = zip(shape[1:], kernel, stride, padding, dilation)
    size = tuple(count_windows(n, (k - 1) * d + 1, s, p, rounds_up) for n, k, s, p, d in windows)
    return arguments.build(shape, check_positive(arguments.name, shape, (shape[0], *size)))


def _adaptive_pool(ndim: int, arguments: Arguments, shape: Shape | None) -> Block:
    arguments.check_axes(shape, ndim + 1)
    value = arguments.get("output_size")
    values = tuple(value) if is_sequence(value) else (value,) * ndim
    if len(values) != ndim:
        raise ArgumentError(arguments.name, f"output_size must have length {ndim}", repr(value))
    sizes = [None if n is None else check_number(arguments.name, "output_size", n) for n in values]
    if shape is None:
        return arguments.build(None, None)
    return arguments.build(
        shape, (shape[0], *(old if new is None else new for old, new in zip(shape[1:], sizes)))
    )


def _flatten(arguments: Arguments, shape: Shape | None) -> Block:
    start, end = (_read_axis(arguments, word, shape) for word in ("start_dim", "end_dim"))
    if shape is None:
        return arguments.build(None, None)
    if start > end:
        raise ArgumentError(arguments.name, "start_dim must not be after end_dim", f"{start} and {end}")
    return arguments.build(shape, (*shape[:start], multiply(shape[start : end + 1]), *shape[end + 1 :]))


def _read_axis(arguments: Arguments, word: str, shape: Shape | None) -> int:
    """Return an axis of one example. In torch, axis 0 is the batch."""
    value = arguments.get(word)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ArgumentError(arguments.name, f"{word} must be an integer", repr(value))
    if shape is None:
        return 0
    axis = value if value >= 0 else value + len(shape) + 1
    if not 1 <= axis <= len(shape):
        expected = f"{word} must be an axis after the batch, 1 to {len(shape)}"
        raise ArgumentError(arguments.name, expected, str(value))
    return axis - 1


def _unflatten(arguments: Arguments, shape: Shape | None) -> Block:
    axis = _read_axis(arguments, "dim", shape)
    sizes = arguments.get("unflattened_size")
    if shape is None:
        return arguments.build(None, None)
    new = resolve_sizes(arguments.name, "unflattened_size", sizes, shape[axis])
    return arguments.build(shape, (*shape[:axis], *new, *shape[axis + 1 :]))


def _upsample(arguments: Arguments, shape: Shape | None) -> Block:
    ndim = 1 if shape is None else len(shape) - 1
    if arguments.get("size") is not None:
        size = arguments.read_axes("size", ndim)
        return arguments.build(shape, None if shape is None else (shape[0], *size))
    factor = arguments.get("scale_factor")
    factors = tuple(factor) if is_sequence(factor) else (factor,) * ndim
    if shape is None:
        return arguments.build(None, None)
    if len(factors) != ndim or not all(isinstance(f, int | float) and f > 0 for f in factors):
        raise ArgumentError(
            arguments.name, "scale_factor must be positive, with one entry per axis", repr(factor)
        )
    size = tuple(None if n is None else int(n * f) for n, f in zip(shape[1:], factors))
    return arguments.build(shape, check_positive(arguments.name, shape, (shape[0], *size)))


def _pad(ndim: int, arguments: Arguments, shape: Shape | None) -> Block:
    arguments.check_axes(shape, ndim + 1)
    value = arguments.get("padding")
    values = tuple(value) if is_sequence(value) else (value,) * (2 * ndim)
    if len(values) != 2 * ndim or not all(isinstance(n, int) for n in values):
        raise ArgumentError(arguments.name, f"padding must be an integer or {2 * ndim} integers", repr(value))
    if shape is None:
        return arguments.build(None, None)
    totals = [values[i] + values[i + 1] for i in range(0, 2 * ndim, 2)][::-1]  # the last axis comes first
    size = tuple(None if n is None else n + total for n, total in zip(shape[1:], totals))
    return arguments.build(shape, check_positive(arguments.name, shape, (shape[0], *size)))


def _shuffle(arguments: Arguments, shape: Shape | None) -> Block:
    arguments.check_axes(shape, 3)
    up = arguments.name == "PixelShuffle"
    word = "upscale_factor" if up else "downscale_factor"
    factor = arguments.read_number(word)
    if shape is None:
        return arguments.build(None, None)
    divided, multiplied = (shape[:1], shape[1:]) if up else (shape[1:], shape[:1])
    step = factor**2 if up else factor
    if any(n is not None and n % step for n in divided):
        raise ShapeError(
            arguments.name, f"the input must be divisible by {word}={factor}", format_shape(shape)
        )
    smaller = tuple(None if n is None else n // step for n in divided)
    larger = tuple(None if n is None else n * (factor if up else factor**2) for n in multiplied)
    return arguments.build(shape, (*smaller, *larger) if up else (*larger, *smaller))


#: Builders of layers that have parameters.
_COUNTED = {_recurrent, _recurrent_cell, _attention, _embedding, _channel_norm, _layer_norm, _bilinear, _prelu}
Builder = Callable[[Arguments, Shape | None], Block]

_RECURRENT = "input_size hidden_size num_layers=1 bias=True -batch_first -dropout bidirectional=False"
_NORM = "num_features -eps -momentum affine=True track_running_stats=True"
_EMBEDDING = "num_embeddings embedding_dim"
_MAX_POOL = "kernel_size stride=None padding=0 dilation=1 -return_indices ceil_mode=False"
_AVERAGE_POOL = "kernel_size stride=None padding=0 ceil_mode=False -count_include_pad -divisor_override"
_UNCHANGED = {
    "Identity": "",
    "Softmax Softmin LogSoftmax": "-dim",
    "ReLU ReLU6 SELU SiLU Mish Hardswish Hardsigmoid": "-inplace",
    "GELU": "-approximate",
    "LeakyReLU": "-negative_slope -inplace",
    "RReLU": "-lower -upper -inplace",
    "ELU CELU": "-alpha -inplace",
    "Softplus": "-beta -threshold",
    "Threshold": "-threshold -value -inplace",
    "Hardtanh": "-min_val -max_val -inplace -min_value -max_value",
    "Hardshrink Softshrink": "-lambd",
    "Sigmoid LogSigmoid Tanh Tanhshrink Softsign Softmax2d": "",
    "Dropout Dropout1d Dropout2d Dropout3d AlphaDropout FeatureAlphaDropout": "-p -inplace",
    "LocalResponseNorm": "-size -alpha -beta -k",
    "ChannelShuffle": "-groups",
}


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
        ("SyncBatchNorm", f"{_NORM} -process_group", partial(_channel_norm, (1, 2, 3, 4))),
        ("GroupNorm", "num_groups num_channels -eps affine=True", partial(_channel_norm, (1, 2, 3, 4))),
        ("LayerNorm", "normalized_shape -eps elementwise_affine=True bias=True", _layer_norm),
        ("RMSNorm", "normalized_shape -eps elementwise_affine=True", _layer_norm),
        ("Bilinear", "in1_features in2_features out_features bias=True", _bilinear),
        ("PReLU", "num_parameters=1 -init", _prelu),
        ("Flatten", "start_dim=1 end_dim=-1", _flatten),
        ("Unflatten", "dim unflattened_size", _unflatten),
        ("Upsample", "size=None scale_factor=None -mode -align_corners -recompute_scale_factor", _upsample),
        ("PixelShuffle", "upscale_factor", _shuffle),
        ("PixelUnshuffle", "downscale_factor", _shuffle),
    ]
    for n in (1, 2, 3):
        instance_norm = _NORM.replace("True", "False")
        lengths = {1: (1, 2), 2: (3,), 3: (4,)}[n]
        layers += [
            (f"BatchNorm{n}d", _NORM, partial(_channel_norm, lengths)),
            (f"InstanceNorm{n}d", instance_norm, partial(_channel_norm, (n + 1,))),
            (f"MaxPool{n}d", _MAX_POOL, partial(_pool, n)),
            (f"AvgPool{n}d", _AVERAGE_POOL, partial(_pool, n)),
            (f"AdaptiveMaxPool{n}d", "output_size -return_indices", partial(_adaptive_pool, n)),
            (f"AdaptiveAvgPool{n}d", "output_size", partial(_adaptive_pool, n)),
            (f"ConstantPad{n}d", "padding -value", partial(_pad, n)),
            *(
                (f"{kind}Pad{n}d", "padding", partial(_pad, n))
                for kind in ("Zero", "Reflection", "Replication", "Circular")
            ),
        ]
    for names, text in _UNCHANGED.items():
        layers += [(name, text, _keep) for name in names.split()]
    return layers


#: The other layers of torch, by name.
TORCH_FORMS: dict[str, Form] = {
    name: read_form(
        name, f"{text} -device -dtype", build=build, has_parameters=getattr(build, "func", build) in _COUNTED
    )
    for name, text, build in _list_layers()
}
