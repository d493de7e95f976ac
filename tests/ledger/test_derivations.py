"""Every derivation evaluates to the parameter count, for layers with random arguments."""

from math import prod

import peft
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import parametrizations

import weightshare as ws

few = st.integers(1, 5)
flag = st.booleans()


@st.composite
def convolutions(draw):
    ndim, groups = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    kind = getattr(nn, f"Conv{draw(st.sampled_from(['', 'Transpose']))}{ndim}d")
    channels = [groups * draw(few) for _ in range(2)]
    kernel = tuple(draw(few) for _ in range(ndim))
    return kind(*channels, kernel, groups=groups, bias=draw(flag))


@st.composite
def shared_convolutions(draw):
    ndim, transposed = draw(st.integers(1, 3)), draw(flag)
    positions = (2, 3, 2)[:ndim]
    labels = torch.arange(prod(positions)).remainder(2).reshape(positions).tolist()
    sharings = [ws.Full(), ws.Tiled(2), ws.Regional(2), ws.SharedAlong(0), ws.LowRank(2), ws.Local()]
    sharing = draw(st.sampled_from([*sharings, ws.LowRank(1, "free"), ws.Mapped(labels)]))
    kind = getattr(ws.nn, f"Conv{'Transpose' * transposed}{ndim}d")
    size = positions if transposed else tuple(n + 1 for n in positions)
    bias_sharing = draw(st.sampled_from([None, ws.Full()]))
    groups, bias = draw(st.integers(1, 2)), draw(flag)
    channels = [groups * draw(few) for _ in range(2)]
    return kind(
        *channels, 2, groups=groups, bias=bias, sharing=sharing, input_size=size, bias_sharing=bias_sharing
    )


@st.composite
def recurrent(draw):
    kind = draw(st.sampled_from([nn.RNN, nn.LSTM, nn.GRU]))
    hidden = draw(st.integers(2, 6))
    more = {"proj_size": draw(st.integers(0, hidden - 1))} if kind is nn.LSTM else {}
    return kind(draw(few), hidden, draw(few), bias=draw(flag), bidirectional=draw(flag), **more)


@st.composite
def attention(draw):
    heads = draw(st.integers(1, 3))
    size = st.one_of(st.none(), few)
    return nn.MultiheadAttention(
        heads * draw(few), heads, bias=draw(flag), add_bias_kv=draw(flag), kdim=draw(size), vdim=draw(size)
    )


@st.composite
def norms(draw):
    kinds = [f"{kind}{ndim}d" for kind in ("BatchNorm", "InstanceNorm") for ndim in (1, 2, 3)]
    return getattr(nn, draw(st.sampled_from([*kinds, "SyncBatchNorm"])))(draw(few), affine=draw(flag))


@st.composite
def others(draw):
    a, b, c, yes = draw(few), draw(few), draw(few), draw(flag)
    makers = [
        lambda: nn.Linear(a, b, bias=yes),
        lambda: nn.Bilinear(a, b, c, bias=yes),
        lambda: nn.Embedding(a, b),
        lambda: nn.EmbeddingBag(a, b),
        lambda: nn.PReLU(a),
        lambda: nn.GroupNorm(a, a * b, affine=yes),
        lambda: nn.LayerNorm((a, b), elementwise_affine=yes),
        lambda: nn.RMSNorm((a, b), elementwise_affine=yes),
        lambda: nn.LSTMCell(a, b, bias=yes),
        lambda: nn.GRUCell(a, b, bias=yes),
        lambda: nn.RNNCell(a, b, bias=yes),
        lambda: parametrizations.weight_norm(nn.Linear(a, b, bias=yes)),
        lambda: parametrizations.weight_norm(nn.Conv2d(a, b, c)),
        lambda: parametrizations.spectral_norm(nn.Conv1d(a, b, c)),
        lambda: nn.utils.spectral_norm(nn.Linear(a, b)),
        lambda: nn.ParameterList([torch.zeros(a, b), torch.zeros(c)]),
    ]
    return draw(st.sampled_from(makers))()


@pytest.mark.filterwarnings("ignore::FutureWarning")
@given(st.one_of(convolutions(), shared_convolutions(), recurrent(), attention(), norms(), others()))
def test_derivations_evaluate_to_the_counts(layer):
    answer = ws.summary(nn.Sequential(layer))
    for row in answer.rows:
        assert eval(row.derivation) == row.own_unique
        assert row.own_unique == row.biases + sum(part.own for part in row.parts if not part.is_bias)
        for part in row.parts:
            assert eval(part.derivation) == part.numel
    assert answer.totals.unique == sum(p.numel() for p in layer.parameters())


