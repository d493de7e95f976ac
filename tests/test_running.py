"""Measuring a model restores its modes, members, buffers and gradients, and torch's random state."""

import warnings

import pytest
import torch
from torch import nn

from weightshare._running import evaluating

WARNING = "Sequential is in training mode; it is measured in evaluation mode, and its modes are restored"


class Counting(nn.Module):
    """Count the calls in a buffer, draw random numbers, and replace another buffer."""

    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))
        self.register_buffer("last", torch.zeros(2))

    def forward(self, x):
        self.calls += 1
        self.last = x + torch.rand(())
        return x


def mixed() -> nn.Sequential:
    """Return a model in training mode, except for its batch norm."""
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Sequential(nn.Dropout(0.5)))
    model[1].eval()
    return model


def test_each_mode_is_restored():
    model = mixed()
    before = [module.training for module in model.modules()]
    inside = []
    with pytest.warns(UserWarning, match=WARNING) as caught, evaluating(model):
        inside += [any(module.training for module in model.modules()), torch.is_grad_enabled()]
    assert inside == [False, False]
    assert len(caught) == 1
    assert [module.training for module in model.modules()] == before
    assert torch.is_grad_enabled()


def test_modes_are_restored_after_an_error():
    model = mixed()
    with pytest.warns(UserWarning, match=WARNING), pytest.raises(KeyError), evaluating(model):
        raise KeyError
    assert [module.training for module in model] == [True, False, True]


def test_buffers_and_the_random_state_are_restored():
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


def test_a_pending_backward_pass_still_works():
    norm = nn.BatchNorm1d(2).eval()
    loss = norm(torch.randn(3, 2)).sum()
    with evaluating(norm):
        norm(torch.randn(3, 2))
    loss.backward()
    assert norm.weight.grad is not None


class Odd(nn.Module):
    """A module with buffers of every kind, whose forward pass calls a given function."""

    def __init__(self, act):
        super().__init__()
        self.act = act
        self.register_buffer("wide", torch.ones(1).expand(3))
        self.register_buffer("later", None)
        self.register_buffer("grows", torch.zeros(2))
        with torch.inference_mode():
            self.register_buffer("inferred", torch.zeros(2))

    def forward(self, x):
        self.act(self)
        return x


def grow(module):
    module.grows.resize_(3, 2).fill_(1)


def infer(module):
    with torch.inference_mode():
        module.inferred += 1


@pytest.mark.parametrize(
    "act",
    [
        lambda module: None,
        lambda module: setattr(module, "later", torch.ones(2)),
        lambda module: module.grows.data.add_(1),
        lambda module: module.register_buffer("more", torch.ones(2)),
        lambda module: setattr(module, "wide", torch.zeros(3)),
        grow,
        infer,
    ],
)
def test_every_kind_of_buffer_is_restored(act):
    module = Odd(act).eval()
    before = dict(module._buffers)
    with evaluating(module):
        module(torch.ones(2))
    assert list(module._buffers) == list(before)
    assert all(module._buffers[name] is value for name, value in before.items())
    assert module.later is None
    assert (module.wide.tolist(), module.grows.tolist(), module.inferred.tolist()) == (
        [1] * 3,
        [0] * 2,
        [0] * 2,
    )


def test_lazy_modules_get_their_shapes():
    model = nn.LazyBatchNorm1d().eval()
    with evaluating(model):
        model(torch.ones(3, 2))
    assert model.running_mean.shape == (2,)


def test_modes_are_restored_if_eval_fails():
    class Failing(nn.Module):
        def train(self, mode=True):
            if not mode:
                raise KeyError
            return super().train(mode)

    model = nn.Sequential(nn.Dropout(), Failing())
    with pytest.raises(KeyError), evaluating(model):
        pass
    assert all(module.training for module in model.modules())


def test_exported_programs_run_as_they_are():
    program = torch.export.export(nn.Linear(2, 3), (torch.ones(1, 2),)).module()
    with warnings.catch_warnings(), evaluating(program):
        warnings.simplefilter("error")
        assert program(torch.ones(1, 2)).shape == (1, 3)
    inside = []
    model = nn.Sequential(program, nn.Dropout())
    with pytest.warns(UserWarning, match=WARNING), evaluating(model):
        inside += [model(torch.ones(1, 2)).shape, model[1].training]
    assert inside == [(1, 3), False]


@pytest.mark.parametrize(
    "buffer",
    [
        torch.nested.nested_tensor([torch.ones(2, 3), torch.ones(3, 3)]),
        torch.nested.nested_tensor([torch.ones(2, 3), torch.ones(3, 3)], layout=torch.jagged),
        torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.quint8),
        torch.eye(3).to_sparse(),
        torch.eye(3).to_mkldnn(),
        torch.ones(4, dtype=torch.uint8).view(torch.bits8),
        torch.ones(3, device="meta"),
    ],
    ids=["nested", "jagged", "quantized", "sparse", "mkldnn", "packed", "meta"],
)
def test_buffers_that_torch_cannot_compare_are_left_alone(buffer):
    model = nn.Linear(2, 2).eval()
    model.register_buffer("other", buffer)
    model.register_buffer("last", torch.zeros(2))
    with evaluating(model):
        model.last += 1
    assert model.other is buffer
    assert model.last.tolist() == [0, 0]


class BuiltOnFirstRun(nn.Module):
    """Build submodules in the first forward pass."""

    def __init__(self):
        super().__init__()
        self.layer = None
        self.register_module("other", None)
        self.is_built = False

    def forward(self, x):
        if not self.is_built:
            self.layer, self.other = nn.Linear(2, 2), nn.Linear(2, 2)
            self.is_built = True
        return self.other(self.layer(x))


def test_members_that_the_first_run_adds_stay():
    model, x = BuiltOnFirstRun().eval(), torch.ones(1, 2)
    with evaluating(model):
        inside = model(x)
    assert torch.equal(model(x), inside)
    assert set(model.state_dict()) == {"layer.weight", "layer.bias", "other.weight", "other.bias"}
