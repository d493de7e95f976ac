"""Layers of torch, live and printed, have the parameters and the size of output that torch gives them."""

import inspect

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from weightshare import explain
from weightshare.counting.build import FORMS
from weightshare.counting.torch_layers import TORCH_FORMS
from weightshare.errors import WeightshareError

few, flag = st.integers(1, 5), st.booleans()


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def check(module, size=None, is_printed_in_full=True):
    """Compare the live and the printed module with torch, and return the output size."""
    given = [module, repr(module)] if is_printed_in_full else [module]
    for layer in given:
        answer = explain(layer, size)
        assert answer.parameters == answer.counts["parameters"] == count(module)
        assert sum(term["n"] for term in answer.counts["derivation"]) == count(module)
        assert f"{count(module):,}" in str(answer).split("parameters", 1)[1][:40]
        if size is not None:
            x = torch.zeros(1, *size, dtype=torch.long if isinstance(module, nn.Embedding) else None)
            with torch.no_grad():
                y = module.eval()(x)
            assert answer.output == tuple((y[0] if isinstance(y, tuple) else y).shape[1:])


@given(st.data(), st.sampled_from([nn.RNN, nn.LSTM, nn.GRU]))
def test_recurrent_layers(data, kind):
    draw = data.draw
    hidden, inputs = draw(st.integers(2, 6)), draw(few)
    more = {"proj_size": draw(st.integers(0, hidden - 1))} if kind is nn.LSTM else {}
    words = {"bias": draw(flag), "bidirectional": draw(flag), "batch_first": True, **more}
    check(kind(inputs, hidden, draw(few), **words), (draw(few), inputs))
    cell = getattr(nn, f"{kind.__name__}Cell")
    check(cell(inputs, hidden, bias=draw(flag)))


@given(st.data())
def test_attention(data):
    draw, heads = data.draw, data.draw(st.integers(1, 3))
    size = heads * draw(few)
    words = {"kdim": draw(st.none() | few), "vdim": draw(st.none() | few)}
    words |= {"bias": draw(flag), "add_bias_kv": draw(flag)}
    module = nn.MultiheadAttention(size, heads, **words)
    check(module, is_printed_in_full=False)  # torch prints only the output projection
    given_words = ", ".join(f"{word}={value!r}" for word, value in words.items())
    answer = explain(f"nn.MultiheadAttention({size}, {heads}, {given_words})")
    assert answer.parameters == count(module)
    expected = sorted((name, p.numel()) for name, p in module.named_parameters())
    assert sorted((term.label, term.n) for term in answer.own.terms) == expected


@given(st.data(), few, few, few)
def test_other_layers_with_parameters(data, a, b, c):
    affine = data.draw(flag)
    size = (a, *data.draw(st.lists(st.integers(2, 4), min_size=1, max_size=3)))
    ndim = len(size) - 1
    words = {"affine": affine, "track_running_stats": data.draw(flag)}
    bias = {"bias": data.draw(flag)} if "bias" in inspect.signature(nn.GroupNorm).parameters else {}
    check(getattr(nn, f"BatchNorm{ndim}d")(a, **words, **bias), size)
    check(getattr(nn, f"InstanceNorm{ndim}d")(a, **words, **bias), size)
    check(nn.GroupNorm(a, a * b, affine=affine, **bias))
    check(nn.LayerNorm((a, b), elementwise_affine=affine, bias=data.draw(flag)), (c, a, b))
    check(nn.RMSNorm((a, b), elementwise_affine=affine), (c, a, b))
    check(nn.Embedding(a, b), (c,))
    check(nn.EmbeddingBag(a, b))
    check(nn.Bilinear(a, b, c, bias=affine))
    check(nn.PReLU(a), size)
    check(nn.SyncBatchNorm(a))


