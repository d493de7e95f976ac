"""The layers of Keras that are neither convolutions nor dense: signature, parameters and size of output.

The sizes have the channels last, as in Keras, unless a layer has `data_format='channels_first'`.
"""

from collections.abc import Callable
from functools import partial

from .._args import is_sequence
from ..errors import ArgumentError
from .arguments import Arguments
from .block import Block, Shape, multiply
from .closed_form import AXIS_NAMES
from .formulas import list_embedding, list_keras_attention, list_keras_recurrent, list_norm, list_separable
from .keras_sizes import KERAS_SIZE_FORMS, count_named, join_channels, split_channels
from .keras_words import read_keras_form
from .phrases import count_noun
from .resizing import check_positive
from .terms import Factor
from .torch_layers import GATE_NAMES, GATES
from .words import Form


def _recurrent(kind: str, arguments: Arguments, shape: Shape | None) -> Block:
    units, use_bias = arguments.read_number("units"), arguments.read_flag("use_bias")
    is_cell = arguments.name.endswith("Cell")
    arguments.check_axes(shape, 1, 2)
    inputs = arguments.read_features(shape)
    two_biases = kind == "GRU" and arguments.read_flag("reset_after")
    parameters = list_keras_recurrent(GATES[kind], inputs, units, use_bias, two_biases)
    gates = GATES[kind]
    owner = f"Each of the {gates} gates{GATE_NAMES[kind]}" if gates > 1 else "Each unit"
    lines = [
        f"{owner} has weights for the input and for the previous state. All time steps share them, so the "
        "count does not depend on the length of the sequence."
    ]
    biases = gates * units
    if use_bias and kind == "GRU":
        number, other = ("two biases", "one") if two_biases else ("one bias", "two, as in torch")
        lines.append(
            f"With reset_after={two_biases}, each gate has {number} per unit. With "
            f"reset_after={not two_biases}, it has {other}, so there are {biases:,} "
            f"{'fewer' if two_biases else 'more'} parameters."
        )
    elif use_bias:
        lines.append(f"torch has a second bias per gate and unit, so it has {biases:,} more parameters.")
    returns_all = not is_cell and arguments.read_flag("return_sequences")
    output = None if shape is None else (*(shape[:-1] if returns_all else ()), units)
    return arguments.build(shape, output, parameters, tuple(lines))


def _embedding(arguments: Arguments, shape: Shape | None) -> Block:
    number, features = arguments.read_number("input_dim"), arguments.read_number("output_dim")
    line = f"Each of the {number:,} embeddings has {features:,} weights. There is no bias."
    parameters = list_embedding(number, features, "embeddings")
    rank = arguments.read_optional_number("lora_rank")
    if rank is not None:
        parameters |= {
            "lora_embeddings_a": (Factor("embeddings", number), Factor("rank", rank)),
            "lora_embeddings_b": (Factor("rank", rank), Factor("features", features)),
        }
    indices: Shape = (None,) if shape is None else shape  # a sequence of unknown length
    return arguments.build(shape, (*indices, features), parameters, (line,))


def _attention(arguments: Arguments, shape: Shape | None) -> Block:
    arguments.check_axes(shape, 2, 3, 4)
    inputs, heads = arguments.read_features(shape), arguments.read_number("num_heads")
    key = arguments.read_number("key_dim")
    value = arguments.read_optional_number("value_dim")
    outputs = (inputs,) if arguments.get("output_shape") is None else arguments.read_sizes("output_shape")
    parameters = list_keras_attention(
        inputs,
        heads,
        key,
        key if value is None else value,
        outputs,
        arguments.read_flag("use_bias"),
        arguments.read_flag("use_gate"),
    )
    line = (
        f"Each of the {heads} heads has its own projections, so the count grows with the number of heads. "
        "Query, key and value are assumed to have the same number of features."
    )
    return arguments.build(shape, None if shape is None else (*shape[:-1], *outputs), parameters, (line,))


