"""Errors of `sharing_test`, with their texts."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss
from torch.utils.data import (
    DataLoader,
    IterableDataset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

import weightshare as ws
from tests.helpers.diagnosed import make_examples, make_network
from weightshare.errors import ArgumentError, ConversionError, DataError


class Stream(IterableDataset):
    def __iter__(self):
        return iter(())


class Noisy(nn.Conv2d):
    def forward(self, input):
        return super().forward(input) + torch.randn(())


class Locked(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.stream = nn.Conv2d(1, 1, 3), (x for x in ())


def raise_error(*_):
    raise KeyError("mask")


def contrast(output, target):
    return (output - output.mean(0)).square().mean()


def divide_by_zero(_):
    return 1 / 0


class Returning(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.network, self.function = make_network(), function

    def forward(self, x):
        return self.function(self.network(x))


class Augmented(torch.utils.data.Dataset):
    """Examples with noise from numpy."""

    def __len__(self):
        return 60

    def __getitem__(self, index):
        x, y = DATA[index]
        return x + np.random.randn(), y


def hooked():
    model = make_network()
    model[3].register_forward_hook(lambda *_: None)
    return model


WEIGHTED = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 5.0]))
DATA = make_examples()
NOISY = nn.Sequential(Noisy(1, 3, 6), nn.Flatten()).eval()
MIXED = nn.Sequential(nn.BatchNorm2d(1, track_running_stats=False), *make_network()).eval()
INFINITE = nn.Sequential(nn.Conv2d(1, 3, 6), nn.Flatten(), nn.LogSoftmax(1)).eval()
with torch.no_grad():
    INFINITE[0].bias[0] = torch.inf
CASES = {
    "no module": (
        {"model": torch.sin},
        ArgumentError,
        "sharing_test: model must be a torch.nn.Module, got builtin_function_or_method.",
    ),
    "lazy model": (
        {"model": nn.LazyConv2d(2, 3)},
        ArgumentError,
        "the sizes of the model must be known, got 'weight' of a lazy module",
    ),
    "model that cannot be copied": (
        {"model": Locked()},
        ArgumentError,
        "sharing_test: copy.deepcopy(model) must succeed, got TypeError: cannot pickle 'generator' object.",
    ),
    "no convolution": (
        {"model": nn.Sequential(nn.Flatten(), nn.Linear(36, 3)).eval()},
        ArgumentError,
        "sharing_test: the model must contain a convolution of torch.nn or weightshare.nn, or tied "
        "parameters, got Sequential.",
    ),
    "random model": (
        {"model": NOISY},
        ArgumentError,
        "sharing_test: Sequential: the model must be deterministic, got different outputs in two runs on the "
        "same inputs; disable dropout and other randomness in evaluation mode.",
    ),
    "model that mixes examples": (
        {"model": MIXED},
        ArgumentError,
        "the output for an example must not depend on the other examples in its batch, got another output "
        "for the first example alone; use batch norm with running statistics.",
    ),
    "infinite outputs": (
        {"model": INFINITE},
        ArgumentError,
        "the outputs must be finite, got NaN or infinite values",
    ),
    "model for another size": (
        {"model": make_network(size=9)},
        ArgumentError,
        "Sequential: the model must run on inputs of shape [16, 1, 6, 6], got RuntimeError: mat1 and mat2",
    ),
    "loss with class weights": (
        {"loss": WEIGHTED},
        ArgumentError,
        "sharing_test: loss must be the mean or the sum of the losses of the examples in a batch, got ",
    ),
    "loss that compares examples": (
        {"loss": contrast},
        ArgumentError,
        "; leave out class weights and terms that compare examples.",
    ),
    "loss per example": (
        {"loss": nn.CrossEntropyLoss(reduction="none")},
        ArgumentError,
        "loss must return a tensor with one value, got shape [16]; use reduction='mean' or 'sum'.",
    ),
    "loss that returns a float": (
        {"loss": lambda output, target: 1.0},
        ArgumentError,
        "loss must return a tensor with one value, got float",
    ),
    "loss that counts": (
        {"loss": lambda output, target: (output.argmax(1) != target).sum()},
        ArgumentError,
        "loss must return a floating-point tensor, got torch.int64; use a loss with a gradient.",
    ),
    "output without examples": (
        {"model": Returning(lambda y: {"scores": y, "penalty": y.sum()}).eval()},
        ArgumentError,
        "sharing_test: Returning: each output must have one entry per example along its first axis, got "
        "shape [] for 16 examples; wrap the model so that it returns only such outputs.",
    ),
    "output with examples along the second axis": (
        {"model": Returning(lambda y: y.T).eval()},
        ArgumentError,
        "each output must have one entry per example along its first axis, got shape [3, 16] for 16 examples",
    ),
    "loss that fails for some examples": (
        {"data": TensorDataset(DATA[:][0], torch.where(torch.arange(60) == 50, 7, DATA[:][1]))},
        ArgumentError,
        "sharing_test: model and loss must accept all examples, got IndexError: Target 7 is out of bounds.",
    ),
    "loss that fails for some unseen examples": (
        {"unseen": TensorDataset(DATA[:][0] + 1, torch.where(torch.arange(60) == 50, 7, DATA[:][1]))},
        ArgumentError,
        "training and judging of candidate 'start' must succeed, got IndexError: Target 7 is out of bounds.",
    ),
    "unseen examples of another size": (
        {"unseen": make_examples(size=7)},
        ArgumentError,
        "Sequential: the model must run on inputs of shape [16, 1, 7, 7], got RuntimeError: mat1 and mat2",
    ),
    "loss that fails": (
        {"loss": raise_error},
        ArgumentError,
        "loss must accept the outputs of the model and the targets, got KeyError: 'mask'.",
    ),
    "no loss": (
        {"loss": "cross_entropy"},
        ArgumentError,
        "sharing_test: loss must be a function of outputs and targets, got str.",
    ),
    "stream": (
        {"data": Stream()},
        ArgumentError,
        "data must be a torch Dataset with a length, or a DataLoader of one, got Stream.",
    ),
    "loader of a stream": (
        {"data": DataLoader(Stream(), batch_size=10)},
        ArgumentError,
        "data must be a torch Dataset with a length, or a DataLoader of one, got DataLoader of Stream.",
    ),
    "random examples": (
        {"data": Augmented()},
        DataError,
        "sharing_test: examples of data must be the same when they are read twice with the same random seed "
        "of torch, got different ones; disable augmentation, or draw its random numbers from torch.",
    ),
    "examples that cannot be read": (
        {"data": [*[(x, y) for x, y in DATA][:19], None]},
        DataError,
        "sharing_test: the examples of data must form a batch, got ",
    ),
    "inputs in a dictionary": (
        {"data": [({"image": x}, y) for x, y in DATA]},
        DataError,
        "each example of data must be (input, target), with a tensor as input, got a tuple of dict, Tensor;",
    ),
    "targets without an axis of examples": (
        {
            "data": DataLoader(
                DATA, batch_size=10, collate_fn=lambda ones: (torch.zeros(10, 1), torch.ones(3))
            )
        },
        DataError,
        "sharing_test: a batch of data must have one entry per example along the first axis of each tensor, "
        "got shape [3] for 10 examples.",
    ),
    "loader with a sampler": (
        {"data": DataLoader(DATA, sampler=SubsetRandomSampler([0, 1, 2]))},
        ArgumentError,
        "the DataLoader of data must have no sampler, got a SubsetRandomSampler; pass a torch.utils.data",
    ),
    "tensor": (
        {"data": torch.zeros(30, 1, 6, 6)},
        ArgumentError,
        "data must be a torch Dataset with a length",
    ),
    "inputs without targets": (
        {"data": TensorDataset(torch.zeros(30, 1, 6, 6))},
        DataError,
        "sharing_test: each example of data must be (input, target), with a tensor as input, got a tuple of "
        "Tensor; use torch.utils.data.TensorDataset(inputs, targets), for example.",
    ),
    "too few examples": (
        {"data": TensorDataset(*DATA[:9])},
        DataError,
        "sharing_test: data must have at least 16 examples, got 9.",
    ),
    "training data as unseen": (
        {"unseen": make_examples()},
        DataError,
        "sharing_test: examples of unseen must not be in data, got 60 of 60 that are; pass examples on which "
        "the model was not trained, or omit unseen.",
    ),
    "unknown layer": (
        {"layers": ["0", "33"]},
        ArgumentError,
        "sharing_test: layers must contain names of convolutions, got '33'; did you mean '3'?",
    ),
    "layer that is none": (
        {"layers": ["linear"]},
        ArgumentError,
        "layers must contain names of convolutions, got 'linear'; choose from '0', '3'.",
    ),
    "text instead of names": (
        {"layers": "0"},
        ArgumentError,
        "layers must be a list of names, got '0'; write ['0'].",
    ),
    "no layers": ({"layers": []}, ConversionError, "at least one layer or tie must be tried, got none."),
    "no ties": (
        {"ties": ["0.weight"]},
        ArgumentError,
        "sharing_test: ties must contain names of tied parameters, got '0.weight'; pass ties=None.",
    ),
    "text instead of names of ties": (
        {"ties": "0.weight"},
        ArgumentError,
        "sharing_test: ties must be a list of names, got '0.weight'; write ['0.weight'].",
    ),
    "layer that cannot be relaxed": (
        {"model": hooked(), "layers": ["3"]},
        ConversionError,
        "sharing_test: '3': the layer must be an unmodified convolution, got hooks",
    ),
    "compiled model": (
        {"model": torch.compile(make_network())},
        ConversionError,
        "sharing_test: module must not be wrapped by torch.compile, got OptimizedModule around Sequential",
    ),
    "single convolution": (
        {"model": nn.Conv2d(1, 2, 3)},
        ArgumentError,
        "model must not be a single convolution, got Conv2d; wrap it in torch.nn.Sequential.",
    ),
    "constant loss": (
        {"loss": lambda output, target: output.detach().mean()},
        ArgumentError,
        "loss must depend on the outputs of the layers, got a loss without a gradient.",
    ),
    "NaN loss": (
        {"loss": lambda output, target: cross_entropy(output, target) * float("nan")},
        ArgumentError,
        "in a batch, got nan for 16 examples, whose individual losses have a mean of nan;",
    ),
    "loader without batches": (
        {"data": DataLoader(DATA)},
        ArgumentError,
        "sharing_test: the DataLoader of data must have a batch size of at least 2, got 1.",
    ),
    "examples of two sizes": (
        {"data": [(torch.zeros(1, 6 + i % 2, 6), 0) for i in range(20)]},
        DataError,
        "sharing_test: the examples of data must form a batch, got RuntimeError: stack expects",
    ),
    "rule": (
        {"rule": 0.02},
        ArgumentError,
        "sharing_test: rule must be a weightshare.diagnose.Rule, got float.",
    ),
    "optimizer": (
        {"optimizer": "adam"},
        ArgumentError,
        "sharing_test: optimizer must be a function or None, got str.",
    ),
    "optimizer that returns none": (
        {"optimizer": list},
        ArgumentError,
        "sharing_test: optimizer must return a torch.optim.Optimizer, got list.",
    ),
    "optimizer that fails": (
        {"optimizer": divide_by_zero},
        ArgumentError,
        "sharing_test: training and judging of candidate 'continue' must succeed, got ZeroDivisionError: ",
    ),
    "optimizer with a closure": (
        {"optimizer": torch.optim.LBFGS},
        ArgumentError,
        "training and judging of candidate 'continue' must succeed, got TypeError: ",
    ),
    "large seed": ({"seed": 2**70}, ArgumentError, "sharing_test: seed must be at most 2,147,483,647"),
    "rank": ({"rank": 0}, ArgumentError, "sharing_test: rank must be at least 1, got 0."),
    "epochs": ({"epochs": 1.5}, ArgumentError, "sharing_test: epochs must be an integer, got 1.5."),
    "batch size": ({"batch_size": 1}, ArgumentError, "sharing_test: batch_size must be at least 2, got 1."),
    "seed": ({"seed": -1}, ArgumentError, "sharing_test: seed must be at least 0, got -1."),
    "executor": (
        {"executor": 2},
        ArgumentError,
        "sharing_test: executor must be a concurrent.futures.Executor or None, got int.",
    ),
    "folder": ({"out": 2}, ArgumentError, "sharing_test: path must be text or a pathlib.Path, got 2."),
}


@pytest.mark.parametrize("case", CASES)
def test_error(case):
    changed, kind, text = CASES[case]
    arguments = {"model": make_network(), "data": DATA, "loss": cross_entropy, "epochs": 1, **changed}
    with pytest.raises(kind) as error:
        ws.sharing_test(arguments.pop("model"), arguments.pop("data"), arguments.pop("loss"), **arguments)
    assert type(error.value) is kind
    assert text in str(error.value)


def test_weighted_samplers_are_refused():
    loader = DataLoader(DATA, sampler=WeightedRandomSampler([1.0] * 60, 60))
    with pytest.raises(ArgumentError, match="must have no sampler, got a WeightedRandomSampler"):
        ws.sharing_test(make_network(), loader, cross_entropy)


def test_errors_in_workers_have_the_same_text():
    with (
        ws.study.ProcessExecutor(1) as executor,
        pytest.raises(ArgumentError, match="'continue' must succeed"),
    ):
        ws.sharing_test(make_network(), DATA, cross_entropy, optimizer=divide_by_zero, executor=executor)


def test_relax_refuses_a_test_for_a_layer_and_a_test_without_a_plan():
    model = nn.Sequential(nn.Conv2d(1, 2, 3)).eval()
    x = torch.randn(20, 1, 6, 6)
    test = ws.sharing_test(model, TensorDataset(x, model(x).detach()), mse_loss, epochs=1)
    assert test.plan == {}
    with pytest.raises(ConversionError, match="the plan must select at least one convolution"):
        ws.relax(model, test)
    with pytest.raises(ArgumentError, match="relax: the plan for a layer must be a sharing, got SharingTest"):
        ws.relax(model[0], test, input_size=6)


def test_inference_mode_is_refused():
    with torch.inference_mode(), pytest.raises(ArgumentError) as error:
        ws.sharing_test(make_network(), DATA, cross_entropy)
    expected = (
        "candidates are trained, which needs gradients, got inference mode; leave torch.inference_mode()."
    )
    assert str(error.value) == f"sharing_test: {expected}"
