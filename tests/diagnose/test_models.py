"""`sharing_test` on many kinds of models: dimensions, dtypes, repeated calls, layers that are not tried."""

import functools
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss
from torch.utils.data import TensorDataset

import weightshare as ws
from tests.helpers.diagnosed import QUICK, make_examples, make_network
from weightshare.errors import ArgumentError


def test_layers_that_cannot_be_relaxed_are_listed():
    model = make_network()
    model[0].register_forward_hook(lambda *_: None)
    test = ws.sharing_test(model, make_examples(), cross_entropy, **QUICK)
    assert list(test.layers) == ["3"]
    assert test.skipped["0"].startswith("the layer must be an unmodified convolution, got hooks")
    assert "Not tried: 0 (the layer must be an unmodified convolution" in str(test)


def test_one_position_and_frozen_layers_are_not_tried():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Conv2d(2, 2, 2), nn.Conv2d(2, 2, 3), nn.Flatten()).eval()
    model[0].requires_grad_(False)
    x = torch.randn(20, 1, 6, 6)
    test = ws.sharing_test(model, TensorDataset(x, model(x).detach()), mse_loss, **QUICK)
    assert test.skipped == {
        "0": "the weight of the layer must require gradients, got a frozen weight",
        "2": "the layer must have several positions, got one",
    }


@pytest.mark.parametrize("executor", [None, ThreadPoolExecutor(1)])
def test_1d_and_3d_layers(executor):
    for layer, shape in ((nn.Conv1d(1, 2, 3), (9,)), (ws.nn.Conv3d(1, 2, 2), (3, 3, 4))):
        model = nn.Sequential(layer).eval()
        x = torch.randn(20, 1, *shape)
        data = TensorDataset(x, model(x).detach() + 1)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            test = ws.sharing_test(model, data, mse_loss, executor=executor, **QUICK)
        assert test.layers["0"].map.shape == tuple(layer(x).shape[2:])
        assert "data:image/png" in test._repr_html_()


class Keywords(nn.Module):
    """Calls its convolution twice, with a keyword, and returns a dictionary."""

    def __init__(self):
        super().__init__()
        self.first, self.twice = nn.Conv2d(1, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x):
        y = self.twice(input=self.twice(input=self.first(x)).relu())
        return {"scores": y.mean((2, 3)), "none": None}


def test_keywords_repeated_calls_and_dictionaries():
    x, y = make_examples().tensors
    data = [(one, {"label": label}) for one, label in zip(x, y)]

    def loss(output, target):
        return cross_entropy(output["scores"], target["label"])

    rule = ws.diagnose.Rule(threshold=0.0, level=1e-9)  # all layers are promising, so all controls run
    with torch.no_grad():
        test = ws.sharing_test(Keywords().eval(), data, loss, rule=rule, **QUICK)
    assert all(set(layer.gains) == {"continue", "blind", "wide"} for layer in test.layers.values())
    assert list(test.layers) == ["first", "twice"]


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_dtypes(dtype):
    x, y = make_examples().tensors
    model = make_network().to(dtype)
    test = ws.sharing_test(model, TensorDataset(x.to(dtype), y), cross_entropy, layers=["0"], **QUICK)
    assert test.layers["0"].gain is not None


def test_half_precision_needs_an_optimizer():
    x, y = make_examples().tensors
    model, data = make_network().half(), TensorDataset(x.half(), y)
    with pytest.raises(ArgumentError) as raised:
        ws.sharing_test(model, data, cross_entropy, **QUICK)
    assert str(raised.value) == (
        "sharing_test: the weights must be of a type that Adam can train, got torch.float16; "
        "pass model.float(), or optimizer=."
    )
    optimizer = functools.partial(torch.optim.SGD, lr=0.01)
    test = ws.sharing_test(model, data, cross_entropy, layers=["0"], optimizer=optimizer, **QUICK)
    assert test.layers["0"].gain is not None


class PerExample(nn.Module):
    """Calls its convolution on each example without a batch axis."""

    def __init__(self, network):
        super().__init__()
        self.conv, self.rest = network[0], network[1:]

    def forward(self, x):
        return self.rest(torch.stack([self.conv(one) for one in x]))


def test_calls_without_a_batch_axis():
    data = make_examples()
    batches = ws.sharing_test(make_network(), data, cross_entropy, layers=["0"], **QUICK).layers["0"]
    model = PerExample(make_network()).eval()
    single = ws.sharing_test(model, data, cross_entropy, layers=["conv"], **QUICK).layers["conv"]
    np.testing.assert_allclose(single.map, batches.map, rtol=1e-3, atol=1e-4)
    assert single.gain == pytest.approx(batches.gain, abs=1e-5)


class Detached(nn.Module):
    """Uses one convolution without gradients."""

    def __init__(self):
        super().__init__()
        self.detached, self.conv = nn.Conv2d(1, 3, 3), nn.Conv2d(1, 3, 3)
        self.flatten, self.linear = nn.Flatten(), nn.Linear(48, 3)

    def forward(self, x):
        return self.linear(self.flatten(self.detached(x).detach() + self.conv(x)))


def test_layers_without_an_effect_on_the_loss_have_no_gain():
    layer = ws.sharing_test(Detached().eval(), make_examples(), cross_entropy, **QUICK).layers["detached"]
    assert layer.gain == pytest.approx(0, abs=1e-6)
    assert not layer.map.any()


@pytest.mark.filterwarnings("ignore:.*weight_norm")
def test_modules_that_store_tensors_with_a_graph():
    model = nn.Sequential(nn.utils.weight_norm(nn.Conv2d(1, 2, 3)), nn.Conv2d(2, 2, 2), nn.Flatten()).eval()
    x = torch.randn(20, 1, 6, 6)
    with torch.no_grad():
        data = TensorDataset(x, model(x) + 1)
    assert list(ws.sharing_test(model, data, mse_loss, **QUICK).layers) == ["1"]


def test_sparse_buffers():
    model = make_network()
    model.register_buffer("pairs", torch.eye(3).to_sparse())
    assert ws.sharing_test(model, make_examples(), cross_entropy, **QUICK).layers["0"].gain is not None


def test_the_default_device_does_not_matter():
    """The default device of new tensors is not that of the model."""
    model, data, rule = make_network(), make_examples(), ws.diagnose.Rule(threshold=0.0, level=1e-9)
    here = ws.sharing_test(model, data, cross_entropy, rule=rule, **QUICK)
    with torch.device("meta"):
        there = ws.sharing_test(model, data, cross_entropy, rule=rule, **QUICK)
    assert here.to_json() == there.to_json()
