"""Write reference outputs of Keras and Flax layers to this folder: keras/*.npz, flax/*.npz, and
keras_files/*, which are models saved by tf_keras and Keras 3 in each of their formats.

Run by `make golden`, in a separate environment. Each file contains the input, output and weights of one
layer, in the library's layout, and as JSON `arguments` (the constructor arguments of the layer), `layer` (the
configuration of a Keras layer) and `versions`. All values, including biases, are random multiples of 1/16, so
sums are exact in any order and the files are small.
"""

import json
import os
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import flax
import flax.linen
import jax
import keras
import numpy as np
import tensorflow as tf
import tf_keras

HERE = Path(__file__).parent
FIRST, SAME = {"data_format": "channels_first"}, {"padding": "same"}

#: name: class, input size, channels, arguments
KERAS = {
    "1d": ("LocallyConnected1D", (9,), 3, {"kernel_size": 4}),
    "1d_stride": ("LocallyConnected1D", (10,), 3, {"kernel_size": 4, "strides": 3}),
    "1d_first": ("LocallyConnected1D", (9,), 3, {"kernel_size": 4, "strides": 2, **FIRST}),
    "1d_no_bias": ("LocallyConnected1D", (7,), 2, {"kernel_size": 3, "use_bias": False}),
    "2d": ("LocallyConnected2D", (5, 7), 3, {"kernel_size": (2, 3)}),
    "2d_float32": ("LocallyConnected2D", (5, 7), 3, {"kernel_size": (2, 3), "dtype": "float32"}),
    "2d_stride": ("LocallyConnected2D", (8, 7), 2, {"kernel_size": (3, 2), "strides": (2, 3)}),
    "2d_first": ("LocallyConnected2D", (5, 7), 3, {"kernel_size": (2, 3), **FIRST}),
    "2d_first_stride": ("LocallyConnected2D", (8, 7), 2, {"kernel_size": (3, 2), "strides": (2, 3), **FIRST}),
    "2d_no_bias": ("LocallyConnected2D", (4, 6), 2, {"kernel_size": 3, "use_bias": False}),
    "2d_first_no_bias": ("LocallyConnected2D", (4, 6), 2, {"kernel_size": 3, "use_bias": False, **FIRST}),
    **{
        f"{name}_implementation_{implementation}": (*case, {**arguments, "implementation": implementation})
        for implementation in (2, 3)
        for name, (*case, arguments) in {
            "1d": ("LocallyConnected1D", (6,), 2, {"kernel_size": 3, "strides": 2}),
            "1d_first_same": ("LocallyConnected1D", (6,), 2, {"kernel_size": 5, **FIRST, **SAME}),
            "2d": ("LocallyConnected2D", (4, 5), 2, {"kernel_size": (2, 3), "strides": (1, 2)}),
            "2d_first": ("LocallyConnected2D", (4, 5), 2, {"kernel_size": (2, 3), **FIRST}),
            "2d_same": ("LocallyConnected2D", (3, 5), 2, {"kernel_size": (3, 5), "strides": (2, 1), **SAME}),
            "2d_first_same": (
                "LocallyConnected2D",
                (4, 3),
                2,
                {"kernel_size": (1, 3), "strides": (1, 2), "use_bias": False, **FIRST, **SAME},
            ),
        }.items()
    },
}

#: name: input size, channels, arguments
FLAX = {
    "1d": ((9,), 3, {"kernel_size": [4], "padding": "VALID"}),
    "1d_same_even": ((7,), 3, {"kernel_size": [4]}),
    "1d_circular_dilated": ((8,), 2, {"kernel_size": [3], "padding": "CIRCULAR", "kernel_dilation": 2}),
    "1d_causal": ((7,), 2, {"kernel_size": [3], "padding": "CAUSAL", "kernel_dilation": 2}),
    "2d": ((5, 7), 3, {"kernel_size": [2, 3], "padding": "VALID"}),
    "2d_float32": ((5, 7), 3, {"kernel_size": [2, 3], "padding": "VALID", "dtype": "float32"}),
    "2d_no_bias": ((4, 6), 2, {"kernel_size": [3, 2], "strides": [1, 2], "padding": 1, "use_bias": False}),
    "2d_stride_dilation": (
        (9, 8),
        2,
        {"kernel_size": [3, 2], "strides": [2, 1], "padding": [1, 0], "kernel_dilation": [2, 3]},
    ),
    "2d_same": ((4, 5), 3, {"kernel_size": [3, 4]}),
    "2d_same_stride": ((7, 5), 2, {"kernel_size": [3, 3], "strides": [2, 2]}),
    "2d_same_stride_uneven": ((8, 5), 2, {"kernel_size": [3, 2], "strides": [2, 3]}),
    "2d_pairs_uneven": ((4, 5), 2, {"kernel_size": [2, 3], "padding": [[2, 0], [0, 1]]}),
    "2d_circular_even": ((4, 5), 2, {"kernel_size": [2, 4], "padding": "CIRCULAR"}),
    "2d_circular_stride": ((5, 6), 2, {"kernel_size": [3, 5], "strides": [2, 1], "padding": "CIRCULAR"}),
    "2d_circular_stride_uneven": ((4, 5), 2, {"kernel_size": [2, 3], "strides": 2, "padding": "CIRCULAR"}),
    "2d_reflect": ((4, 5), 2, {"kernel_size": [3, 4], "padding": "REFLECT"}),
    "3d": ((3, 4, 5), 2, {"kernel_size": [2, 3, 2], "strides": [1, 1, 2], "padding": "VALID"}),
    "3d_same": ((3, 2, 4), 2, {"kernel_size": [3, 1, 2], "use_bias": False}),
}


