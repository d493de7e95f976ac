"""`from_flax` reproduces the outputs of Flax in golden files (`make golden`) and refuses wrong shapes."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

import weightshare as ws
from weightshare.errors import ArgumentError, ShapeError

FILES = sorted((Path(__file__).parents[1] / "golden" / "flax").glob("*.npz"))
#: Files whose padding `weightshare` layers do not support.
UNEVEN = [path for path in FILES if path.stem.endswith(("uneven", "causal"))]


def load(path):
    """Return the parameters, the geometry, and input and output in torch's order."""
    with np.load(path) as file:
        arguments = json.loads(str(file["arguments"]))
        params = {name: file[name] for name in ("kernel", "bias") if name in file}
        x, y = (torch.tensor(file[name]).movedim(-1, 1) for name in ("input", "output"))
    names = {"kernel_size": "kernel_size", "strides": "stride", "padding": "padding"}
    names["kernel_dilation"] = "dilation"
    geometry = {names[name]: value for name, value in arguments.items() if name in names}
    return params, geometry | {"input_size": tuple(x.shape[2:])}, x, y


def call(**changes):
    """Convert a 2 x 3 kernel for 5 x 7 inputs with 3 channels and 4 features, with some arguments changed."""
    params = {"kernel": changes.pop("kernel", np.ones((4, 5, 18, 4)))}
    params["bias"] = changes.pop("bias", np.ones((4, 5, 4)))
    params = changes.pop("params", params)
    return ws.from_flax(params, **{"input_size": (5, 7), "kernel_size": (2, 3), "padding": "VALID"} | changes)


@pytest.mark.parametrize("path", [path for path in FILES if path not in UNEVEN], ids=lambda path: path.stem)
def test_layers_compute_the_outputs_of_flax(path):
    params, geometry, x, y = load(path)
    made = ws.from_flax(params, **geometry)
    assert type(made) is getattr(ws.nn, f"LocallyConnected{x.dim() - 2}d")
    assert (made.bias is None) == ("bias" not in params)
    torch.testing.assert_close(made(x), y, rtol=0, atol=0)  # the sums in the files are exact


@pytest.mark.parametrize("path", UNEVEN, ids=lambda path: path.stem)
def test_the_hint_for_uneven_padding_works(path):
    params, geometry, x, y = load(path)
    with pytest.raises(ArgumentError, match="padding must be equal at both ends of each axis") as raised:
        ws.from_flax(params, **geometry)
    padding, size = re.search(
        r"pad the input with (torch.nn.functional.pad\(.*\)) and pass padding='VALID', input_size=(.*)\.",
        str(raised.value),
    ).groups()
    padded = eval(padding, {"torch": torch, "input": x})
    made = ws.from_flax(params, **geometry | {"padding": "VALID", "input_size": eval(size)})
    torch.testing.assert_close(made(padded), y, rtol=0, atol=0)


def test_variables_and_scalars():
    variables = {"params": {"kernel": np.ones((3, 5, 18, 4), np.float32)}}
    made = ws.from_flax(variables, input_size=(5, 7), kernel_size=3, padding="valid", stride=1)
    assert made(torch.zeros(2, 5, 7)).shape == (4, 3, 5)


def test_read_only_arrays_are_copied(recwarn):
    kernel = np.ones((4, 5, 18, 4))
    kernel.flags.writeable = False
    assert (call(kernel=kernel).weight == 1).all()
    assert not recwarn.list


OUTPUT = (
    "; check input_size, kernel_size, stride, padding and dilation, "
    "which result in an output of 4 x 5 and 6 taps."
)


@pytest.mark.parametrize(
    ("changes", "error", "text"),
    [
        (
            {"kernel": np.ones((5, 4, 18, 4))},
            ShapeError,
            "from_flax: kernel must be [*out, in * taps, out_channels] = [4, 5, 6 * in, out_channels], got "
            "[5, 4, 18, 4]" + OUTPUT,
        ),
        (
            {"kernel": np.ones((4, 5, 19, 4))},
            ShapeError,
            "from_flax: kernel must be [*out, in * taps, out_channels] = [4, 5, 6 * in, out_channels], got "
            "[4, 5, 19, 4]" + OUTPUT,
        ),
        (
            {"bias": np.ones((4,))},
            ShapeError,
            "from_flax: bias must be [*out, out_channels] = [4, 5, 4], got [4]" + OUTPUT,
        ),
        (
            {"kernel": np.ones((18, 4))},
            ShapeError,
            "from_flax: kernel must be [*out, in * taps, out_channels] with one to three output axes, got "
            "[18, 4]; pass the parameters of a ConvLocal.",
        ),
        (
            {"params": {"ConvLocal_0": {}, "Dense_0": {}}},
            ArgumentError,
            "from_flax: params must have the key 'kernel' and, optionally, 'bias', got the keys "
            "['ConvLocal_0', "
            "'Dense_0']; pass the parameters of one layer, such as variables['params']['ConvLocal_0'].",
        ),
        (
            {"params": {"params": None}},
            ArgumentError,
            "from_flax: params must have the key 'kernel' and, optionally, 'bias', got NoneType under "
            "'params'; "
            "pass the parameters of one layer, such as variables['params']['ConvLocal_0'].",
        ),
        (
            {"params": [np.ones(3)]},
            ArgumentError,
            "from_flax: params must have the key 'kernel' and, optionally, 'bias', got list; pass the "
            "parameters of one layer, such as variables['params']['ConvLocal_0'].",
        ),
        (
            {"padding": "CAUSAL"},
            ArgumentError,
            "from_flax: padding must be integers, (before, after) pairs, 'CAUSAL' (for one spatial axis), "
            "'CIRCULAR', 'REFLECT', 'SAME' or 'VALID', got 'CAUSAL'.",
        ),
    ],
)
def test_wrong_shapes_and_arguments_are_refused(changes, error, text):
    with pytest.raises(error) as raised:
        call(**changes)
    assert str(raised.value) == text
