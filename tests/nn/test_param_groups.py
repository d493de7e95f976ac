"""`param_groups`: which parameters decay."""

import pytest
import torch
from torch.nn.utils import parametrizations, prune

import weightshare as ws
from tests.helpers.sharings import SHARINGS
from weightshare import Local, LowRank, Pattern, nn
from weightshare.errors import ArgumentError
from weightshare.nn.base import SharedLayer


def split(model):
    """Return the names of the parameters with and without weight decay."""
    groups = {group["weight_decay"]: group["params"] for group in ws.param_groups(model, 0.1)}
    names = {p: name for name, p in model.named_parameters()}
    return [{names[p] for p in groups.get(decay, [])} for decay in (0.1, 0.0)]


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("sharing", SHARINGS, ids=str)
def test_kernels_decay_and_biases_and_coefficients_do_not(sharing, transposed):
    kind, size = (nn.ConvTranspose2d, 6) if transposed else (nn.Conv2d, 8)
    layer = kind(2, 3, 3, sharing=sharing, bias_sharing=Local(), input_size=size)
    assert isinstance(layer, SharedLayer)
    others = {name for name, _ in layer.named_parameters()} - {"weight"}
    assert split(layer) == [{"weight"}, others]


@pytest.mark.parametrize(
    ("model", "decaying"),
    [
        (torch.nn.Linear(2, 3), {"weight"}),
        (torch.nn.ConvTranspose1d(2, 3, 1), {"weight"}),
        (torch.nn.BatchNorm2d(3), set()),
        (torch.nn.LayerNorm([3, 4]), set()),
        (torch.nn.PReLU(3), set()),
        (torch.nn.Embedding(3, 4), set()),
        (torch.nn.LSTM(2, 3, proj_size=2), {"weight_ih_l0", "weight_hh_l0", "weight_hr_l0"}),
        (torch.nn.GRUCell(2, 3), {"weight_ih", "weight_hh"}),
        (
            torch.nn.MultiheadAttention(4, 2, kdim=3, vdim=5, add_bias_kv=True),
            {"q_proj_weight", "k_proj_weight", "v_proj_weight", "out_proj.weight"},
        ),
        (nn.SharedLinear(Pattern.of(torch.nn.Linear(2, 3))), {"weight"}),
        (torch.nn.ParameterList([torch.zeros(2, 3), torch.zeros(3)]), {"0"}),
        (
            parametrizations.weight_norm(nn.Conv2d(2, 3, 3, sharing=LowRank(2), input_size=8)),
            {"parametrizations.weight.original0", "parametrizations.weight.original1"},
        ),
        (
            parametrizations.weight_norm(nn.LocallyConnected1d(2, 3, 3, input_size=8), "bias"),
            {"weight"},
        ),
        (prune.l1_unstructured(nn.LocallyConnected1d(2, 3, 3, input_size=8), "weight", 3), {"weight_orig"}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_layers(model, decaying):
    everything = {name for name, _ in model.named_parameters()}
    assert split(model) == [decaying, everything - decaying]


def test_tied_and_frozen_parameters():
    embedding, head = torch.nn.Embedding(5, 4), torch.nn.Linear(4, 5)
    head.weight = embedding.weight
    head.bias.requires_grad_(False)
    encoder = torch.nn.Linear(4, 6)
    for model in (torch.nn.Sequential(embedding, head), torch.nn.Sequential(head, embedding)):
        assert [len(group["params"]) for group in ws.param_groups(model, 0.1)] == [1]
    model = torch.nn.Sequential(encoder, nn.TiedLinear(encoder))
    assert split(model) == [{"0.weight"}, {"0.bias", "1.bias"}]
    assert ws.param_groups(torch.nn.ReLU(), 0.1) == []


def test_an_optimizer_decays_the_kernels_only():
    layer = nn.LocallyConnected2d(2, 3, 3, input_size=6)
    before = {name: p.detach().clone() for name, p in layer.named_parameters()}
    optimizer = torch.optim.SGD(ws.param_groups(layer, 0.5), lr=0.1)
    for parameter in layer.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    torch.testing.assert_close(layer.weight, before["weight"] * 0.95)
    assert torch.equal(layer.bias, before["bias"])


@pytest.mark.parametrize(
    ("model", "decay", "message"),
    [
        ([], 0.1, "param_groups: model must be a torch.nn.Module, got list."),
        (torch.nn.ReLU(), -1, "param_groups: weight_decay must be a number of at least 0, got -1."),
        (torch.nn.ReLU(), True, "param_groups: weight_decay must be a number of at least 0, got True."),
        (
            torch.nn.ReLU(),
            float("nan"),
            "param_groups: weight_decay must be a number of at least 0, got nan.",
        ),
        (
            torch.nn.Sequential(torch.nn.LazyLinear(3)),
            0.1,
            "param_groups: 0.weight must be initialized, got a lazy one; run the model once before building "
            "the optimizer.",
        ),
    ],
    ids=str,
)
def test_errors(model, decay, message):
    with pytest.raises(ArgumentError) as caught:
        ws.param_groups(model, decay)
    assert str(caught.value) == message