@settings(deadline=None)
@given(st.data(), st.integers(1, 3))
def test_layers_without_parameters_change_the_size_as_in_torch(data, ndim):
    draw = data.draw
    numbers = lambda low, high: tuple(draw(st.integers(low, high)) for _ in range(ndim))  # noqa: E731
    size = (draw(few), *numbers(4, 9))
    kernel = numbers(1, 4)
    words = {"stride": numbers(1, 4), "padding": min(kernel) // 2, "ceil_mode": draw(flag)}
    check(getattr(nn, f"MaxPool{ndim}d")(kernel, **words), size)
    average = getattr(nn, f"AvgPool{ndim}d")(kernel, **words)
    check(average, size, is_printed_in_full=not words["ceil_mode"])  # torch does not print it
    check(getattr(nn, f"AdaptiveAvgPool{ndim}d")(draw(few)), size)
    check(getattr(nn, f"AdaptiveMaxPool{ndim}d")(numbers(1, 3)), size)
    sides = tuple(draw(st.integers(0, 3)) for _ in range(2 * ndim))
    for kind in ("ZeroPad", "ReflectionPad", "ReplicationPad", "CircularPad"):
        check(getattr(nn, f"{kind}{ndim}d")(sides), size)
    check(getattr(nn, f"ConstantPad{ndim}d")(1, 0.5), size)
    check(nn.Upsample(scale_factor=draw(st.sampled_from([1.5, 2, 3]))), size)
    check(nn.Upsample(size=numbers(1, 5)), size)
    check(nn.Flatten(), size)
    check(nn.Flatten(1, draw(st.integers(1, ndim + 1))), size)
    check(nn.Unflatten(1, (2, -1)), (6, *size))


@pytest.mark.parametrize(
    "module",
    [
        nn.PixelShuffle(2),
        nn.PixelUnshuffle(2),
        nn.ChannelShuffle(2),
        nn.LocalResponseNorm(2),
        nn.Threshold(1, 2),
    ],
    ids=repr,
)
def test_layers_for_images(module):
    check(module, (8, 4, 6), is_printed_in_full=not isinstance(module, nn.LocalResponseNorm))


ACTIVATIONS = (
    "ReLU ReLU6 SELU SiLU Mish Hardswish Hardsigmoid GELU LeakyReLU RReLU ELU CELU Softplus Hardtanh "
    "Hardshrink Softshrink Sigmoid LogSigmoid Tanh Tanhshrink Softsign Dropout Dropout1d AlphaDropout "
    "FeatureAlphaDropout Identity Softmin Softmax LogSoftmax"
)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", ACTIVATIONS.split())
def test_layers_that_keep_the_size(name):
    words = {"dim": 1} if name.endswith(("Softmax", "Softmin")) else {}
    check(getattr(nn, name)(**words), (3, 4))
    assert "This layer has no parameters." in str(explain(f"{name}()"))


@pytest.mark.parametrize("name", TORCH_FORMS)
def test_the_arguments_are_those_of_torch(name):
    parameters = inspect.signature(getattr(nn, name).__init__).parameters.values()
    known = [p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD) and p.name != "self"]
    form = FORMS["torch"][name]
    if name in ("RNN", "LSTM", "GRU"):  # torch hides the arguments of these
        return
    names = [p.name for p in known]
    assert names == [word for word in form.order if word in names or word not in ("device", "dtype", "bias")]
    for parameter in known:
        if parameter.name in form.required:
            assert parameter.default is parameter.empty
        if parameter.name in form.defaults:
            assert parameter.default == form.defaults[parameter.name]


@pytest.mark.parametrize(
    ("layer", "size", "words"),
    [
        (nn.LSTM(10, 20), None, "4 gates x 20 hidden features x 10 input features"),
        (nn.LSTM(10, 20), None, "Keras has only one, so it has 80 fewer parameters."),
        (nn.GRU(10, 20), None, "3 gates (reset, update and new)"),
        (nn.RNN(10, 20, 2), None, "Each of the 2 layers has its own weights"),
        (nn.LSTM(10, 20, 2, bidirectional=True), None, "40 features of the layer below of both directions"),
        (nn.Embedding(1000, 64), None, "1,000 embeddings x 64 features"),
        (nn.MultiheadAttention(16, 4, kdim=8), None, "16 embedding features x 8 key features"),
        (nn.MultiheadAttention(16, 4), None, "whose number does not affect the count"),
        (nn.BatchNorm2d(8), None, "The running mean and variance (16 numbers) are buffers, not parameters."),
        (nn.LayerNorm(8), (5, 8), "Each feature has one scale (weight) and one shift (bias)."),
        (nn.GroupNorm(2, 8), None, "The number of groups does not affect the count."),
    ],
)
def test_the_derivation_is_in_words(layer, size, words):
    assert words in " ".join(str(explain(layer, size)).split())


