"""A Sequential is explained layer by layer, live, in code and printed, with the sizes between the layers."""

import json
from collections import OrderedDict

import pytest
import torch
from torch import nn

import weightshare as ws
from weightshare import explain
from weightshare.errors import WeightshareError

LENET = "nn.Conv2d(1, 6, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(6 * 12 * 12, 10)"
LENET_PARAMETERS = 156 + 8650


def build_lenet():
    return nn.Sequential(
        nn.Conv2d(1, 6, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Sequential(nn.Flatten(), nn.Linear(864, 10))
    )


@pytest.mark.parametrize(
    "layer",
    [
        f"nn.Sequential({LENET})",
        f"self.net = nn.Sequential({LENET})  # for digits",
        f"nn.Sequential(*[{LENET}])",
        "nn.Sequential(OrderedDict([('conv', nn.Conv2d(1, 6, 5)), ('relu', nn.ReLU()), "
        "('pool', nn.MaxPool2d(2)), ('flat', nn.Flatten()), ('fc', nn.Linear(864, 10))]))",
        "nn.Sequential(OrderedDict({'conv': nn.Conv2d(1, 6, 5), 'pool': nn.MaxPool2d(2), "
        "'head': nn.Sequential(nn.Flatten(), nn.Linear(864, 10))}))",
        build_lenet(),
        repr(build_lenet()),
        "  (features): " + repr(build_lenet()),
        nn.Sequential(OrderedDict(features=build_lenet(), end=nn.Softmax(dim=1))),
    ],
    ids=lambda layer: str(layer)[:40],
)
def test_a_sequential_of_torch(layer):
    answer = explain(layer, "1x28x28")
    assert answer.parameters == LENET_PARAMETERS
    assert (answer.input, answer.output) == ((1, 28, 28), (10,))
    assert explain(layer).parameters == LENET_PARAMETERS
    assert explain(layer).output is None
    text = str(answer)
    assert "5 x 5 kernel x 1 input channel x 6 output channels + 6 biases" in " ".join(text.split())
    assert "8,806" in text.split("parameters", 1)[1][:40]


@pytest.mark.parametrize(
    "text",
    [
        "Sequential([Input((28, 28, 1)), Conv2D(32, 3, activation='relu'), MaxPooling2D(), Flatten(), "
        "Dense(10)])",
        "keras.Sequential([layers.Conv2D(32, 3, input_shape=(28, 28, 1)), layers.MaxPool2D(2), "
        "layers.Flatten(), layers.Dense(10, 'softmax')], name='digits')",
        "model = tf.keras.models.Sequential(layers=[InputLayer(input_shape=(28, 28, 1)), Conv2D(32, 3), "
        "MaxPooling2D(pool_size=(2, 2)), Dropout(0.5), Flatten(), Dense(10)])",
        "model = Sequential()\nmodel.add(Conv2D(32, 3, input_shape=(28, 28, 1)))\nmodel.add(MaxPooling2D())\n"
        "model.add(Flatten())\nmodel.add(Dense(10))  # classes",
        "Sequential(Input((28, 28, 1)), Conv2D(32, 3), MaxPooling2D(), Flatten(), Dense(10))",
        "Sequential([Input((28, 28, 1)), Sequential([Conv2D(32, 3), MaxPooling2D()]), Flatten(), Dense(10)])",
    ],
)
def test_a_sequential_of_keras(text):
    answer = explain(text)
    assert answer.parameters == 320 + 54_090
    assert (answer.input, answer.output) == ((28, 28, 1), (10,))


def test_the_size_of_a_keras_sequential_may_have_its_channels_first():
    text = "Sequential([Conv2D(8, 3), GlobalAveragePooling2D(), Dense(10)])"
    for size in ("32x32x3", "3x32x32", (None, None, 3)):
        assert explain(text, size).parameters == 8 * 28 + 90
    assert "input 3x32x32 is read with the channels first" in str(explain(text, "3x32x32"))
    text = "Sequential([Conv2D(8, 3, data_format='channels_first'), Flatten(), Dense(1)])"
    assert explain(text, "3x9x9").parameters == 8 * 28 + 8 * 49 + 1
    first = (
        "Sequential([Conv2D(8, 3, data_format='channels_first', input_shape=(3, 9, 9)), Flatten(), Dense(1)])"
    )
    assert explain(first).parameters == 8 * 28 + 8 * 49 + 1


def test_a_layer_that_occurs_twice_is_counted_once():
    layer = nn.Linear(4, 4)
    tied = nn.Sequential(nn.Embedding(10, 4), nn.Linear(4, 10, bias=False))
    ws.tie_weights(tied, {"1.weight": "0.weight"})
    for module in (nn.Sequential(layer, nn.ReLU(), layer), tied):
        answer = explain(module)
        assert answer.parameters == sum(p.numel() for p in module.parameters())
        assert any("which reads it from elsewhere" in note for note in answer.notes)


def test_parameters_of_the_sequence_itself_are_counted():
    class Scaled(nn.Sequential):
        def __init__(self):
            super().__init__(nn.Linear(3, 4))
            self.scale = nn.Parameter(torch.ones(5))

    answer = explain(Scaled())
    assert answer.parameters == 21
    assert "scale" in str(answer)


def test_the_json_has_the_layers():
    answer = explain(build_lenet(), (1, 28, 28))
    counts = json.loads(answer.to_json())
    assert counts == answer.counts
    assert [layer["parameters"] for layer in counts["layers"]] == [156, 0, 0, 8650]
    assert [layer["output"] for layer in counts["layers"]] == [[6, 24, 24], [6, 24, 24], [6, 12, 12], [10]]
    assert [layer["name"] for layer in counts["layers"][3]["layers"]] == ["0", "1"]
    assert [term["label"] for term in counts["derivation"]] == [
        *("0.weights", "0.biases", "3.1.weights", "3.1.biases"),
    ]


def test_the_page_lists_the_layers(tmp_path):
    answer = explain(build_lenet(), (1, 28, 28))
    answer.to_html(tmp_path / "page.html")
    for html in ((tmp_path / "page.html").read_text(encoding="utf-8"), answer._repr_html_()):
        assert "8,806" in html
        assert "3.1: Linear(864, 10)" in html


@pytest.mark.parametrize(
    ("layer", "size", "error"),
    [
        (
            "nn.Sequential(nn.Linear(8, 4), nn.Linear(5, 2))",
            8,
            "layer 1: Linear: the input must have in_features=5",
        ),
        ("nn.Sequential(nn.Embedding(9, 4), nn.Linear(5, 2))", 7, "got 7x4; use e.g. 1024."),
        ("nn.Sequential(nn.Linear(8, 4), Foo(2))", None, "layer 1: must be one of Conv1d"),
        ("nn.Sequential(nn.ReLU, 3)", None, "layer 0: must be a call with arguments, got the name 'nn.ReLU'"),
        ("nn.Sequential(nn.Conv2d(3, 8, 3))", "9x9", "layer 0: Conv2d: the input must have 3 axes"),
        ("nn.Sequential(a=nn.ReLU())", None, "Sequential: must list its layers, got argument 'a'"),
        ("Sequential([Flatten(), Dense(10)])", None, "layer 1: Linear: needs in_features"),
        ("os.Sequential(nn.ReLU())", None, "layer: must be one of Conv1d"),
        (nn.Sequential(nn.ReLU(), nn.Module()), None, "layer 1: layer must be a convolution"),
        ("Sequential()\nmodel.add(3)", None, "must be one call in Python syntax"),
    ],
)
def test_a_mistake_names_its_layer(layer, size, error):
    with pytest.raises(WeightshareError) as caught:
        explain(layer, size)
    assert error in str(caught.value)


@pytest.mark.parametrize(
    ("layers", "parameters"),
    [
        ("Embedding(1000, 64), LSTM(128), Dense(10)", 64_000 + 98_816 + 1_290),
        ("Embedding(10000, 16), GlobalAveragePooling1D(), Dense(16), Dense(1)", 160_289),
        ("Embedding(100, 8, input_length=20), Flatten(), Dense(1)", 961),
    ],
)
def test_an_embedding_determines_the_features_after_it(layers, parameters):
    """The numbers are those of `Model.summary` of Keras."""
    assert explain(f"keras.Sequential([{layers}])").parameters == parameters


def test_an_embedding_before_torch_layers():
    assert explain("nn.Sequential(nn.Embedding(10, 4), nn.LSTM(4, 5))").parameters == 40 + 220
    assert explain("nn.Sequential(nn.EmbeddingBag(10, 4), nn.Linear(4, 5))").parameters == 40 + 25
    assert explain("nn.Embedding(10, 4)").parameters == 40


def test_an_empty_sequential():
    assert explain("nn.Sequential()", 3).output == (3,)
    assert explain(nn.Sequential()).parameters == 0
