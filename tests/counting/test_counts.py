"""Closed-form counts equal counts by enumeration: over torch layers, kernels of labels and listed pairs."""

from itertools import product
from math import prod

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from weightshare import Full, Local, LowRank, Mapped, Regional, SharedAlong, Tiled, explain
from weightshare.counting.connection_counts import Axis, count_largest_window, count_pairs
from weightshare.counting.dead_taps import count_dead_taps
from weightshare.errors import WeightshareError

MODES = ("zeros", "circular", "reflect", "replicate")


@st.composite
def layers(draw, transposed=False):
    """Draw a layer as text, the equal torch layer, an input size that fits, and the output size."""
    ndim = draw(st.integers(1, 3))
    numbers = lambda low, high: tuple(draw(st.integers(low, high)) for _ in range(ndim))  # noqa: E731
    groups = draw(st.integers(1, 2))
    kernel, stride, dilation = numbers(1, 3), numbers(1, 3), numbers(1, 2)
    padding = numbers(0, 2)
    words = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    words["bias"] = draw(st.booleans())
    if transposed:
        name = f"ConvTranspose{ndim}d"
        limits = [max(s, d) for s, d in zip(stride, dilation)]
        words["output_padding"] = tuple(draw(st.integers(0, limit - 1)) for limit in limits)
    else:
        name = f"Conv{ndim}d"
        words["padding_mode"] = draw(st.sampled_from(MODES))
    channels = groups * draw(st.integers(1, 2)), groups * draw(st.integers(1, 2))
    module = getattr(torch.nn, name)(*channels, kernel, **words)
    size = numbers(2, {1: 9, 2: 5, 3: 3}[ndim])
    try:
        output = tuple(module(torch.zeros(1, channels[0], *size)).shape[2:])
    except RuntimeError:
        output = ()
    assume(output and min(output) > 0)
    given_words = ", ".join(f"{word}={value!r}" for word, value in words.items())
    return f"{name}({channels[0]}, {channels[1]}, {kernel}, {given_words})", module, size, output


def find_connections(module, size):
    """Return [out, in] whether an output depends on an input, from a kernel of ones and unit inputs."""
    ones = torch.nn.utils.skip_init(type(module), **_words(module))
    for parameter in ones.parameters():
        parameter.data.fill_(1)
    inputs = module.in_channels * prod(size)
    units = torch.eye(inputs).reshape(inputs, module.in_channels, *size)
    with torch.no_grad():
        return ones(units).flatten(1).T != 0


def _words(module):
    words = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups")
    extra = {"output_padding": module.output_padding} if module.transposed else {}
    return (
        {w: getattr(module, w) for w in words} | {"bias": False, "padding_mode": module.padding_mode} | extra
    )


def check_sums(counts):
    """Check that the products and sums of every derivation equal the counts."""

    def total(terms):
        for term in terms:
            assert term["n"] == prod(factor["n"] for factor in term["factors"])
        return sum(term["n"] for term in terms)

    assert total(counts["derivation"]) == counts["parameters"]
    for name, terms in counts["derivations"]["by_sharing"].items():
        assert total(terms) == counts["by_sharing"][name]
    for name in ("neurons", "weights_per_neuron", "connections", "macs"):
        assert total(counts["derivations"][name]) == counts[name]


@settings(max_examples=80, deadline=None)
@given(st.booleans().flatmap(layers))
def test_counts_equal_those_of_the_torch_layer(case):
    text, module, size, output = case
    answer = explain(text, size)
    assert answer == explain(module, size)
    assert answer == explain(str(answer.layer), size)
    assert answer.parameters == sum(p.numel() for p in module.parameters())
    assert answer.output == (module.out_channels, *output)
    assert answer.neurons == prod(answer.output)
    assert answer.connections == int(find_connections(module, size).sum())
    assert answer.by_sharing["dense"] == (prod(answer.input) + (module.bias is not None)) * answer.neurons
    positions = prod(size if module.transposed else output)
    biases = 0 if module.bias is None else module.out_channels * (1 if module.transposed else positions)
    assert answer.by_sharing["local"] == module.weight.numel() * positions + biases
    assert answer.macs == module.weight.numel() * positions
    check_sums(answer.counts)
    assert str(answer)


@st.composite
def sharings(draw, size):
    axes = range(len(size))
    mapped = [draw(st.integers(0, 2)) for _ in range(prod(size))]
    used = sorted(set(mapped))
    labels = torch.tensor([used.index(label) for label in mapped]).reshape(size)
    return draw(
        st.sampled_from(
            [
                Full(),
                Local(),
                Tiled(tuple(draw(st.integers(1, n)) for n in size)),
                Regional(tuple(draw(st.integers(1, n)) for n in size)),
                SharedAlong(tuple(axis for axis in axes if draw(st.booleans()))),
                Mapped(labels),
                LowRank(draw(st.integers(0, 3))),
                LowRank(draw(st.integers(0, 3)), "free"),
            ]
        )
    )


@settings(max_examples=100, deadline=None)
@given(st.data(), st.booleans().flatmap(layers))
def test_counts_under_a_sharing_equal_those_of_its_kernels(data, case):
    text, module, size, output = case
    grid = size if module.transposed else output
    sharing = data.draw(sharings(grid))
    answer = explain(text, size, sharing)
    kernels = {label: module.weight.numel() for label in sharing.labels(grid)}
    extra = 0
    if isinstance(sharing, LowRank):
        kernels = dict.fromkeys(range(1 + sharing.rank), module.weight.numel())
        extra = sum(map(prod, sharing.coefficient_shapes(grid).values()))
    shared_bias = module.transposed or isinstance(sharing, LowRank)
    biases = 0 if module.bias is None else module.out_channels * (1 if shared_bias else len(kernels))
    assert answer.parameters == sum(kernels.values()) + extra + biases
    assert answer.by_sharing[str(sharing)] == answer.parameters
    assert answer.dead_taps == list_dead_taps(answer.layer, size, sharing)
    check_sums(answer.counts)
    assert str(sharing) in str(answer)


