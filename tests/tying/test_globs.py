"""Modules and whole stacks are tied in one line; errors name the glob and leave the model unchanged."""

import pytest
import torch
from torch import nn

import weightshare as ws
from weightshare.errors import ArgumentError, TieError


class Block(nn.Module):
    def __init__(self, width=4, bias=True):
        super().__init__()
        self.attn = nn.Linear(width, width, bias=bias)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.Linear(2 * width, width))

    def forward(self, x):
        return x + self.mlp(x + self.attn(x))


class Stack(nn.Module):
    def __init__(self, *blocks):
        super().__init__()
        self.layers = nn.ModuleList(blocks or (Block() for _ in range(3)))

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


def count(model):
    return sum(p.numel() for p in model.parameters())


def tied(model):
    return [alias for alias, _ in ws.check_tied_weights(model, strict=True).intact]


def test_a_whole_stack_is_tied_in_one_line():
    model = ws.tie_weights(Stack(), {"layers.*": "layers.0"})
    assert count(model) == count(Block())
    assert len(tied(model)) == 2 * 6
    assert torch.equal(model(torch.ones(1, 4)), Stack(*[model.layers[0]] * 3)(torch.ones(1, 4)))
    assert ws.check_tied_weights(model).warnings == ()


def test_the_same_submodule_of_each_layer():
    model = ws.tie_weights(Stack(), {"layers.*.attn": "layers.0.attn"})
    assert tied(model) == [f"layers.{n}.attn.{name}" for n in (1, 2) for name in ("weight", "bias")]
    assert model.layers[1].mlp[0].weight is not model.layers[0].mlp[0].weight


@pytest.mark.parametrize(
    ("ties", "expected"),
    [
        ({"layers.*.attn.weight": "layers.2.attn.weight"}, [0, 1]),
        ({"layers.[12].attn.weight": "layers.0.attn.weight"}, [1, 2]),
        ({"layers.?.attn.weight": "layers.1.attn.weight"}, [0, 2]),
        ({"*.*.attn.weight": ws.Tie("layers.0.attn.weight", "t")}, [1, 2]),
    ],
)
def test_globs_of_parameters(ties, expected):
    assert tied(ws.tie_weights(Stack(), ties)) == [f"layers.{n}.attn.weight" for n in expected]


def test_a_module_is_tied_without_a_glob():
    model = ws.tie_weights(Stack(), {"layers.2": "layers.0", "layers.1.mlp.0": "layers.0.mlp.0"})
    assert len(tied(model)) == 6 + 2


def test_a_glob_can_be_applied_again():
    model = ws.tie_weights(Stack(), {"layers.1": "layers.0"})
    for _ in range(2):
        ws.tie_weights(model, {"layers.*": "layers.0"})
        assert count(model) == count(Block())
        model.layers.append(Block())
    ws.tie_weights(model, {"layers.*": "layers.0"})
    assert len(tied(model)) == 4 * 6


@pytest.mark.parametrize(
    ("name", "remaining"),
    [("layers.1", 6), ("layers.*", 0), ("layers.*.attn", 8), ("layers", 0), ("l*.2.mlp", 8)],
)
def test_modules_are_untied_by_name_or_glob(name, remaining):
    model = ws.tie_weights(Stack(), {"layers.*": "layers.0"})
    expected = model(torch.ones(1, 4))
    assert len(tied(ws.untie_weights(model, name))) == remaining
    assert torch.equal(model(torch.ones(1, 4)), expected)
    assert ws.check_tied_weights(model).warnings == ()


def test_a_chain_is_untied_together():
    model = nn.Sequential(*(nn.Linear(3, 3) for _ in range(3)))
    ws.tie_weights(model, {"1.weight": ws.Tie("0.weight", "t"), "2.weight": ws.Tie("1.weight", "t")})
    with pytest.raises(TieError, match=r"'1.weight': must not be a source, got the source of '2.weight'"):
        ws.untie_weights(model, "1")
    assert len(tied(model)) == 2
    values = [layer.weight.clone() for layer in model]
    assert tied(ws.untie_weights(model, "*")) == []
    assert all(torch.equal(layer.weight, value) for layer, value in zip(model, values))
    assert len({id(layer.weight) for layer in model}) == 3


