"""Layers in the words of Keras are translated to torch: names, order, channels, shapes and named padding."""

import pytest

from weightshare import explain
from weightshare.counting.keras_words import (
    KERAS_CONVOLUTIONS,
    TORCH_CONVOLUTIONS,
    take_shape,
    translate_arguments,
)


@pytest.mark.parametrize(
    ("text", "size", "expected", "notes"),
    [
        (
            "Conv2D(filters=96, kernel_size=11, strides=4)",
            "3x227x227",
            "Conv2d(3, 96, 11, stride=4)",
            ("Conv2D is Conv2d", "filters=96 is out_channels=96", "strides=4 is stride=4", "in_channels=3"),
        ),
        (
            "Conv2D(96, (11, 11), 4, 'same')",
            "3x227x227",
            "Conv2d(3, 96, 11, stride=4, padding=4)",
            (),
        ),
        ("keras.layers.Conv2D(8, 3, padding='same')", "1x9x9", "Conv2d(1, 8, 3, padding=1)", ()),
        (
            "Conv2D(8, 3, strides=2, padding='same')",
            "1x8x8",
            "Conv2d(1, 8, 3, stride=2, padding=((0, 1), (0, 1)))",
            (),
        ),
        (
            "Conv1D(8, 3, padding='causal', dilation_rate=2)",
            "1x9",
            "Conv1d(1, 8, 3, padding=((4, 0),), dilation=2)",
            (),
        ),
        ("Conv2DTranspose(8, 2, strides=2)", "4x5x5", "ConvTranspose2d(4, 8, 2, stride=2)", ()),
        (
            "Conv2DTranspose(8, 1, strides=2)",
            "4x5x5",
            "ConvTranspose2d(4, 8, 1, stride=2, output_padding=1)",
            (),
        ),
        ("LocallyConnected2D(8, 3, use_bias=False)", "1x9x9", "LocallyConnected2d(1, 8, 3, bias=False)", ()),
        (
            "Dense(64, activation='relu')",
            "1024",
            "Linear(1024, 64)",
            ("Dense is Linear", "units=64 is out_features=64"),
        ),
        (
            "Conv2D(32, 5, activation='relu', input_shape=(28, 28, 1))",
            None,
            "Conv2d(1, 32, 5)",
            ("input_shape",),
        ),
        (
            "Conv2D(8, 3, kernel_initializer=Zeros(), data_format='channels_first', input_shape=(2, 9, 7))",
            None,
            "Conv2d(2, 8, 3)",
            ("input_shape is the input 2x9x7",),
        ),
        ("LocallyConnected2D(8, 3, implementation=2)", "1x9x9", "LocallyConnected2d(1, 8, 3)", ()),
        ("Conv2d(filters=8, kernel_size=3)", "2x9x9", "Conv2d(2, 8, 3)", ("filters=8", "in_channels=2")),
    ],
)
def test_keras_words_are_translated_to_torch(text, size, expected, notes):
    answer = explain(text, size)
    assert str(answer.layer) == expected
    for note in notes:
        assert any(note in line for line in answer.notes)
        assert note in str(answer)


