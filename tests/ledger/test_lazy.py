"""Lazy modules: counted as 0 without an input, and by a copy with one."""

import inspect

import pytest
import torch
from torch import nn
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter, is_lazy

import weightshare as ws


class LazyScale(LazyModuleMixin, nn.Module):
    """A user's lazy module, with a lazy parameter and a lazy buffer that is not saved."""

    def __init__(self):
        super().__init__()
        self.scale = UninitializedParameter()
        self.register_buffer("mean", UninitializedBuffer(), persistent=False)

    def initialize_parameters(self, x):
        if is_lazy(self.scale):
            with torch.no_grad():
                self.scale.materialize(x.shape[1:])
                self.mean.materialize(x.shape[1:])
                self.scale.fill_(1)
                self.mean.fill_(0)

    def forward(self, x):
        return self.scale * (x - self.mean)


def list_lazy_layers():
    classes = [c for name, c in vars(nn).items() if name.startswith("Lazy") and inspect.isclass(c)]
    return [*classes, LazyScale]


def make(kind):
    name = kind.__name__
    axes = int(name[-2]) if name.endswith("d") else 0
    arguments = {"LazyLinear": (4,)}.get(name, (4, 3) if "Conv" in name else ())
    options = {"affine": True, "track_running_stats": True} if "InstanceNorm" in name else {}
    return kind(*arguments, **options), torch.ones(2, 3, *[5] * axes)


@pytest.mark.parametrize("kind", list_lazy_layers(), ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("is_nested", [False, True])
def test_every_lazy_layer(kind, is_nested):
    layer, x = make(kind)
    model = nn.Sequential(layer) if is_nested else layer
    static, answer = ws.summary(model), ws.summary(model, x)
    assert (static.totals.unique, static.warnings[0].code) == (0, "LAZY")
    assert any(map(is_lazy, [*model.parameters(), *model.buffers()]))  # the model is left lazy
    assert (answer.totals.lazy, answer.warnings) == (0, ())
    assert ws.check_tied_weights(model).ok
    assert ws.find_tied_weights(model, equal_values=True) == []
    static.reconcile(7)
    model(x)
    ready = ws.summary(model, x)
    assert answer.totals == ready.totals
    assert ready.totals.unique == sum(p.numel() for p in model.parameters()) > 0
    assert ready.totals.buffers == sum(b.numel() for b in model.buffers())


def test_lazy_layers_behind_each_other():
    model = nn.Sequential(nn.LazyConv2d(8, 3), nn.LazyBatchNorm2d(), nn.Flatten(), nn.LazyLinear(2))
    answer = ws.summary(model, torch.zeros(1, 3, 8, 8))
    assert answer.totals.unique == (8 * 27 + 8) + 16 + (2 * 288 + 2)
    assert [row.own_unique for row in answer.rows] == [224, 16, 578]


def test_a_lazy_model_on_the_meta_device():
    with torch.device("meta"):
        model = nn.Sequential(nn.LazyBatchNorm2d())
        answer = ws.summary(model, torch.zeros(1, 3, 8, 8))
    assert (answer.totals.unique, answer.totals.buffers) == (6, 7)
