"""`convert_optimizer` carries the state over: training goes on exactly as computed by hand."""

import copy

import pytest
import torch
from torch.nn import BatchNorm2d, Conv2d, Linear, Parameter, Sequential

import weightshare as ws
from weightshare import Full, Local, LowRank, Regional, Tiled, convert_optimizer, nn, relax, restrict
from weightshare.errors import ArgumentError, ConversionError

X = torch.rand(4, 1, 8, 8, dtype=torch.float64)
OPTIMIZERS = {
    "SGD": lambda groups: torch.optim.SGD(groups, lr=0.1, momentum=0.9, weight_decay=0.01, nesterov=True),
    "Adam": lambda groups: torch.optim.Adam(groups, lr=0.01, amsgrad=True),
    "AdamW": lambda groups: torch.optim.AdamW(groups, lr=0.01),
    "RMSprop": lambda groups: torch.optim.RMSprop(groups, lr=0.01, momentum=0.9, centered=True),
    "Adagrad": lambda groups: torch.optim.Adagrad(groups, lr=0.01),
}


def make_model(sharing=None):
    torch.manual_seed(0)
    first = (
        Conv2d(1, 3, 3, padding=1)
        if sharing is None
        else nn.Conv2d(1, 3, 3, padding=1, sharing=sharing, input_size=8)
    )
    return Sequential(first, BatchNorm2d(3), torch.nn.Flatten(), Linear(192, 2)).double()


def train(model, optimizer, steps=3):
    for _ in range(steps):
        optimizer.zero_grad()
        model(X).square().sum().backward()
        optimizer.step()


@pytest.mark.parametrize("kind", OPTIMIZERS)
@pytest.mark.parametrize("sharing", [Local(), Tiled(2), Regional(3)], ids=str)
def test_without_gradients_the_relaxed_model_moves_on_like_the_original(kind, sharing):
    model = make_model()
    optimizer = OPTIMIZERS[kind](model.parameters())
    train(model, optimizer)
    relaxed = relax(model, sharing, X)
    new = convert_optimizer(optimizer, model, relaxed)
    assert type(new) is type(optimizer)
    for _ in range(4):
        for made, steps in ((model, optimizer), (relaxed, new)):
            for parameter in made.parameters():
                parameter.grad = torch.zeros_like(parameter)
            steps.step()
        expected = model[0].weight.expand(len(relaxed[0].kernels()), *model[0].weight.shape)
        torch.testing.assert_close(relaxed[0].kernels(), expected, rtol=1e-12, atol=1e-12)
        assert torch.equal(relaxed[3].weight, model[3].weight)
    torch.testing.assert_close(relaxed.eval()(X), model.eval()(X))


