"""Layers written as text: what is understood, and what every mistake gets as its answer."""

# ruff: noqa: E501

import warnings
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightshare import Local, Tiled, explain
from weightshare.counting.from_text import read_spec
from weightshare.errors import WeightshareError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Conv2d(3, 96, 11, stride=4)", None),
        ("nn.Conv2d(3, 96, 11, 4)", "Conv2d(3, 96, 11, stride=4)"),
        ("torch.nn.Conv2d(3, 96, (11, 11), (4, 4), 0)", "Conv2d(3, 96, 11, stride=4)"),
        ("ws.nn.Conv2d(out_channels=96, in_channels=3, kernel_size=[11, 11])", "Conv2d(3, 96, 11)"),
        (
            "weightshare.nn.Conv1d(4, 6, 3, groups=2, padding_mode='circular', padding=1)",
            "Conv1d(4, 6, 3, padding=1, groups=2, padding_mode='circular')",
        ),
        ("Conv3d(1, 2, (3, 5, 7), padding=(1, 2, 3), dilation=2)", None),
        ("Conv2d(3, 8, 4, padding='same')", None),
        ("Conv2d(3, 8, 3, padding='same')", "Conv2d(3, 8, 3, padding=1)"),
        ("Conv2d(3, 8, 3, padding='valid', device='cuda', dtype=torch.float16)", "Conv2d(3, 8, 3)"),
        (
            "ConvTranspose2d(3, 8, 3, 2, 1, 1)",
            "ConvTranspose2d(3, 8, 3, stride=2, padding=1, output_padding=1)",
        ),
        (
            "ConvTranspose1d(2, 2, 3, 1, 0, 0, 2, False, 2)",
            "ConvTranspose1d(2, 2, 3, dilation=2, groups=2, bias=False)",
        ),
        ("ConvTranspose3d(1, 1, 2)", None),
        ("Linear(10, 5, bias=False)", None),
        ("Linear(in_features=10, units=5, use_bias=True)", "Linear(10, 5)"),
        ("Conv2d(3, 8, 3, sharing=Tiled(2))", "Conv2d(3, 8, 3, sharing='tiled:2')"),
        ("Conv2d(3, 8, 3, sharing=ws.Regional((2, 3)))", "Conv2d(3, 8, 3, sharing='regional:2x3')"),
        (
            "Conv2d(3, 8, 3, sharing=LowRank(4, coefficients='free'))",
            "Conv2d(3, 8, 3, sharing='lowrank:4:free')",
        ),
        (
            "Conv2d(3, 8, 3, sharing='local', bias_sharing='full')",
            "Conv2d(3, 8, 3, sharing='local', bias_sharing='full')",
        ),
        ("LocallyConnected2d(3, 8, 3)", None),
        ("LocallyConnected1d(3, 8, 3, sharing='full')", "Conv1d(3, 8, 3)"),
        ("Conv2d(3, 96, 11, strides=4, use_bias=False)", "Conv2d(3, 96, 11, stride=4, bias=False)"),
        ("  Conv2d(3, 8,\n    3)  ", "Conv2d(3, 8, 3)"),
    ],
)
def test_text_is_understood(text, expected):
    spec = read_spec(text)
    assert str(spec) == (expected or text)
    assert str(read_spec(str(spec))) == str(spec)


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
            "Conv2D(8, 3, kernel_initializer=HeNormal(), data_format='channels_first', input_shape=(2, 9, 7))",
            None,
            "Conv2d(2, 8, 3)",
            ("input_shape is the input 2x9x7",),
        ),
        ("LocallyConnected2D(8, 3, implementation=2)", "1x9x9", "LocallyConnected2d(1, 8, 3)", ()),
        ("Conv2d(filters=8, kernel_size=3)", "2x9x9", "Conv2d(2, 8, 3)", ("filters=8", "in_channels=2")),
    ],
)
def test_keras_words_are_answered_in_torchs(text, size, expected, notes):
    answer = explain(text, size)
    assert str(answer.layer) == expected
    for note in notes:
        assert any(note in line for line in answer.notes)
        assert note in str(answer)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_kerass_named_padding_has_kerass_output_size(padding, transposed):
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


def test_a_keras_layer_and_torchs_are_the_same_answer():
    keras = explain("Conv2D(96, 11, strides=4)", (3, 227, 227)).counts
    torchs = explain("Conv2d(3, 96, 11, stride=4)", (3, 227, 227)).counts
    assert keras.pop("notes")
    assert not torchs.pop("notes")
    assert keras == torchs


