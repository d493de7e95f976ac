"""`from_keras` reproduces the outputs of Keras in golden files (`make golden`) and refuses wrong shapes."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import weightshare as ws
from weightshare.errors import ArgumentError, ShapeError

FILES = sorted((Path(__file__).parents[1] / "golden" / "keras").glob("*.npz"))


class LocallyConnected2D:
    """A stand-in for a Keras layer, with the weights and configs of the layer that made the file."""

    def __init__(self, weights, config=None, build_config=None):
        self.weights, self.config, self.build_config = weights, config, build_config

    def get_weights(self):
        return self.weights

    def get_config(self):
        return self.config

    def get_build_config(self):
        return self.build_config


def load(path):
    """Return the weights, the geometry, the configs of the layer, and input and output in torch's order."""
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


def convert(**changes):
    """Convert a 2 x 3 kernel for 5 x 7 inputs with 3 channels and 4 filters, with some arguments changed."""
    weights = [changes.pop("kernel", np.ones((20, 18, 4))), changes.pop("bias", np.ones((4, 5, 4)))]
    return ws.from_keras(weights, **{"input_size": (5, 7), "kernel_size": (2, 3)} | changes)


def make_layer(**changes):
    config = {"activation": "linear", "data_format": "channels_last", "kernel_size": (2, 3)}
    config |= {"strides": (1, 1), "padding": "valid", "filters": 4}
    weights = changes.pop("weights", [np.ones((20, 18, 4))])
    return LocallyConnected2D(weights, config | changes, {"input_shape": (None, 5, 7, 3)})


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_arrays_compute_the_outputs_of_keras(path):
    weights, geometry, _, x, y = load(path)
    if weights[0].ndim == 1 and len(weights) == 1:
        filters = y.shape[1]
        weights.append(np.zeros((*y.shape[2:], filters)))
    made = ws.from_keras(weights, **geometry)
    assert type(made) is getattr(ws.nn, f"LocallyConnected{x.dim() - 2}d")
    torch.testing.assert_close(made(x), y, rtol=0, atol=0)  # the sums in the files are exact


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_layer_contains_its_geometry(path):
    weights, _, configs, x, y = load(path)
    made = ws.from_keras(LocallyConnected2D(weights, configs["config"], configs["build_config"]))
    assert (made.bias is None) == (not configs["config"]["use_bias"])
    torch.testing.assert_close(made(x), y, rtol=0, atol=0)


def test_a_channels_first_bias_is_reshaped_as_keras_does():
    bias = np.arange(80.0).reshape(4, 5, 4)
    made = convert(bias=bias, data_format="channels_first")
    assert torch.equal(made.bias_map(), torch.tensor(bias.reshape(4, 4, 5)))
    assert torch.equal(convert(bias=bias).bias_map(), torch.tensor(bias.transpose(2, 0, 1)))


def test_the_arrays_are_copied():
    kernel = np.ones((20, 18, 4), np.float16)
    made = convert(kernel=kernel)
    kernel[:] = 0
    assert made.weight.dtype == torch.float16
    assert (made.weight == 1).all()
    assert made.weight.requires_grad
    assert made.bias.requires_grad


def test_input_size_is_required_if_the_layer_does_not_store_it():
    layer = make_layer()
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
    "tensor that requires a gradient": torch.tensor(KERNEL, requires_grad=True),
    "transposed tensor": torch.tensor(KERNEL).transpose(0, 2).contiguous().transpose(0, 2),
}


@pytest.mark.parametrize("form", FORMS)
def test_arrays_of_any_form_result_in_the_same_layer(form):
    layer = convert(kernel=FORMS[form])
    assert torch.equal(layer.weight, convert(kernel=KERNEL).weight)
    assert layer.weight.dtype == torch.float64
    assert layer.weight.requires_grad
    assert layer.weight.is_leaf


def test_bfloat16_is_kept():
    layer = convert(kernel=torch.ones(20, 18, 4).bfloat16(), bias=torch.ones(4, 5, 4).bfloat16())
    assert layer.weight.dtype == layer.bias.dtype == torch.bfloat16


def test_the_layer_shares_no_memory_with_a_tensor():
    kernel = torch.ones(20, 18, 4)
    layer = convert(kernel=kernel, bias=np.ones((4, 5, 4), np.float32))
    kernel.zero_()
    assert (layer.weight == 1).all()


def test_input_size_is_required_if_the_build_config_is_empty():
    layer = make_layer()
    for layer.build_config in (None, {}):
        with pytest.raises(ArgumentError, match="from_keras: input_size must be given"):
            ws.from_keras(layer)


