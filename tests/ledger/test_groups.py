"""Every element has one owner: each way in which models share parameters, with the correct counts."""

import gc
import pickle
import weakref
from collections import OrderedDict

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations, parametrize

import weightshare as ws
from weightshare.parameters.groups import group_parameters
from weightshare.parameters.modules import iter_modules
from weightshare.parameters.references import Reference


class Tied(nn.Module):
    """An embedding and a head with one Parameter: 100 * 16 + 16 * 16 + 16 = 1,872."""

    def __init__(self):
        super().__init__()
        self.emb = nn.Embedding(100, 16)
        self.body = nn.Linear(16, 16)
        self.head = nn.Linear(16, 100, bias=False)
        self.head.weight = self.emb.weight

    def forward(self, ids):
        return self.head(self.body(self.emb(ids)))


class Autoencoder(nn.Module):
    """A decoder that calls `F.linear` on the encoder's weight: 20 * 8 + 8 + 20 = 188."""

    def __init__(self):
        super().__init__()
        self.enc, self.bias = nn.Linear(20, 8), nn.Parameter(torch.zeros(20))

    def forward(self, x):
        return F.linear(self.enc(x), self.enc.weight.t(), self.bias)


class Transposed(nn.Module):
    """A parametrization that transposes."""

    def forward(self, weight):
        return weight.t()

    def right_inverse(self, weight):
        return weight.t()


def view_tied():
    enc, dec = nn.Linear(20, 8, bias=False), nn.Linear(8, 20, bias=False)
    dec.weight = nn.Parameter(enc.weight.data.t())
    return nn.Sequential(OrderedDict(enc=enc, dec=dec))


def same_original():
    enc, dec = nn.Linear(20, 8), nn.Linear(8, 20)
    parametrize.register_parametrization(dec, "weight", Transposed(), unsafe=True)
    dec.parametrizations.weight.original = enc.weight
    return nn.Sequential(OrderedDict(enc=enc, dec=dec))


def two_names():
    layer = nn.Linear(8, 8)
    return nn.Sequential(layer, layer)


def same_parameter():
    first, second = nn.Linear(8, 8), nn.Linear(8, 8)
    second.weight = first.weight
    return nn.Sequential(first, second)


def raw_parameter():
    model = nn.Sequential(nn.Linear(8, 16))
    model.extra = nn.Parameter(torch.zeros(16))
    return model


def frozen():
    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
    model[0].requires_grad_(False)
    return model


def in_one_buffer():
    """Adjacent parameters in one storage, as in cuDNN's recurrent layers."""
    flat, model = torch.zeros(72), nn.Linear(8, 8)
    model.weight, model.bias = nn.Parameter(flat[:64].view(8, 8)), nn.Parameter(flat[64:])
    return model


def interleaved():
    """Even and odd columns of one matrix."""
    flat, model = torch.zeros(8, 4), nn.Module()
    model.even, model.odd = nn.Parameter(flat[:, ::2]), nn.Parameter(flat[:, 1::2])
    return model


def overlapping():
    """Rows 0 to 5 and 4 to 7 of one matrix of 8 rows."""
    flat, model = torch.zeros(8, 4), nn.Module()
    model.top, model.bottom = nn.Parameter(flat[:6]), nn.Parameter(flat[4:])
    return model


def expanded():
    model = nn.Module()
    model.scale = nn.Parameter(torch.zeros(1, 4).expand(10, 4))
    return model