# fmt: off
MISTAKES = [
    ("Conv2(3, 8, 3)", None, "SpecError", "layer: must be one of Conv1d,", "did you mean 'Conv2d'"),
    ("conv2d(3, 8, 3)", None, "SpecError", "got 'conv2d'", "did you mean 'Conv2d'"),
    ("os.system('ls')", None, "SpecError", "layer: must be one of", "got 'os.system'"),
    ("os.Conv2d(3, 8, 3)", None, "SpecError", "layer: must be one of", "got 'os.Conv2d'"),
    ("Conv2d", None, "SpecError", "must be one call with its arguments", "got 'Conv2d'"),
    ("", None, "SpecError", "must be one call in Python's notation", "got ''"),
    ("Conv2d(3, 8, 3", None, "SpecError", "must be one call in Python's notation", "Conv2d(3, 96, 11, stride=4)"),
    ("Conv2d(3, 8, 3); 1", None, "SpecError", "must be one call in Python's notation", "write it as in"),
    ("x = Conv2d(3, 8, 3)", None, "SpecError", "must be one call in Python's notation", "write it as in"),
    ("Conv2d(3, 8, 3)(1)", None, "SpecError", "must be the call of a layer by its name", "write it as in"),
    ("Conv2d(3, 8)", None, "SpecError", "Conv2d: needs in_channels, out_channels, kernel_size", "got no kernel_size"),
    ("Linear(3)", None, "SpecError", "Linear: needs in_features, out_features", "got no out_features"),
    ("Conv2d(3, 8, 3, paddin=1)", None, "SpecError", "got 'paddin'", "did you mean 'padding'"),
    ("Conv2d(3, 8, 3, kernel_size=3)", None, "SpecError", "takes kernel_size once", "leave one out"),
    ("Conv2d(3, 8, 3, stride=1, strides=1)", None, "SpecError", "takes stride once", "leave one out"),
    ("Conv2d(3, 8, 3, stride=1, stride=1)", None, "SpecError", "takes stride once", "leave one out"),
    ("Conv2d(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12)", None, "SpecError", "takes at most 11 arguments by place", "by name"),
    ("Conv2d(*[3, 8, 3])", None, "SpecError", "must have its arguments written out", "got * or **"),
    ("Conv2d(3, 8, **{})", None, "SpecError", "must have its arguments written out", "got * or **"),
    ("Conv2d(3, 8, int(3))", None, "SpecError", "Conv2d: kernel_size must be written out", "got a call"),
    ("Conv2d(3, 8, k)", None, "SpecError", "kernel_size must be written out", "got a name"),
    ("Conv2d(3, 8, a.b)", None, "SpecError", "kernel_size must be written out", "got a dotted name"),
    ("Conv2d(3, 8, 2+1)", None, "SpecError", "kernel_size must be written out", "got a sum or product"),
    ("Conv2d(3, 8, f'3')", None, "SpecError", "kernel_size must be written out", "got an f-string"),
    ("Conv2d(3, 8, {3})", None, "SpecError", "kernel_size must be written out", "got an expression (Set)"),
    ("Conv2d(3, 8, (3, open('x')))", None, "SpecError", "kernel_size must be written out", "got a call"),
    ("Conv2d(3, 8, 3, stride=1000000001)", None, "SpecError", "stride must be at most 1,000,000,000", "a larger number"),
    ("Conv2d(3, 8, 1e400)", None, "SpecError", "kernel_size must be at most 1,000,000,000", "a larger number"),
    (f"Conv2d(3, 8, ({'1,' * 65}))", None, "SpecError", "kernel_size must have at most 64 entries", "got 65 entries"),
    ("Conv2d(3, 8, 3" + " " * 1000 + ")", None, "SpecError", "must be text of at most 1,000 characters", "got 1,015"),
    ("Conv2d(3, 8, 0)", None, "ArgumentError", "Conv2d: kernel_size must be at least 1, got 0", "got 0."),
    ("Conv2d(3, 8, 3.0)", None, "ArgumentError", "kernel_size must be an integer, got 3.0", "got 3.0."),
    ("Conv2d(3, 8, '3')", None, "ArgumentError", "kernel_size must be an integer, got '3'", "got '3'."),
    ("Conv2d(3, 8, None)", None, "ArgumentError", "kernel_size must be an integer, got None", "got None."),
    ("Conv2d(3, 8, 3, stride=-1)", None, "ArgumentError", "stride must be at least 1, got -1", "got -1."),
    ("Conv2d(3, 8, (3, 3, 3))", None, "ArgumentError", "kernel_size must be an integer or a tuple of length 2", "got (3, 3, 3)."),
    ("Conv1d(3, 8, 3, dilation=(1, 1))", None, "ArgumentError", "dilation must be an integer or a tuple of length 1", "(1, 1)"),
    ("Conv2d(0, 8, 3)", None, "ArgumentError", "in_channels must be at least 1, got 0", "got 0."),
    ("Conv2d(3, 8, 3, groups=2)", None, "ArgumentError", "groups must divide in_channels and out_channels", "out_channels=8"),
    ("Conv2d(3, 8, 3, bias=1)", None, "ArgumentError", "bias must be True or False, got 1", "write one of these"),
    ("Conv2d(3, 8, 3, padding_mode='zero')", None, "ArgumentError", "padding_mode must be one of", "got 'zero'"),
    ("Conv2d(3, 8, 3, padding='full')", None, "ArgumentError", "padding must be integers, 'same' or 'valid'", "'full'"),
    ("Conv2d(3, 8, 3, 2, 'same')", None, "ArgumentError", "padding='same' needs stride 1", "as integers"),
    ("ConvTranspose2d(3, 8, 3, padding='same')", None, "ArgumentError", "padding must be integers", "in numbers"),
    ("ConvTranspose2d(3, 8, 3, output_padding=1)", None, "ArgumentError", "output_padding must be smaller", "smaller"),
    ("ConvTranspose1d(3, 8, 3, padding_mode='reflect')", None, "ArgumentError", "padding_mode must be 'zeros'", "got 'reflect'"),
    ("ConvTranspose1d(3, 8, 1, padding=3)", 4, "ShapeError", "the output must have at least one position", "less padding"),
    ("Conv2d(3, 8, 5)", 4, "ShapeError", "the padded input must be at least (5, 5)", "use a larger input"),
    ("Conv2d(3, 8, 5)", (4, 9, 9), "ShapeError", "the input must have in_channels=3, got 4 from input 4x9x9", "first"),
    ("Conv2d(3, 8, 5)", (1, 3, 9, 9), "ShapeError", "input_size must have 2 (the spatial size) or 3", "the batch"),
    ("Conv2d(3, 8, 5)", (9,), "ShapeError", "input_size must have 2 (the spatial size) or 3", "3x32x32"),
    ("Conv2d(3, 8, 5)", 0, "ArgumentError", "input_size must be at least 1, got 0", "got 0."),
    ("Conv2d(3, 8, 5)", 10**10, "ArgumentError", "input_size must be at most 1,000,000,000", "a smaller one"),
    ("Conv2d(3, 8, 5)", "3*9", "SpecError", "input size: must be numbers joined by x, got '3*9'", "3x227x227"),
    ("Conv2d(3, 8, 5)", "3x", "SpecError", "input size: must be numbers joined by x, got '3x'", "3x227x227"),
    ("Conv1d(3, 8, 5, padding=4, padding_mode='reflect')", 4, "ShapeError", "can pad an axis of length 4 by at most 3", "less padding"),
    ("Linear(9, 5)", 8, "ShapeError", "the input must have in_features=9, got 8", "give that many"),
    ("Linear(9, 5, sharing='local')", None, "SpecError", "got 'sharing'", "takes the arguments"),
    ("Conv2d(3, 8, 3, sharing='local')", None, "ArgumentError", "sharing=Local(): needs the size of the input", "--input"),
    ("Conv2d(3, 8, 3, bias_sharing='local')", None, "ArgumentError", "bias_sharing=Local(): needs the size", "--input"),
    ("Conv2d(3, 8, 3, sharing='tiles:2')", 9, "SpecError", "sharing: must be one of full, local", "got 'tiles:2'"),
    ("Conv2d(3, 8, 3, sharing=Tile(2))", 9, "SpecError", "sharing must be text or one of Full", "did you mean 'Tiled'"),
    ("Conv2d(3, 8, 3, sharing=os.Tiled(2))", 9, "SpecError", "sharing must be text or one of Full", "'os.Tiled'"),
    ("Conv2d(3, 8, 3, sharing=Tiled())", 9, "SpecError", "sharing=Tiled: must have its own arguments", "write it as"),
    ("Conv2d(3, 8, 3, sharing=Tiled(x))", 9, "SpecError", "sharing must be written out", "got a name"),
    ("Conv2d(3, 8, 3, sharing=2)", 9, "ArgumentError", "sharing must be a sharing or text, got int", "'tiled:2'"),
    ("Conv2d(3, 8, 3, sharing=Tiled(0))", 9, "ArgumentError", "period must be at least 1, got 0", "got 0."),
    ("Conv2d(3, 8, 3, sharing=Regional(5))", 6, "SharingError", "needs an output of at least 5 x 5, got (4, 4) from", "smaller grid"),
    ("Conv2d(3, 8, 3, sharing=Mapped([[0, 1]]))", 6, "SharingError", "needs an output of 1 x 2", "labels"),
    ("Conv2d(3, 8, 3, sharing=Mapped([[0, 2]]))", 6, "ArgumentError", "labels must be 0 to K - 1", "no position with label 1"),
    ("Conv2d(3, 8, 3, bias_sharing='lowrank:2')", 6, "SharingError", "must be one-hot", "Full(), Local()"),
    ("Conv1d(3, 8, 3, sharing='tiled:2')", 10**7, "SharingError", "at most 1,048,576 positions an axis", "Local()"),
    ("Conv2d(3, 8, 3, sharing='local', input_size=9)", 8, "ShapeError", "was built for an input of 9 x 9, got 8 x 8", "out"),
    ("Conv2D(96, 11)", None, "SpecError", "needs in_channels, which Keras reads from the input", "as in 3x227x227"),
    ("Conv2D(96, 11)", (227, 227), "SpecError", "got an input size without channels", "the channels in front"),
    ("Conv2D(8, 3, 2, 'same', in_channels=3)", None, "SpecError", "depends on the input size", "--input"),
    ("Conv2D(8, 3, input_shape=(28, 28))", None, "ArgumentError", "input_shape must have 3 numbers", "as Keras does"),
]
# fmt: on


