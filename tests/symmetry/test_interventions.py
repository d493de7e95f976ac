"""Interventions against nets that are built by hand without a cause."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import weightshare as ws
from tests.helpers.networks import X, net, picture
from weightshare.errors import SymmetryError
from weightshare.symmetry import equivariance_error, trace_equivariance, translate


def measured(model, x=X, shift=1):
    steps = (shift,) * (x.dim() - 2)
    return equivariance_error(model, x, translate(steps), out="invariant").relative


def found(model, x=X, shift=1):
    return trace_equivariance(model, x, shift).interventions()


def with_circular_padding(model):
    model = copy.deepcopy(model)
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.padding_mode = "circular"
    return model


def blurred(model, circular):
    """Pools of stride 2 by pools of stride 1 and a blur; the map is a circle where nothing pads the pool."""
    layers = []
    for layer in copy.deepcopy(model):
        if isinstance(layer, nn.MaxPool2d):
            wrap = nn.CircularPad2d((0, 1, 0, 1)) if circular else nn.Identity()
            blur = ws.nn.BlurPool2d(padding_mode="circular" if circular else "reflect")
            layers.append(nn.Sequential(wrap, nn.MaxPool2d(2, 1), blur))
        else:
            layers.append(layer)
    return nn.Sequential(*layers).eval()


def test_padding_alone():
    model = net("zeros", "none")
    result = found(model)
    (padding,) = result.effects
    assert (padding.cause, padding.operations) == ("padding", ("0", "3", "6"))
    assert result.error == padding.alone == pytest.approx(measured(model))
    assert result.rest == padding.without < 1e-12
    assert result.interaction == pytest.approx(0)


def test_down_sampling_alone():
    model = net("circular", "pool")
    result = found(model)
    (pooling,) = result.effects
    assert (pooling.cause, pooling.operations) == ("down-sampling", ("2", "5"))
    assert result.error == pooling.alone == pytest.approx(measured(model))
    assert result.rest == pooling.without == pytest.approx(measured(blurred(model, circular=True)))
    assert result.rest < result.error / 2


def test_two_causes_and_their_interaction():
    model = net("zeros", "pool")
    result = found(model)
    padding, pooling = result.effects
    assert (padding.cause, pooling.cause) == ("padding", "down-sampling")
    circular = with_circular_padding(model)
    assert result.error == pytest.approx(measured(model))
    assert padding.without == pooling.alone == pytest.approx(measured(circular))
    assert pooling.without == padding.alone == pytest.approx(measured(blurred(model, circular=True)))
    assert result.rest == pytest.approx(measured(blurred(circular, circular=True)))
    parts = result.rest + (padding.alone - result.rest) + (pooling.alone - result.rest)
    assert result.interaction == pytest.approx(result.error - parts)
    lines = str(result).splitlines()
    assert lines[0].startswith("relative error of the output for the shift (1, 1): 0.0")
    assert lines[1].startswith("  padding (3 operations): alone ")
    assert lines[2].endswith("changed to blur pooling before every stride")
    assert lines[3].startswith("  all removed: ")


def test_padded_pools_are_blurred_as_published():
    """Reflection where the pool pads, as Zhang 2019 does."""
    torch.manual_seed(0)
    pool = nn.MaxPool2d(3, 2, 1)
    model = (
        nn.Sequential(pool, nn.Conv2d(3, 4, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        .double()
        .eval()
    )
    effects = {e.cause: e for e in found(model).effects}
    by_hand = nn.Sequential(nn.MaxPool2d(3, 1, 1), ws.nn.BlurPool2d(), *copy.deepcopy(model)[1:]).eval()
    assert effects["down-sampling"].without == pytest.approx(measured(by_hand))


class Functions(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.parts = model

    def forward(self, x):
        convolutions = [m for m in self.parts if isinstance(m, nn.Conv2d)]
        for number, m in enumerate(convolutions):
            x = F.relu(F.conv2d(x, m.weight, m.bias, padding=1))
            x = F.max_pool2d(x, 2) if number < 2 else x
        return self.parts[10](x.mean((2, 3)))


def test_functions_are_changed_as_modules_are():
    model = net("zeros", "pool")
    by_modules, by_functions = found(model), found(Functions(model).eval())
    assert by_functions.error == pytest.approx(by_modules.error)
    for one, other in zip(by_functions.effects, by_modules.effects):
        assert (one.alone, one.without) == (pytest.approx(other.alone), pytest.approx(other.without))


@pytest.mark.parametrize(
    "layer",
    [lambda: nn.Conv1d(2, 2, 3, 2, padding=1), lambda: nn.AvgPool1d(2), lambda: nn.MaxPool1d(3, 3)],
    ids=["convolution", "mean", "maximum"],
)
def test_a_stride_is_blurred(layer):
    torch.manual_seed(0)
    model = nn.Sequential(layer(), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten()).double().eval()
    result = found(model, picture(1, 2, 24))
    assert "down-sampling" in {e.cause for e in result.effects}
    assert result.rest < result.error or result.error < 1e-12  # a mean of means is exact


def test_weights_that_are_not_shared():
    torch.manual_seed(0)
    layer = ws.nn.Conv2d(3, 4, 3, padding=1, sharing=ws.Local(), input_size=16)
    model = nn.Sequential(layer, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).double().eval()
    effects = {e.cause: e for e in found(model).effects}
    assert set(effects) == {"padding", "unshared weights"}
    shared = nn.Sequential(ws.restrict(layer, ws.Full()).module, *copy.deepcopy(model)[1:]).eval()
    assert effects["unshared weights"].without == pytest.approx(measured(shared))
    assert found(model).rest < 1e-12


def test_the_model_is_left_as_it_was():
    model = net("zeros", "pool")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    output = model(X)
    found(model)
    assert torch.equal(model(X), output)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model[0].padding_mode == "zeros"


def test_a_shift_that_is_no_whole_one_of_the_output():
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.MaxPool2d(2)).double().eval()
    text = r"interventions: the shift must be whole at the output, got \(1, 1\), undefined for this stride"
    with pytest.raises(SymmetryError, match=text):
        found(model)
    result = found(model, shift=2)
    assert {e.cause: e.without for e in result.effects}["padding"] < 1e-12


def test_nothing_to_change():
    result = found(net("circular", "none"))
    assert (result.effects, result.error < 1e-12, result.interaction) == ((), True, 0)
