"""A model that was measured is as it was before."""

import warnings

import pytest
import torch
from torch import nn

from weightshare.symmetry.running import evaluating

WARNING = "Sequential is in training mode: measured in evaluation mode, its modes are restored"


class Counting(nn.Module):
    """Counts its calls in a buffer, draws random numbers, and replaces another buffer."""

    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))
        self.register_buffer("last", torch.zeros(2))

    def forward(self, x):
        self.calls += 1
        self.last = x + torch.rand(())
        return x


def mixed() -> nn.Sequential:
    """In training mode, but for its batch norm."""
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Sequential(nn.Dropout(0.5)))
    model[1].eval()
    return model


def test_modes_come_back_one_by_one():
    model = mixed()
    before = [module.training for module in model.modules()]
    inside = []
    with pytest.warns(UserWarning, match=WARNING) as caught, evaluating(model):
        inside += [any(module.training for module in model.modules()), torch.is_grad_enabled()]
    assert inside == [False, False]
    assert len(caught) == 1
    assert [module.training for module in model.modules()] == before
    assert torch.is_grad_enabled()


def test_modes_come_back_after_an_error():
    model = mixed()
    with pytest.warns(UserWarning, match=WARNING), pytest.raises(KeyError), evaluating(model):
        raise KeyError
    assert [module.training for module in model] == [True, False, True]


def test_buffers_and_random_numbers_come_back():
    model = Counting().eval()
    last, state = model.last, torch.get_rng_state()
    with evaluating(model):
        model(torch.ones(2))
        assert model.calls == 1
    assert model.calls == 0
    assert model.last is last
    assert torch.equal(last, torch.zeros(2))
    assert torch.equal(torch.get_rng_state(), state)


def test_no_warning_in_evaluation_mode_or_for_a_function():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with evaluating(mixed().eval()):
            pass
        with evaluating(torch.relu):
            assert not torch.is_grad_enabled()
