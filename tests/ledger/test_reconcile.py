"""`reconcile` finds the usual reasons why a count differs, and its explanations add up."""

import os
import random
import re
import subprocess
import sys
from collections import OrderedDict

import pytest
import torch
from torch import nn

import weightshare as ws


def small():
    """Return a classifier with 322 parameters, 16 batch-norm statistics and 9 elements per class."""
    layers = OrderedDict(conv=nn.Conv2d(3, 8, 3, bias=False), norm=nn.BatchNorm2d(8), flat=nn.Flatten())
    return nn.Sequential(OrderedDict(**layers, head=nn.Linear(8, 10)))


class Tied(nn.Module):
    """Two ties by assignment, a module and a container under two names."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(100, 16)
        self.a = nn.Linear(16, 16)
        self.pair = nn.Sequential(nn.Linear(16, 8), nn.Linear(8, 4))
        self.same, self.twin = self.a, self.pair
        self.bottom, self.head = nn.Linear(16, 100), nn.Linear(16, 100)
        self.bottom.weight = self.head.weight = self.embed.weight


class Auxiliary(nn.Module):
    """A network whose auxiliary head runs in training mode only."""

    def __init__(self):
        super().__init__()
        self.stem, self.head = nn.Linear(3, 30), nn.Linear(30, 10)
        self.aux = nn.Sequential(nn.Linear(30, 5), nn.Linear(5, 10))

    def forward(self, x):
        y = self.stem(x)
        return (self.head(y), self.aux(y)) if self.training else self.head(y)


def check_sum(answer):
    """Check that every printed explanation adds up, products in parentheses included."""
    for line in str(answer).split("\nor "):
        total, _, right = line.partition(" = ")
        amounts = re.findall(r"([+-]) ([\d,]+) ", f"+ {right} ")
        found = sum(int(sign + amount.replace(",", "")) for sign, amount in amounts)
        assert found == int(total.replace(",", "")) == answer.number
        for amount, a, b in re.findall(r"([\d,]+) for [^(]*\(([\d,]+) \* ([\d,]+)\)", right):
            assert int(amount.replace(",", "")) == int(a.replace(",", "")) * int(b.replace(",", ""))


@pytest.mark.parametrize(
    ("difference", "explanation"),
    [
        (16, "+ 16 batch-norm statistics"),
        (-16, "- 16 batch-norm parameters"),
        (8, "+ 8 convolution biases"),
        (16 + 8, "+ 16 batch-norm statistics + 8 convolution biases"),
        (-90, "- 90 the last linear layer"),
        (16 - 90, "+ 16 batch-norm statistics - 90 the last linear layer"),
        (-16 - 90, "- 16 batch-norm parameters - 90 the last linear layer"),
        (90 * 9, "+ 810 for 100 classes instead of 10 in 'head' (90 * 9)"),
        (-9 * 9, "- 81 for 1 class instead of 10 in 'head' (9 * 9)"),
        (-3 * 9, "- 27 for 7 classes instead of 10 in 'head' (3 * 9)"),
        (
            16 + 990 * 9,
            "+ 16 batch-norm statistics + 8,910 for 1,000 classes instead of 10 in 'head' (990 * 9)",
        ),
        (1, "+ 1 batch counters"),
        (17, "+ 17 buffers"),
    ],
)
def test_a_small_classifier(difference, explanation):
    answer = ws.summary(small()).reconcile(322 + difference)
    assert str(answer) == f"{322 + difference:,} = 322 {explanation}"
    check_sum(answer)


def test_frozen_parameters():
    model = small()
    model.conv.requires_grad_(False)
    summary = ws.summary(model)
    assert str(summary.reconcile(106)) == "106 = 322 - 216 frozen parameters"
    assert str(summary.reconcile(122)) == "122 = 322 + 16 batch-norm statistics - 216 frozen parameters"
    assert str(summary.reconcile(216)).startswith("216 = 322 - 106 trainable parameters")


@pytest.mark.parametrize(
    ("model", "number"),
    [
        (nn.LSTM(1, 9), 396),
        (nn.RNN(1, 1), 3),
        (nn.GRU(3, 4), 96),
        (nn.LSTMCell(2, 3), 72),
        (nn.LSTM(300, 300, bidirectional=True), 1_442_400),
        (nn.LSTM(4096, 256), 4_457_472),
    ],
)
def test_the_second_recurrent_bias(model, number):
    answer = ws.summary(model).reconcile(number)
    assert [term.label for term in answer.terms] == ["second recurrent biases"]
    check_sum(answer)


def test_the_second_recurrent_bias_with_other_conventions():
    model = nn.Sequential(nn.LSTM(5, 7), nn.BatchNorm1d(7), nn.Linear(7, 3))
    answers = [str(ws.summary(model).reconcile(430 - 28 + more)) for more in (14, -24, 7 * 8)]
    assert answers == [
        "416 = 430 - 14 batch-norm parameters",
        "378 = 430 - 28 second recurrent biases - 24 the last linear layer",
        "458 = 430 - 28 second recurrent biases + 56 for 10 classes instead of 3 in '2' (7 * 8)",
    ]


def test_dead_parameters():
    summary = ws.summary(Auxiliary(), torch.zeros(1, 3))
    total, dead = summary.totals.unique, summary.totals.dead
    assert (total, dead) == (645, 215)
    assert str(summary.reconcile(430)).splitlines()[0] == "430 = 645 - 215 dead parameters"
    found = str(summary.reconcile(430 + 90 * 31)).splitlines()[0]
    assert (
        found == "3,220 = 645 - 215 dead parameters + 2,790 for 100 classes instead of 10 in 'head' (90 * 31)"
    )
    assert summary.reconcile(430 + 90 * 31 + 1).terms is None
    unobserved = ws.summary(Auxiliary()).reconcile(430)
    assert str(unobserved) == "430 = 645 - 215 everything in 'aux'"


def test_all_heads_have_another_number_of_classes():
    answer = ws.summary(Auxiliary()).reconcile(645 + 90 * (31 + 6))
    assert str(answer).endswith("+ 3,330 for 100 classes instead of 10 in 'head', 'aux.1' (90 * 37)")


@pytest.mark.parametrize(
    ("difference", "explanation"),
    [
        (1600, "1 of 'bottom.weight', 'head.weight' counted again"),
        (3200, "+ 3,200 'bottom.weight', 'head.weight' counted again"),
        (272, "'same' counted again"),
        (172, "'twin' counted again"),
        (1600 + 272, "1 of 'bottom.weight', 'head.weight' counted again + 272 'same' counted again"),
        (3200 + 272 + 172, "tied weights counted again"),
    ],
)
def test_one_tie_of_several(difference, explanation):
    summary = ws.summary(Tied())
    answer = summary.reconcile(summary.totals.unique + difference)
    assert str(answer).splitlines()[0].endswith(explanation)
    check_sum(answer)


def test_a_resized_vocabulary():
    model = nn.Sequential(nn.Embedding(1000, 64), nn.Linear(64, 64), nn.Linear(64, 1000))
    answer = str(ws.summary(model).reconcile(1000 * 64 + 64 * 65 + 1000 * 65 + 24 * 129))
    assert answer.endswith("+ 3,096 for 1,024 embeddings instead of 1,000 in '0', '2' (24 * 129)")
    model[2].weight = model[0].weight
    answer = str(ws.summary(model).reconcile(1000 * 65 + 64 * 65 + 24 * 65))
    assert answer.endswith("+ 1,560 for 1,024 embeddings instead of 1,000 in '0', '2' (24 * 65)")


@pytest.fixture(scope="module")
def large():
    with torch.device("meta"):
        return {name: ws.summary(getattr(ws.models, name)()) for name in ("vgg16", "resnet18")}


@pytest.mark.parametrize(
    ("name", "number", "explanation"),
    [
        ("vgg16", 14_714_688, "- 123,642,856 the linear layers after the last convolution"),
        ("vgg16", 134_301_514, "- 4,056,030 for 10 classes instead of 1,000 in '39' (990 * 4,097)"),
        ("resnet18", 11_176_512, "- 513,000 the last linear layer"),
        ("resnet18", 11_181_642, "- 507,870 for 10 classes instead of 1,000 in '14' (990 * 513)"),
        ("resnet18", 11_195_493, "- 494,019 for 37 classes instead of 1,000 in '14' (963 * 513)"),
        ("resnet18", 11_679_912, "- 9,600 batch-norm parameters"),
        (
            "resnet18",
            11_190_912,
            "+ 9,600 batch-norm statistics + 4,800 convolution biases - 513,000 the last linear layer",
        ),
        (
            "resnet18",
            11_196_042,
            "+ 9,600 batch-norm statistics + 4,800 convolution biases"
            " - 507,870 for 10 classes instead of 1,000 in '14' (990 * 513)",
        ),
    ],
)
def test_published_variants(large, name, number, explanation):
    answer = large[name].reconcile(number)
    assert str(answer) == f"{number:,} = {large[name].totals.unique:,} {explanation}"
    check_sum(answer)


def test_equally_plausible_explanations_are_all_given(large):
    answer = large["resnet18"].reconcile(11_689_512 - 4800)
    assert str(answer).splitlines() == [
        "11,684,712 = 11,689,512 - 4,800 batch-norm weights",
        "or 11,684,712 = 11,689,512 - 4,800 batch-norm biases",
        "or 11,684,712 = 11,689,512 + 4,800 convolution biases - 9,600 batch-norm parameters",
    ]
    check_sum(answer)


@pytest.mark.parametrize("name", ["vgg16", "resnet18"])
@pytest.mark.parametrize("spread", [1000, 1_000_000])
def test_random_differences_are_rarely_explained(large, name, spread):
    draw, summary = random.Random(1), large[name]
    numbers = [summary.totals.unique + draw.randint(-spread, spread) for _ in range(300)]
    explained = [answer for number in numbers if (answer := summary.reconcile(number)).terms is not None]
    assert len(explained) <= 300 * 0.05
    for answer in explained:
        check_sum(answer)


def test_few_elements_per_class_explain_few_numbers():
    summary = ws.summary(nn.Sequential(nn.Linear(1000, 3), nn.Linear(3, 50)))  # 4 elements per class
    assert summary.reconcile(summary.totals.unique + 4 * 50).terms is not None  # 100 classes
    assert summary.reconcile(summary.totals.unique + 4 * 123).terms is None  # 173 classes


KERAS = """
import keras, weightshare as ws
from keras import layers
inputs = keras.Input((5, 3))
model = keras.Model(inputs, layers.Dense(2)(layers.LSTM(4)(inputs)))
print(ws.summary(model).reconcile(138 + 16))
inputs = keras.Input((8, 8, 3))
model = keras.Model(inputs, layers.BatchNormalization()(layers.Conv2D(4, 3, use_bias=False)(inputs)))
print(ws.summary(model).reconcile(124 - 16))
print(ws.summary(model).reconcile(124 + 4))
"""


def test_models_of_keras():
    environment = {**os.environ, "KERAS_BACKEND": "torch"}
    done = subprocess.run([sys.executable, "-c", KERAS], capture_output=True, text=True, env=environment)
    assert done.stdout.splitlines() == [
        "154 = 138 + 16 second recurrent biases",
        "108 = 124 - 16 batch-norm parameters and statistics",
        "128 = 124 + 4 convolution biases",
    ], done.stderr
