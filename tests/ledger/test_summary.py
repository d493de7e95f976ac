"""A summary has the correct counts, table and JSON, raises clear errors, and explains counts that differ."""

import json
import re
from collections import OrderedDict

import pytest
import torch
from torch import nn

import weightshare as ws
from weightshare.errors import ArgumentError


def resnet50():
    """Return the layers of torchvision's ResNet-50, in an order that cannot run."""

    def bottleneck(inputs, width, first):
        layers = []
        for a, b, k in ((inputs, width, 1), (width, width, 3), (width, 4 * width, 1)):
            layers += [nn.Conv2d(a, b, k, bias=False), nn.BatchNorm2d(b)]
        if first:
            layers += [nn.Conv2d(inputs, 4 * width, 1, bias=False), nn.BatchNorm2d(4 * width)]
        return nn.Sequential(*layers)

    layers = [nn.Conv2d(3, 64, 7, bias=False), nn.BatchNorm2d(64)]
    channels = 64
    for width, blocks in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for block in range(blocks):
            layers.append(bottleneck(channels, width, block == 0))
            channels = 4 * width
    return nn.Sequential(*layers, nn.Linear(2048, 1000))


@pytest.fixture(scope="module")
def large():
    with torch.device("meta"):
        return ws.summary(resnet50())


def test_reconcile_finds_the_conventions(large):
    assert large.totals.unique == 25_557_032
    expected = "25,636,712 = 25,557,032 + 53,120 batch-norm statistics + 26,560 convolution biases"
    assert str(large.reconcile(25_636_712)) == expected
    assert str(large.reconcile(25_557_032)) == "25,557,032 = 25,557,032"
    without_head = large.reconcile(25_557_032 - 2_049_000)
    assert str(without_head) == "23,508,032 = 25,557,032 - 2,049,000 the last linear layer"


def test_nothing_is_counted_twice_to_explain_a_number():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[0].requires_grad_(False)
    assert ws.summary(model).reconcile(6).terms is None
    model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8))
    assert ws.summary(model).reconcile(96 + 16 + 17).terms is None


@pytest.mark.parametrize("number", [1, 25_000_000, 25_636_713, 31_415_926])
def test_numbers_without_an_explanation(large, number):
    found = large.reconcile(number)
    assert found.terms is None
    assert str(found).endswith(": no explanation found")


@pytest.mark.parametrize("number", [-1, 2.5, True, "10"])
def test_reconcile_requires_a_count(large, number):
    with pytest.raises(ArgumentError, match="reconcile: number must be"):
        large.reconcile(number)


def test_reconcile_counts_ties_again():
    model = nn.Sequential(nn.Embedding(100, 16), nn.Linear(16, 100, bias=False))
    model[1].weight = model[0].weight
    expected = "3,200 = 1,600 + 1,600 tied weights counted again"
    assert str(ws.summary(model).reconcile(3200)) == expected


def lenet():
    layers = OrderedDict(conv=nn.Conv2d(1, 10, 5), norm=nn.BatchNorm2d(10), pool=nn.AdaptiveAvgPool2d(1))
    return nn.Sequential(OrderedDict(**layers, flat=nn.Flatten(), head=nn.Linear(10, 10)))


def test_the_table():
    text = ws.summary(lenet(), input_shape=(1, 28, 28)).to_text("Param #")
    lines = text.splitlines()
    assert lines[0] == "Sequential on 1 x 1 x 28 x 28"
    assert lines[2].split() == ["module", "type", "Param", "#", "%", "calls", "output", "MACs", "derivation"]
    conv = next(line for line in lines if line.strip().startswith("conv"))
    assert " 260 " in conv
    assert "250 weight = 10*1*5*5; 10 bias" in conv
    assert "144,000" in conv
    assert any(line.split()[:2] == ["unique", "390"] for line in lines)
    assert all(len(line) <= 118 for line in lines)