@pytest.mark.parametrize(
    ("layer", "size", "expected"),
    [
        ("Conv2D(1, 3)", "100x100x1", (1, 100, 100)),
        ("Conv2D(1, 3)", "227x227x3", (3, 227, 227)),
        ("Conv2D(1, 3)", "3x227x227", (3, 227, 227)),
        ("Conv2D(1, 3)", "7x7x512", (512, 7, 7)),
        ("Conv2D(1, 3)", "512x7x7", (512, 7, 7)),
        ("Conv2D(1, 3)", "480x640x3", (3, 480, 640)),
        ("Conv2D(1, 3)", "3x480x640", (3, 480, 640)),
        ("Conv2D(1, 3)", "64x32x16", (16, 64, 32)),
        ("Conv2D(1, 3)", "9x9x9", (9, 9, 9)),
        ("Conv2D(1, 3, data_format='channels_last')", "3x7x7", (7, 3, 7)),
        ("Conv2D(1, 3, data_format='channels_first')", "7x7x3", (7, 7, 3)),
        ("LocallyConnected1D(1, 3)", "100x12", (12, 100)),
        ("LocallyConnected1D(1, 3)", "1x100", (1, 100)),
        ("Conv2DTranspose(1, 3)", "7x7x512", (512, 7, 7)),
        ("Conv2D(1, 3, padding='same')", "32x3x3", (3, 32, 3)),
        ("Conv2D(1, 3, padding='same')", "3x3x32", (32, 3, 3)),
        ("Conv2D(1, 3)", "3x3x3", (3, 3, 3)),
        ("Conv1D(1, 3)", "100x3", (3, 100)),
        ("Conv3D(1, 3)", "64x16x112x112", (64, 16, 112, 112)),
        ("Conv3D(1, 3)", "16x112x112x64", (64, 16, 112, 112)),
        ("DepthwiseConv2D(3)", "32x32x3", (3, 32, 32)),
        ("DepthwiseConv2D(3)", "3x32x32", (3, 32, 32)),
        ("Conv3D(1, 3)", "16x112x112x3", (3, 16, 112, 112)),
        ("Conv3D(1, 3)", "3x16x112x112", (3, 16, 112, 112)),
        ("Conv2d(100, 1, 3)", "100x100x8", (100, 100, 8)),
    ],
)
def test_the_order_of_the_input(layer, size, expected):
    answer = explain(layer, size)
    assert (answer.input, answer.layer.in_channels) == (expected, expected[0])
    notes = [note for note in answer.notes if note.startswith(f"input {size} is read with the channels ")]
    assert len(notes) == ("D(" in layer or "Transpose" in layer)


def test_the_listing_of_a_keras_layer():
    layer = "Conv2D(filters=1, kernel_size=(3,3), strides=(1,1), padding='same')"
    assert explain(layer, (100, 100, 1)).parameters == 10
    assert explain(layer, "100x100x1").output == (1, 100, 100)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_named_padding_has_the_output_size_of_keras(padding, transposed):
    for n in (7, 8):
        for kernel in (1, 2, 3, 4):
            for stride in (1, 2, 3):
                if transposed:
                    layer = f"Conv2DTranspose(1, {kernel}, {stride}, '{padding}')"
                    expected = n * stride + (max(kernel - stride, 0) if padding == "valid" else 0)
                else:
                    layer = f"Conv2D(1, {kernel}, {stride}, '{padding}')"
                    expected = -(-(n if padding == "same" else n - kernel + 1) // stride)
                assert explain(layer, (1, n, n)).output == (1, expected, expected)


def test_a_keras_layer_has_the_same_counts_as_the_torch_layer():
    keras = explain("Conv2D(96, 11, strides=4)", (3, 227, 227)).counts
    torch = explain("Conv2d(3, 96, 11, stride=4)", (3, 227, 227)).counts
    assert keras.pop("notes")
    assert not torch.pop("notes")
    assert keras == torch


def test_arguments_in_the_words_of_torch_are_returned_unchanged():
    arguments = {"in_channels": 3, "out_channels": 8, "kernel_size": 3, "padding": "same"}
    assert translate_arguments("Conv2d", TORCH_CONVOLUTIONS["Conv2d"], arguments, 3, (9, 9)) == (
        arguments,
        (),
    )


def test_the_given_arguments_are_not_changed():
    arguments = {"filters": 8, "kernel_size": 3, "data_format": "channels_last", "input_shape": (9, 9, 3)}
    given = dict(arguments)
    own, shape = take_shape(KERAS_CONVOLUTIONS["Conv2D"], arguments)
    translated, _ = translate_arguments("Conv2D", KERAS_CONVOLUTIONS["Conv2D"], own, 3, (9, 9))
    assert arguments == given
    assert shape == (9, 9, 3)
    assert translated == {
        "out_channels": 8,
        "kernel_size": 3,
        "in_channels": 3,
        "padding": ((0, 0), (0, 0)),
    }
