"""`from_keras` reads the files of tf_keras and Keras 3 in tests/golden/keras_files, and refuses others."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

import weightshare as ws
from weightshare.errors import ArgumentError, DataError, MissingExtraError, ShapeError

h5py = pytest.importorskip("h5py")
FILES = Path(__file__).parents[1] / "golden" / "keras_files"
NAMES = {"tf_keras": ["first", "inner", "last", "channels_first"], "keras_3": ["first", "second", "inner"]}
CASES = [
    (f"{library}{ending}", name)
    for library, names in NAMES.items()
    for ending in (".h5", ".keras")
    for name in names
]
GEOMETRY = {"input_size": (5, 6), "kernel_size": 3}


def read_expected(library, name):
    """Return the input and output of a layer in torch's order."""
    with np.load(FILES / f"{library}.npz") as file:
        x, y = (torch.tensor(file[f"{name}.{key}"]) for key in ("input", "output"))
    return (x, y) if name == "channels_first" else (x.movedim(-1, 1), y.movedim(-1, 1))


@pytest.mark.parametrize(("file", "name"), CASES)
def test_layers_of_saved_models_compute_the_outputs_of_keras(file, name):
    x, y = read_expected(file.partition(".")[0], name)
    stored = name == "first" or file.endswith(
        ".keras"
    )  # other files contain the size of the model's input only
    made = ws.from_keras(FILES / file, name=name, **({} if stored else {"input_size": x.shape[2:]}))
    torch.testing.assert_close(made(x), y, rtol=1e-5, atol=1e-5)
    layer = made[0] if isinstance(made, torch.nn.Sequential) else made
    kind = "LocallyConnected2d" if file.startswith("tf_keras") else "Conv2d"
    assert type(layer) is getattr(ws.nn, kind)


def test_activations_follow_the_layer():
    made = ws.from_keras(str(FILES / "tf_keras.keras"), name="first")
    assert [type(part).__name__ for part in made] == ["LocallyConnected2d", "ReLU"]
    last = ws.from_keras(FILES / "tf_keras.keras", name="channels_first")
    assert last[1].dim == -1  # Keras applies softmax to the last axis, which is not that of the channels
    assert ws.from_keras(FILES / "tf_keras.keras", name="inner")[1].dim == 1
    assert type(ws.from_keras(FILES / "keras_3.keras", name="second")) is ws.nn.Conv2d


@pytest.mark.parametrize(
    ("file", "name"),
    [("tf_keras.weights.h5", "locally_connected2d"), ("tf_keras_legacy_weights.h5", "first")],
)
def test_files_with_weights_only_need_the_geometry(file, name):
    made = ws.from_keras(FILES / file, name=name, **GEOMETRY)
    x, y = read_expected("tf_keras", "first")
    torch.testing.assert_close(made(x).relu(), y, rtol=1e-5, atol=1e-5)
    with pytest.raises(ArgumentError, match="from_keras: input_size must be given"):
        ws.from_keras(FILES / file, name=name)


@pytest.fixture
def one_layer(tmp_path):
    path = tmp_path / "one.h5"
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = ["conv"]
        file.create_group("conv").attrs["weight_names"] = [b"conv/kernel:0", b"conv/bias:0"]
        file["conv/conv/kernel:0"] = np.ones((20, 18, 4), np.float32)
        file["conv/conv/bias:0"] = np.ones((4, 5, 4), np.float32)
    return path


def test_the_only_layer_needs_no_name(one_layer):
    layer = ws.from_keras(one_layer, input_size=(5, 7), kernel_size=(2, 3))
    assert layer.output_size == (4, 5)