OUTPUT = (
    "; check input_size, kernel_size, stride, padding and data_format, "
    "which result in an output of 4 x 5 and 6 taps."
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
            "from_keras: kernel must have rank 3, 6 or 1 (implementation 1, 2 or 3 with 2 spatial axes), got "
            "[2, 3, 3, 4]; pass the result of get_weights(), and input_size with one number per spatial "
            "axis.",
        ),
    ],
)
def test_wrong_shapes_are_refused(changes, text):
    check(ShapeError, text, lambda: convert(**changes))


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (
            lambda: convert(kernel=np.ones((20, 18, 4), int)),
            "from_keras: kernel must be a dense array of floating-point numbers, got dtype int64.",
        ),
        pytest.param(
            lambda: convert(kernel=np.ones((20, 18, 4), np.longdouble)),
            "from_keras: kernel must have at most 64 bits per number, got dtype "
            f"{np.dtype(np.longdouble)}; convert it with .astype('float64').",
            marks=pytest.mark.skipif(np.dtype(np.longdouble).itemsize <= 8, reason="no longer than double"),
        ),
        (
            lambda: convert(kernel=torch.ones(20, 18, 4, dtype=torch.int64)),
            "from_keras: kernel must be a dense array of floating-point numbers, got dtype torch.int64.",
        ),
        (
            lambda: convert(kernel=torch.ones(20, 18, 4, device="meta")),
            "from_keras: kernel must be a dense array of floating-point numbers, got a tensor on the meta "
            "device.",
        ),
        (
            lambda: convert(kernel=torch.ones(20, 18, 4).to_sparse()),
            "from_keras: kernel must be a dense array of floating-point numbers, got layout "
            "torch.sparse_coo.",
        ),
        (
            lambda: convert(kernel=None),
            "from_keras: kernel must be a dense array of floating-point numbers, got dtype object.",
        ),
        (
            lambda: convert(kernel_size=None),
            "from_keras: kernel_size must be given, because the weights do not contain it, got None.",
        ),
        (
            lambda: convert(input_size=(5, 7, 3)),
            "from_keras: input_size must have one or two axes, got (5, 7, 3); pass the spatial size without "
            "batch and channels.",
        ),
        (
            lambda: convert(data_format="NCHW"),
            "from_keras: data_format must be 'channels_first' or 'channels_last', got 'NCHW'.",
        ),
        (
            lambda: convert(padding=1),
            "from_keras: padding must be 'same' or 'valid', got 1.",
        ),
        (
            lambda: convert(padding="same"),
            "from_keras: padding must be equal at both ends of each axis, or torch's padding='same' at "
            "stride 1, got (before, after) = ((1, 0), (1, 1)); use an odd kernel_size (for an even one, "
            "Keras "
            "pads more before the input than after it).",
        ),
        (
            lambda: ws.from_keras(np.ones((20, 18, 4))),
            "from_keras: layer must be a Keras layer, [kernel] or [kernel, bias], got ndarray.",
        ),
        (
            lambda: ws.from_keras([np.ones(3)] * 4),
            "from_keras: layer must be a Keras layer, [kernel] or [kernel, bias], got 4 arrays.",
        ),
        (
            lambda: ws.from_keras([np.ones(480)], input_size=(5, 7), kernel_size=(2, 3)),
            "from_keras: a kernel of implementation 3 needs a bias, whose shape shows the number of filters, "
            "got no bias; pass the layer itself, or add zeros [*out, filters] as a bias.",
        ),
        (
            lambda: ws.from_keras(make_layer(), stride=1),
            "from_keras, LocallyConnected2D: the geometry must not be given, because the layer contains it, "
            "got "
            "stride.",
        ),
        (
            lambda: ws.from_keras(make_layer(activation="hard_sigmoid")),
            "from_keras, LocallyConnected2D: activation must be one of 'linear', 'softmax', 'elu', "
            "'gelu', 'mish', "
            "'relu', 'selu', 'sigmoid', 'silu', 'softplus', 'softsign', 'swish', 'tanh', got "
            "'hard_sigmoid'; set "
            "the activation of the Keras layer to 'linear', and apply the activation to the new output.",
        ),
        (
            lambda: ws.from_keras(make_layer(weights=[])),
            "from_keras, LocallyConnected2D: layer must have weights, got none; call it once to build it.",
        ),
        (
            lambda: ws.from_keras(type("Dense", (), {"get_weights": None, "get_config": dict})()),
            "from_keras: layer must be a LocallyConnected1D or LocallyConnected2D, or a Conv1D, Conv2D or "
            "Conv3D, got Dense.",
        ),
    ],
)
def test_invalid_arguments_are_refused(call, text):
    check(ArgumentError, text, call)
