"""Keras's layers here: golden files of what the real library computes (`make golden`), and the errors."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import weightshare as ws
from weightshare.errors import ArgumentError, ShapeError

FILES = sorted((Path(__file__).parents[1] / "golden" / "keras").glob("*.npz"))


class LocallyConnected2D:
    """Stands in for a live layer: what the real one said of itself when the file was made."""

    def __init__(self, weights, config=None, build_config=None):
        self.weights, self.config, self.build_config = weights, config, build_config

    def get_weights(self):
        return self.weights

    def get_config(self):
        return self.config

    def get_build_config(self):
        return self.build_config


def load(path):
    """Weights, geometry, and input and output in torch's order."""
    with np.load(path) as file:
        arguments, layer = json.loads(str(file["arguments"])), json.loads(str(file["layer"]))
        weights = [file[name] for name in ("kernel", "bias") if name in file]
        x, y = torch.tensor(file["input"]), torch.tensor(file["output"])
    if arguments.get("data_format") != "channels_first":
        x, y = x.movedim(-1, 1), y.movedim(-1, 1)
    geometry = {
        name: arguments[name] for name in ("kernel_size", "padding", "data_format") if name in arguments
    }
    geometry |= {"input_size": tuple(x.shape[2:]), "stride": arguments.get("strides")}
    return weights, geometry, layer, x, y


def arrays(**changes):
    """A right call, changed: a 2 x 3 kernel on 5 x 7 pixels of 3 channels, 4 filters."""
    weights = [changes.pop("kernel", np.ones((20, 18, 4))), changes.pop("bias", np.ones((4, 5, 4)))]
    return ws.from_keras(weights, **{"input_size": (5, 7), "kernel_size": (2, 3)} | changes)


def live(**changes):
    config = {"activation": "linear", "data_format": "channels_last", "kernel_size": (2, 3)}
    config |= {"strides": (1, 1), "padding": "valid", "filters": 4}
    weights = changes.pop("weights", [np.ones((20, 18, 4))])
    return LocallyConnected2D(weights, config | changes, {"input_shape": (None, 5, 7, 3)})


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_arrays_compute_what_keras_computed(path):
    weights, geometry, _, x, y = load(path)
    if weights[0].ndim == 1 and len(weights) == 1:
        filters = y.shape[1]
        weights.append(np.zeros((*y.shape[2:], filters)))
    made = ws.from_keras(weights, **geometry)
    assert type(made) is getattr(ws.nn, f"LocallyConnected{x.dim() - 2}d")
    torch.testing.assert_close(made(x), y, rtol=0, atol=0)  # sums of the files' numbers are exact


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_layer_brings_its_geometry(path):
    weights, _, said, x, y = load(path)
    made = ws.from_keras(LocallyConnected2D(weights, said["config"], said["build_config"]))
    assert (made.bias is None) == (not said["config"]["use_bias"])
    torch.testing.assert_close(made(x), y, rtol=0, atol=0)


def test_a_channels_first_bias_is_reshaped_as_keras_does():
    bias = np.arange(80.0).reshape(4, 5, 4)
    made = arrays(bias=bias, data_format="channels_first")
    assert torch.equal(made.bias_map(), torch.tensor(bias.reshape(4, 4, 5)))
    assert torch.equal(arrays(bias=bias).bias_map(), torch.tensor(bias.transpose(2, 0, 1)))


def test_the_arrays_are_copied():
    kernel = np.ones((20, 18, 4), np.float16)
    made = arrays(kernel=kernel)
    kernel[:] = 0
    assert made.weight.dtype == torch.float16
    assert (made.weight == 1).all()
    assert made.weight.requires_grad
    assert made.bias.requires_grad


def test_input_size_of_a_layer_that_does_not_know_it():
    layer = live()
    layer.build_config = None
    assert ws.from_keras(layer, input_size=(5, 7)).input_size == (5, 7)
    with pytest.raises(ArgumentError, match="from_keras: input_size must be given"):
        ws.from_keras(layer)
    layer.input_shape = (None, 5, 7, 3)
    assert ws.from_keras(layer).input_size == (5, 7)


