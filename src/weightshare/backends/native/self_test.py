"""Compare the library with plain loops on one small layer, in numpy, so that no mode of torch interferes."""

import itertools
from typing import Any

import numpy as np

#: Sizes of the layer: images, groups, channels and outputs per group, input, kernel, stride and padding.
BATCH, GROUPS, IN, OUT, SIZE, KERNEL, STRIDE, PADDING = 3, 2, 2, 5, (4, 5), (2, 3), (2, 1), (0, 1)
OUT_SIZE = tuple((n + 2 * p - k) // s + 1 for n, k, s, p in zip(SIZE, KERNEL, STRIDE, PADDING))


def find_error(functions: Any, structure: Any) -> str | None:
    """Return a description of the first wrong result of the three maps; None if all are right.

    Args:
        functions: The library.
        structure: The class of the C structure `Layer`.
    """
    random = np.random.default_rng(0)
    channels, outputs, positions = GROUPS * IN, GROUPS * OUT, int(np.prod(OUT_SIZE))
    x = random.standard_normal((BATCH, channels, *SIZE))
    w = random.standard_normal((positions, *KERNEL, IN, outputs))
    g = random.standard_normal((BATCH, outputs, *OUT_SIZE))
    expected = _compute(x, w, g)
    for type_number, dtype, tolerance in ((1, np.float64, 1e-12), (0, np.float32, 1e-4)):
        layer = structure(batch=BATCH, channels=channels, outputs=outputs, groups=GROUPS, banks=positions)
        sizes = {"input_size": SIZE, "output_size": OUT_SIZE, "kernel_size": KERNEL, "stride": STRIDE}
        for name, values in {**sizes, "dilation": (1, 1), "padding": PADDING}.items():
            setattr(layer, name, type(layer.stride)(0 if name == "padding" else 1, *values))
        layer.type, layer.threads = type_number, 1
        a, b, c = (values.astype(dtype) for values in (x, w, g))
        for number, (first, second) in enumerate(((a, b), (c, b), (a, c))):
            result = np.full(expected[number].shape, np.nan, dtype)
            memory = np.empty(functions.weightshare_count_memory(number, layer) + 64, np.uint8)
            start = memory.ctypes.data + -memory.ctypes.data % 64
            addresses = (first.ctypes.data, second.ctypes.data, result.ctypes.data, start)
            if functions.weightshare_compute(number, layer, *addresses, None):
                return f"map {number} fails in {np.dtype(dtype)}"
            if not np.allclose(result, expected[number], rtol=tolerance, atol=tolerance):
                return f"map {number} computes wrong numbers in {np.dtype(dtype)}"
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