def test_modules_under_two_names_and_shared_submodules_are_tied_once():
    model = Stack()
    model.layers.append(model.layers[1])
    model.layers.append(model.layers[0])
    for layer in model.layers[1:]:
        layer.attn = model.layers[0].attn
    ws.tie_weights(model, {"layers.*": "layers.0"})
    assert len(tied(model)) == 2 * 4
    assert count(model) == count(Block())


def test_a_name_with_wildcards_is_not_a_glob():
    model = nn.ModuleDict({"*": nn.Linear(3, 3), "a": nn.Linear(3, 3), "b": nn.Linear(3, 3)})
    assert tied(ws.tie_weights(model, {"*": "a"})) == ["*.weight", "*.bias"]


def mixed():
    return Stack(Block(), Block(bias=False), Block(8))


BAD = {
    "no match": (
        {"layer.*": "layers.0"},
        ArgumentError,
        r"tie_weights: 'layer\.\*': must match at least one module besides its source 'layers.0', got no "
        "match; did you mean 'layers.2', 'layers.1', 'layers.0'",
    ),
    "only its source": (
        {"layers.0*": "layers.0"},
        ArgumentError,
        "must match at least one module besides its source 'layers.0', got no match",
    ),
    "a glob of modules for a parameter": (
        {"layers.*": "layers.0.attn.weight"},
        ArgumentError,
        "must match at least one parameter besides its source 'layers.0.attn.weight', got no match",
    ),
    "missing names": (
        {"layers.1": "layers.0"},
        TieError,
        "tie_weights: 'layers.1': must have the same parameters as 'layers.0', got 'attn.bias' only in "
        "'layers.0'; tie the parameters by name",
    ),
    "additional names": (
        {"layers.0": "layers.1"},
        TieError,
        "must have the same parameters as 'layers.1', got 'attn.bias' only in 'layers.0'",
    ),
    "shapes": (
        {"layers.2": "layers.0"},
        TieError,
        "source 'layers.0.attn.weight' of shape 4 x 4 must have the alias's shape 8 x 8, got 4 x 4",
    ),
    "different kinds": (
        {"layers.1": "layers.0.attn.weight"},
        TieError,
        "'layers.1': must be a parameter like its source 'layers.0.attn.weight', got a module",
    ),
    "the other way round": (
        {"layers.1.attn.weight": "layers.0"},
        TieError,
        "'layers.1.attn.weight': must be a module like its source 'layers.0', got a parameter",
    ),
    "transform": (
        {"layers.1": ws.Tie("layers.0", "t")},
        TieError,
        "'layers.1': must be tied without a transform, because it is a module, got 't'; tie its parameters",
    ),
    "no parameters": (
        {"empty.0": "empty.1"},
        TieError,
        "'empty.0': source 'empty.1' must have parameters, got none",
    ),
    "twice": (
        {"layers.*.mlp": "layers.0.mlp", "layers.1.mlp.0": "layers.2.mlp.0"},
        (ArgumentError, TieError),
        "must be given once, got 'layers.1.mlp.0.weight' by 'layers.*.mlp' and by 'layers.1.mlp.0'",
    ),
    "unknown source": (
        {"layers.*": "layer.0"},
        ArgumentError,
        "names must be parameter names or module names, got 'layer.0'; did you mean 'layers.0'",
    ),
    "itself": ({"layers.1": "layers.1"}, TieError, "another module, got a tie to itself: layers.1"),
    "part of itself": ({"layers.0": "layers.0.mlp"}, TieError, "must have the same parameters"),
}


@pytest.mark.parametrize("case", BAD)
def test_errors_leave_the_model_unchanged(case):
    ties, kind, expected = BAD[case]
    model = Stack() if case == "twice" else mixed()
    model.empty = nn.ModuleList([nn.ReLU(), nn.ReLU()])
    before = {name: id(p) for name, p in model.named_parameters()}
    with pytest.raises(kind, match=expected):
        ws.tie_weights(model, ties)
    assert {name: id(p) for name, p in model.named_parameters()} == before
    assert ws.check_tied_weights(model).intact == ()
