"""The layers of `torch.nn` without parameters: signature and size of output."""

from collections.abc import Callable
from functools import partial

from .._args import is_sequence
from ..errors import ArgumentError, ShapeError
from .arguments import Arguments
from .block import Block, Shape, format_shape, multiply
from .resizing import check_positive, count_windows, resolve_sizes
from .sizes import check_number
from .words import Form, read_form


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


Builder = Callable[[Arguments, Shape | None], Block]

_MAX_POOL = "kernel_size stride=None padding=0 dilation=1 -return_indices ceil_mode=False"
_AVERAGE_POOL = "kernel_size stride=None padding=0 ceil_mode=False -count_include_pad"
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
        ("Flatten", "start_dim=1 end_dim=-1", _flatten),
        ("Unflatten", "dim unflattened_size", _unflatten),
        ("Upsample", "size=None scale_factor=None -mode -align_corners -recompute_scale_factor", _upsample),
        ("PixelShuffle", "upscale_factor", _shuffle),
        ("PixelUnshuffle", "downscale_factor", _shuffle),
    ]
    for n in (1, 2, 3):
        layers += [
            (f"MaxPool{n}d", _MAX_POOL, partial(_pool, n)),
            (f"AvgPool{n}d", _AVERAGE_POOL + (" -divisor_override" if n > 1 else ""), partial(_pool, n)),
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


#: The layers of torch without parameters, by name.
SIZE_FORMS: dict[str, Form] = {
    name: read_form(name, text, build=build, has_parameters=False) for name, text, build in _list_layers()
}
