"""Layers written as text are parsed into the same layer in torch's notation, and every mistake gets a clear error."""

# ruff: noqa: E501

import warnings
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weightshare import Local, Tiled, explain
from weightshare.counting.build import FORMS
from weightshare.counting.parse import parse_layer
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
def test_text_is_parsed(text, expected):
    spec = parse_layer(text)
    assert str(spec) == (expected or text)
    assert str(parse_layer(str(spec))) == str(spec)


# fmt: off
MISTAKES = [
    ("Conv2(3, 8, 3)", None, "SpecError", "layer: must be one of Conv1d,", "did you mean 'Conv2d'"),
    ("conv2d(3, 8, 3)", None, "SpecError", "got 'conv2d'", "did you mean 'Conv2d'"),
    ("os.system('ls')", None, "SpecError", "layer: must be one of", "got 'os.system'"),
    ("os.Conv2d(3, 8, 3)", None, "SpecError", "layer: must be one of", "got 'os.Conv2d'"),
    ("Conv2d", None, "SpecError", "must be a call with arguments", "got the name 'Conv2d'"),
    ("", None, "SpecError", "must be one call in Python syntax", "got ''"),
    ("Conv2d(3, 8, 3", None, "SpecError", "must be one call in Python syntax", "Conv2d(3, 96, 11, stride=4)"),
    ("Conv2d(3, 8, 3); 1", None, "SpecError", "must be one call in Python syntax", "use e.g."),
    ("x = y = 3; z", None, "SpecError", "must be one call in Python syntax", "use e.g."),
    ("x = Conv2d", None, "SpecError", "must be a call with arguments", "got the name 'Conv2d'"),
    ("Conv2d(3, 8, 3)(1)", None, "SpecError", "must call a layer class by its name", "use e.g."),
    ("Conv2d(3, 8)", None, "SpecError", "Conv2d: needs in_channels, out_channels, kernel_size", "got no kernel_size"),
    ("Linear(3)", None, "SpecError", "Linear: needs in_features, out_features", "got no out_features"),
    ("Conv2d(3, 8, 3, paddin=1)", None, "SpecError", "got 'paddin'", "did you mean 'padding'"),
    ("Conv2d(3, 8, 3, kernel_size=3)", None, "SpecError", "kernel_size must be given only once", "got it twice"),
    ("Conv2d(3, 8, 3, stride=1, strides=1)", None, "SpecError", "stride must be given only once", "got stride and strides"),
    ("Conv2d(3, 8, 3, stride=1, stride=1)", None, "SpecError", "stride must be given only once", "got it twice"),
    ("Conv2d(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12)", None, "SpecError", "padding_mode, device, dtype may be positional, got 12", "by keyword"),
    ("Conv2d(*[3, 8, 3])", None, "SpecError", "must list its arguments explicitly", "got * or **"),
    ("Conv2d(3, 8, **{})", None, "SpecError", "must list its arguments explicitly", "got * or **"),
    ("Conv2d(3, 8, int(3))", None, "SpecError", "Conv2d: kernel_size must be a literal number", "got a call"),
    ("Conv2d(3, 8, k)", None, "SpecError", "kernel_size must be a literal number", "got the name 'k'"),
    ("Conv2d(3, 8, a.b)", None, "SpecError", "kernel_size must be a literal number", "got the name 'a.b'"),
    ("Conv2d(3, 8, 2+k)", None, "SpecError", "kernel_size must be a literal number", "got an arithmetic expression"),
    ("Conv2d(3, 8, 6/2)", None, "SpecError", "kernel_size must be a literal number", "only integers with +, -, *, //"),
    ("Conv2d(3, 8, 3//0)", None, "SpecError", "kernel_size must be a literal number", "got an arithmetic expression"),
    ("Conv2d(3, 8, 9**9**9)", None, "SpecError", "kernel_size must be at most 1,000,000,000", "a larger number"),
    ("Conv2d(3, 8, True*3)", None, "SpecError", "kernel_size must be a literal number", "got an arithmetic expression"),
    ("Conv2d(3, 8, f'3')", None, "SpecError", "kernel_size must be a literal number", "got an f-string"),
    ("Conv2d(3, 8, {3})", None, "SpecError", "kernel_size must be a literal number", "got an expression (Set)"),
    ("Conv2d(3, 8, (3, open('x')))", None, "SpecError", "kernel_size must be a literal number", "got a call"),
    ("Conv2d(3, 8, 3, stride=1000000001)", None, "SpecError", "stride must be at most 1,000,000,000", "a larger number"),
    ("Conv2d(3, 8, 1e400)", None, "SpecError", "kernel_size must be at most 1,000,000,000", "a larger number"),
    (f"Conv2d(3, 8, ({'1,' * 65}))", None, "SpecError", "kernel_size must have at most 64 entries", "got 65 entries"),
    ("Conv2d(3, 8, 3" + " " * 20_000 + ")", None, "SpecError", "must be text of at most 20,000 characters", "got 20,015"),
    ("Conv2d(3, 8, 0)", None, "ArgumentError", "Conv2d: kernel_size must be at least 1, got 0", "got 0."),
    ("Conv2d(3, 8, 3.0)", None, "ArgumentError", "kernel_size must be an integer, got 3.0", "got 3.0."),
    ("Conv2d(3, 8, '3')", None, "ArgumentError", "kernel_size must be an integer, got '3'", "got '3'."),
    ("Conv2d(3, 8, None)", None, "ArgumentError", "kernel_size must be an integer, got None", "got None."),
    ("Conv2d(3, 8, 3, stride=-1)", None, "ArgumentError", "stride must be at least 1, got -1", "got -1."),
    ("Conv2d(3, 8, (3, 3, 3))", None, "ArgumentError", "kernel_size must be an integer or a tuple of length 2", "got (3, 3, 3)."),
    ("Conv1d(3, 8, 3, dilation=(1, 1))", None, "ArgumentError", "dilation must be an integer or a tuple of length 1", "(1, 1)"),
    ("Conv2d(0, 8, 3)", None, "ArgumentError", "in_channels must be at least 1, got 0", "got 0."),
    ("Conv2d(3, 8, 3, groups=2)", None, "ArgumentError", "groups must divide in_channels and out_channels", "out_channels=8"),
    ("Conv2d(3, 8, 3, bias=1)", None, "ArgumentError", "bias must be True or False, got 1", "got 1."),
    ("Conv2d(3, 8, 3, padding_mode='zero')", None, "ArgumentError", "padding_mode must be one of", "got 'zero'"),
    ("Conv2d(3, 8, 3, padding='full')", None, "ArgumentError", "padding must be integers, 'same' or 'valid'", "'full'"),
    ("Conv2d(3, 8, 3, 2, 'same')", None, "ArgumentError", "padding='same' needs stride 1", "as integers"),
    ("ConvTranspose2d(3, 8, 3, padding='same')", None, "ArgumentError", "padding must be integers for a transposed layer", "got 'same'."),
    ("ConvTranspose2d(3, 8, 3, output_padding=1)", None, "ArgumentError", "output_padding must be smaller", "smaller"),
    ("ConvTranspose1d(3, 8, 3, padding_mode='reflect')", None, "ArgumentError", "padding_mode must be 'zeros'", "got 'reflect'"),
    ("ConvTranspose1d(3, 8, 1, padding=3)", 4, "ShapeError", "the output must have at least one position", "less padding"),
    ("Conv2d(3, 8, 5)", 4, "ShapeError", "the padded input must be at least (5, 5)", "use a larger input"),
    ("Conv2d(3, 8, 5)", (4, 9, 9), "ShapeError", "the input must have in_channels=3, got 4 from input 4x9x9", "first"),
    ("Conv2d(3, 8, 5)", (1, 3, 9, 9), "ShapeError", "input_size must have length 2 (the spatial size) or 3", "the batch"),
    ("Conv2d(3, 8, 5)", (9,), "ShapeError", "input_size must have length 2 (the spatial size) or 3", "3x227x227"),
    ("Conv1d(3, 8, 5)", (3, 1, 1, 9), "ShapeError", "input_size must have length 1 (the spatial size) or 2", "use e.g. 3x227."),
    ("Conv3d(3, 8, 5)", (9, 9), "ShapeError", "input_size must have length 3 (the spatial size) or 4", "e.g. 3x16x112x112"),
    ("Linear(3, 8)", (3, 9, 9), "ShapeError", "input_size must have length 1 (the features), got 3x9x9", "use e.g. 1024."),
    ("Conv2d(3, 8, 5)", 0, "ArgumentError", "input_size must be at least 1, got 0", "got 0."),
    ("Conv2d(3, 8, 5)", 10**10, "ArgumentError", "input_size must be at most 1,000,000,000", "a larger number."),
    ("Conv2d(3, 8, 5)", "3*9", "SpecError", "input size: must be integers joined by \"x\", got '3*9'", "3x227x227"),
    ("Conv2d(3, 8, 5)", "3x", "SpecError", "input size: must be integers joined by \"x\", got '3x'", "3x227x227"),
    ("Conv1d(3, 8, 5, padding=4, padding_mode='reflect')", 4, "ShapeError", "can pad an axis of length 4 by at most 3", "less padding"),
    ("Linear(9, 5)", 8, "ShapeError", "the input must have in_features=9, got 8", "from input 8."),
    ("Linear(9, 5, sharing='local')", None, "SpecError", "got 'sharing'", "argument must be one of bias, device"),
    ("Conv2d(3, 8, 3, sharing='local')", None, "ArgumentError", "sharing=Local(): needs an input size, got none", "--input"),
    ("Conv2d(3, 8, 3, bias_sharing='local')", None, "ArgumentError", "bias_sharing=Local(): needs an input size", "--input"),
    ("Conv2d(3, 8, 3, sharing='tiles:2')", 9, "SpecError", "sharing: must be one of full, local", "got 'tiles:2'"),
    ("Conv2d(3, 8, 3, sharing=Tile(2))", 9, "SpecError", "sharing must be text or one of Full", "did you mean 'Tiled'"),
    ("Conv2d(3, 8, 3, sharing=os.Tiled(2))", 9, "SpecError", "sharing must be text or one of Full", "'os.Tiled'"),
    ("Conv2d(3, 8, 3, sharing=Tiled())", 9, "SpecError", "sharing=Tiled: must have valid arguments", "use e.g. sharing=Tiled(2)"),
    ("Conv2d(3, 8, 3, sharing=Tiled(x))", 9, "SpecError", "sharing must be a literal number", "got the name 'x'"),
    ("Conv2d(3, 8, 3, sharing=2)", 9, "ArgumentError", "sharing must be a sharing or text, got int", "'tiled:2'"),
    ("Conv2d(3, 8, 3, sharing=Tiled(0))", 9, "ArgumentError", "period must be at least 1, got 0", "got 0."),
    ("Conv2d(3, 8, 3, sharing=Regional(5))", 6, "SharingError", "needs an output of at least 5 x 5, got (4, 4) from", "smaller grid"),
    ("Conv2d(3, 8, 3, sharing=Mapped([[0, 1]]))", 6, "SharingError", "needs an output of 1 x 2", "labels"),
    ("Conv2d(3, 8, 3, sharing=Mapped([[0, 2]]))", 6, "ArgumentError", "labels must be 0 to K - 1", "no position with label 1"),
    ("Conv2d(3, 8, 3, bias_sharing='lowrank:2')", 6, "SharingError", "must be one-hot", "Full(), Local()"),
    ("Conv1d(3, 8, 3, sharing='tiled:2')", 10**7, "SharingError", "at most 1,048,576 positions per axis", "Local()"),
    ("Conv2d(3, 8, 3, sharing='local', input_size=9)", 8, "ShapeError", "was built for an input of size 9 x 9, got 8 x 8", "out"),
    ("Conv2D(96, 11)", None, "SpecError", "needs in_channels, which Keras infers from the input", "with the channels last, e.g. 227x227x3"),
    ("Conv2D(96, 11)", (227, 227), "SpecError", "got an input size without channels", "with the channels last, e.g. 227x227x3"),
    ("Conv2D(8, 3, input_shape=(28, 28))", None, "ArgumentError", "input_shape must have length 3", "as in Keras"),
]
# fmt: on


