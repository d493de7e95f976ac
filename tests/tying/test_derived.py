"""A reference follows its source through copies, parametrizations and class changes, and cannot be set."""

import copy
import gc
import pickle
import weakref

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize, prune

import weightshare as ws
from tests.helpers.ties import tied_linears
from weightshare.errors import TieError


def assign(model, value):
    model[1].weight = value


def call_with(model, value):
    torch.func.functional_call(model, {"1.weight": value}, (torch.zeros(1, 3),))


@pytest.mark.parametrize("way", [assign, call_with])
@pytest.mark.parametrize("value", [nn.Parameter(torch.zeros(3, 2)), torch.zeros(3, 2)], ids=["own", "plain"])
def test_a_reference_cannot_be_assigned(way, value):
    model = tied_linears()
    before = model[0].weight.detach().clone()
    expected = (
        r"Linear.weight: must not be assigned, because it is read from the weight of another module "
        rf"\(Linear\), got a {type(value).__name__}; assign to the source, or call untie_weights first"
    )
    with pytest.raises(TieError, match=expected):
        way(model, value)
    assert torch.equal(model[1].weight, before.t())
    model[1].bias = nn.Parameter(torch.ones(3))
    model[1].register_parameter("more", nn.Parameter(torch.ones(3)))
    assert list(dict(model.named_parameters())) == ["0.weight", "0.bias", "1.bias", "1.more"]
    ws.untie_weights(model, "1.weight")
    model[1].weight = nn.Parameter(torch.zeros(3, 2))


@pytest.mark.parametrize("make", ["reading", "convolution"])
def test_a_reference_cannot_be_pruned_or_deleted(make):
    if make == "reading":
        model, kind, source = tied_linears(), "Linear", "Linear"
    else:
        encoder = ws.nn.Conv2d(2, 3, 3)
        model, kind, source = nn.Sequential(encoder, ws.nn.TiedConvTranspose2d(encoder)), "Tied.*2d", "Conv2d"
    before = vars(model[1])["_parameters"].copy(), list(model.state_dict())
    for change, expected in (
        (
            lambda: prune.l1_unstructured(model[1], "weight", 0.5),
            rf"{kind}.weight: must not be pruned, because it is read from the weight of another module "
            rf"\({source}\), got pruning; prune the source, or call untie_weights first",
        ),
        (lambda: delattr(model[1], "weight"), "must not be deleted, .* got del; call untie_weights first"),
    ):
        with pytest.raises(TieError, match=expected):
            change()
        assert (model[1]._parameters, list(model.state_dict())) == before
        assert not model[1]._forward_pre_hooks
    assert ws.check_tied_weights(model).ok


def test_assigning_to_the_data_of_a_transformed_reference_has_no_effect():
    """Each use reads the source again; without a transform it returns the source itself."""
    model = tied_linears()
    before = model[0].weight.detach().clone()
    model[1].weight.data = torch.zeros(3, 2)
    assert torch.equal(model[1].weight, before.t())
    encoder = nn.Conv2d(2, 3, 3)
    model = nn.Sequential(encoder, ws.nn.TiedConvTranspose2d(encoder))
    model[1].weight.data = torch.zeros(3, 2, 3, 3)
    assert not encoder.weight.any()


def test_a_source_without_its_weight_is_reported():
    model = tied_linears()
    model.append(nn.Linear(3, 2))
    ws.tie_weights(model, {"2.weight": ws.Tie("1.weight", "t")})
    del model[0].weight
    expected = (
        "Linear.weight: must have a source, because it is read from the weight of another module "
        r"\(Linear\), got none; give that module its parameter again, or replace this module"
    )
    for layer in model[1:]:
        with pytest.raises(TieError, match=expected):
            layer(torch.zeros(1, layer.in_features))


def test_a_long_chain_is_read_without_recursion():
    model = nn.Sequential(*(nn.Linear(3, 3, bias=False) for _ in range(501)))
    ws.tie_weights(model, {f"{n + 1}.weight": ws.Tie(f"{n}.weight", "t") for n in range(500)})
    assert torch.equal(model[500].weight, model[0].weight)
    assert torch.equal(model[499].weight, model[0].weight.t())
    assert ws.check_tied_weights(model).ok
    assert torch.equal(copy.deepcopy(model)[500].weight, model[0].weight)


class ByArguments(nn.Linear):
    """A class that is copied and pickled by its constructor arguments."""

    def __reduce__(self):
        return ByArguments, (self.in_features, self.out_features), {"kept": self.kept}


class WithoutScratch(nn.Linear):
    """A class that leaves one attribute out of its state."""

    def __getstate__(self):
        return {name: value for name, value in vars(self).items() if name != "scratch"}


