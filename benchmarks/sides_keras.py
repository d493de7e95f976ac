"""Keras 2's locally connected layers (tf_keras), their three implementations, compiled by tf.function.

Their inputs have the channels last, as Keras has them; padding is added inside.
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

from arrays import input_array, weight_array
from shapes import Shape

tf.get_logger().setLevel("ERROR")

#: Bytes of a temporary, or of the dense kernel of implementation 2.
MOST_BYTES = 2 * 2**30
#: Positions that implementation 1 traces one by one.
MOST_POSITIONS = 4096
#: Entries of the index of implementation 3, which Keras makes as a list of Python tuples.
MOST_ENTRIES = 8_000_000


class Side:
    """One layer with our weights."""

    compiles_late = True

    def __init__(self, shape: Shape, implementation: int):
        self.shape = shape
        make = {1: tf_keras.layers.LocallyConnected1D, 2: tf_keras.layers.LocallyConnected2D}[shape.ndim]
        self.layer = make(
            shape.out, shape.kernel, strides=shape.stride, use_bias=False, implementation=implementation
        )
        self.input = tf.constant(np.moveaxis(input_array(shape), 1, -1))
        padded = [shape.size + 2 * shape.padding] * shape.ndim
        unused = range(shape.weights)  # Keras's own index takes a loop over all taps in Python
        with mock.patch.object(conv_utils, "conv_kernel_idxs", return_value=unused):
            self.layer.build((shape.batch, *padded, shape.channels))
        if implementation == 3:
            self.layer.kernel_idxs = _entries(shape)[0]
        self.layer.kernel.assign(_KERNELS[implementation](shape))
        self.no_training = _too_much_to_train(shape, implementation)
        self._forward = tf.function(self._function).get_concrete_function()
        self._training = self.grad = self.kept = None

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
        self.kept = None
        self.kept = self._training()  # type: ignore[misc]
        return self.kept

    def result(self) -> np.ndarray:
        return np.moveaxis(self.forward().numpy(), -1, 1)

    def input_grad(self) -> np.ndarray:
        return np.moveaxis(self.kept[1].numpy(), -1, 1)  # type: ignore[index]

    def result_bytes(self, what: str) -> int:
        shape = self.shape
        kernel = int(np.prod(self.layer.kernel.shape))
        return 4 * (shape.outputs + (shape.inputs + kernel if what == "training" else 0))


def build(section: str, shape: Shape) -> dict[str, Callable[[], Side] | str]:
    if section not in ("local", "grouped"):
        return {}
    if shape.groups > 1:
        return {"tf_keras": "has no groups"}
    reasons = {1: _too_many_positions(shape), 2: _too_dense(shape), 3: _too_many_entries(shape)}
    return {
        f"tf_keras {number}": reason or (lambda number=number: Side(shape, number))
        for number, reason in reasons.items()
    }


def versions() -> dict[str, str]:
    return {"tf_keras": tf_keras.__version__, "tensorflow": tf.__version__}


def _too_many_positions(shape: Shape) -> str | None:
    if shape.positions > MOST_POSITIONS:
        return f"{shape.positions} positions, each traced by itself"
    return _too_large("patches", 4 * shape.batch * shape.positions * shape.taps)


def _too_much_to_train(shape: Shape, implementation: int) -> str | None:
    """Gradients that are added up at once: of slices, each as large as the input; of the sparse entries."""
    if implementation == 1:
        return _too_large("gradients of slices", 4 * shape.positions * shape.inputs)
    if implementation == 3:
        return _too_large("gathered rows", 8 * shape.batch * shape.weights)
    return None


def _too_dense(shape: Shape) -> str | None:
    return _too_large("a dense kernel", 4 * int(np.prod(_dense_shape(shape))))


def _too_many_entries(shape: Shape) -> str | None:
    if shape.weights > MOST_ENTRIES:
        return f"an index of {shape.weights / 1e6:.0f} million Python tuples"
    return None


def _too_large(what: str, size: int) -> str | None:
    return f"{what} of {size / 2**30:.1f} GiB" if size > MOST_BYTES else None


def _dense_shape(shape: Shape) -> tuple[int, ...]:
    padded = (shape.size + 2 * shape.padding,) * shape.ndim
    return (*padded, shape.channels, *shape.out_size, shape.out)


def _by_patch(shape: Shape) -> np.ndarray:
    """Implementation 1: [P, kernel * C, O]."""
    return weight_array(shape).reshape(shape.positions, -1, shape.out)


def _dense(shape: Shape) -> np.ndarray:
    """Implementation 2: every input by every output, zero where they are not connected."""
    kernel = np.zeros(_dense_shape(shape), np.float32)
    weight = weight_array(shape)
    for number, position in enumerate(itertools.product(*map(range, shape.out_size))):
        window = tuple(slice(i * shape.stride, i * shape.stride + shape.kernel) for i in position)
        kernel[(*window, slice(None), *position)] = weight[number]
    return kernel


def _sparse(shape: Shape) -> np.ndarray:
    """Implementation 3: the weights in the order of the index."""
    return weight_array(shape).reshape(-1)[_entries(shape)[1]]


@lru_cache(maxsize=1)
def _entries(shape: Shape) -> tuple[np.ndarray, np.ndarray]:
    """Keras's index, (output, input) in ascending order, and which weight of ours goes to each entry."""
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


_KERNELS: dict[int, Callable[[Shape], np.ndarray]] = {1: _by_patch, 2: _dense, 3: _sparse}
