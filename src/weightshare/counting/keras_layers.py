"""The layers of Keras that are neither convolutions nor dense.

Each has a signature, and a function that returns its parameters and the size of its output.

The sizes have the channels last, as in Keras, unless a layer has `data_format='channels_first'`.
"""

from collections.abc import Callable
from functools import partial

from .._args import check_integer, is_sequence
from ..errors import ArgumentError, ShapeError
from .arguments import Arguments
from .block import Block, Shape, format_shape, multiply
from .closed_form import AXIS_NAMES
from .formulas import list_embedding, list_keras_attention, list_keras_recurrent, list_norm, list_separable
from .keras_words import read_keras_form
from .phrases import count_noun
from .resizing import check_positive, count_windows, resolve_sizes
from .sizes import check_shape
from .terms import Factor
from .torch_layers import GATE_NAMES, GATES
from .words import Form

_FIRST = "channels_first"


def _is_first(arguments: Arguments) -> bool:
    """Return whether the sizes of this layer have the channels first."""
    value = arguments.get("data_format")
    return value is not None and arguments.read_choice("data_format", ("channels_last", _FIRST)) == _FIRST


def _split(arguments: Arguments, shape: Shape) -> tuple[int | None, Shape]:
    """Return the channels and the spatial size."""
    return (shape[0], shape[1:]) if _is_first(arguments) else (shape[-1], shape[:-1])


def _join(arguments: Arguments, channels: int | None, size: Shape) -> Shape:
    return (channels, *size) if _is_first(arguments) else (*size, channels)


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
        number, other = ("two biases", "one") if two_biases else ("one bias", "two, as in torch,")
        lines.append(
            f"With reset_after={two_biases}, each gate has {number} per unit. With "
            f"reset_after={not two_biases} it has {other}: {biases:,} parameters "
            f"{'fewer' if two_biases else 'more'}."
        )
    elif use_bias:
        lines.append(f"torch has a second bias per gate and unit, so it has {biases:,} parameters more.")
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
    return arguments.build(shape, None if shape is None else (*shape, features), parameters, (line,))


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
        trainable = len(names) * (multiply(size) or 0)
        names += ["moving_mean", "moving_variance"]
        lines += (
            f"Keras counts the moving mean and variance as non-trainable parameters: {trainable:,} are "
            f"trainable, and {2 * (multiply(size) or 0):,} are not. In torch they are buffers.",
        )
    if kind == "GroupNormalization":
        lines += ("The number of groups does not affect the count.",)
    return arguments.build(shape, shape, list_norm("channels", size, names), lines)


def _prelu(arguments: Arguments, shape: Shape | None) -> Block:
    shared = arguments.get("shared_axes")
    axes = {_read_axis(arguments, n, shape) for n in (() if shared is None else _as_tuple(shared))}
    count = 0 if shape is None else len(shape)
    if shape is None:
        arguments.read_features(None)
    size = [1 if axis in axes else arguments.read_features(shape, axis) for axis in range(count)]
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
    channels, size = (None, ()) if shape is None else _split(arguments, shape)
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
    positions = tuple(_count_named(n, (k - 1) * d + 1, s, padding) for n, k, s, d in windows)
    output = check_positive(arguments.name, shape or (), _join(arguments, filters, positions))
    return arguments.build(shape, output, parameters, (line,))


