"""Weights packed into integers: counted as logical weights if the layout is known, and noted if it is not."""

import pytest
import torch
import torch.utils.mkldnn
from torch import nn

import weightshare as ws


def integers(*shape, dtype=torch.int32):
    return torch.zeros(*shape, dtype=dtype)


class FourBit(nn.Linear):
    """Two weights per byte, as in bitsandbytes."""

    def __init__(self, dtype=torch.uint8, shape=None):
        super().__init__(16, 8)
        n = 64 // torch.empty(0, dtype=dtype).element_size()
        self.weight = nn.Parameter(torch.zeros(n, 1, dtype=dtype), requires_grad=False)
        if shape is not None:
            self.weight.quant_state = type("QuantState", (), {"shape": torch.Size(shape)})()

    def forward(self, x):
        return x.new_zeros(*x.shape[:-1], 8) + self.weight.float().sum() + self.bias


class Buffers(nn.Module):
    """Weights in buffers, as in GPTQ and AWQ."""

    def __init__(self, width=4, n_inputs=32, n_outputs=64, axis=0, **attributes):
        super().__init__()
        size = [n_inputs, n_outputs]
        size[axis] = size[axis] * width // 32
        groups = n_inputs // 8
        self.register_buffer("qweight", integers(*size))
        self.register_buffer("qzeros", integers(groups, max(1, n_outputs * width // 32)))
        self.register_buffer("scales", torch.ones(groups, n_outputs))
        self.register_buffer("g_idx", integers(n_inputs))
        self.register_buffer("bias", torch.zeros(n_outputs))
        for name, value in attributes.items():
            setattr(self, name, value)

    def forward(self, x):
        return x.new_zeros(1, len(self.bias)) + self.qweight.sum() * self.scales.sum() + self.bias


class Half(nn.Module):
    """One packed parameter beside a recorded shape."""

    def __init__(self, name, **attributes):
        super().__init__()
        self.register_parameter(name, nn.Parameter(integers(32, 4), requires_grad=False))
        for key, value in attributes.items():
            setattr(self, key, value)


class Convolution(nn.Conv2d):
    def __init__(self):
        super().__init__(3, 4, 4)
        self.weight = nn.Parameter(integers(96, 1, dtype=torch.uint8), requires_grad=False)


class Embedding(nn.Module):
    def __init__(self):
        super().__init__()
        self.num_embeddings, self.embedding_dim = 10, 8
        self.register_buffer("weight", integers(10, 4, dtype=torch.uint8))


SIZES = {"infeatures": 32, "outfeatures": 64}
#: A model, its number of parameters, the packed name, and its layout.
CASES = {
    "Linear": (FourBit(), 136, "weight", "4 bits, 2 per byte"),
    "recorded shape": (FourBit(shape=(8, 16)), 136, "weight", "4 bits, 2 per byte"),
    "floats": (FourBit(torch.bfloat16, (8, 16)), 136, "weight", "4 bits, 4 per bfloat16"),
    "2 bits": (Buffers(2, **SIZES, bits=2), 2112, "qweight", "2 bits, 16 per int32"),
    "3 bits": (Buffers(3, **SIZES, bits=3), 2112, "qweight", "3 bits, 32 per 3 int32"),
    "4 bits": (Buffers(4, **SIZES, bits=4), 2112, "qweight", "4 bits, 8 per int32"),
    "8 bits": (Buffers(8, **SIZES, bits=8), 2112, "qweight", "8 bits, 4 per int32"),
    "no bits": (Buffers(4, **SIZES), 2112, "qweight", "4 bits, 8 per int32"),
    "no sizes": (Buffers(4, bits=4), 2112, "qweight", "4 bits, 8 per int32"),
    "columns": (
        Buffers(4, axis=1, in_features=32, out_features=64, w_bit=4),
        2112,
        "qweight",
        "4 bits, 8 per int32",
    ),
    "few outputs": (
        Buffers(4, 32, 4, in_features=32, out_features=4),
        132,
        "qweight",
        "4 bits, 8 per int32",
    ),
    "recorded dict": (Half("W_q", meta={"shape": (32, 32)}), 1024, "W_q", "4 bits, 8 per int32"),
    "recorded tensor": (
        Half("weight_packed", weight_shape=torch.tensor([32, 32])),
        1024,
        "weight_packed",
        "4 bits, 8 per int32",
    ),
    "convolution": (Convolution(), 196, "weight", "4 bits, 2 per byte"),
    "embedding": (Embedding(), 80, "weight", "4 bits, 2 per byte"),
}


@pytest.mark.parametrize("case", CASES)
def test_logical_weights_are_counted(case):
    model, n, name, layout = CASES[case]
    answer = ws.summary(model)
    assert answer.totals.unique == sum(row.own_unique for row in answer.rows) == n
    assert [(w.code, w.text) for w in answer.warnings] == [("PACKED", f"{name}: logical weights of {layout}")]
    part = next(part for row in answer.rows for part in row.parts if part.name == name)
    assert (part.kind, eval(part.derivation)) == ("quantized", part.numel)


def test_packed_weights_that_run_are_not_dead_and_not_buffers():
    model = Buffers(4, **SIZES)
    answer = ws.summary(nn.Sequential(model, model), torch.zeros(1, 32))
    assert (answer.totals.unique, answer.totals.untied, answer.totals.dead) == (2112, 4224, 0)
    assert answer.totals.buffers == sum(b.numel() for b in (model.qzeros, model.scales, model.g_idx))
    assert answer.totals.bytes == 4 * (model.qweight.numel() + 64)
    assert answer.rows[0].derivation == "64 * 32 + 64"


class Scripted(nn.Module):
    """Packed weights in a module that torch can script."""

    def __init__(self):
        super().__init__()
        self.in_features, self.out_features = 32, 64
        self.register_buffer("qweight", integers(4, 64))
        self.register_buffer("bias", torch.zeros(64))

    def forward(self, x):
        return x.sum() + self.qweight.sum() + self.bias


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_packed_weights_of_a_scripted_module():
    answer = ws.summary(torch.jit.script(Scripted()), torch.zeros(1, 32))
    assert (answer.totals.unique, answer.totals.dead, answer.totals.buffers) == (2112, 0, 0)


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch without oneDNN")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_weights_in_the_layout_of_onednn():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3, bias=False)).eval()
    answer = ws.summary(torch.utils.mkldnn.to_mkldnn(model), torch.zeros(1, 3, 8, 8).to_mkldnn())
    # torch adds the bias that the last convolution lacks
    assert [row.own_unique for row in answer.rows] == [112, 8, 144 + 4]
    assert (answer.totals.dead, answer.totals.buffers) == (0, 8)


def test_one_note_for_all_weights_of_a_layout():
    answer = ws.summary(nn.Sequential(*(FourBit() for _ in range(5))))
    (note,) = answer.warnings
    assert note.text == "0.weight, 1.weight, 2.weight and 2 more: logical weights of 4 bits, 2 per byte"
    assert len(note.names) == 5


def test_an_unknown_layout_is_noted():
    model = Half("codes")
    model.register_buffer("qweight", integers(32, 4))
    answer = ws.summary(nn.Sequential(model))
    assert answer.totals.unique == 128
    assert [(w.code, w.text) for w in answer.warnings] == [
        ("UNKNOWN_LAYOUT", "0.codes: integers that may hold several weights each, counted as stored"),
        ("UNKNOWN_LAYOUT", "0.qweight: 128 integers in buffers that may hold weights; not counted"),
    ]


def test_sizes_that_contradict_the_bits_are_an_unknown_layout():
    answer = ws.summary(Buffers(8, **SIZES, bits=4))
    assert (answer.totals.unique, [w.code for w in answer.warnings]) == (0, ["UNKNOWN_LAYOUT"])


def test_one_integer_per_weight_needs_no_note():
    layer = nn.Linear(16, 8)
    layer.weight = nn.Parameter(integers(8, 16, dtype=torch.int8), requires_grad=False)
    answer = ws.summary(layer)
    assert (answer.totals.unique, answer.warnings) == (136, ())


def test_masks_and_indices_are_not_weights():
    layer = nn.Linear(8, 8)
    layer.register_buffer("mask", integers(8, 8, dtype=torch.uint8))
    layer.register_buffer("index", integers(20, 20, dtype=torch.int64))
    layer.register_buffer("seen", torch.zeros(20, 20, dtype=torch.bool))
    answer = ws.summary(layer)
    assert (answer.totals.unique, answer.totals.buffers, answer.warnings) == (72, 864, ())


def test_a_data_type_that_packs():
    model = nn.Module()
    values = integers(4, 8, dtype=torch.uint8).view(torch.float4_e2m1fn_x2)
    model.weight = nn.Parameter(values, requires_grad=False)
    answer = ws.summary(model)
    assert (answer.totals.unique, answer.totals.bytes) == (64, 32)
    assert answer.warnings[0].text == "weight: logical weights of 4 bits, 2 per byte"


def test_partitioned_parameters_are_counted_whole():
    """As DeepSpeed ZeRO-3 leaves them: empty, with the whole shape beside them."""
    layer = nn.Linear(8, 4)
    for parameter in layer.parameters():
        parameter.ds_shape = parameter.shape
        parameter.data = torch.empty(0)
    answer = ws.summary(layer)
    assert (answer.totals.unique, answer.totals.bytes, answer.rows[0].derivation) == (36, 144, "4 * 8 + 4")
    assert answer.warnings[0].code == "SHARDED"
    assert "partitioned by DeepSpeed ZeRO-3, counted whole" in answer.warnings[0].text


def test_the_bytes_of_sparse_parameters():
    dense = torch.eye(4)
    answer = ws.summary(nn.ParameterList([dense.to_sparse(), dense.to_sparse_csr()]))
    assert answer.totals.unique == 32
    assert answer.totals.bytes == (4 * 4 + 8 * 8) + (4 * 4 + 8 * (5 + 4))