@pytest.mark.parametrize("through", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_classes_with_their_own_copy_methods(through):
    model = nn.Sequential(nn.Linear(3, 2), ByArguments(2, 3), WithoutScratch(2, 3))
    model[1].kept, model[2].scratch = 5, torch.zeros(1)
    ws.tie_weights(model, {f"{n}.weight": ws.Tie("0.weight", "t") for n in (1, 2)})
    other = through(model)
    assert (other[1].kept, hasattr(other[2], "scratch")) == (5, False)
    assert ws.check_tied_weights(other).ok
    for layer in other[1:]:
        assert layer.weight.data_ptr() == other[0].weight.data_ptr() != model[0].weight.data_ptr()
        assert "weight" not in dict(layer.named_parameters())


def test_unused_classes_are_garbage_collected():
    def local():
        class Local(nn.Linear):
            pass

        model = nn.Sequential(nn.Linear(3, 2), Local(2, 3))
        ws.tie_weights(model, {"1.weight": ws.Tie("0.weight", "t")})
        assert type(copy.deepcopy(model)[1]) is type(model[1])
        return weakref.ref(Local)

    there = local()
    gc.collect()  # collects the subclass
    gc.collect()
    assert there() is None


def test_another_instance_of_the_class_is_a_plain_layer():
    """PEFT creates such instances for the factors of a convolution."""
    model = nn.Sequential(nn.Conv2d(2, 2, 3), nn.Conv2d(2, 2, 3))
    ws.tie_weights(model, {"1.weight": ws.Tie("0.weight", "flip")})
    other = type(model[1])(2, 4, 3)
    for layer in (other, copy.deepcopy(other), pickle.loads(pickle.dumps(other))):
        assert layer.weight is dict(layer.named_parameters())["weight"]
        assert layer(torch.zeros(1, 2, 3, 3)).shape == (1, 4, 1, 1)
        layer.weight = nn.Parameter(torch.zeros(4, 2, 3, 3))
        assert not layer.weight.any()


def test_untying_a_shallow_copy_leaves_the_original_tied():
    model = tied_linears()
    other = copy.copy(model)
    other._modules = dict(other._modules)
    other._modules["1"] = copy.copy(model[1])
    ws.untie_weights(other, "1.weight")
    assert (ws.check_tied_weights(other).intact, ws.check_tied_weights(other).ok) == ((), True)
    assert [alias for alias, _ in ws.check_tied_weights(model).intact] == ["1.weight"]
    assert list(dict(model.named_parameters())) == ["0.weight", "0.bias", "1.bias"]
    assert "1.weight" in dict(other.named_parameters())
    assert torch.equal(model[1].weight, model[0].weight.t())


@pytest.mark.parametrize("encoder", [nn.Linear(3, 2), nn.Conv2d(3, 2, 3)])
def test_a_tied_decoder_initializes_its_bias_alone(encoder):
    decoder = (ws.nn.TiedLinear if isinstance(encoder, nn.Linear) else ws.nn.TiedConvTranspose2d)(encoder)
    weight, bias = encoder.weight.detach().clone(), decoder.bias.detach().clone()
    decoder.reset_parameters()
    assert torch.equal(encoder.weight, weight)
    assert not torch.equal(decoder.bias, bias)
    model = tied_linears()
    weight = model[0].weight.detach().clone()
    model[1].reset_parameters()
    assert not torch.equal(model[0].weight, weight)


def with_bias_parametrized():
    model = tied_linears()
    parametrize.register_parametrization(model[1], "bias", nn.Identity())
    return model


def test_parametrizations_remain_when_a_reference_is_repaired():
    model = with_bias_parametrized()
    model[0] = nn.Linear(3, 2)
    assert ws.retie_weights(model, keep="source").ok
    assert parametrize.is_parametrized(model[1], "bias")
    assert torch.equal(model[1].weight, model[0].weight.t())
    assert model(torch.zeros(1, 3)).shape == (1, 3)


def test_parametrizations_remain_when_ties_change():
    """Parametrizations and ties can be removed in any order."""
    model = with_bias_parametrized()
    first = copy.deepcopy(model)
    ws.untie_weights(model, "1.weight")
    assert "1.weight" in dict(model.named_parameters())
    ws.tie_weights(model, {"1.weight": ws.Tie("0.weight", "t")})
    other = copy.deepcopy(model)
    for changed in (model, other, first):
        assert parametrize.is_parametrized(changed[1], "bias")
        assert torch.equal(changed[1].weight, changed[0].weight.t())
        assert ws.check_tied_weights(changed).intact
        assert changed(torch.zeros(1, 3)).shape == (1, 3)
    parametrize.remove_parametrizations(model[1], "bias")
    assert list(model.state_dict()) == ["0.weight", "0.bias", "1.bias"]
    ws.untie_weights(model, "1.weight")
    assert type(model[1]) is nn.Linear
    assert model(torch.zeros(1, 3)).shape == (1, 3)


@pytest.mark.parametrize(
    "change",
    [
        lambda model: ws.untie_weights(model, "1.weight"),
        lambda model: ws.tie_weights(model, {"2.bias": "3.bias", "1.more": ws.Tie("0.more", "reshape")}),
        lambda model: ws.tie_weights(model, {"1.more": "0.more", "0.more": ws.Tie("2.more", "reshape")}),
    ],
)
def test_ties_cannot_change_after_the_class_of_a_module_was_replaced(change):
    """`fully_shard` replaces the class in this way."""
    model = tied_linears()
    model.extend([nn.Linear(3, 3), nn.Linear(3, 3)])
    for layer in model:
        layer.register_parameter("more", nn.Parameter(torch.ones(1)))
    model[1].__class__ = type("FSDPLinear", (type(model[1]),), {})
    kinds, before = [type(layer) for layer in model], dict(model.named_parameters())
    expected = (
        "FSDPLinear: the ties of a module must not change after its class was replaced, got a class "
        "created from the class of the tied module; change the ties before calling fully_shard"
    )
    with pytest.raises(TieError, match=expected):
        change(model)
    assert [type(layer) for layer in model] == kinds
    assert before.keys() == dict(model.named_parameters()).keys()
    assert all(value is before[name] for name, value in model.named_parameters())
    assert [alias for alias, _ in ws.check_tied_weights(model).intact] == ["1.weight"]