CASES = {
    "tied": (Tied, 1872, 3472),
    "functional": (Autoencoder, 188, 188),
    "view": (view_tied, 160, 320),
    "same original": (same_original, 188, 348),
    "two names": (two_names, 72, 144),
    "same parameter": (same_parameter, 80, 144),
    "raw parameter": (raw_parameter, 160, 160),
    "frozen": (frozen, 144, 144),
    "spectral_norm": (lambda: parametrizations.spectral_norm(nn.Linear(20, 8)), 168, 168),
    "weight_norm": (lambda: parametrizations.weight_norm(nn.Linear(20, 8)), 176, 176),
    "old weight_norm": (lambda: nn.utils.weight_norm(nn.Linear(20, 8)), 176, 176),
    "attention": (lambda: nn.MultiheadAttention(16, 4), 1088, 1088),
    "LSTM": (lambda: nn.LSTM(16, 16, 2, bidirectional=True), 10752, 10752),
    "ParameterList": (lambda: nn.ParameterList([torch.zeros(8, 8), torch.zeros(8, 8)]), 128, 128),
    "lazy": (lambda: nn.LazyLinear(4), 0, 0),
    "one buffer": (in_one_buffer, 72, 72),
    "interleaved": (interleaved, 32, 32),
    "overlapping": (overlapping, 32, 40),
    "expanded": (expanded, 4, 40),
    "sliced": (lambda: nn.ParameterList([torch.zeros(300, 20)[:, :10]]), 3000, 3000),
    "nothing": (lambda: nn.Sequential(nn.ReLU()), 0, 0),
}


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("name", CASES)
def test_each_element_is_counted_once(name):
    make, unique, untied = CASES[name]
    answer = ws.summary(make())
    assert (answer.totals.unique, answer.totals.untied) == (unique, untied)
    assert sum(row.own_unique for row in answer.rows) == unique
    assert sum(group.numel for group in answer.groups) == unique
    assert answer.totals.trainable + answer.totals.frozen == unique


def kinds(model):
    return {name.name: name.kind for group in group_parameters(iter_modules(model)) for name in group.names}


def test_kinds_of_names():
    assert kinds(Tied())["head.weight"] == "alias"
    assert kinds(view_tied()) == {"enc.weight": "owned", "dec.weight": "view"}
    assert kinds(two_names())["1.weight"] == "repeated"
    assert kinds(in_one_buffer()) == {"weight": "owned", "bias": "owned"}
    assert kinds(interleaved()) == {"even": "owned", "odd": "owned"}
    assert kinds(overlapping()) == {"top": "owned", "bottom": "view"}
    assert kinds(nn.LazyLinear(4)) == {"weight": "lazy", "bias": "lazy"}


def test_a_reference_is_listed_and_owns_no_elements():
    model = nn.Sequential(OrderedDict(enc=nn.Linear(20, 8), dec=nn.Identity()))
    model.dec._tied_references = {"weight": Reference(model.enc, "weight", "t")}
    answer = ws.summary(model)
    assert (answer.totals.unique, answer.totals.untied) == (168, 328)
    assert answer.to_dict()["ties"] == [
        {"source": "enc.weight", "alias": "dec.weight", "kind": "reference", "transform": "t"}
    ]
    assert "weight is a reference to enc.weight (t)" in str(answer)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")
def test_quantized_weights_are_counted_although_they_are_not_parameters():
    model = torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Linear(8, 8)), {nn.Linear}, torch.qint8)
    answer = ws.summary(model)
    assert answer.totals.unique == 72
    assert (answer.totals.trainable, answer.totals.bytes) == (0, 64 + 4 * 8)
    assert kinds(model)["0.weight"] == "quantized"


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_groups_are_the_same_on_the_meta_device(device):
    """Views are found although all addresses on the meta device are 0."""
    with torch.device(device):
        assert kinds(view_tied()) == {"enc.weight": "owned", "dec.weight": "view"}
        assert ws.summary(Tied()).totals.unique == 1872
        assert ws.summary(nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))).totals.unique == 144


def test_equal_values_and_reused_memory_are_not_ties():
    for _ in range(300):
        model = nn.Sequential(*(nn.Linear(4, 4) for _ in range(5)))
        for layer in model:
            nn.init.zeros_(layer.weight)
        assert all(len(group.names) == 1 for group in group_parameters(iter_modules(model)))


def test_a_summary_does_not_keep_the_model_alive():
    model = Tied()
    there = weakref.ref(model)
    answer = ws.summary(model)
    del model
    gc.collect()
    assert there() is None
    assert pickle.loads(pickle.dumps(answer)) == answer


def test_an_empty_parameter_has_no_elements():
    model = nn.Module()
    model.none = nn.Parameter(torch.zeros(0, 4))
    assert ws.summary(model).totals.unique == 0