@pytest.mark.parametrize(
    ("text", "size", "kind", "expected", "hint"), MISTAKES, ids=[m[0][:40] for m in MISTAKES]
)
def test_a_mistake_is_answered(text, size, kind, expected, hint):
    with pytest.raises(WeightshareError) as caught:
        explain(text, size)
    assert type(caught.value).__name__ == kind
    assert expected in str(caught.value)
    assert hint in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "(" * 500,
        "Conv2d(3, 8, " + "-" * 900 + "3)",
        "Conv2d(3, 8, " + "1+" * 450 + "1)",
        "a" + ".a" * 490 + "()",
        "Conv2d(3, 8, 3)\0",
        "Conv2d(3, 8, '\\ud800')",
        "\udc80",
        "Conv2d(3, 8, " + "9" * 980 + ")",
        "Conv2d(3, 8, ...)",
        "Conv2d(3, 8, b'3')",
        "Conv2d(3, 8, 3j)",
        "Conv2d(3, 8, 3, sharing=" + "Tiled(" * 90 + ")" * 90 + ")",
        "Conv2d(3, 8, 3, padding=((1, 2), (1)))",
        "Conv2d(3, 8, 3, padding=((), ()))",
        "Conv2d(3, 8, ())",
        "Conv2d(3, 8, True)",
        "Conv2d(3, 8, 3, padding_mode=('zeros',))",
        "Conv2d(3, 8, 3, padding_mode=[])",
        "Conv2d(3, 8, 3, sharing=Mapped(()))",
        "Conv2d(3, 8, 3, sharing=SharedAlong(('a',)))",
        "Conv2d(3, 8, 3, sharing=LowRank(1, ('free',)))",
        "Conv2d(3, 8, 3, sharing=LowRank(1, []))",
        "Conv2d(3, 8, 3, sharing=Full(*[1]))",
        "Conv2d(3, 8, 3, input_size='9')",
        "Conv2d(lambda: 0, 8, 3)",
        "(yield)",
    ],
)
def test_hostile_text_gets_an_error_of_the_package(text):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(WeightshareError) as caught:
            explain(text, 9)
    assert str(caught.value).isprintable()


@given(
    st.text(max_size=60)
    | st.text("Conv2d(3,8 )=[]'\"*:.lambda\\\n-+", max_size=80).map("Conv2d(3, 8, 3, ".__add__)
)
def test_any_text_is_answered_or_refused(text):
    with suppress(WeightshareError):
        assert explain(text, 9).parameters


def test_sharing_asked_for_goes_before_the_layers_own():
    text = "Conv2d(3, 8, 3, sharing='local', input_size=9)"
    assert explain(text).layer.sharing == Local()
    assert explain(text, 8, Tiled(2)).banks == 4
    assert explain(text, 8, "regional:3").banks == 9
    assert explain("LocallyConnected2d(3, 8, 3)", 9, "full").by_sharing["full"] == 8 * 28