def draw(rng, shape, dtype) -> np.ndarray:
    return (rng.integers(-50, 50, shape) / 16).astype(dtype)


def make_keras_case(rng, kind, size, channels, arguments) -> dict:
    layer = getattr(tf_keras.layers, kind)(filters=4, **{"dtype": "float64"} | arguments)
    last = arguments.get("data_format") != "channels_first"
    shape = (2, *size, channels) if last else (2, channels, *size)
    inputs = draw(rng, shape, layer.dtype)
    layer.build(shape)
    weights = [draw(rng, w.shape, layer.dtype) for w in layer.get_weights()]
    layer.set_weights(weights)
    config = {"class": kind, "config": layer.get_config(), "build_config": layer.get_build_config()}
    return {
        "input": inputs,
        "output": layer(tf.constant(inputs)).numpy(),
        **dict(zip(("kernel", "bias"), weights)),
        "layer": json.dumps(config),
    }


def make_flax_case(rng, size, channels, arguments) -> dict:
    dtype = np.dtype(arguments.get("dtype", "float64"))
    converted = {name: to_tuples(value) for name, value in arguments.items()} | {"dtype": dtype}
    layer = flax.linen.ConvLocal(features=4, param_dtype=dtype, **converted)
    inputs = draw(rng, (2, *size, channels), dtype)
    initial = layer.init(jax.random.key(0), inputs)["params"]
    params = {name: draw(rng, array.shape, dtype) for name, array in initial.items()}
    return {"input": inputs, "output": np.asarray(layer.apply({"params": params}, inputs)), **params}


def to_tuples(value):
    return tuple(map(to_tuples, value)) if isinstance(value, list) else value


def write(library: str, cases: dict, make, versions: dict) -> None:
    (HERE / library).mkdir(exist_ok=True)
    for number, (name, case) in enumerate(cases.items()):
        arrays = make(np.random.default_rng(number), *case)
        texts = {"arguments": json.dumps(case[-1]), "versions": json.dumps(versions)}
        np.savez_compressed(HERE / library / f"{name}.npz", **arrays, **texts)


def make_tf_keras_model() -> tf_keras.Model:
    layers = tf_keras.layers
    block = [
        layers.LocallyConnected2D(3, (2, 3), implementation=3, activation="softmax", name="inner"),
        layers.LocallyConnected2D(2, 1, implementation=2, use_bias=False, activation="gelu", name="last"),
    ]
    return tf_keras.Sequential(
        [
            layers.Input((5, 6, 2)),
            layers.LocallyConnected2D(4, 3, activation="relu", name="first"),
            layers.Activation("tanh"),
            tf_keras.Sequential(block, name="block"),
            layers.LocallyConnected2D(3, 1, activation="softmax", name="channels_first", **FIRST),
        ]
    )


def make_keras_3_model() -> keras.Model:
    layers = keras.layers
    inner = layers.Conv2D(3, 2, dilation_rate=(1, 2), activation="silu", name="inner")
    return keras.Sequential(
        [
            layers.Input((7, 5, 2)),
            layers.Conv2D(4, 3, strides=2, padding="same", activation="relu", name="first"),
            layers.Conv2D(6, (2, 3), groups=2, padding="same", use_bias=False, name="second"),
            keras.Sequential([inner], name="block"),
        ]
    )


def write_keras_files() -> None:
    """Save one model in each format, and the input and output of each of its layers with weights."""
    folder = HERE / "keras_files"
    folder.mkdir(exist_ok=True)
    for library, make in (("tf_keras", make_tf_keras_model), ("keras_3", make_keras_3_model)):
        rng, model, arrays = np.random.default_rng(0), make(), {}
        layers = [part for layer in model.layers for part in getattr(layer, "layers", [layer])]
        for layer in (layer for layer in layers if layer.get_weights()):
            layer.set_weights([draw(rng, w.shape, "float32") / 4 for w in layer.get_weights()])
            shape = layer.get_build_config()["input_shape"]
            arrays[f"{layer.name}.input"] = draw(rng, (2, *shape[1:]), "float32")
            arrays[f"{layer.name}.output"] = np.asarray(layer(tf.constant(arrays[f"{layer.name}.input"])))
        np.savez_compressed(folder / f"{library}.npz", **arrays)
        for ending in (".h5", ".keras"):
            model.save(folder / f"{library}{ending}")
        model.save_weights(folder / f"{library}.weights.h5")
        if library == "tf_keras":
            model.save_weights(folder / f"{library}_legacy_weights.h5")


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    write("keras", KERAS, make_keras_case, {"tf_keras": tf_keras.__version__, "tensorflow": tf.__version__})
    write("flax", FLAX, make_flax_case, {"flax": flax.__version__, "jax": jax.__version__})
    write_keras_files()
