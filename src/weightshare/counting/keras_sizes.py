"""The layers of Keras without parameters: signature and size of output.

The sizes have the channels last, as in Keras, unless a layer has `data_format='channels_first'`.
"""

from collections.abc import Callable
from functools import partial

from .._args import check_integer, is_sequence
from ..errors import ArgumentError, ShapeError
from .arguments import Arguments
from .block import Block, Shape, format_shape, multiply
from .keras_words import read_keras_form
from .resizing import check_positive, count_windows, resolve_sizes
from .sizes import check_shape
from .words import Form

_FIRST = "channels_first"


def _is_first(arguments: Arguments) -> bool:
    """Return whether the sizes of this layer have the channels first."""
    value = arguments.get("data_format")
    return value is not None and arguments.read_choice("data_format", ("channels_last", _FIRST)) == _FIRST


def split_channels(arguments: Arguments, shape: Shape) -> tuple[int | None, Shape]:
    """Return the channels and the spatial size."""
    return (shape[0], shape[1:]) if _is_first(arguments) else (shape[-1], shape[:-1])


def join_channels(arguments: Arguments, channels: int | None, size: Shape) -> Shape:
    return (channels, *size) if _is_first(arguments) else (*size, channels)


def count_named(size: int | None, extent: int, stride: int, padding: str) -> int | None:
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
    channels, size = split_channels(arguments, shape)
    positions = tuple(count_named(n, k, s, padding) for n, k, s in zip(size, kernel, stride))
    return arguments.build(
        shape, check_positive(arguments.name, shape, join_channels(arguments, channels, positions))
    )


def _global_pool(ndim: int, arguments: Arguments, shape: Shape | None) -> Block:
    arguments.check_axes(shape, ndim + 1)
    keeps = arguments.read_flag("keepdims")
    if shape is None:
        return arguments.build(None, None)
    channels = split_channels(arguments, shape)[0]
    return arguments.build(shape, join_channels(arguments, channels, (1,) * ndim) if keeps else (channels,))


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
    channels, size = split_channels(arguments, shape)
    new = tuple(None if n is None else n + sign * total for n, total in zip(size, totals))
    return arguments.build(
        shape, check_positive(arguments.name, shape, join_channels(arguments, channels, new))
    )


def _upsample(ndim: int, arguments: Arguments, shape: Shape | None) -> Block:
    factors = arguments.read_axes("size", ndim)
    arguments.check_axes(shape, ndim + 1)
    if shape is None:
        return arguments.build(None, None)
    channels, size = split_channels(arguments, shape)
    new = tuple(None if n is None else n * factor for n, factor in zip(size, factors))
    return arguments.build(shape, join_channels(arguments, channels, new))


Builder = Callable[[Arguments, Shape | None], Block]

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
    "RandomFlip": "-mode -seed -data_format",
    "RandomRotation": "-factor -fill_mode -interpolation -seed -fill_value -data_format",
    "RandomZoom RandomTranslation": (
        "-height_factor -width_factor -fill_mode -interpolation -seed -fill_value -data_format"
    ),
    "RandomContrast": "-factor -value_range -seed",
}


def _list_layers() -> list[tuple[str, str, Builder]]:
    layers: list[tuple[str, str, Builder]] = [
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
                f"cropping={0 if n == 2 else 1} data_format=None",
                partial(_pad, n, "cropping"),
            ),
            (f"UpSampling{n}D", "size=2 data_format=None -interpolation", partial(_upsample, n)),
        ]
    for names, text in _UNCHANGED.items():
        layers += [(name, text, _keep) for name in names.split()]
    return layers


#: The layers of Keras without parameters, by name.
KERAS_SIZE_FORMS: dict[str, Form] = {
    name: read_keras_form(name, text, build=build, has_parameters=False)
    for name, text, build in _list_layers()
}
