"""Quantized models of torch, Keras and torchao: all weights are counted, and those that run are not dead."""

import os

os.environ.setdefault("KERAS_BACKEND", "torch")

import io

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.ao.quantization import QConfigMapping, get_default_qconfig, quantize_dynamic
from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx

import weightshare as ws

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning"
)


class Recurrent(nn.Module):
    """An LSTM and a head: 16 * 8 + 16 * 4 + 2 * 16 + 2 * 4 + 2 = 234."""

    def __init__(self):
        super().__init__()
        self.lstm, self.head = nn.LSTM(8, 4), nn.Linear(4, 2)

    def forward(self, x):
        return self.head(self.lstm(x)[0])


class Image(nn.Module):
    """Fused layers and a functional linear layer: (4 * 27 + 4) + (4 * 144 + 4) + (5 * 4 + 5) = 717."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.linear = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(144, 4)
        self.weight, self.bias = nn.Parameter(torch.ones(5, 4)), nn.Parameter(torch.ones(5))

    def forward(self, x):
        x = self.linear(F.relu(self.norm(self.conv(x))).flatten(1))
        return F.linear(x, self.weight, self.bias)


def count(model):
    return sum(p.numel() for p in model.parameters())


def list_kinds(answer):
    return {part.name: part.kind for row in answer.rows for part in row.parts}


def has_note(answer, code):
    return any(note.code == code for note in answer.warnings)


@pytest.mark.parametrize("dtype", [torch.qint8, torch.float16])
def test_a_dynamically_quantized_lstm(dtype):
    model = quantize_dynamic(Recurrent(), {nn.LSTM, nn.Linear}, dtype)
    answer = ws.summary(model, torch.zeros(3, 1, 8))
    assert (answer.totals.unique, answer.totals.dead) == (234, 0)
    assert answer.rows[0].derivation == "16 * 8 + 16 * 4 + 16 + 16"
    assert not has_note(answer, "DEAD_PARAM")
    assert has_note(answer, "NOT_COUNTED")  # its MACs


@pytest.mark.parametrize(
    "layer",
    [
        nn.LSTM(8, 4, 2, bidirectional=True),
        nn.GRU(8, 4, 2),
        nn.LSTMCell(8, 4),
        nn.GRUCell(8, 4),
        nn.RNNCell(8, 4),
        nn.Linear(8, 4, bias=False),
    ],
)
def test_dynamically_quantized_layers_keep_their_count(layer):
    model = quantize_dynamic(nn.Sequential(layer), {type(layer)}, torch.qint8)
    answer = ws.summary(model, torch.zeros(3, 8) if "Cell" in type(layer).__name__ else torch.zeros(3, 1, 8))
    assert (answer.totals.unique, answer.totals.dead) == (count(layer), 0)
    weights = sum(p.numel() for p in layer.parameters() if p.dim() == 2)
    assert has_note(answer, "NOT_COUNTED") or answer.totals.macs == 3 * weights
    assert ws.summary(model[0]).totals.unique == count(layer)


def test_a_quantized_layer_that_does_not_run_is_dead():
    class Branches(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.unused = nn.Linear(3, 4), nn.Linear(3, 4)

        def forward(self, x):
            return self.used(x)

    answer = ws.summary(quantize_dynamic(Branches(), {nn.Linear}, torch.qint8), torch.zeros(2, 3))
    assert answer.totals.dead == 16
    assert {name for name, kind in list_kinds(answer).items() if kind == "dead"} == {
        "unused.weight",
        "unused.bias",
    }


def quantize_statically(model):
    mapping = QConfigMapping().set_global(get_default_qconfig("fbgemm"))
    x = torch.ones(2, 3, 8, 8)
    prepared = prepare_fx(model.eval(), mapping, (x,))
    prepared(x)
    return convert_fx(prepared)


@pytest.mark.skipif("fbgemm" not in torch.backends.quantized.supported_engines, reason="torch without fbgemm")
def test_fused_layers_and_functional_weights_that_fx_quantized():
    answer = ws.summary(quantize_statically(Image()), torch.ones(2, 3, 8, 8))
    assert (answer.totals.unique, answer.totals.dead) == (717, 0)
    assert list_kinds(answer) == {
        "_packed_weight_0.weight": "quantized",
        "_packed_weight_0.bias": "owned",
        "conv.weight": "quantized",
        "conv.bias": "owned",
        "linear.weight": "quantized",
        "linear.bias": "owned",
    }


@pytest.mark.skipif("fbgemm" not in torch.backends.quantized.supported_engines, reason="torch without fbgemm")
@pytest.mark.parametrize("freeze", [False, True])
def test_scripted_and_frozen_quantized_models(freeze):
    models = quantize_dynamic(Recurrent(), {nn.LSTM, nn.Linear}, torch.qint8), quantize_statically(Image())
    for model, x, n in zip(models, (torch.zeros(3, 1, 8), torch.ones(2, 3, 8, 8)), (234, 717)):
        scripted = torch.jit.script(model.eval())
        scripted = torch.jit.freeze(scripted) if freeze else scripted
        file = io.BytesIO()
        torch.jit.save(scripted, file)
        file.seek(0)
        for found in (scripted, torch.jit.load(file)):
            answer = ws.summary(found, x)
            assert (answer.totals.unique, answer.totals.dead) == (n, 0)
            assert sum(row.own_unique for row in answer.rows) == n


def test_four_bit_embeddings():
    layer = torch.ao.nn.quantized.EmbeddingBag(10, 8, dtype=torch.quint4x2)
    weight = torch.quantize_per_channel(torch.ones(10, 8), torch.ones(10), torch.zeros(10), 0, torch.quint4x2)
    layer.set_weight(weight)
    answer = ws.summary(layer)
    assert (answer.totals.unique, answer.totals.bytes) == (80, 40)
    assert str(answer.warnings[0].text) == "weight: logical weights of 4 bits, 2 per byte"


def test_a_quantized_slope():
    assert ws.summary(torch.ao.nn.quantized.PReLU(0.1, 0, 3)).totals.unique == 3


@pytest.mark.parametrize("mode", ["int4", "int8"])
def test_quantized_keras_layers(mode):
    keras = pytest.importorskip("keras")
    layer = keras.layers.Dense(7)
    layer(torch.zeros(1, 8))
    layer.quantize(mode)
    answer = ws.summary(layer)
    kernel = next(part for row in answer.rows for part in row.parts if part.attribute == "kernel")
    assert (kernel.kind, kernel.own) == ("quantized", 56)
    assert has_note(answer, "PACKED") == (mode == "int4")


def test_torchao_tensors_are_counted_by_their_logical_shape():
    torchao = pytest.importorskip("torchao.quantization")
    model = nn.Sequential(nn.Linear(64, 32).bfloat16())
    torchao.quantize_(model, torchao.Int8WeightOnlyConfig())
    answer = ws.summary(model, torch.zeros(1, 64, dtype=torch.bfloat16))
    assert (answer.totals.unique, answer.totals.macs) == (64 * 32 + 32, 64 * 32)
    assert list_kinds(answer)["0.weight"] == "quantized"


class Packed(torch.Tensor):
    """A float tensor whose values are in the two halves of each byte."""

    @staticmethod
    def __new__(cls, data, shape):
        return torch.Tensor._make_wrapper_subclass(cls, shape, dtype=torch.float32)

    def __init__(self, data, shape):
        self.data_bytes = data

    def __tensor_flatten__(self):
        return ["data_bytes"], self.shape

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        if func is torch.ops.aten.detach.default:
            return Packed(args[0].data_bytes, args[0].shape)
        unpacked = [arg.unpack() if isinstance(arg, Packed) else arg for arg in args]
        return func(*unpacked, **(kwargs or {}))

    def unpack(self):
        halves = torch.stack([self.data_bytes >> 4, self.data_bytes & 15], -1)
        return halves.reshape(self.shape).float()


def test_a_tensor_subclass_that_packs_its_values():
    layer = nn.Linear(8, 4)
    layer.weight = nn.Parameter(Packed(torch.ones(4, 4, dtype=torch.uint8), (4, 8)))
    answer = ws.summary(layer, torch.ones(1, 8))
    assert (answer.totals.unique, answer.totals.macs, answer.totals.bytes) == (36, 32, 16 + 16)
    assert answer.warnings[0].text == "weight: logical weights of 4 bits, 2 per byte"
