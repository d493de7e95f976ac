"""Optimizers and averages of weights that were created before weights were tied or untied are reported."""

import copy

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

import weightshare as ws
from tests.helpers.faulty_ties import untied
from tests.helpers.ties import KINDS, input_of, same, transposed
from weightshare.errors import ArgumentError


def check(model, **arguments):
    report = ws.check_tied_weights(model, **arguments)
    assert report.ok
    return [(note.code, note.names) for note in report.warnings]


def test_an_optimizer_from_before_the_tie():
    model = untied()
    optimizer = torch.optim.Adam(model.parameters())
    ws.tie_weights(model, {"dec.weight": "enc.weight"})
    assert check(model, optimizer=optimizer) == [
        ("STALE_IN_OPTIMIZER", ("optimizer.param_groups[0]['params'][1] (7 x 4)",))
    ]
    model = untied()
    optimizer = torch.optim.Adam(model.named_parameters())
    ws.tie_weights(model, {"dec.weight": "enc.weight"})
    assert check(model, optimizer=optimizer) == [("STALE_IN_OPTIMIZER", ("dec.weight",))]


def test_an_optimizer_from_before_untying():
    model = same()
    optimizer = torch.optim.Adam(model.parameters())
    ws.untie_weights(model, "dec.weight")
    assert check(model, optimizer=optimizer) == [("NOT_IN_OPTIMIZER", ("dec.weight",))]
    optimizer.add_param_group({"params": [model.dec.weight]})
    assert check(model, optimizer=optimizer) == []


def test_an_optimizer_from_before_a_repair():
    model = same().to("meta").to_empty(device="cpu")
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    ws.retie_weights(model)
    assert [code for code, _ in check(model, optimizer=optimizer)] == ["STALE_IN_OPTIMIZER"]


def test_frozen_parameters_and_several_optimizers():
    model = untied()
    first, second = (torch.optim.SGD(layer.parameters(), 0.1) for layer in model)
    assert check(model, optimizer=[first, second]) == []
    assert check(model, optimizer=first) == [("NOT_IN_OPTIMIZER", ("dec.weight",))]
    model.dec.requires_grad_(False)
    assert check(model, optimizer=first) == []
    assert check(model, optimizer=[first, second, first]) == [
        ("DUP_IN_OPTIMIZER", ("enc.weight",)),
    ]


def test_many_parameters_are_one_finding():
    model = nn.Sequential(*(nn.Linear(2, 2) for _ in range(4)))
    report = ws.check_tied_weights(model, optimizer=torch.optim.SGD(model[3].parameters(), 0.1))
    (note,) = report.warnings
    assert len(note.names) == 6
    assert note.text.startswith(
        "0.weight and 0.bias and 4 others: requires a gradient, but the optimizer does"
    )


@pytest.mark.parametrize("kind", KINDS)
def test_averages_that_match(kind):
    model = KINDS[kind]()
    average = AveragedModel(model)
    model(input_of(model)).square().sum().backward()
    torch.optim.SGD(model.parameters(), 0.1).step()
    average.update_parameters(model)
    by_name = {name: value.detach().clone() for name, value in model.named_parameters()}
    by_state = {name: value.clone() for name, value in model.state_dict().items()}
    for ema in (
        average,
        average.module,
        by_name,
        by_state,
        {**by_state, "decay": 0.99, "step": torch.tensor(3)},
    ):
        assert check(model, ema=ema) == []
        assert check(torch.compile(model, backend="eager"), ema=ema) == []


def test_an_averaged_model_from_before_the_tie_or_untying():
    model = untied()
    average = AveragedModel(model)
    ws.tie_weights(model, {"dec.weight": "enc.weight"})
    assert check(model, ema=average) == [("STALE_IN_EMA", ("dec.weight",))]
    average = AveragedModel(model)
    ws.untie_weights(model, "dec.weight")
    assert check(model, ema=average) == [("STALE_IN_EMA", ("dec.weight",))]
    model.enc = nn.Embedding(9, 4)
    assert check(model, ema=average) == [("STALE_IN_EMA", ("enc.weight", "dec.weight"))]


def test_an_averaged_state_dict_from_before_the_tie():
    model = untied()
    ema = {name: value.clone() for name, value in model.state_dict().items()}
    ws.tie_weights(model, {"dec.weight": "enc.weight"})
    assert check(model, ema=ema) == [("STALE_IN_EMA", ("dec.weight", "enc.weight"))]
    model = transposed()
    ema = {name: value.clone() for name, value in model.state_dict().items()} | {
        "dec.weight": torch.ones(6, 4)
    }
    assert check(model, ema=ema) == [("STALE_IN_EMA", ("dec.weight",))]


def test_an_averaged_state_dict_from_before_untying():
    model = same()
    ema = {name: value.detach().clone() for name, value in model.named_parameters()}
    ws.untie_weights(model, "dec.weight")
    assert check(model, ema=ema) == [("STALE_IN_EMA", ("dec.weight",))]


def test_a_copied_state_dict_is_averaged_twice():
    """Copies of tensors that share storage share storage, too."""
    model = same()
    ema = copy.deepcopy(model.state_dict())
    assert check(model, ema=ema) == [("DUP_IN_EMA", ("enc.weight", "dec.weight"))]
    before = ema["enc.weight"].clone()
    for name in model.state_dict():
        ema[name].mul_(0.5)
    assert torch.equal(ema["enc.weight"], before / 4)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"optimizer": 5}, "optimizer must be a torch.optim.Optimizer or a list of them, got int"),
        ({"optimizer": [None]}, "optimizer must be a torch.optim.Optimizer or a list of them, got list"),
        ({"ema": [1]}, "ema must be a torch.nn.Module or a state dict, got list"),
    ],
)
def test_invalid_arguments(arguments, expected):
    with pytest.raises(ArgumentError, match=expected):
        ws.check_tied_weights(same(), **arguments)
