"""What a module is follows from its class and from what it runs, never from the name of its class."""

import pytest
import torch
import torch.nn.functional as F
import transformers
from torch import nn

import weightshare as ws
from weightshare.errors import ArgumentError


def named(name, base=nn.Module, **members):
    """Return a class of any name."""
    return type(name, (base,), members)


def hold(*shapes):
    """Return the members of a class whose modules hold parameters of these shapes, and no bias."""

    def init(self):
        nn.Module.__init__(self)
        for i, shape in enumerate(shapes):
            setattr(self, f"weight{i or ''}", nn.Parameter(torch.zeros(shape)))
        self.bias = None

    return {"__init__": init, "forward": lambda self, x: x * self.weight.sum()}


@pytest.mark.parametrize(
    "name",
    [
        *("Conv1d", "Conv2d", "Conv3d", "ConvTranspose2d", "LocallyConnected2d", "Conv1D", "Conv2D"),
        *("Linear", "SharedLinear", "Bilinear", "Embedding", "EmbeddingBag", "LSTM", "LSTMCell", "RNNBase"),
        *("_NormBase", "BatchNorm2d", "LayerNorm", "GroupNorm", "MultiheadAttention", "PReLU", "GRUCell"),
    ],
)
def test_a_class_with_a_known_name(name):
    model = nn.Sequential(named(name, **hold((4, 3)))(), nn.Linear(3, 3))
    answer = ws.summary(model, torch.zeros(2, 3))
    assert answer.rows[0].derivation == "4 * 3"
    assert (answer.totals.unique, answer.totals.unshared, answer.warnings) == (24, 24, ())
    assert not answer.reconcile(24 + 8 + 3).terms  # neither 4 biases, nor a bias and a batch norm
    assert answer.reconcile(12).terms is not None  # without the linear layer


def test_a_known_name_with_the_attributes_of_the_known_class():
    members = hold((4, 3, 3, 3)) | {"forward": lambda self, x: F.conv2d(x, self.weight, padding=1)}
    attributes = {"in_channels": 3, "out_channels": 4, "kernel_size": (3, 3), "groups": 1}
    attributes |= {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), "padding_mode": "zeros"}
    layer = named("Conv2d", **members, **attributes)()
    assert ws.summary(layer, input_shape=(3, 8, 8)).totals.unshared == 108 * 64  # what ran
    assert ws.summary(layer).rows[0].parts[0].words == ""
    with pytest.raises(ArgumentError, match="explain: layer must be a convolution"):
        ws.explain(layer)


@pytest.mark.parametrize("base", [nn.Conv2d, ws.nn.Conv2d])
def test_a_subclass_of_any_name(base):
    layer = named("Conv2D", base)(3, 4, 3)
    answer = ws.summary(layer, input_shape=(3, 8, 8))
    assert answer.rows[0].derivation == "4 * 3 * 3 * 3 + 4"
    assert answer.totals.unshared == 112 * 36
    assert ws.explain(layer).parameters == 112


def test_conv1d_of_transformers_is_a_linear_layer():
    config = transformers.GPT2Config(n_embd=8, n_layer=1, n_head=2, vocab_size=16, n_positions=8)
    with torch.device("meta"):
        model = transformers.GPT2Model(config)
    answer = ws.summary(model, torch.zeros(1, 4, dtype=torch.long, device="meta"))
    assert answer.totals.unshared == answer.totals.unique
    biases = sum(
        part.own for row in answer.rows if row.type == "Conv1D" for part in row.parts if part.is_bias
    )
    assert "convolution biases" not in str(answer.reconcile(answer.totals.unique - biases))


@pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning")
def test_the_type_of_parametrized_classes():
    layer = named("ParametrizedLinear", nn.Linear)(3, 3)
    layer.original_name = "another"
    assert ws.summary(layer).rows[0].type == "ParametrizedLinear"
    assert ws.summary(nn.utils.parametrizations.weight_norm(layer)).rows[0].type == "ParametrizedLinear"
    assert ws.summary(torch.jit.script(nn.Linear(3, 3))).rows[0].type == "Linear"
