"""Layers of Keras have the parameters that Keras gives them, in documents and when it is installed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from weightshare import explain
from weightshare.errors import WeightshareError

KERAS_GUIDES = [
    # keras.io/guides/sequential_model: "Sequential.summary()"
    ("Dense(2, activation='relu')", "4", 10),
    ("Dense(3, activation='relu')", "2", 9),
    # keras.io/examples/vision/mnist_convnet: 320, 18,496, 16,010, in total 34,826
    ("layers.Conv2D(32, kernel_size=(3, 3), activation='relu')", "28x28x1", 320),
    ("layers.Conv2D(64, kernel_size=(3, 3), activation='relu')", "13x13x32", 18_496),
    ("layers.Dense(10, activation='softmax')", "1600", 16_010),
    # keras.io/guides/working_with_rnns: Embedding(1000, 64), LSTM(128), Dense(10)
    ("layers.Embedding(input_dim=1000, output_dim=64)", None, 64_000),
    ("layers.LSTM(128)", (None, 64), 98_816),
    ("layers.Dense(10)", "128", 1_290),
    # the same guide: GRU(256) with its two biases, SimpleRNN(128), Dense(10)
    ("layers.GRU(256, return_sequences=True)", (None, 64), 247_296),
    ("layers.SimpleRNN(128)", (None, 256), 49_280),
    # the same guide: Bidirectional(LSTM(64)), Bidirectional(LSTM(32)) on 5 steps of 10 features
    ("layers.Bidirectional(layers.LSTM(64, return_sequences=True), input_shape=(5, 10))", None, 38_400),
    ("layers.Bidirectional(layers.LSTM(32))", (5, 128), 41_216),
    # the summaries of keras.applications.MobileNet and Xception
    ("DepthwiseConv2D((3, 3), padding='same', use_bias=False)", "112x112x32", 288),
    ("BatchNormalization()", "112x112x32", 128),
    ("SeparableConv2D(128, (3, 3), padding='same', use_bias=False)", "109x109x64", 8_768),
    ("SeparableConv2D(728, (3, 3), padding='same', use_bias=False)", "19x19x728", 536_536),
    # the closed forms of the reference pages, by hand
    ("GRU(20, reset_after=False)", "50x10", 3 * (10 * 20 + 20 * 20 + 20)),
    ("MultiHeadAttention(num_heads=2, key_dim=2)", "8x16", 3 * (16 * 4 + 4) + 4 * 16 + 16),
    ("Conv2DTranspose(8, 3, use_bias=False)", "5x5x4", 9 * 8 * 4),
    ("LayerNormalization()", "8x16", 32),
    ("GroupNormalization(groups=4)", "8x8x16", 32),
    ("keras.layers.PReLU(shared_axes=[1, 2])", "8x8x16", 16),
    ("Dense(10, lora_rank=4)", "64", 650 + 64 * 4 + 4 * 10),
    ("TimeDistributed(Dense(8))", "10x16", 136),
    ("BatchNormalization(renorm=True)", "8", 56),
]


@pytest.mark.parametrize(("text", "size", "expected"), KERAS_GUIDES, ids=[text for text, *_ in KERAS_GUIDES])
def test_published_counts(text, size, expected):
    answer = explain(text, size)
    assert answer.parameters == answer.counts["parameters"] == expected
    assert f"{expected:,}" in str(answer).split("parameters", 1)[1][:40]


@pytest.mark.parametrize(
    ("text", "size", "expected"),
    [
        ("Dense(10, 'relu')", "256", 2_570),
        ("Dense(10, 'softmax', name='Output')", "10", 110),
        ("Dense(10, 'relu', False, 'he_normal')", "256", 2_560),
        ("Dense(units=10, input_dim=64)", None, 650),
        ("Dense(10, input_shape=[784], kernel_regularizer=l2(0.01), dtype='float16')", None, 7_850),
        ("Dense(10, input_shape=(28, 28))", None, 290),  # on the last axis
        ("Dense(10)", "28x28", 290),
        ("Conv2D(64, (3, 3), padding='SAME', input_shape=(32, 32, 3))", None, 1_792),
        ("Conv2D(64, 3, input_shape=(None, None, 3))", None, 1_792),
        ("Conv2D(64, 3, 2, 'same', input_shape=(None, None, 3))", None, 1_792),
        ("Conv2D(64, 3, batch_input_shape=(None, 32, 32, 3))", None, 1_792),
        ("Conv2D(64, 3, batch_shape=(8, 32, 32, 3))", None, 1_792),
        ("Conv2D(64, 3, data_format='channels_first', input_shape=(3, None, None))", None, 1_792),
        ("Conv2D(64, 3, 1, 'valid', 'channels_last', 1, 1, 'relu', True, 'he_normal')", "9x9x3", 1_792),
        ("Conv2D(64, 3)", (None, None, 3), 1_792),
        ("Conv2D(64, 3)", "(None, None, 3)", 1_792),
        ("Conv2D(64, 3)", (None, 32, 32, 3), 1_792),
        ("Convolution2D(64, 3)", "32x32x3", 1_792),
        ("SeparableConv2D(64, 3)", (None, None, 3), 283),
        ("LSTM(64, input_shape=(50, 10))", None, 19_200),
        ("LSTM(64, batch_input_shape=(None, None, 10))", None, 19_200),
        ("LSTM(64, input_dim=10, input_length=50)", None, 19_200),
        ("LSTM(units=64, return_sequences=True)", "50x10", 19_200),
        ("LSTM(64, 'tanh', input_shape=(50, 10))", None, 19_200),
        ("Embedding(1000, 64, input_length=50)", None, 64_000),
        ("LazyConv2d(64, 3)", "32x32x3", 1_792),
        ("Conv2d(filters=64, kernel_size=3)", "32x32x3", 1_792),
    ],
)
def test_valid_keras_is_read(text, size, expected):
    assert explain(text, size).parameters == expected


@pytest.mark.parametrize(
    ("text", "size", "error"),
    [
        (
            "LSTM(64)",
            None,
            "needs the number of input features, which Keras infers from the input, got no input",
        ),
        ("LSTM(64)", "2x50x10", "the input must have 1 or 2 axes without the batch, got 2x50x10"),
        ("SeparableConv2D(8, 3)", "9x9", "the input must have 3 axes without the batch"),
        (
            "SeparableConv2D(8, 3, padding='causal')",
            "9x9x3",
            "padding must be 'valid' or 'same', got 'causal'",
        ),
        (
            "Conv2D(8, 3, padding='causal')",
            "9x9x3",
            "padding must be integers, 'same' or 'valid', got 'causal'",
        ),
        ("Conv2D(8, 3, input_shape=(9, 9))", None, "input_shape must have length 3, including the channels"),
        ("Dense(10, activation_fn='relu')", "3", "did you mean 'activation'"),
        ("keras.layers.Conv2d(8, 3)", "9x9x3", "did you mean 'Conv2D'"),
        ("nn.Conv2D(8, 3)", "9x9x3", "did you mean 'Conv2d'"),
        ("MaxPooling2D(9)", "4x4x3", "at least one position on each axis, got 0x0x3"),
        ("Reshape((4, -1))", "6", "target_shape must have 6 elements, like its input, got (4, -1)."),
        ("Reshape((-1, -1))", "6", "target_shape must have at most one -1"),
        ("Permute((1, 3))", "6x2", "dims must contain each axis once"),
        ("BatchNormalization(axis=3)", "6x2", "axis must be -2 to 2, and not 0, got 3."),
        ("Input((28, 28, 1))", "28x28x3", "Input: the input must be 28x28x1, got 28x28x3."),
        ("Bidirectional()", "5x3", "Bidirectional: must have the arguments layer, merge_mode"),
        ("Bidirectional(LSTM(3), layer=LSTM(4))", "5x3", "each at most once, got 2 arguments."),
        ("Dense(3, activation=keras.layers.PReLU())", "5", "activation must not have parameters, got PReLU"),
        ("Dense(3, input_shape=())", None, "input_shape must have at least one number, got ()."),
        ("TimeDistributed(Dense(3))", "5", "needs an input with steps and features, got 5."),
    ],
)
def test_a_mistake_gets_an_error(text, size, error):
    with pytest.raises(WeightshareError) as caught:
        explain(text, size)
    assert error in str(caught.value)


@pytest.mark.parametrize(
    ("text", "size", "words"),
    [
        ("LSTM(64)", "50x10", "10 input features x 4 gates x 64 units"),
        ("LSTM(64)", "50x10", "torch has a second bias per gate and unit, so it has 256 more parameters."),
        ("GRU(20)", "50x10", "With reset_after=False, it has one, so there are 60 fewer parameters."),
        ("GRU(20, reset_after=False)", "50x10", "it has two, as in torch, so there are 60 more parameters."),
        ("SeparableConv2D(64, 3)", "32x32x3", "each input channel has 1 kernel of its own"),
        ("SeparableConv2D(64, 3)", "32x32x3", "A full convolution would have 1,792 parameters."),
        ("BatchNormalization()", "8x8x32", "64 are trainable, and 64 are not."),
        ("MultiHeadAttention(2, 8)", "5x16", "16 input features x 2 heads x 8 key features per head"),
    ],
)
def test_the_derivation_is_in_words(text, size, words):
    assert words in " ".join(str(explain(text, size)).split())


def test_a_name_of_both_libraries_is_read_as_torch_with_a_note():
    assert explain("PReLU()", "8x8x16").parameters == 1
    assert explain("PReLU()", "8x8x16").notes == (
        "PReLU is read as the layer of torch; write keras.layers.PReLU for that of Keras",
    )
    for text in ("nn.PReLU()", "LSTM(10, 20)", "ReLU()", "keras.layers.Embedding(3, 4)"):
        assert not any("is read as" in note for note in explain(text).notes)


def test_keras_gives_the_same_counts_and_sizes():
    environment = {**os.environ, "KERAS_BACKEND": "torch"}
    program = Path(__file__).with_name("compare_with_keras.py")
    done = subprocess.run([sys.executable, program], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 100