def _norm(arguments: Arguments, shape: Shape | None) -> Block:
    """Build a norm of Keras, which infers its size from one or more axes of the input."""
    kind = arguments.name
    axes = arguments.get("axis")
    size = [arguments.read_features(shape, _read_axis(arguments, n, shape)) for n in _as_tuple(axes)]
    names: list[str] = []
    if "scale" not in arguments.form.words:
        names.append("scale")
    else:
        names += [
            name for word, name in (("scale", "gamma"), ("center", "beta")) if arguments.read_flag(word)
        ]
    texts: dict[tuple[str, ...], tuple[str, ...]] = {
        (): (),
        ("gamma",): ("Each channel has one scale (gamma).",),
        ("scale",): ("Each feature has one scale.",),
        ("beta",): ("Each channel has one shift (beta).",),
        ("gamma", "beta"): ("Each channel has one scale (gamma) and one shift (beta).",),
    }
    lines = texts[tuple(names)]
    if kind == "BatchNormalization":
        trainable = len(names)
        names += ["moving_mean", "moving_variance"]
        if arguments.read_flag("renorm"):
            names += ["moving_stddev", "renorm_mean", "renorm_stddev"]
        counts = [n * (multiply(size) or 0) for n in (trainable, len(names) - trainable)]
        lines += (
            f"Keras counts the moving mean and variance as non-trainable parameters: {counts[0]:,} are "
            f"trainable, and {counts[1]:,} are not. In torch they are buffers.",
        )
    if kind == "GroupNormalization":
        lines += ("The number of groups does not affect the count.",)
    return arguments.build(shape, shape, list_norm("channels", size, names), lines)


def _prelu(arguments: Arguments, shape: Shape | None) -> Block:
    shared = arguments.get("shared_axes")
    axes = {_read_axis(arguments, n, shape) for n in (() if shared is None else _as_tuple(shared))}
    arguments.read_features(shape)
    sizes = range(len(shape or ()))
    size = [1 if axis in axes else arguments.read_features(shape, axis) for axis in sizes]
    line = "Each input has its own slope, except along the shared axes."
    return arguments.build(shape, shape, list_norm("slopes", size, ("alpha",)), (line,))


def _as_tuple(value: object) -> tuple[object, ...]:
    return tuple(value) if is_sequence(value) else (value,)


def _read_axis(arguments: Arguments, axis: object, shape: Shape | None) -> int:
    """Return an axis of one example. In Keras, axis 0 is the batch."""
    if isinstance(axis, bool) or not isinstance(axis, int):
        raise ArgumentError(arguments.name, "axis must be an integer or integers", repr(axis))
    if shape is None:
        return -1
    index = axis - 1 if axis > 0 else axis + len(shape)
    if axis == 0 or not 0 <= index < len(shape):
        raise ArgumentError(
            arguments.name, f"axis must be -{len(shape)} to {len(shape)}, and not 0", str(axis)
        )
    return index


def _separable(ndim: int, arguments: Arguments, shape: Shape | None) -> Block:
    kernel = arguments.read_axes("kernel_size", ndim)
    stride, dilation = arguments.read_axes("strides", ndim), arguments.read_axes("dilation_rate", ndim)
    padding = arguments.read_choice(
        "padding", ("valid", "same", "causal") if ndim == 1 else ("valid", "same")
    )
    arguments.check_axes(shape, ndim + 1)
    channels, size = (None, ()) if shape is None else split_channels(arguments, shape)
    inputs = arguments.read_features(None if shape is None else (channels,))
    multiplier, filters = arguments.read_number("depth_multiplier"), arguments.read_number("filters")
    use_bias = arguments.read_flag("use_bias")
    taps = tuple(Factor(f"kernel {name}", n) for name, n in zip(AXIS_NAMES[ndim], kernel))
    parameters = list_separable(taps, inputs, multiplier, filters, use_bias)
    plain = (multiply(kernel) or 0) * inputs * filters + use_bias * filters
    line = (
        f"First, each input channel has {count_noun(multiplier, 'kernels')} of its own. Then a pointwise "
        f"convolution mixes the channels. A full convolution would have {plain:,} parameters."
    )
    windows = zip(size, kernel, stride, dilation)
    positions = tuple(count_named(n, (k - 1) * d + 1, s, padding) for n, k, s, d in windows)
    output = check_positive(arguments.name, shape or (), join_channels(arguments, filters, positions))
    return arguments.build(shape, output, parameters, (line,))