@pytest.mark.parametrize(
    ("text", "size", "kind", "expected", "hint"), MISTAKES, ids=[m[0][:40] for m in MISTAKES]
)
def test_a_mistake_gets_an_error_with_a_hint(text, size, kind, expected, hint):
    with pytest.raises(WeightshareError) as caught:
        explain(text, size)
    assert type(caught.value).__name__ == kind
    assert expected in str(caught.value)
    assert hint in str(caught.value)


#: Arguments that may or may not be valid, depending on the layer.
VALUES = [
    "1",
    "2",
    "3",
    "0",
    "-1",
    "10**9",
    "10**12",
    "9**9**9",
    "28*28",
    "(3,)",
    "(2,2)",
    "((1,2),(3,4))",
    "None",
    "True",
    "'same'",
    "'causal'",
    "'relu'",
    "[1,2]",
    "()",
    "1.5",
    "k",
    "lambda:0",
    "3//0",
    "units=4",
    "filters=2",
    "kernel_size=3",
    "padding='same'",
    "bias=False",
    "axis=1",
    "strides=2",
    "input_shape=(9,9,3)",
    "input_shape=(None,None,3)",
    "data_format='channels_first'",
    "num_layers=2",
    "return_sequences=True",
    "groups=3",
    "shape=(3,)",
    "padding=3",
    "merge_mode=None",
    "dim=1",
    "kdim=3",
    "output_size=(None,2)",
    "scale_factor=0.1",
    "lora_rank=2",
    "depth_multiplier=0",
]


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
        "Sequential(" * 90 + ")" * 90 + "(1)",
        "Sequential(" + "LSTM(1, 1, 100), " * 1000 + "3)",
        "LSTM(10, 20, " + "-" * 15_000 + "3)",
        "LSTM(10, 20, " + "1*" * 9_000 + "1)",
        "LSTM(10, 20, " + "9**" * 500 + "9)",
        "a" + ".a" * 9_000 + "()",
        "[" * 9_000,
        "(conv1): " * 1_000,
        "(0): Sequential(\n" * 900,
        ")\n" * 5_000,
        "LSTM(10, 20, num_layers=" + "9" * 4_400 + ")",
        "Embedding(10**9, 10**9, 3) if 1 else 2",
        "Bidirectional(" * 60 + "LSTM(3)" + ")" * 61,
    ],
)
def test_hostile_text_raises_a_weightshare_error(text):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(WeightshareError) as caught:
            explain(text, 9)
    assert str(caught.value).isprintable()


