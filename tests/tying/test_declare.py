"""`tie_weights` and `untie_weights` make and remove ties; an error names its cause and changes nothing."""

import os
import re
import subprocess
import sys

import pytest
import torch
from torch import nn

import weightshare as ws
from tests.helpers.ties import language_model, tied_language_model
from weightshare.errors import ArgumentError, TieError
from weightshare.parameters.references import get_declared_ties


def test_a_tie_is_recorded_on_the_nearest_module_that_contains_both_ends():
    model = tied_language_model()
    assert model.lm.head.weight is model.lm.emb.weight
    assert list(get_declared_ties(model.lm)) == ["head.weight"]
    assert not hasattr(model, "_declared_ties")
    wrapped = nn.ModuleDict({"inside": model})
    assert ws.check_tied_weights(wrapped).intact == (
        ("inside.lm.head.weight", ws.Tie("inside.lm.emb.weight")),
    )


def test_a_chain_leads_to_one_weight():
    model = nn.Sequential(*(nn.Linear(4, 4, bias=False) for _ in range(3)))
    ws.tie_weights(model, {"2.weight": "1.weight", "1.weight": ws.Tie("0.weight", "t")})
    assert torch.equal(model[2].weight, model[0].weight.t())
    assert [name for name, _ in model.named_parameters()] == ["0.weight"]


@pytest.mark.parametrize(
    ("alias", "source", "transform"),
    [
        (nn.Linear(4, 3), nn.Linear(3, 4), "t"),
        (nn.Conv2d(2, 3, 3), nn.Conv2d(2, 3, 3), "flip"),
        (nn.Linear(4, 3), nn.Conv2d(4, 3, 1), "reshape"),
        (nn.ConvTranspose2d(3, 2, 3), nn.ConvTranspose2d(2, 3, 3), "t"),
    ],
)
def test_transforms(alias, source, transform):
    model = nn.Sequential(source, alias)
    kind = type(alias)
    ws.tie_weights(model, {"1.weight": ws.Tie("0.weight", transform=transform)})
    expected = {
        "t": lambda w: w.transpose(0, 1),
        "flip": lambda w: w.flip(2, 3),
        "reshape": lambda w: w.reshape(alias.weight.shape),
    }[transform]
    assert torch.equal(model[1].weight, expected(model[0].weight))
    assert isinstance(model[1], kind)
    assert "1.weight" not in model.state_dict()
    state = {
        "0.weight": torch.ones_like(source.weight),
        **{k: v for k, v in model.state_dict().items() if "bias" in k},
    }
    model.load_state_dict(state)
    assert bool((model[1].weight == 1).all())


