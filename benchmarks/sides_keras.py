"""The three implementations of locally connected layers in Keras 2 (tf_keras), compiled with `tf.function`.

Inputs have the channels last, as is usual in Keras. Padding is part of the timed function.
"""

import itertools
import os
from collections.abc import Callable
from functools import lru_cache
from unittest import mock

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import numpy as np
import tensorflow as tf
import tf_keras
from tf_keras.src.utils import conv_utils

from arrays import make_input, make_weight
from shapes import Shape

tf.get_logger().setLevel("ERROR")

#: Maximum size in bytes of a temporary, or of the dense kernel of implementation 2.
MOST_BYTES = 2 * 2**30
#: Maximum number of positions for implementation 1, which traces each of them separately.
MOST_POSITIONS = 4096
#: Maximum number of entries in the index of implementation 3, which Keras stores as Python tuples.
MOST_ENTRIES = 8_000_000


class Side:
    """A Keras layer with the same weights as the other sides."""

    compiles_late = True

    def __init__(self, shape: Shape, implementation: int):
        self.shape = shape
        make = {1: tf_keras.layers.LocallyConnected1D, 2: tf_keras.layers.LocallyConnected2D}[shape.ndim]
        self.layer = make(
            shape.out, shape.kernel, strides=shape.stride, use_bias=False, implementation=implementation
        )
        self.input = tf.constant(np.moveaxis(make_input(shape), 1, -1))
        padded = [shape.size + 2 * shape.padding] * shape.ndim
        unused = range(shape.weights)  # Keras builds this index in a slow Python loop; it is not used
        with mock.patch.object(conv_utils, "conv_kernel_idxs", return_value=unused):
            self.layer.build((shape.batch, *padded, shape.channels))
        if implementation == 3:
            self.layer.kernel_idxs = _list_entries(shape)[0]
        self.layer.kernel.assign(_MAKE_KERNEL[implementation](shape))
        self.no_training = _check_training(shape, implementation)
        self._forward = tf.function(self._function).get_concrete_function()
        self._training = self.grad = self.results = None

    def _function(self) -> tf.Tensor:
        margin = [self.shape.padding] * 2
        return self.layer(tf.pad(self.input, [[0, 0], *[margin] * self.shape.ndim, [0, 0]]))

    def _step(self) -> tuple[tf.Tensor, ...]:
        with tf.GradientTape() as tape:
            tape.watch(self.input)
            out = self._function()
        return (out, *tape.gradient(out, [self.input, self.layer.kernel], output_gradients=self.grad))

    def forward(self) -> tf.Tensor:
        return self._forward()

    def prepare_training(self) -> None:
        self.grad = tf.ones((self.shape.batch, *self.shape.out_size, self.shape.out))
        if self._training is None:
            self._training = tf.function(self._step).get_concrete_function()

    def training(self) -> tuple[tf.Tensor, ...]:
        self.results = None
        self.results = self._training()  # type: ignore[misc]
        return self.results

    def result(self) -> np.ndarray:
        return np.moveaxis(self.forward().numpy(), -1, 1)

    def input_grad(self) -> np.ndarray:
        return np.moveaxis(self.results[1].numpy(), -1, 1)  # type: ignore[index]

    def result_bytes(self, what: str) -> int:
        shape = self.shape
        kernel = int(np.prod(self.layer.kernel.shape))
        return 4 * (shape.outputs + (shape.inputs + kernel if what == "training" else 0))


def build(section: str, shape: Shape) -> dict[str, Callable[[], Side] | str]:
    if section not in ("local", "grouped"):
        return {}
    if shape.groups > 1:
        return {"tf_keras": "no support for groups"}
    reasons = {1: _check_positions(shape), 2: _check_dense_kernel(shape), 3: _check_entries(shape)}
    return {
        f"tf_keras {number}": reason or (lambda number=number: Side(shape, number))
        for number, reason in reasons.items()
    }


def get_versions() -> dict[str, str]:
    return {"tf_keras": tf_keras.__version__, "tensorflow": tf.__version__}


def _check_positions(shape: Shape) -> str | None:
    if shape.positions > MOST_POSITIONS:
        return f"{shape.positions} positions, each traced separately"
    return _check_size("patches", 4 * shape.batch * shape.positions * shape.taps)


def _check_training(shape: Shape, implementation: int) -> str | None:
    """Return the reason if the gradients of all slices or sparse entries, held at once, are too large."""
    if implementation == 1:
        return _check_size("gradients of slices", 4 * shape.positions * shape.inputs)
    if implementation == 3:
        return _check_size("gathered rows", 8 * shape.batch * shape.weights)
    return None


def _check_dense_kernel(shape: Shape) -> str | None:
    return _check_size("a dense kernel", 4 * int(np.prod(_dense_shape(shape))))


def _check_entries(shape: Shape) -> str | None:
    if shape.weights > MOST_ENTRIES:
        return f"an index of {shape.weights / 1e6:.0f} million Python tuples"
    return None


def _check_size(what: str, size: int) -> str | None:
    return f"{what} of {size / 2**30:.1f} GiB" if size > MOST_BYTES else None


def _dense_shape(shape: Shape) -> tuple[int, ...]:
    padded = (shape.size + 2 * shape.padding,) * shape.ndim
    return (*padded, shape.channels, *shape.out_size, shape.out)


def _make_patch_kernel(shape: Shape) -> np.ndarray:
    """Return the kernel of implementation 1: [P, kernel * C, O]."""
    return make_weight(shape).reshape(shape.positions, -1, shape.out)


def _make_dense_kernel(shape: Shape) -> np.ndarray:
    """Return the kernel of implementation 2: a dense matrix with zeros for unconnected pairs."""
    kernel = np.zeros(_dense_shape(shape), np.float32)
    weight = make_weight(shape)
    for number, position in enumerate(itertools.product(*map(range, shape.out_size))):
        window = tuple(slice(i * shape.stride, i * shape.stride + shape.kernel) for i in position)
        kernel[(*window, slice(None), *position)] = weight[number]
    return kernel


def _make_sparse_kernel(shape: Shape) -> np.ndarray:
    """Return the kernel of implementation 3: the weights in the order of the index."""
    return make_weight(shape).reshape(-1)[_list_entries(shape)[1]]


@lru_cache(maxsize=1)
def _list_entries(shape: Shape) -> tuple[np.ndarray, np.ndarray]:
    """Return the index of Keras, sorted (output, input) pairs, and the weight that belongs to each entry."""
    n, padded = shape.ndim, _dense_shape(shape)[: shape.ndim]
    axes = np.ogrid[tuple(map(slice, (*shape.out_size, *(shape.kernel,) * n, shape.channels, shape.out)))]
    position, tap, (channel, out) = axes[:n], axes[n : 2 * n], axes[2 * n :]
    to: np.ndarray | int = 0
    at: np.ndarray | int = 0
    for p, t, size, out_size in zip(position, tap, padded, shape.out_size):
        to, at = to * out_size + p, at * size + p * shape.stride + t
    outputs, inputs = np.broadcast_arrays(to * shape.out + out, at * shape.channels + channel)
    outputs, inputs = outputs.reshape(-1), inputs.reshape(-1)
    order = np.lexsort((inputs, outputs))
    return np.stack([outputs[order], inputs[order]], axis=1), order


_MAKE_KERNEL: dict[int, Callable[[Shape], np.ndarray]] = {
    1: _make_patch_kernel,
    2: _make_dense_kernel,
    3: _make_sparse_kernel,
}