CALLS = st.recursive(
    st.builds(
        "{}({})".format,
        st.sampled_from(sorted(FORMS["torch"].keys() | FORMS["Keras"].keys())),
        st.lists(st.sampled_from(VALUES), max_size=5).map(", ".join),
    ),
    lambda calls: st.builds(
        "{}({})".format,
        st.sampled_from(["Sequential", "nn.Sequential", "Bidirectional", "TimeDistributed", "weight_norm"]),
        st.lists(calls, max_size=4).map(", ".join)
        | st.lists(calls, max_size=4).map(lambda c: f"[{', '.join(c)}]"),
    ),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None)
@given(
    CALLS,
    st.sampled_from([None, 9, "3x9x9", "9x9x3", "50x10", (None, None, 3), (), (3,), 10**9, "None", True]),
)
def test_any_call_is_counted_or_raises_a_weightshare_error(text, size):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with suppress(WeightshareError):
            answer = explain(text, size)
            assert answer.parameters >= 0
            assert str(answer)
            assert answer.to_json()


@given(
    st.text(max_size=60)
    | st.text("Conv2d(3,8 )=[]'\"*:.lambda\\\n-+", max_size=80).map("Conv2d(3, 8, 3, ".__add__)
)
def test_any_text_is_counted_or_raises_a_weightshare_error(text):
    with suppress(WeightshareError):
        assert explain(text, 9).parameters


def test_the_sharing_argument_overrides_the_sharing_of_the_layer():
    text = "Conv2d(3, 8, 3, sharing='local', input_size=9)"
    assert explain(text).layer.sharing == Local()
    assert explain(text, 8, Tiled(2)).banks == 4
    assert explain(text, 8, "regional:3").banks == 9
    assert explain("LocallyConnected2d(3, 8, 3)", 9, "full").by_sharing["full"] == 8 * 28