def list_dead_taps(spec, size, sharing):
    """Count the (bank, tap) pairs that meet no input at any position, by listing all windows."""
    window, output = spec.window, spec.output_size(size)
    positions, others = (size, output) if spec.transposed else (output, size)

    def meets(axis, place, tap):
        if spec.padding_mode != "zeros":
            return True
        index = place * window.stride[axis] - window.padding[axis][0] + tap * window.dilation[axis]
        return 0 <= index < others[axis]

    live = {
        (label, tap)
        for label, place in zip(sharing.labels(positions), product(*map(range, positions)))
        for tap in product(*map(range, window.kernel_size))
        if all(meets(axis, place[axis], tap[axis]) for axis in range(spec.ndim))
    }
    if isinstance(sharing, LowRank):
        return sharing.banks(positions) * (window.taps - len(live))
    return sharing.banks(positions) * window.taps - len(live)


axes = st.builds(
    Axis,
    inputs=st.integers(1, 12),
    outputs=st.integers(1, 12),
    taps=st.integers(1, 6),
    stride=st.integers(1, 4),
    dilation=st.integers(1, 4),
    before=st.integers(0, 9),
    padding_mode=st.sampled_from(MODES[:2] + MODES[3:]),
)


@given(axes)
def test_pairs_along_an_axis_equal_the_listed_ones(axis):
    inputs = [len(axis.list_inputs(i)) for i in range(axis.outputs)]
    assert count_pairs(axis) == sum(inputs)
    assert count_largest_window(axis) == max(inputs)


def test_huge_sizes_are_counted_exactly_and_without_enumeration():
    text = "Conv2d(1000000000, 1000000000, 1000000000, padding=1000000000)"
    answer = explain(text, (10**9, 10**9))
    along_an_axis = 10**18  # n windows of n inputs slide over n inputs: the sum of n - |offset| is n * n
    assert answer.output == (10**9, 2 * 10**9 + 1, 2 * 10**9 + 1)
    assert answer.connections == along_an_axis**2 * 10**18
    assert answer.by_sharing["local"] == 10**18 * 10**18 * (2 * 10**9 + 1) ** 2 + 10**9 * (2 * 10**9 + 1) ** 2


def test_counts_that_would_need_too_long_an_enumeration_are_none_with_a_note():
    answer = explain("Conv1d(1, 1, 100000, padding=100000, padding_mode='replicate')", 100_000)
    assert answer.connections is None
    assert answer.patterns == (100_000, 100_000)
    assert any("not counted" in note for note in answer.notes)
    assert count_dead_taps([Axis(10**9, 10**9, 10**9, 7, 3, 10**9)], Full()) is None


@pytest.mark.parametrize("text", ["Tiled(1)", "Regional(1)", "SharedAlong((0, 1))", "LowRank(0)", "'full'"])
def test_every_sharing_has_full_as_a_limit(text):
    full = explain("Conv2d(2, 4, 3, padding=1)", 8)
    answer = explain(f"Conv2d(2, 4, 3, padding=1, sharing={text})", 8)
    assert answer.parameters == full.parameters


@pytest.mark.parametrize("text", ["Tiled(8)", "Regional(8)", "SharedAlong(())", "'local'", "Local()"])
def test_every_sharing_has_local_as_a_limit(text):
    local = explain("LocallyConnected2d(2, 4, 3, padding=1)", 8)
    answer = explain(f"Conv2d(2, 4, 3, padding=1, sharing={text})", 8)
    assert (answer.parameters, answer.dead_taps) == (local.parameters, local.dead_taps)


def test_the_bias_may_have_another_sharing():
    answer = explain("Conv2d(3, 32, 5, bias_sharing='local')", 32)
    assert answer.parameters == 3 * 25 * 32 + 32 * 28 * 28
    assert answer.by_sharing["full"] == answer.parameters
    tied = explain("LocallyConnected2d(3, 32, 5, bias_sharing=Full())", 32)
    assert tied.parameters == 3 * 25 * 32 * 28 * 28 + 32


@settings(max_examples=40, deadline=None)
@given(st.data(), layers())
def test_the_count_of_a_weightshare_layer_is_what_it_allocates(data, case):
    nn = pytest.importorskip("weightshare.nn")
    _, module, size, output = case
    sharing = data.draw(sharings(output))
    words = _words(module) | {"bias": module.bias is not None, "sharing": sharing, "input_size": size}
    layer = getattr(nn, type(module).__name__)(**words)
    answer = explain(layer)
    assert answer.parameters == sum(p.numel() for p in layer.parameters())
    assert answer.input == (layer.in_channels, *size)
    assert answer.output == (layer.out_channels, *layer.output_size)


def test_torch_layers_are_read_by_their_attributes():
    class MyConv(torch.nn.Conv2d):
        pass

    assert str(explain(MyConv(3, 8, 3, padding="same")).layer) == "Conv2d(3, 8, 3, padding=1)"
    assert explain(torch.nn.Linear(3, 4)).parameters == 16
    for other in (torch.nn.Module(), torch.nn.LazyConv2d(3, 3), 3, None):
        with pytest.raises(WeightshareError):
            explain(other)


@pytest.mark.parametrize("bias", ["tiled:3", "regional:3", "tiled:1x3"])
def test_a_bias_sharing_that_needs_several_positions_is_explained(bias):
    answer = explain(f"Conv2d(1, 1, 3, bias_sharing={bias!r})", 8)
    assert "Not with full sharing" in answer.to_text(verbose=True)
