"""Checkpoints whose entries were all cast or averaged, and checkpoints of the first format."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.sharings import SHARINGS
from weightshare import Full, Local, LowRank, Mapped, Tiled, nn
from weightshare.nn import digest

UNSHARED = [sharing for sharing in SHARINGS if sharing != Full()]
DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
numbers = st.lists(st.integers(-1, 2**63 - 1), min_size=1, max_size=20)


def layer(sharing, **arguments):
    return nn.Conv2d(4, 6, 3, sharing=sharing, **{"input_size": 8} | arguments)


@given(numbers, st.sampled_from(DTYPES))
def test_numbers_survive_a_cast(values, dtype):
    stored = torch.tensor(digest.pack(values))
    assert digest.unpack(stored) == values
    assert digest.unpack(stored.to(dtype)) == values
    assert digest.unpack(stored.to(torch.uint8)) == values


@given(numbers, st.floats(0.5, 0.9999), st.integers(1, 30))
def test_numbers_survive_averages(values, decay, count):
    stored = torch.tensor(digest.pack(values))
    moving = truncated = stored
    for _ in range(count):
        moving = decay * moving + (1 - decay) * stored
        truncated = (decay * truncated + (1 - decay) * stored).to(stored.dtype)
    assert digest.unpack(moving) == digest.unpack(truncated) == values
    assert digest.unpack(sum([stored.half()] * count) / count) == values


@given(numbers, numbers)
def test_different_numbers_do_not_match(values, others):
    stored = torch.tensor(digest.pack(values))
    assert digest.matches(stored.half(), values)
    assert digest.matches(stored, others) == (values == others)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("sharing", UNSHARED, ids=str)
def test_a_checkpoint_cast_to_another_dtype_loads(sharing, dtype):
    source, made = layer(sharing), layer(sharing)
    state = {name: value.to(dtype) for name, value in source.state_dict().items()}
    made.load_state_dict(state)
    assert torch.equal(made.weight, source.weight.to(dtype).float())
    assert torch.equal(made.sharing_digest, source.sharing_digest)
    assigned = layer(sharing, device="meta")
    assigned.load_state_dict(state, assign=True)
    assert assigned.weight.dtype == dtype
    assert torch.equal(assigned.sharing_digest, source.sharing_digest)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_size_that_half_precision_does_not_hold_loads_and_others_do_not(dtype):
    made, other = (nn.LocallyConnected1d(1, 1, 2, input_size=n) for n in (70_000, 70_001))
    state = {name: value.to(dtype) for name, value in made.state_dict().items()}
    made.load_state_dict(state)
    with pytest.raises(RuntimeError, match=r"has Local\(\) on an output of 69999 .* output of 70000"):
        other.load_state_dict(state)


def test_an_average_of_all_entries_loads():
    layers = [layer(LowRank(2)) for _ in range(3)]
    states = [made.state_dict() for made in layers]
    mean = {name: sum(state[name] for state in states) / 3 for name in states[0]}
    layers[0].load_state_dict(mean)
    torch.testing.assert_close(layers[0].weight, mean["weight"])


@pytest.mark.parametrize("kind", [nn.Conv2d, nn.ConvTranspose2d])
@pytest.mark.parametrize("sharing", UNSHARED, ids=str)
@pytest.mark.parametrize("dtype", [torch.int64, torch.float32, torch.bfloat16], ids=str)
def test_a_checkpoint_of_the_first_format_loads(kind, sharing, dtype):
    """The first format stored the numbers themselves, beginning with 1."""
    source = kind(4, 6, 3, sharing=sharing, input_size=8 if kind is nn.Conv2d else 6)
    state = source.state_dict()
    values = digest.unpack(state["sharing_digest"])
    assert values[0] == 1
    made = copy.deepcopy(source)
    made.reset_parameters()
    made.load_state_dict(state | {"sharing_digest": torch.tensor(values).to(dtype)})
    assert torch.equal(made.weight, source.weight)
    assert torch.equal(made.sharing_digest, source.sharing_digest)
    values[3] += 1
    with pytest.raises(RuntimeError, match="the checkpoint has"):
        made.load_state_dict(state | {"sharing_digest": torch.tensor(values)})


def test_the_map_of_a_cast_checkpoint_is_compared_exactly():
    a, b = Mapped([[0] * 6] * 3 + [[1] * 6] * 3), Mapped([[1] * 6] * 3 + [[0] * 6] * 3)
    state = {name: value.bfloat16() for name, value in layer(a).state_dict().items()}
    layer(a).load_state_dict(state)
    with pytest.raises(RuntimeError, match=r"Mapped\(2 banks, digest .*this layer has Mapped\(2 banks"):
        layer(b).load_state_dict(state)


def test_untied_biases_of_plain_checkpoints_load():
    """A bias [out, *size] is that of a layer in which each output has its own bias."""
    bias = torch.randn(6, 6, 5)
    state = torch.nn.Conv2d(4, 6, 3).state_dict() | {"bias": bias}
    every = Mapped(torch.randperm(30).view(6, 5))
    for sharing, bias_sharing in ((Local(), None), (Tiled(2), Local()), (Full(), Local()), (Local(), every)):
        made = layer(sharing, bias_sharing=bias_sharing, input_size=(8, 7))
        made.load_state_dict(state)
        assert torch.equal(made.bias_map(), bias)
        assert made.bias.is_contiguous()
    transposed = nn.ConvTranspose2d(4, 6, 3, bias_sharing=Local(), input_size=(4, 3))
    transposed.load_state_dict(torch.nn.ConvTranspose2d(4, 6, 3).state_dict() | {"bias": bias})
    assert torch.equal(transposed.bias_map(), bias)
    for shape in ((6, 5, 6), (5, 6, 6), (6, 30)):
        with pytest.raises(RuntimeError, match="size mismatch for bias"):
            layer(Local(), input_size=(8, 7)).load_state_dict(state | {"bias": torch.zeros(shape)})
    with pytest.raises(RuntimeError, match="size mismatch for bias"):
        layer(Tiled(2), input_size=(8, 7)).load_state_dict(state)