def test_momentum_goes_on_from_the_bank_of_each_position():
    """W[p] <- W[p] - lr * v[p], v[p] <- momentum * v[bank of p] + gradient of W[p]."""
    model = make_model(Tiled(2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    train(model, optimizer)
    velocity = optimizer.state[model[0].weight]["momentum_buffer"].clone()
    before = copy.deepcopy(optimizer.state_dict())
    relaxed = relax(model, {"0": Local()}, X)
    new = convert_optimizer(optimizer, model, relaxed)
    layer, labels = relaxed[0], torch.tensor(Tiled(2).labels((8, 8)))
    weight, velocities = layer.kernels().detach().clone(), velocity[labels]
    biases = new.state[layer.bias]["momentum_buffer"].clone()
    assert torch.equal(biases, optimizer.state[model[0].bias]["momentum_buffer"][labels])
    for _ in range(3):
        new.zero_grad()
        relaxed(X).square().sum().backward()
        gradient = layer.weight.grad.permute(0, 4, 3, 1, 2)
        velocities = 0.9 * velocities + gradient
        weight = weight - 0.1 * velocities
        new.step()
        torch.testing.assert_close(layer.kernels().detach(), weight, rtol=1e-12, atol=1e-12)
    assert layer.weight.std(0).max() > 0
    after = optimizer.state_dict()
    for key, values in before["state"].items():
        assert all(torch.equal(after["state"][key][name], value) for name, value in values.items())
    assert (
        new.state[relaxed[3].weight]["momentum_buffer"]
        is not optimizer.state[model[3].weight]["momentum_buffer"]
    )


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_restrict_takes_the_mean_over_taps_that_touch_the_input(kind):
    model = make_model(Local())
    optimizer = OPTIMIZERS[kind](model.parameters())
    train(model, optimizer)
    for values in optimizer.state.values():
        for value in values.values():
            if value.dim() > 3:
                value.uniform_()
    restricted = restrict(model, {"0": Regional(2)}).module
    new = convert_optimizer(optimizer, model, restricted)
    seen = torch.nn.functional.unfold(torch.ones(1, 1, 8, 8), 3, padding=1)[0].T.double()  # [P, taps]
    labels = torch.tensor(Regional(2).labels((8, 8)))
    compared = 0
    for name, value in new.state[restricted[0].weight].items():
        old = optimizer.state[model[0].weight][name]
        if value.dim() == 0:
            assert value == old
            continue
        old = old.permute(0, 4, 3, 1, 2).flatten(3)
        for bank in range(4):
            live = seen[labels == bank][:, None, None]
            expected = (old[labels == bank] * live).sum(0) / live.sum(0)
            torch.testing.assert_close(value[bank].flatten(2), expected)
        bias = optimizer.state[model[0].bias][name]
        means = torch.stack([bias[labels == bank].mean(0) for bank in range(4)])
        torch.testing.assert_close(new.state[restricted[0].bias][name], means)
        compared += 1
    assert compared
    train(restricted, new)


@pytest.mark.parametrize("sharing", [Full(), Tiled(2)], ids=str)
def test_restrict_inverts_relax(sharing):
    model = make_model(sharing)
    optimizer = OPTIMIZERS["Adam"](model.parameters())
    train(model, optimizer)
    relaxed = relax(model, {"0": Local()}, X)
    back = restrict(relaxed, {"0": sharing}).module
    again = convert_optimizer(convert_optimizer(optimizer, model, relaxed), relaxed, back)
    for old, new in zip(model.parameters(), back.parameters()):
        for name, value in optimizer.state[old].items():
            torch.testing.assert_close(again.state[new][name], value)


def test_groups_options_and_names_are_kept():
    model = make_model()
    groups = [
        {"params": [*model[3].named_parameters(prefix="3")], "lr": 0.5},
        {"params": [("0.bias", model[0].bias), ("0.weight", model[0].weight)]},
    ]
    optimizer = torch.optim.SGD(groups, lr=0.1, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1)
    train(model, optimizer)
    scheduler.step()
    relaxed = relax(model, {"0": LowRank(2)}, X)
    new = convert_optimizer(optimizer, model, relaxed)
    first = relaxed[0]
    assert [group["lr"] for group in new.param_groups] == [group["lr"] for group in optimizer.param_groups]
    assert new.param_groups[0]["params"] == list(relaxed[3].parameters())
    expected = [first.bias, first.weight, first.coefficients_0, first.coefficients_1]
    assert all(a is b for a, b in zip(new.param_groups[1]["params"], expected, strict=True))
    names = ["0.bias", "0.weight", "0.coefficients_0", "0.coefficients_1"]
    assert new.param_groups[1]["param_names"] == names
    velocity = new.state[first.weight]["momentum_buffer"]
    assert torch.equal(velocity[0], optimizer.state[model[0].weight]["momentum_buffer"])
    assert not velocity[1:].any()
    assert first.coefficients_0 not in new.state
    before = first.coefficients_0.detach().clone(), model[0].weight.detach().clone()
    train(relaxed, new, 5)
    assert not torch.equal(first.coefficients_0, before[0])
    assert torch.equal(model[0].weight, before[1])
    torch.optim.lr_scheduler.StepLR(new, 1).step()


def test_a_higher_rank_keeps_the_state_of_the_corrections():
    model = make_model(LowRank(1))
    optimizer = OPTIMIZERS["Adam"](model.parameters())
    train(model, optimizer)
    relaxed = relax(model, {"0": LowRank(3)}, X)
    new = convert_optimizer(optimizer, model, relaxed)
    for name in ("weight", "coefficients_0"):
        old, padded = (
            o.state[getattr(m[0], name)]["exp_avg"] for o, m in ((optimizer, model), (new, relaxed))
        )
        assert torch.equal(padded[: len(old)], old)
        assert not padded[len(old) :].any()
    train(relaxed, new)


def test_converted_corrections_start_without_state():
    model = make_model(LowRank(1))
    optimizer = OPTIMIZERS["SGD"](model.parameters())
    train(model, optimizer)
    relaxed = relax(model, {"0": Local()}, X)
    with pytest.warns(UserWarning, match="'0.weight' starts without state, because its sharing is LowRank"):
        new = convert_optimizer(optimizer, model, relaxed)
    assert relaxed[0].weight not in new.state
    assert any(relaxed[0].weight is p for p in new.param_groups[0]["params"])
    assert len(new.param_groups[0]["params"]) == 6
    train(relaxed, new)


def test_tied_layers_have_one_state():
    encoder = nn.Conv2d(1, 3, 3, stride=2, padding=1)
    model = Sequential(encoder, nn.TiedConvTranspose2d(encoder, output_padding=1)).double()
    optimizer = OPTIMIZERS["SGD"](model.parameters())
    train(model, optimizer)
    relaxed = relax(model, Local(), X)
    new = convert_optimizer(optimizer, model, relaxed)
    assert len(new.param_groups[0]["params"]) == 3
    assert relaxed[1].weight in new.state
    train(relaxed, new)
    assert relaxed[1].weight is relaxed[0].weight


def test_an_optimizer_of_some_parameters_keeps_to_these():
    model = make_model()
    optimizer = torch.optim.SGD([model[0].bias], lr=0.1)
    relaxed = relax(model, Local(), X)
    new = convert_optimizer(optimizer, model, relaxed)
    assert [p is relaxed[0].bias for p in new.param_groups[0]["params"]] == [True]
    assert not new.state


def other_layer():
    return Sequential(Conv2d(1, 3, 5), BatchNorm2d(3), torch.nn.Flatten(), Linear(192, 2))


def convert_adafactor():
    model = make_model()
    optimizer = torch.optim.Adafactor(model.parameters())
    train(model, optimizer)
    return convert_optimizer(optimizer, model, relax(model, Local(), X))


def convert_to(new_model):
    model = make_model()
    return convert_optimizer(torch.optim.SGD(model.parameters(), lr=0.1), model, new_model)


ERRORS = [
    (
        lambda: convert_optimizer(None, make_model(), make_model()),
        ArgumentError,
        "convert_optimizer: optimizer must be a torch.optim.Optimizer, got NoneType.",
    ),
    (
        lambda: convert_optimizer(torch.optim.SGD([Parameter(torch.ones(2, 3))]), make_model(), make_model()),
        ArgumentError,
        "convert_optimizer: each parameter of the optimizer must be a parameter of old_model, got "
        "one of shape "
        "[2, 3] that is not; pass the model before its conversion.",
    ),
    (
        lambda: convert_optimizer(torch.optim.LBFGS([Parameter(torch.ones(2))]), make_model(), make_model()),
        ConversionError,
        "convert_optimizer: the state of the optimizer must be per element, got LBFGS; create a new "
        "optimizer.",
    ),
    (
        convert_adafactor,
        ConversionError,
        "convert_optimizer: '0.weight': its state 'row_var' must be a number or have the shape [3, "
        "1, 3, 3], got "
        "[3, 1, 3, 1]; create a new optimizer.",
    ),
    (
        lambda: convert_to(Sequential(Conv2d(1, 3, 3, padding=1))),
        ConversionError,
        "convert_optimizer: new_model must have the modules of old_model, got no '1'.",
    ),
    (
        lambda: convert_to(other_layer()),
        ConversionError,
        "convert_optimizer: '0' must be a conversion of the layer in old_model, got Conv2d(1, 3, "
        "kernel_size=(5, 5), stride=(1, 1)); pass the result of relax or restrict.",
    ),
    (
        lambda: convert_to(Sequential(*make_model()[:3], Linear(5, 2))),
        ConversionError,
        "convert_optimizer: '3.weight' must have the shape [2, 192] in new_model, got [2, 5]; pass "
        "the result of "
        "relax or restrict.",
    ),
]


@pytest.mark.parametrize(("act", "kind", "text"), ERRORS)
def test_errors(act, kind, text):
    with pytest.raises(kind) as error:
        act()
    assert str(error.value) == text


def test_the_name_is_public():
    assert ws.convert_optimizer is convert_optimizer