BAD = {
    "unknown alias": ({"lm.haed.weight": "lm.emb.weight"}, ArgumentError, "did you mean 'lm.head.weight'"),
    "unknown source": ({"lm.head.weight": "lm.emb.wieght"}, ArgumentError, "did you mean 'lm.emb.weight'"),
    "shapes": (
        {"lm.mid.weight": "lm.emb.weight"},
        TieError,
        "source 'lm.emb.weight' of shape 10 x 4 must have the alias's shape 4 x 4, got 10 x 4",
    ),
    "transform": (
        {"lm.head.weight": ws.Tie("lm.emb.weight", "t")},
        TieError,
        "must have the alias's shape 10 x 4 after transform 't', got 4 x 10",
    ),
    "reshape": (
        {"lm.mid.weight": ws.Tie("lm.emb.weight", "reshape")},
        TieError,
        "must have the alias's shape 4 x 4 after transform 'reshape', got a shape that does not allow",
    ),
    "itself": ({"lm.head.weight": "lm.head.weight"}, TieError, "got a tie to itself: lm.head.weight"),
    "circle": (
        {"lm.head.weight": "lm.emb.weight", "lm.emb.weight": "lm.head.weight"},
        TieError,
        "got a cycle: lm.head.weight -> lm.emb.weight -> lm.head.weight",
    ),
    "second of two": (
        {"lm.head.weight": "lm.emb.weight", "lm.mid.bias": "nothing"},
        ArgumentError,
        "names must be parameter names or module names, got 'nothing'",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_errors_leave_the_model_unchanged(name):
    ties, error, expected = BAD[name]
    model = language_model()
    before = {name: id(p) for name, p in model.named_parameters()}
    with pytest.raises(error, match=expected):
        ws.tie_weights(model, ties)
    assert {name: id(p) for name, p in model.named_parameters()} == before
    assert not any(hasattr(module, "_declared_ties") for module in model.modules())


def test_an_alias_is_tied_once():
    model = tied_language_model()
    with pytest.raises(TieError, match=r"must not be tied already, got an alias of 'lm.emb.weight'"):
        ws.tie_weights(model, {"lm.head.weight": "lm.emb.weight"})
    with pytest.raises(ArgumentError, match="transform must be one of None, 'flip', 'reshape', 't', got 'T'"):
        ws.Tie("a", "T")


def test_dtypes_must_agree():
    model = language_model()
    model.lm.emb.half()
    with pytest.raises(
        TieError, match=r"must be torch.float16 on cpu like its source, got torch.float32 on cpu"
    ):
        ws.tie_weights(model, {"lm.head.weight": "lm.emb.weight"})


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (
            {"0.weight": "1.weight"},
            {"1.weight": "0.weight"},
            "must not be the source of another tie, got the source",
        ),
        (
            {"1.weight": "0.weight"},
            {"0.weight": ws.Tie("2.weight", "t")},
            "must not be the source of another tie",
        ),
        (
            {"1.weight": ws.Tie("0.weight", "t")},
            {"1.weight": "2.weight"},
            "must not be tied already, got an alias of",
        ),
    ],
)
def test_ties_made_in_two_calls(first, second, expected):
    model = nn.Sequential(*(nn.Linear(3, 3, bias=False) for _ in range(3)))
    ws.tie_weights(model, first)
    with pytest.raises(TieError, match=expected):
        ws.tie_weights(model, second)
    assert ws.check_tied_weights(model).ok
    assert model(torch.zeros(1, 3)).shape == (1, 3)


def test_a_module_under_two_names():
    twice = nn.Linear(3, 3)
    model = nn.Sequential(twice, nn.Linear(3, 3), twice)
    ties = {"0.weight": ws.Tie("1.weight", "t"), "1.weight": ws.Tie("2.weight", "t")}
    with pytest.raises(TieError, match=r"got a cycle: 0.weight -> 1.weight -> 0.weight"):
        ws.tie_weights(model, ties)
    with pytest.raises(TieError, match=r"each alias must be given once, got '0.weight' and '2.weight'"):
        ws.tie_weights(model, {"0.weight": "1.weight", "2.weight": "1.weight"})


def test_built_in_ties_cannot_be_tied_again():
    encoder = nn.Linear(3, 2)
    model = nn.Sequential(encoder, ws.nn.TiedLinear(encoder), nn.Linear(2, 3))
    with pytest.raises(TieError, match=r"'1.weight': must not be tied already"):
        ws.tie_weights(model, {"1.weight": "2.weight"})
    assert "1.weight" not in dict(model.named_parameters())
    ws.untie_weights(model, "1.weight")
    assert "1.weight" in dict(model.named_parameters())


def test_recurrent_layers_cannot_be_tied_with_a_transform():
    model = nn.Sequential(nn.LSTM(4, 4), nn.Linear(16, 4, bias=False))
    with pytest.raises(
        TieError, match="must belong to a module that reads its weights at each call, got LSTM"
    ):
        ws.tie_weights(model, {"0.weight_ih_l0": ws.Tie("1.weight", "t")})


def test_ties_declared_on_a_parent_module():
    """A tie inside a submodule is accepted, and checking the parent reports the tie that it breaks."""
    model = nn.ModuleDict({"a": nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)), "b": nn.Linear(4, 4)})
    ws.tie_weights(model, {"a.0.weight": "b.weight"})
    expected = (
        "this module has no ties; if the source is outside of this module, call untie_weights on a parent"
    )
    with pytest.raises(TieError, match=expected):
        ws.untie_weights(model["a"], "0.weight")
    ws.tie_weights(model["a"], {"0.weight": "1.weight"})
    assert [(note.code, note.names) for note in ws.check_tied_weights(model).broken] == [
        ("REPLACED_END", ("a.0.weight", "b.weight"))
    ]