def test_percentages_add_up(large):
    lines = [line for line in large.to_text(fold=False).split("\n\n")[1].splitlines()[1:] if line[2] != " "]
    shares = [float(re.split(r"\s{2,}", line.strip())[3]) for line in lines]
    assert len(shares) == len(large.rows)
    assert sum(round(10 * share) for share in shares) == 1000
    exact = [100 * row.own_unique / large.totals.unique for row in large.rows]
    assert all(abs(share - expected) < 0.1 for share, expected in zip(shares, exact))


@pytest.mark.parametrize("name", ["resnet18", "vgg16", "lenet5"])
def test_printed_percentages_add_up_to_100_exactly(name):
    with torch.device("meta"):
        answer = ws.summary(getattr(ws.models, name)())
    cells = [line.split(" | ") for line in answer.to_markdown().splitlines()[4:]]
    shares = [line[3] for line in cells[: len(answer.rows)]]
    assert sum(int(share.replace(".", "")) for share in shares) == 1000


def test_json_and_markdown():
    answer = ws.summary(lenet(), input_shape=(1, 28, 28))
    found = json.loads(answer.to_json())
    assert found == answer.to_dict()
    assert set(found["totals"]) >= {
        *("unique", "untied", "unrolled", "unshared", "trainable", "frozen", "buffers", "bytes"),
    }
    for row in found["modules"]:
        assert set(row) >= {"name", "type", "own_unique", "derivation", "shared_with", "calls"}
        assert eval(row["derivation"]) == row["own_unique"] == row["weights"] + row["biases"]
    lines = answer.to_markdown().splitlines()[2:]
    assert lines[0].startswith("| module | type | parameters |")
    assert len({line.replace("\\|", "").count("|") for line in lines[: len(answer.rows) + 2]}) == 1


@pytest.mark.parametrize("model", [5, None, nn.Linear])
def test_models_that_are_not_modules(model):
    with pytest.raises(ArgumentError, match=r"summary: model must be a torch\.nn\.Module, got"):
        ws.summary(model)


def test_invalid_input_shapes():
    model = nn.Linear(8, 8)
    with pytest.raises(ArgumentError, match="takes either example inputs or input_shape, got both"):
        ws.summary(model, torch.zeros(8), input_shape=(8,))
    with pytest.raises(ArgumentError, match=r"input_shape\[1\] must be at least 1, got 0"):
        ws.summary(model, input_shape=(8, 0))
    with pytest.raises(ArgumentError, match="input_shape must be the shape of one example"):
        ws.summary(model, input_shape=8)


def test_explain_suggests_similar_names():
    answer = ws.summary(lenet())
    with pytest.raises(ArgumentError, match=r"got 'haed'; did you mean 'head'"):
        answer.explain("haed")
    assert answer.explain("head").splitlines() == [
        "own parameters: 110",
        "head.weight: 10 output features * 10 input features = 100",
        "head.bias: 10 output features = 10",
    ]


def test_counting_by_formula_still_loads_no_torch():
    import subprocess
    import sys

    code = "import sys; sys.modules['torch'] = None; import weightshare.counting"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_control_characters_and_markup_in_names_are_escaped():
    model = nn.Module()
    model.add_module("a\nb\x1b[31m|<img>", nn.Linear(2, 2))
    answer = ws.summary(model)
    assert "\x1b" not in str(answer) + answer.to_markdown()
    assert "a\\nb\\x1b[31m|<img>" in str(answer)
    assert "\\|\\<img\\>" in answer.to_markdown()


def test_explain_a_module_with_submodules():
    model = nn.Sequential(OrderedDict(body=nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2))))
    assert ws.summary(model).explain("body").splitlines() == [
        "parameters in submodules: 17",
        "body.0: 9 = 3 * 2 + 3",
        "body.1: 8 = 2 * 3 + 2",
    ]
    assert ws.summary(model).explain("(model)").startswith("parameters in submodules: 17")