def _count_named(size: int | None, extent: int, stride: int, padding: str) -> int | None:
    """Return the number of positions with the padding "valid", "same" or "causal"."""
    if padding == "valid" or size is None:
        return count_windows(size, extent, stride, 0)
    return -(-size // stride)


def _keep(arguments: Arguments, shape: Shape | None) -> Block:
    return arguments.build(shape, shape)


def _pool(ndim: int, arguments: Arguments, shape: Shape | None) -> Block:
    kernel = arguments.read_axes("pool_size", ndim)
    stride = kernel if arguments.get("strides") is None else arguments.read_axes("strides", ndim)
    padding = arguments.read_choice("padding", ("valid", "same"))
    arguments.check_axes(shape, ndim + 1)
    if shape is None:
        return arguments.build(None, None)
    channels, size = _split(arguments, shape)
    positions = tuple(_count_named(n, k, s, padding) for n, k, s in zip(size, kernel, stride))
    return arguments.build(
        shape, check_positive(arguments.name, shape, _join(arguments, channels, positions))
    )


def _global_pool(ndim: int, arguments: Arguments, shape: Shape | None) -> Block:
    arguments.check_axes(shape, ndim + 1)
    keeps = arguments.read_flag("keepdims")
    if shape is None:
        return arguments.build(None, None)
    channels = _split(arguments, shape)[0]
    return arguments.build(shape, _join(arguments, channels, (1,) * ndim) if keeps else (channels,))


def _input(arguments: Arguments, shape: Shape | None) -> Block:
    own = arguments.get("shape")
    size = shape if own is None else check_shape(arguments.name, "shape", own)
    if shape is not None and size is not None:
        if len(shape) != len(size) or any(n not in (None, m) for n, m in zip(size, shape)):
            raise ShapeError(arguments.name, f"the input must be {format_shape(size)}", format_shape(shape))
        size = shape
    return arguments.build(size, size)


def _flatten(arguments: Arguments, shape: Shape | None) -> Block:
    return arguments.build(shape, None if shape is None else (multiply(shape),))


def _reshape(arguments: Arguments, shape: Shape | None) -> Block:
    total = None if shape is None else multiply(shape)
    return arguments.build(
        shape, resolve_sizes("Reshape", "target_shape", arguments.get("target_shape"), total)
    )


def _permute(arguments: Arguments, shape: Shape | None) -> Block:
    order = arguments.read_sizes("dims")
    if sorted(order) != list(range(1, len(order) + 1)) or (shape is not None and len(shape) != len(order)):
        expected = "dims must contain each axis once, beginning with 1"
        raise ArgumentError("Permute", expected, repr(arguments.get("dims")))
    return arguments.build(shape, None if shape is None else tuple(shape[n - 1] for n in order))


def _repeat(arguments: Arguments, shape: Shape | None) -> Block:
    arguments.check_axes(shape, 1)
    return arguments.build(shape, None if shape is None else (arguments.read_number("n"), *shape))


def _pad(ndim: int, word: str, arguments: Arguments, shape: Shape | None) -> Block:
    """Build a layer that pads or crops each spatial axis."""
    value = arguments.get(word)
    entries = tuple(value) if is_sequence(value) else (value,) * ndim
    if ndim == 1 and len(entries) == 2:
        entries = (entries,)
    if len(entries) != ndim:
        raise ArgumentError(arguments.name, f"{word} must have one entry per spatial axis", repr(value))
    totals: list[int] = []
    for entry in entries:
        pair = tuple(entry) if is_sequence(entry) else (entry, entry)
        totals.append(sum(check_integer(arguments.name, word, n, least=0) for n in pair))
    arguments.check_axes(shape, ndim + 1)
    if shape is None:
        return arguments.build(None, None)
    sign = 1 if word == "padding" else -1
    channels, size = _split(arguments, shape)
    new = tuple(None if n is None else n + sign * total for n, total in zip(size, totals))
    return arguments.build(shape, check_positive(arguments.name, shape, _join(arguments, channels, new)))


def _upsample(ndim: int, arguments: Arguments, shape: Shape | None) -> Block:
    factors = arguments.read_axes("size", ndim)
    arguments.check_axes(shape, ndim + 1)
    if shape is None:
        return arguments.build(None, None)
    channels, size = _split(arguments, shape)
    new = tuple(None if n is None else n * factor for n, factor in zip(size, factors))
    return arguments.build(shape, _join(arguments, channels, new))


#: Builders of layers that have parameters.
_COUNTED = (_recurrent, _embedding, _attention, _norm, _prelu, _separable)
Builder = Callable[[Arguments, Shape | None], Block]

_WEIGHTS = "-kernel_initializer -recurrent_initializer -bias_initializer"
_REGULARIZED = (
    "-kernel_regularizer -recurrent_regularizer -bias_regularizer -activity_regularizer -kernel_constraint "
    "-recurrent_constraint -bias_constraint -dropout -recurrent_dropout"
)
_SEQUENCE = (
    "return_sequences=False -return_state -go_backwards -stateful -unroll -seed -time_major -implementation"
)
_SIMPLE = f"units -activation use_bias=True {_WEIGHTS} {_REGULARIZED}"
_GATED = "units -activation -recurrent_activation use_bias=True"
_LSTM = f"{_GATED} {_WEIGHTS} -unit_forget_bias {_REGULARIZED}"
_GRU = f"{_GATED} {_WEIGHTS} {_REGULARIZED}"
_SCALE = (
    "center=True scale=True -beta_initializer -gamma_initializer -beta_regularizer -gamma_regularizer "
    "-beta_constraint -gamma_constraint"
)
_MOVING = "-moving_mean_initializer -moving_variance_initializer"
_UNCHANGED = {
    "Activation": "-activation",
    "ReLU": "-max_value -negative_slope -threshold",
    "LeakyReLU": "-negative_slope -alpha",
    "ELU": "-alpha",
    "Softmax UnitNormalization": "-axis",
    "ThresholdedReLU": "-theta",
    "Dropout": "-rate -noise_shape -seed",
    "AlphaDropout GaussianDropout": "-rate -noise_shape -seed",
    "SpatialDropout1D SpatialDropout2D SpatialDropout3D": "-rate -data_format -seed",
    "GaussianNoise": "-stddev -seed",
    "ActivityRegularization": "-l1 -l2",
    "Masking": "-mask_value",
    "Rescaling": "-scale -offset",
    "RandomFlip": "-mode -seed",
    "RandomRotation": "-factor -fill_mode -interpolation -seed -fill_value -data_format",
    "RandomZoom": "-height_factor -width_factor -fill_mode -interpolation -seed -fill_value -data_format",
    "RandomContrast": "-factor -value_range -seed",
    "RandomTranslation": "-height_factor -width_factor -fill_mode -interpolation -seed -fill_value",
}


def _list_layers() -> list[tuple[str, str, Builder]]:
    separable = (
        "filters kernel_size strides=1 padding='valid' data_format=None dilation_rate=1 depth_multiplier=1 "
        "-activation use_bias=True -depthwise_initializer -pointwise_initializer -bias_initializer "
        "-depthwise_regularizer -pointwise_regularizer -bias_regularizer -activity_regularizer "
        "-depthwise_constraint -pointwise_constraint -bias_constraint"
    )
    layers: list[tuple[str, str, Builder]] = [
        ("SimpleRNN", f"{_SIMPLE} {_SEQUENCE}", partial(_recurrent, "RNN")),
        ("LSTM", f"{_LSTM} {_SEQUENCE} -use_cudnn", partial(_recurrent, "LSTM")),
        ("GRU", f"{_GRU} {_SEQUENCE} reset_after=True -use_cudnn", partial(_recurrent, "GRU")),
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
            f"axis=-1 -momentum -epsilon {_SCALE.replace('-beta_reg', f'{_MOVING} -beta_reg')} -synchronized",
            _norm,
        ),
        ("LayerNormalization", f"axis=-1 -epsilon {_SCALE}", _norm),
        ("GroupNormalization", f"-groups axis=-1 -epsilon {_SCALE}", _norm),
        ("RMSNormalization", "axis=-1 -epsilon", _norm),
        ("PReLU", "-alpha_initializer -alpha_regularizer -alpha_constraint shared_axes=None", _prelu),
        ("Input", "shape=None -batch_size -sparse -ragged -tensor -optional", _input),
        ("InputLayer", "shape=None -batch_size -sparse -ragged -input_tensor -optional", _input),
        ("Flatten", "-data_format", _flatten),
        ("Reshape", "target_shape", _reshape),
        ("Permute", "dims", _permute),
        ("RepeatVector", "n", _repeat),
    ]
    for n in (1, 2, 3):
        pool = f"pool_size={2 if n == 1 else (2,) * n} strides=None padding='valid' data_format=None"
        pool = pool.replace(", ", ",")
        for long, short in (("MaxPooling", "MaxPool"), ("AveragePooling", "AvgPool")):
            layers += [(f"{name}{n}D", pool, partial(_pool, n)) for name in (long, short)]
            layers += [
                (f"Global{name}{n}D", "data_format=None keepdims=False", partial(_global_pool, n))
                for name in (long, short)
            ]
        layers += [
            (f"ZeroPadding{n}D", "padding=1 data_format=None", partial(_pad, n, "padding")),
            (
                f"Cropping{n}D",
                f"cropping={1 if n == 1 else 0} data_format=None",
                partial(_pad, n, "cropping"),
            ),
            (f"UpSampling{n}D", "size=2 data_format=None -interpolation", partial(_upsample, n)),
        ]
        if n < 3:
            layers.append((f"SeparableConv{n}D", separable, partial(_separable, n)))
            layers.append((f"SeparableConvolution{n}D", separable, partial(_separable, n)))
    for names, text in _UNCHANGED.items():
        layers += [(name, text, _keep) for name in names.split()]
    return layers


#: The other layers of Keras, by name.
KERAS_FORMS: dict[str, Form] = {
    name: read_keras_form(
        name, text, build=build, has_parameters=getattr(build, "func", build) in _COUNTED
    )
    for name, text, build in _list_layers()
}