Builder = Callable[[Arguments, Shape | None], Block]

_WEIGHTS = "-kernel_initializer -recurrent_initializer -bias_initializer"
_REGULARIZED = (
    "-kernel_regularizer -recurrent_regularizer -bias_regularizer -activity_regularizer -kernel_constraint "
    "-recurrent_constraint -bias_constraint -dropout -recurrent_dropout"
)
_SEQUENCE = "return_sequences=False -return_state -go_backwards -stateful -unroll"
_KERAS_2 = "-time_major -implementation"
_SIMPLE = f"units -activation use_bias=True {_WEIGHTS} {_REGULARIZED}"
_GATED = "units -activation -recurrent_activation use_bias=True"
_LSTM = f"{_GATED} {_WEIGHTS} -unit_forget_bias {_REGULARIZED}"
_GRU = f"{_GATED} {_WEIGHTS} {_REGULARIZED}"
_SCALE = (
    "center=True scale=True -beta_initializer -gamma_initializer -beta_regularizer -gamma_regularizer "
    "-beta_constraint -gamma_constraint"
)
_MOVING = "-moving_mean_initializer -moving_variance_initializer"


def _list_layers() -> list[tuple[str, str, Builder]]:
    separable = (
        "filters kernel_size strides=1 padding='valid' data_format=None dilation_rate=1 depth_multiplier=1 "
        "-activation use_bias=True -depthwise_initializer -pointwise_initializer -bias_initializer "
        "-depthwise_regularizer -pointwise_regularizer -bias_regularizer -activity_regularizer "
        "-depthwise_constraint -pointwise_constraint -bias_constraint"
    )
    layers: list[tuple[str, str, Builder]] = [
        ("SimpleRNN", f"{_SIMPLE} {_SEQUENCE} -seed {_KERAS_2}", partial(_recurrent, "RNN")),
        ("LSTM", f"{_LSTM} -seed {_SEQUENCE} -use_cudnn {_KERAS_2}", partial(_recurrent, "LSTM")),
        (
            "GRU",
            f"{_GRU} -seed {_SEQUENCE} reset_after=True -use_cudnn {_KERAS_2}",
            partial(_recurrent, "GRU"),
        ),
        ("SimpleRNNCell", f"{_SIMPLE} -seed", partial(_recurrent, "RNN")),
        ("LSTMCell", f"{_LSTM} -seed", partial(_recurrent, "LSTM")),
        ("GRUCell", f"{_GRU} reset_after=True -seed", partial(_recurrent, "GRU")),
        (
            "Embedding",
            "input_dim output_dim -embeddings_initializer -embeddings_regularizer -embeddings_constraint "
            "-mask_zero -weights lora_rank=None -lora_alpha -sparse",
            _embedding,
        ),
        (
            "MultiHeadAttention",
            "num_heads key_dim value_dim=None -dropout use_bias=True output_shape=None -attention_axes "
            "-sliding_window -flash_attention -kernel_initializer -bias_initializer -kernel_regularizer "
            "-bias_regularizer -kernel_constraint -bias_constraint use_gate=False -seed",
            _attention,
        ),
        (
            "BatchNormalization",
            f"axis=-1 -momentum -epsilon {_SCALE.replace('-beta_reg', f'{_MOVING} -beta_reg')} renorm=False "
            "-renorm_clipping -renorm_momentum -synchronized",
            _norm,
        ),
        ("LayerNormalization", f"axis=-1 -epsilon {_SCALE}", _norm),
        ("GroupNormalization", f"-groups axis=-1 -epsilon {_SCALE}", _norm),
        ("RMSNormalization", "axis=-1 -epsilon", _norm),
        ("PReLU", "-alpha_initializer -alpha_regularizer -alpha_constraint shared_axes=None", _prelu),
    ]
    for n in (1, 2):
        names = (f"SeparableConv{n}D", f"SeparableConvolution{n}D")
        layers += [(name, separable, partial(_separable, n)) for name in names]
    return layers


#: The other layers of Keras, by name.
KERAS_FORMS: dict[str, Form] = {
    **{name: read_keras_form(name, text, build=build) for name, text, build in _list_layers()},
    **KERAS_SIZE_FORMS,
}