@pytest.mark.filterwarnings("ignore::FutureWarning")
@given(st.one_of(convolutions(), shared_convolutions(), recurrent(), attention(), norms()))
def test_the_factors_of_these_layers_are_labeled(layer):
    for row in ws.summary(nn.Sequential(layer)).rows:
        assert all(part.words for part in row.parts)


@pytest.mark.parametrize(
    ("layer", "name", "expected"),
    [
        (
            nn.Conv2d(4, 6, 3, groups=2),
            "weight",
            "6 output channels * 2 input channels per group (4 / 2) * ",
        ),
        (nn.LSTM(10, 20), "weight_ih_l0", "4 gates * 20 hidden features * 10 input features = 800"),
        (
            nn.LSTM(10, 20, 2, bidirectional=True, proj_size=5),
            "weight_ih_l1_reverse",
            "4 gates * 20 hidden features * 10 features of the layer below of both directions = 800",
        ),
        (
            nn.MultiheadAttention(16, 4, kdim=8, vdim=12),
            "k_proj_weight",
            "16 embedding features * 8 key features = 128",
        ),
        (ws.nn.Conv2d(2, 3, 3, sharing=ws.Tiled(2), input_size=8), "weight", "4 banks"),
        (
            ws.nn.Conv2d(2, 3, 3, sharing=ws.LowRank(4), input_size=8),
            "coefficients_0",
            "4 corrections * 6 positions along axis 0 = 24",
        ),
        (nn.ParameterList([torch.zeros(3, 4, 5)]), "0", "shape 3 * 4 * 5 = 60"),
    ],
)
def test_explanations_in_words(layer, name, expected):
    assert expected in ws.summary(layer).explain(name)


def test_parametrizations_are_rows_of_their_layer():
    answer = ws.summary(nn.Sequential(parametrizations.weight_norm(nn.Linear(20, 8))))
    (row,) = answer.rows
    assert (row.name, row.type, row.own_unique) == ("0", "Linear", 176)
    explained = answer.explain("0.parametrizations.weight.original0")
    assert explained == "0.parametrizations.weight.original0: 8 magnitudes = 8"


def test_a_class_of_a_known_name_with_other_attributes_gets_its_shape():
    class Linear(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(3, 4))

    class Lying(nn.Linear):
        def __init__(self):
            super().__init__(3, 4)
            self.in_features = 7

    assert ws.summary(Linear()).rows[0].derivation == "3 * 4"
    assert ws.summary(Lying()).rows[0].derivation == "4 * 3 + 4"


def test_low_rank_factors_beside_a_frozen_layer():
    model = nn.Sequential(nn.Linear(20, 8), nn.ReLU())
    answer = ws.summary(peft.get_peft_model(model, peft.LoraConfig(target_modules=["0"], r=3)))
    rows = {row.name.partition(".0.")[2]: row for row in answer.rows}
    assert {name: row.derivation for name, row in rows.items()} == {
        "base_layer": "8 * 20 + 8",
        "lora_A.default": "3 * 20",
        "lora_B.default": "8 * 3",
    }
    assert (answer.totals.trainable, answer.totals.frozen) == (84, 168)


def test_low_rank_factors_as_parameters():
    class LowRank(nn.Linear):
        def __init__(self, inputs, outputs, rank):
            super().__init__(inputs, outputs)
            self.requires_grad_(False)
            self.A = nn.Parameter(torch.zeros(rank, inputs))
            self.B = nn.Parameter(torch.zeros(outputs, rank))

    answer = ws.summary(LowRank(20, 8, 3))
    assert answer.rows[0].derivation == "8 * 20 + 8 + 3 * 20 + 8 * 3"
    assert (answer.explain("A"), answer.explain("B")) == ("A: shape 3 * 20 = 60", "B: shape 8 * 3 = 24")
    assert (answer.totals.trainable, answer.totals.frozen) == (84, 168)


def test_sizes_that_are_tensors_are_written_as_numbers():
    size = torch.tensor(3)
    answer = ws.summary(nn.Sequential(nn.Linear(size, size), nn.Embedding(5, size)))
    assert [row.derivation for row in answer.rows] == ["3 * 3 + 3", "5 * 3"]
