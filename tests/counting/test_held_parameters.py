"""A layer whose parameters are not those of a plain layer is explained with the number that it has."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune

import weightshare as ws
from weightshare import explain
from weightshare.errors import WeightshareError

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")


class Scale(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(2, 3))

    def forward(self, weight):
        return weight * self.scale.mean()


def build_scaled():
    layer = nn.Linear(3, 4)
    parametrize.register_parametrization(layer, "weight", Scale())
    return layer


def build_tied():
    model = nn.Sequential(nn.Linear(10, 4), nn.Linear(4, 10))
    ws.tie_weights(model, {"1.weight": ws.Tie("0.weight", transform="t")})
    return model[1]


class Steered(nn.Conv2d):
    def __init__(self):
        super().__init__(3, 4, 3)
        self.angles = nn.Parameter(torch.zeros(5))


@pytest.mark.parametrize(
    "layer",
    [
        nn.utils.weight_norm(nn.Conv2d(3, 4, 3)),
        nn.utils.weight_norm(nn.ConvTranspose2d(3, 4, 3)),
        nn.utils.weight_norm(nn.Linear(3, 1)),
        nn.utils.weight_norm(nn.Conv1d(1, 4, 1)),
        nn.utils.weight_norm(nn.Linear(3, 4), dim=None),
        nn.utils.weight_norm(nn.LSTM(3, 4), "weight_hh_l0"),
        nn.utils.spectral_norm(nn.Linear(3, 4)),
        parametrizations.weight_norm(nn.Conv2d(3, 4, 3)),
        parametrizations.weight_norm(nn.Linear(3, 4), dim=1),
        parametrizations.weight_norm(nn.GRU(3, 4), "weight_ih_l0"),
        parametrizations.weight_norm(nn.Embedding(3, 4)),
        parametrizations.weight_norm(nn.MultiheadAttention(4, 2), "in_proj_weight"),
        parametrizations.weight_norm(ws.nn.Conv2d(2, 3, 3, sharing=ws.Tiled(2), input_size=8)),
        parametrizations.spectral_norm(nn.Conv1d(3, 4, 2)),
        parametrizations.orthogonal(nn.Linear(4, 4)),
        prune.l1_unstructured(nn.Linear(4, 4), "weight", 2),
        nn.Sequential(parametrizations.weight_norm(nn.Linear(3, 4)), nn.ReLU()),
        build_scaled(),
        build_tied(),
        Steered(),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_the_count_is_that_of_the_parameters(layer):
    answer = explain(layer)
    assert answer.parameters == answer.counts["parameters"] == sum(p.numel() for p in layer.parameters())
    assert sum(term["n"] for term in answer.counts["derivation"]) == answer.parameters
    assert f"{answer.parameters:,}" in str(answer).split("parameters", 1)[1][:40]


def test_the_magnitudes_are_explained():
    text = str(explain(parametrizations.weight_norm(nn.Conv2d(3, 4, 3)), 9))
    assert "parametrizations.weight.original0    4  4 magnitudes" in text
    assert "counted here, but not in the comparison with other sharings" in " ".join(text.split())


def test_a_plain_layer_has_no_notes():
    assert explain(nn.Conv2d(3, 4, 3), 9).notes == ()
    assert explain(nn.utils.spectral_norm(nn.Conv2d(3, 4, 3)), 9).notes == ()


def test_a_weight_that_is_read_from_elsewhere_is_not_counted():
    answer = explain(build_tied())
    assert answer.parameters == 10
    assert "weight: not a parameter of this layer, which reads it from elsewhere" in answer.notes


@pytest.mark.parametrize(
    ("text", "module"),
    [
        ("weight_norm(nn.Conv2d(3, 4, 3))", parametrizations.weight_norm(nn.Conv2d(3, 4, 3))),
        (
            "nn.utils.weight_norm(nn.ConvTranspose2d(3, 4, 3))",
            nn.utils.weight_norm(nn.ConvTranspose2d(3, 4, 3)),
        ),
        (
            "torch.nn.utils.parametrizations.weight_norm(nn.Linear(3, 4), dim=1)",
            parametrizations.weight_norm(nn.Linear(3, 4), dim=1),
        ),
        (
            "weight_norm(nn.Conv1d(4, 6, 3, groups=2, bias=False), 'weight', None)",
            parametrizations.weight_norm(nn.Conv1d(4, 6, 3, groups=2, bias=False), dim=None),
        ),
        ("spectral_norm(nn.Linear(3, 4))", nn.Linear(3, 4)),
        ("nn.Sequential(weight_norm(nn.Linear(3, 4)), nn.ReLU())", nn.utils.weight_norm(nn.Linear(3, 4))),
    ],
)
def test_the_call_is_read_as_text(text, module):
    assert explain(text).parameters == sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("weight_norm(nn.LSTM(3, 4))", "weight_norm: must have a convolution or linear layer in text"),
        (
            "weight_norm()",
            "weight_norm: must have the arguments module, name, dim, each at most once, got 0 arguments.",
        ),
        ("weight_norm(nn.Linear(3, 4), 'bias')", "weight_norm: name must be 'weight' in text"),
        ("weight_norm(nn.Linear(3, 4), dims=7)", "got argument 'dims'."),
        ("weight_norm(nn.Linear(3, 4), dim=7)", "dim must be -1 to 1, or None, got 7."),
    ],
)
def test_a_mistake_gets_an_error(text, error):
    with pytest.raises(WeightshareError) as caught:
        explain(text)
    assert error in str(caught.value)