def check(error, text, call):
    with pytest.raises(error) as raised:
        call()
    assert str(raised.value) == text


KERNEL = np.random.default_rng(0).standard_normal((20, 18, 4))
FORMS = {
    "big-endian": KERNEL.astype(">f8"),
    "negative strides": KERNEL[::-1].copy()[::-1],
    "not contiguous": np.repeat(KERNEL, 2, -1)[..., ::2],
    "read-only": np.frombuffer(KERNEL.tobytes()).reshape(KERNEL.shape),
    "nested lists": KERNEL.tolist(),
    "tensor": torch.tensor(KERNEL),
    "tensor with a gradient": torch.tensor(KERNEL, requires_grad=True),
    "transposed tensor": torch.tensor(KERNEL).transpose(0, 2).contiguous().transpose(0, 2),
}


@pytest.mark.parametrize("form", FORMS)
def test_arrays_in_any_form_give_the_same_layer(form):
    layer = arrays(kernel=FORMS[form])
    assert torch.equal(layer.weight, arrays(kernel=KERNEL).weight)
    assert layer.weight.dtype == torch.float64
    assert layer.weight.requires_grad
    assert layer.weight.is_leaf


def test_a_tensor_in_bfloat16_stays_so():
    layer = arrays(kernel=torch.ones(20, 18, 4).bfloat16(), bias=torch.ones(4, 5, 4).bfloat16())
    assert layer.weight.dtype == layer.bias.dtype == torch.bfloat16


def test_the_layer_shares_no_memory_with_a_tensor():
    kernel = torch.ones(20, 18, 4)
    layer = arrays(kernel=kernel, bias=np.ones((4, 5, 4), np.float32))
    kernel.zero_()
    assert (layer.weight == 1).all()


def test_a_layer_whose_build_config_is_empty_is_asked_for_its_size():
    layer = live()
    for layer.build_config in (None, {}):
        with pytest.raises(ArgumentError, match="from_keras: input_size must be given"):
            ws.from_keras(layer)