def test_the_json_of_a_layer_has_the_keys_of_every_explanation():
    counts = explain("LSTM(10, 20)", "50x10").counts
    assert counts.keys() == explain("Conv2d(3, 8, 3)", 9).counts.keys()
    assert (counts["spec"], counts["sharing"]) == ("LSTM(10, 20)", None)
    assert (counts["input"], counts["output"], counts["neurons"]) == ([50, 10], [50, 20], 1000)
    assert counts["by_sharing"] == {"full": None, "local": None, "dense": None}
    for name in ("banks", "kernels", "depth_slices", "positions", "weights_per_neuron", "macs", "layers"):
        assert counts[name] is None


@pytest.mark.parametrize(
    ("text", "size", "error"),
    [
        ("LSTM(10, 20, dropot=1)", None, "LSTM: argument must be one of batch_first, bias,"),
        ("LSTM(10, 20, num_layers=10**9)", None, "num_layers must be at most 100, got 1,000,000,000."),
        ("LSTM(10, 20, proj_size=20)", None, "proj_size must be smaller than hidden_size=20, got 20."),
        ("LSTM(10, 20, bias=2)", None, "LSTM: bias must be True or False, got 2."),
        ("LSTM(10, 20)", "50x11", "LSTM: the input must have input_size=10, got 11 from input 50x11."),
        (
            "LSTM(10, 20)",
            "2x50x10",
            "the input must have 1 or 2 axes without the batch, got 2x50x10",
        ),
        ("nn.LSTM(10)", None, "LSTM: needs input_size, hidden_size, got no hidden_size."),
        ("MultiheadAttention(10, 3)", None, "num_heads must divide embed_dim, got 3 and 10."),
        ("GroupNorm(3, 8)", None, "num_groups must divide num_channels, got 3 and 8."),
        ("LayerNorm(())", None, "normalized_shape must have at least one entry, got ()."),
        ("LayerNorm((5, 8))", "5", "the input must end with normalized_shape=(5, 8), got 5."),
        ("LayerNorm(8)", "3x9", "the input must end with normalized_shape=(8,), got 3x9."),
        (
            "BatchNorm2d(3)",
            "32x32x3",
            "BatchNorm2d: the input must have num_features=3, got 32 from input 32x32x3.",
        ),
        (
            "MaxPool2d(9)",
            "3x4x4",
            "at least one position on each axis, got 3x0x0; use a larger input than 3x4x4.",
        ),
        ("Flatten(0)", "3x4", "start_dim must be an axis after the batch, 1 to 2, got 0."),
        ("Flatten(2, 1)", "3x4", "start_dim must not be after end_dim"),
        ("Unflatten(1, (4, -1))", "6", "unflattened_size must have 6 elements, like its input, got (4, -1)."),
        ("PixelShuffle(3)", "8x2x2", "must be divisible by upscale_factor=3"),
        ("Embedding(0, 3)", None, "num_embeddings must be at least 1, got 0."),
        ("Embeding(10, 3)", None, "did you mean 'Embedding'"),
        ("LSTM(10, 20)", 10**10, "must be at most 1,000,000,000"),
    ],
)
def test_a_mistake_gets_an_error(text, size, error):
    with pytest.raises(WeightshareError) as caught:
        explain(text, size)
    assert error in str(caught.value)


def test_a_sharing_needs_a_layer_with_positions():
    with pytest.raises(WeightshareError, match="sharing applies to a convolution"):
        explain("LSTM(10, 20)", sharing="local")


def test_a_class_of_the_same_name_is_not_the_layer():
    class LSTM(nn.Module):
        input_size, hidden_size = 10, 20

    with pytest.raises(WeightshareError, match=r"got LSTM; .*weightshare.summary counts any module"):
        explain(LSTM())
