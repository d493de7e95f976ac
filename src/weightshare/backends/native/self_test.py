"""Compare the library with plain loops on one small layer, in numpy, so that no mode of torch interferes."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

#: Sizes of the layer: images, groups, channels and outputs per group, input, kernel, stride and padding.
#: Enough images and outputs to fill the widest vectors and leave a remainder.
BATCH, GROUPS, IN, OUT, SIZE, KERNEL, STRIDE, PADDING = 18, 2, 2, 19, (4, 5), (2, 3), (2, 1), (0, 1)
OUT_SIZE = tuple((n + 2 * p - k) // s + 1 for n, k, s, p in zip(SIZE, KERNEL, STRIDE, PADDING))

_Convert = Callable[[Any], Any]


def _encode_bfloat16(values: Any) -> Any:
    return (values.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)


def _decode_bfloat16(bits: Any) -> Any:
    return (bits.astype(np.uint32) << 16).view(np.float32)


def _make_type(name: str, number: int, tolerance: float) -> tuple[str, int, _Convert, _Convert, float]:
    return name, number, lambda values: values.astype(name), lambda values: values, tolerance


#: Name, number in layer.h, conversion from and to other arrays, and tolerance of each type.
TYPES = (
    _make_type("float64", 1, 1e-12),
    _make_type("float32", 0, 1e-4),
    ("bfloat16", 2, _encode_bfloat16, _decode_bfloat16, 1e-2),
    _make_type("float16", 3, 2e-3),
)


def find_error(functions: Any, structure: Any) -> str | None:
    """Return a description of the first wrong result of the three maps; None if all are right.

    Args:
        functions: The library.
        structure: The class of the C structure `Layer`.
    """
    random = np.random.default_rng(0)
    channels, outputs, positions = GROUPS * IN, GROUPS * OUT, int(np.prod(OUT_SIZE))
    shapes = (BATCH, channels, *SIZE), (positions, *KERNEL, IN, outputs), (BATCH, outputs, *OUT_SIZE)
    x, w, g = (np.round(8 * random.standard_normal(shape)) / 8 for shape in shapes)  # exact in every type
    expected = _compute(x, w, g)
    for name, type_number, encode, decode, tolerance in TYPES:
        layer = structure(batch=BATCH, channels=channels, outputs=outputs, groups=GROUPS, banks=positions)
        sizes = {"input_size": SIZE, "output_size": OUT_SIZE, "kernel_size": KERNEL, "stride": STRIDE}
        for field, values in {**sizes, "dilation": (1, 1), "padding": PADDING}.items():
            setattr(layer, field, type(layer.stride)(0 if field == "padding" else 1, *values))
        layer.type, layer.threads = type_number, 1
        a, b, c = (encode(values) for values in (x, w, g))
        for number, (first, second) in enumerate(((a, b), (c, b), (a, c))):
            result = encode(np.full(expected[number].shape, np.nan))
            memory = np.empty(functions.weightshare_count_memory(number, layer) + 64, np.uint8)
            start = memory.ctypes.data + -memory.ctypes.data % 64
            addresses = (first.ctypes.data, second.ctypes.data, result.ctypes.data, start)
            if functions.weightshare_compute(number, layer, *addresses, None):
                return f"map {number} fails in {name}"
            if not np.allclose(decode(result), expected[number], rtol=tolerance, atol=tolerance):
                return f"map {number} computes wrong numbers in {name}"
    return None


def _compute(x: Any, w: Any, g: Any) -> tuple[Any, Any, Any]:
    """Return output, gradient of the input, and gradient of the weight."""
    width = [(0, 0), (0, 0), *((p, p) for p in PADDING)]
    padded = np.pad(x, width)
    y, dx, dw = np.zeros_like(g), np.zeros_like(padded), np.zeros_like(w)
    grid, taps = itertools.product(*map(range, OUT_SIZE)), list(itertools.product(*map(range, KERNEL)))
    for p, position in enumerate(grid):
        for tap, group in itertools.product(taps, range(GROUPS)):
            row, column = (i * s + k for i, s, k in zip(position, STRIDE, tap))
            inputs = slice(group * IN, group * IN + IN)
            outputs = slice(group * OUT, group * OUT + OUT)
            matrix, at = w[(p, *tap)][:, outputs], (slice(None), outputs, *position)
            pixel, grad = padded[:, inputs, row, column], g[at]
            y[at] += pixel @ matrix
            dx[:, inputs, row, column] += grad @ matrix.T
            dw[(p, *tap)][:, outputs] += pixel.T @ grad
    crop = tuple(slice(p, p + n) for p, n in zip(PADDING, SIZE))
    return y, dx[(slice(None), slice(None), *crop)], dw
