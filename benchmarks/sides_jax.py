"""The unshared convolution of JAX, compiled with `jit` before it is timed."""

import os
from collections.abc import Callable

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import numpy as np
from jax import lax

from arrays import flatten_patches, make_input, make_weight
from shapes import Shape

SPATIAL = "HWD"


class Side:
    """The function `lax.conv_general_dilated_local`, with channels first or last."""

    compiles_late = False
    no_training = None

    def __init__(self, shape: Shape, channels_last: bool):
        self.shape, self.channels_last = shape, channels_last
        spatial = SPATIAL[: shape.ndim]
        images = f"N{spatial}C" if channels_last else f"NC{spatial}"
        self.layout = (images, f"{spatial}IO", images)
        x = make_input(shape)
        self.input = jax.device_put(np.moveaxis(x, 1, -1).copy() if channels_last else x)
        weight = flatten_patches(make_weight(shape))
        self.weight = jax.device_put(weight.reshape(*shape.out_size, *weight.shape[1:]))
        self._forward = jax.jit(self._function).lower(self.input, self.weight).compile()
        self._training = self.grad = self.results = None

    def _function(self, x: jax.Array, weight: jax.Array) -> jax.Array:
        n, shape = self.shape.ndim, self.shape
        strides, padding, kernel = (shape.stride,) * n, ((shape.padding,) * 2,) * n, (shape.kernel,) * n
        return lax.conv_general_dilated_local(
            x, weight, strides, padding, kernel, dimension_numbers=self.layout
        )

    def _step(self, x: jax.Array, weight: jax.Array, grad: jax.Array) -> tuple[jax.Array, ...]:
        out, pull = jax.vjp(self._function, x, weight)
        return (out, *pull(grad))

    def forward(self) -> jax.Array:
        return self._forward(self.input, self.weight).block_until_ready()

    def prepare_training(self) -> None:
        out = jax.eval_shape(self._function, self.input, self.weight)
        self.grad = jax.device_put(np.ones(out.shape, np.float32))
        if self._training is None:
            self._training = jax.jit(self._step).lower(self.input, self.weight, self.grad).compile()

    def training(self) -> tuple[jax.Array, ...]:
        self.results = None
        self.results = jax.block_until_ready(self._training(self.input, self.weight, self.grad))  # type: ignore[misc]
        return self.results

    def result(self) -> np.ndarray:
        return self._channels_first(self.forward())

    def input_grad(self) -> np.ndarray:
        return self._channels_first(self.results[1])  # type: ignore[index]

    def _channels_first(self, array: jax.Array) -> np.ndarray:
        return np.moveaxis(np.asarray(array), -1, 1) if self.channels_last else np.asarray(array)

    def result_bytes(self, what: str) -> int:
        shape = self.shape
        return 4 * (shape.outputs + (shape.inputs + shape.weights if what == "training" else 0))


def build(section: str, shape: Shape) -> dict[str, Callable[[], Side] | str]:
    if section not in ("local", "grouped"):
        return {}
    if shape.groups > 1:
        return {"JAX": "no support for groups"}
    return {
        "JAX NCHW": lambda: Side(shape, channels_last=False),
        "JAX NHWC": lambda: Side(shape, channels_last=True),
    }


def get_versions() -> dict[str, str]:
    return {"jax": jax.__version__}