OUTPUT = (
    "; check input_size, kernel_size, stride, padding and data_format, "
    "which give an output of 4 x 5 with 6 taps."
)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (
            {"kernel": np.ones((21, 18, 4))},
            "from_keras: kernel of implementation 1 must be [positions, taps * in, filters] = "
            "[20, 6 * in, filters], got [21, 18, 4]" + OUTPUT,
        ),
        (
            {"kernel": np.ones((20, 17, 4))},
            "from_keras: kernel of implementation 1 must be [positions, taps * in, filters] = "
            "[20, 6 * in, filters], got [20, 17, 4]" + OUTPUT,
        ),
        (
            {"kernel": np.ones((5, 7, 3, 5, 4, 4))},
            "from_keras: kernel of implementation 2 must be [*size, in, *out, filters] = "
            "[5, 7, in, 4, 5, filters], got [5, 7, 3, 5, 4, 4]" + OUTPUT,
        ),
        (
            {"kernel": np.ones((5, 7, 3, 4, 5, 4)), "data_format": "channels_first"},
            "from_keras: kernel of implementation 2 must be [in, *size, filters, *out] = "
            "[in, 5, 7, filters, 4, 5], got [5, 7, 3, 4, 5, 4]" + OUTPUT,
        ),
        (
            {"kernel": np.ones(1441)},
            "from_keras: kernel of implementation 3 must be [connections] = [480 * in], got [1441]" + OUTPUT,
        ),
        (
            {"bias": np.ones((4, 4, 5)), "data_format": "channels_first"},
            "from_keras: bias must be [*out, filters] = [4, 5, 4], got [4, 4, 5]" + OUTPUT,
        ),
        (
            {"kernel": np.ones((2, 3, 3, 4))},
            "from_keras: kernel must have rank 3, 6 or 1 (implementation 1, 2 or 3 of 2 spatial axes), got "
            "[2, 3, 3, 4]; pass what get_weights() returns, and input_size with one number for each spatial "
            "axis.",
        ),
    ],
)
def test_shapes_that_disagree(changes, text):
    check(ShapeError, text, lambda: arrays(**changes))


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (
            lambda: arrays(kernel=np.ones((20, 18, 4), int)),
            "from_keras: kernel must be an array of floating-point numbers, got dtype int64; convert "
            "it first.",
        ),
        pytest.param(
            lambda: arrays(kernel=np.ones((20, 18, 4), np.longdouble)),
            "from_keras: kernel must be an array of floating-point numbers of at most 64 bits, got dtype "
            f"{np.dtype(np.longdouble)}; convert it by .astype('float64').",
            marks=pytest.mark.skipif(np.dtype(np.longdouble).itemsize <= 8, reason="no longer than double"),
        ),
        (
            lambda: arrays(kernel=torch.ones(20, 18, 4, dtype=torch.int64)),
            "from_keras: kernel must be an array of floating-point numbers, got dtype torch.int64; convert "
            "it first.",
        ),
        (
            lambda: arrays(kernel=torch.ones(20, 18, 4, device="meta")),
            "from_keras: kernel must be an array of floating-point numbers, got a tensor on the meta device; "
            "give a dense tensor that holds numbers.",
        ),
        (
            lambda: arrays(kernel=torch.ones(20, 18, 4).to_sparse()),
            "from_keras: kernel must be an array of floating-point numbers, got layout torch.sparse_coo; "
            "give a dense tensor that holds numbers.",
        ),
        (
            lambda: arrays(kernel=None),
            "from_keras: kernel must be an array of floating-point numbers, got dtype object; convert "
            "it first.",
        ),
        (
            lambda: arrays(kernel_size=None),
            "from_keras: kernel_size must be given, the weights do not tell it, got none; give kernel_size=.",
        ),
        (
            lambda: arrays(input_size=(5, 7, 3)),
            "from_keras: input_size must have one or two axes, got (5, 7, 3); leave out batch and channels.",
        ),
        (
            lambda: arrays(data_format="NCHW"),
            "from_keras: data_format must be 'channels_first' or 'channels_last', got 'NCHW'; use one "
            "of these.",
        ),
        (
            lambda: arrays(padding=1),
            "from_keras: padding must be 'same' or 'valid', got 1; use one of these.",
        ),
        (
            lambda: arrays(padding="same"),
            "from_keras: padding must be equal before and after each axis, or that of torch's 'same' at "
            "stride 1, got (before, after) = ((1, 0), (1, 1)); use an odd kernel_size (Keras pads an even "
            "one more before the input than after it).",
        ),
        (
            lambda: ws.from_keras(np.ones((20, 18, 4))),
            "from_keras: layer must be a Keras layer, [kernel] or [kernel, bias], got ndarray; pass one "
            "layer's weights.",
        ),
        (
            lambda: ws.from_keras([np.ones(3)] * 4),
            "from_keras: layer must be a Keras layer, [kernel] or [kernel, bias], got 4 arrays; pass one "
            "layer's weights.",
        ),
        (
            lambda: ws.from_keras([np.ones(480)], input_size=(5, 7), kernel_size=(2, 3)),
            "from_keras: kernel of implementation 3 must come with a bias, whose shape tells the filters, "
            "got no bias; pass the layer itself, or add zeros [*out, filters] as a bias.",
        ),
        (
            lambda: ws.from_keras(live(), stride=1),
            "from_keras, LocallyConnected2D: a layer brings its own geometry, got stride; leave it out.",
        ),
        (
            lambda: ws.from_keras(live(activation="relu")),
            "from_keras, LocallyConnected2D: activation must be 'linear', as the returned layer has none, "
            "got 'relu'; pass layer.get_weights() with the geometry, and apply the activation to the output.",
        ),
        (
            lambda: ws.from_keras(live(weights=[])),
            "from_keras, LocallyConnected2D: layer must have weights, got none; call it once on an input to "
            "build it.",
        ),
        (
            lambda: ws.from_keras(type("Dense", (), {"get_weights": None, "get_config": dict})()),
            "from_keras: layer must be a LocallyConnected1D or LocallyConnected2D, got Dense; pass one of a "
            "model's own.",
        ),
    ],
)
def test_arguments_that_do_not_do(call, text):
    check(ArgumentError, text, call)