def test_a_missing_package_is_reported(monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(MissingExtraError) as error:
        ws.from_keras(FILES / "tf_keras.h5", name="first")
    assert str(error.value) == (
        "from_keras: needs the package h5py, got no such package; run pip install '.[keras]' in the "
        "repository."
    )


LIVE = """
import keras, numpy as np, torch, weightshare as ws
rng = np.random.default_rng(0)
for kind, size, more in [
    ("Conv1D", (9,), {"kernel_size": 3, "dilation_rate": 2, "activation": "elu"}),
    ("Conv2D", (6, 5), {"kernel_size": (2, 3), "padding": "same", "groups": 2}),
    ("Conv2D", (7, 5), {"kernel_size": 3, "padding": "same", "strides": 2, "activation": "tanh"}),
    ("Conv3D", (4, 5, 6), {"kernel_size": 2, "use_bias": False, "activation": "softmax"}),
]:
    layer = getattr(keras.layers, kind)(4, **more)
    x = rng.standard_normal((2, *size, 2)).astype("float32")
    layer(x)
    layer.set_weights([rng.standard_normal(w.shape) for w in layer.get_weights()])
    expected = torch.as_tensor(np.array(layer(x).detach().cpu())).movedim(-1, 1)
    got = ws.from_keras(layer)(torch.tensor(x).movedim(-1, 1))
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)
for kind, *arguments in [
    ("Conv2DTranspose", 4, 3), ("DepthwiseConv2D", 3), ("SeparableConv2D", 4, 3), ("Dense", 4),
    ("Conv1D", 4, 3, 1, "causal"),
]:
    layer = getattr(keras.layers, kind)(*arguments)
    layer(np.zeros((1, 6, 2) if kind == "Conv1D" else (1, 6, 6, 2), "float32"))
    try:
        ws.from_keras(layer)
    except ws.errors.ArgumentError as error:
        assert kind in str(error), str(error)
    else:
        raise AssertionError(kind)
layer = keras.layers.Conv2D(4, 3, strides=2, padding="same")
layer(np.zeros((1, 6, 6, 2), "float32"))
try:
    ws.from_keras(layer)
except ws.errors.ArgumentError as error:
    print(error)
"""


def test_layers_of_keras_3_compute_the_same():
    environment = {**os.environ, "KERAS_BACKEND": "torch"}
    done = subprocess.run([sys.executable, "-c", LIVE], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == (
        "from_keras, Conv2D: padding must be equal at both ends of each axis, got a total of (1, 1); pad the "
        "input yourself (Keras pads more at the end), and use padding='valid'."
    )


def write_zip(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("other.txt", "")
    return path


def write_text(path):
    path.write_text("no model")
    return path


def test_files_of_keras_3_with_weights_only_have_names():
    path = FILES / "keras_3.weights.h5"
    with pytest.raises(ShapeError, match=r"kernel must have rank 3, 6 or 1 .* got \[2, 2, 6, 3\]"):
        ws.from_keras(path, name="inner", **GEOMETRY)


def test_names_in_files_of_tf_keras_with_weights_only_are_paths():
    with pytest.raises(ArgumentError) as error:
        ws.from_keras(FILES / "tf_keras.weights.h5", **GEOMETRY)
    assert str(error.value).endswith(
        "the layers with weights are 'locally_connected2d', 'locally_connected2d_1', "
        "'sequential/locally_connected2d', 'sequential/locally_connected2d_1'."
    )


TF_NAMES = "the layers with weights are 'first', 'inner', 'last', 'channels_first'."
ERRORS = [
    (
        lambda path: ws.from_keras(FILES / "tf_keras.keras", name="frist"),
        ArgumentError,
        f"from_keras: name must be that of a layer with weights in {FILES / 'tf_keras.keras'}, got "
        f"'frist'; {TF_NAMES}",
    ),
    (
        lambda path: ws.from_keras(FILES / "tf_keras.keras"),
        ArgumentError,
        f"from_keras: name must be that of a layer with weights in {FILES / 'tf_keras.keras'}, got "
        f"None; {TF_NAMES}",
    ),
    (
        lambda path: ws.from_keras(FILES / "keras_3.weights.h5", name="x"),
        ArgumentError,
        f"from_keras: name must be that of a layer with weights in {FILES / 'keras_3.weights.h5'}, "
        "got 'x'; the "
        "layers with weights are 'first', 'second', 'inner'.",
    ),
    (
        lambda path: ws.from_keras(path / "none.h5"),
        DataError,
        "from_keras: the file must exist, got {path}/none.h5.",
    ),
    (
        lambda path: ws.from_keras(write_text(path / "a.h5")),
        DataError,
        "from_keras: {path}/a.h5 must be an .h5, .weights.h5 or .keras file, got another format.",
    ),
    (
        lambda path: ws.from_keras(write_zip(path / "a.keras")),
        DataError,
        "from_keras: {path}/a.keras must be an .h5, .weights.h5 or .keras file, got an archive without "
        "model.weights.h5 or config.json.",
    ),
    (
        lambda path: ws.from_keras([np.ones((20, 18, 4))], name="a", input_size=(5, 7), kernel_size=(2, 3)),
        ArgumentError,
        "from_keras: name must be None unless a file is given, got 'a'.",
    ),
    (
        lambda path: ws.from_keras(FILES / "tf_keras.h5", name="first", kernel_size=3),
        ArgumentError,
        "from_keras, LocallyConnected2D: the geometry must not be given, because the layer contains it, got "
        "kernel_size.",
    ),
]


@pytest.mark.parametrize(("act", "kind", "text"), ERRORS)
def test_errors(act, kind, text, tmp_path):
    with pytest.raises(kind) as error:
        act(tmp_path)
    assert str(error.value) == text.format(path=tmp_path)