def test_untie():
    model = tied_language_model()
    with pytest.raises(TieError, match=r"name must be an alias, got 'lm.emb.weight'"):
        ws.untie_weights(model, "lm.emb.weight")
    ws.untie_weights(model, "lm.head.weight")
    assert model.lm.head.weight is not model.lm.emb.weight
    assert torch.equal(model.lm.head.weight, model.lm.emb.weight)
    assert ws.check_tied_weights(model).intact == ()
    model = ws.tie_weights(
        nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 3)), {"1.weight": ws.Tie("0.weight", "t")}
    )
    ws.untie_weights(model, "1.weight")
    assert type(model[1]) is nn.Linear
    assert model[1].weight.is_contiguous()
    assert torch.equal(model[1].weight, model[0].weight.t())
    assert "1.weight" in dict(model.named_parameters())


def test_an_alias_of_a_normalized_source_is_trainable_when_untied():
    encoder = nn.Linear(3, 2)
    model = nn.Sequential(encoder, ws.nn.TiedLinear(encoder))
    nn.utils.parametrizations.weight_norm(encoder)
    ws.untie_weights(model, "1.weight")
    assert model[1].weight.requires_grad
    torch.testing.assert_close(model[1].weight, encoder.weight.t())
    frozen = nn.Sequential(encoder, ws.nn.TiedLinear(encoder)).requires_grad_(False)
    assert not ws.untie_weights(frozen, "1.weight")[1].weight.requires_grad


def test_a_source_cannot_be_untied():
    model = nn.Sequential(*(nn.Linear(3, 3, bias=False) for _ in range(3)))
    ws.tie_weights(model, {"1.weight": "0.weight", "2.weight": "1.weight"})
    with pytest.raises(TieError, match=r"must not be a source, got the source of '2.weight'; untie it first"):
        ws.untie_weights(model, "1.weight")


def test_functional_call_on_a_shared_module_leaves_the_weights():
    model = tied_language_model()
    before = model.lm.emb.weight.detach().clone()
    zeros = {name: torch.zeros_like(p) for name, p in model.named_parameters()}
    out = torch.func.functional_call(
        model.lm, {k.removeprefix("lm."): v for k, v in zeros.items() if "lm" in k}, (torch.tensor([1]),)
    )
    assert bool((out == 0).all())
    assert torch.equal(model.lm.emb.weight, before)


def share(model):
    model[1].weight = model[0].weight


def share_storage(model):
    model[1].weight = nn.Parameter(model[0].weight.detach())


def share_view(model):
    model[1].weight = nn.Parameter(model[0].weight.detach().t())


@pytest.mark.parametrize("change", [share, share_storage, share_view])
def test_ties_made_by_assignment_are_removed(change):
    model = nn.Sequential(*(nn.Linear(3, 3, bias=False) for _ in range(3)))
    change(model)
    ws.tie_weights(model, {"2.weight": "1.weight"})
    with pytest.raises(TieError, match=r"must not be a source, got the source of '2.weight'; untie it first"):
        ws.untie_weights(model, "1.weight")
    with pytest.raises(TieError, match=r"got '0.weight'; use one of '2.weight', '1.weight'; if"):
        ws.untie_weights(model, "0.weight")
    values = [layer.weight.detach().clone() for layer in model]
    ws.untie_weights(ws.untie_weights(model, "2.weight"), "1.weight")
    assert str(ws.check_tied_weights(model)) == "0 ties"
    assert ws.find_tied_weights(model) == []
    assert all(torch.equal(layer.weight, value) for layer, value in zip(model, values))


KERAS = """
import keras, weightshare as ws
model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4), keras.layers.Dense(4)])
source, alias = [name for name, _ in model.named_parameters() if name.endswith("kernel")][:2]
ws.tie_weights(model, {alias: source})
"""


def test_parameters_in_the_list_of_a_keras_layer_cannot_be_tied():
    environment = {**os.environ, "KERAS_BACKEND": "torch"}
    completed = subprocess.run([sys.executable, "-c", KERAS], capture_output=True, text=True, env=environment)
    expected = "TieError: .* which the layer does not read; use the same layer at both places"
    assert re.search(expected, completed.stderr)
