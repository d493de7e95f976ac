"""`torch.fx` programs of every layer, traced as part of a model, on its own and as a leaf."""

import copy
import pickle

import pytest
import torch
from torch.fx import GraphModule, Tracer, symbolic_trace

from tests.helpers.sharings import SHARINGS
from weightshare import Full, LowRank, Pattern, nn
from weightshare.errors import ArgumentError
from weightshare.pattern import generators

POINTS = generators.permutations(6)
CASES = {
    **{
        f"conv {sharing}": (lambda s=sharing: nn.Conv2d(4, 6, 3, sharing=s, input_size=8), 8)
        for sharing in SHARINGS
    },
    **{
        f"transposed {sharing}": (
            lambda s=sharing: nn.ConvTranspose2d(4, 6, 3, stride=2, sharing=s, input_size=6),
            6,
        )
        for sharing in SHARINGS
    },
    "modes": (
        lambda: nn.Conv2d(4, 6, 3, padding=((1, 2), (1, 1)), padding_mode=("zeros", "circular"), groups=2),
        8,
    ),
    "no bias": (lambda: nn.Conv2d(4, 6, 3, bias=False, sharing=SHARINGS[1], input_size=8), 8),
    "untied bias": (lambda: nn.Conv2d(4, 6, 3, bias_sharing=SHARINGS[-1], input_size=8), 8),
    "blur": (lambda: nn.BlurPool2d(), 8),
    "local": (lambda: nn.LocallyConnected2d(4, 6, 3, input_size=8), 8),
    "shared linear": (lambda: nn.SharedLinear(Pattern.from_symmetry(POINTS, POINTS)), 6),
    "sparse": (lambda: nn.SharedLinear(Pattern.of(torch.nn.Conv1d(1, 1, 3, padding=1), 200)), 200),
}


class LeafTracer(Tracer):
    def is_leaf_module(self, m, qualname):
        return m.__module__.startswith("weightshare") or super().is_leaf_module(m, qualname)


@pytest.mark.parametrize("name", CASES)
def test_programs_compute_the_same(name):
    make, size = CASES[name]
    layer = make()
    x = torch.randn(3, 4, size, size)
    model = torch.nn.Sequential(layer, torch.nn.ReLU())
    expected = model(x)
    leaf = GraphModule(model, LeafTracer().trace(model))
    programs = [symbolic_trace(model), leaf, symbolic_trace(symbolic_trace(model))]
    programs += [copy.deepcopy(programs[0]), pickle.loads(pickle.dumps(programs[0]))]
    for program in programs:
        assert torch.equal(program(x), expected)
        assert torch.equal(program(x[:1]), model(x[:1]))
    calls = [node for node in programs[0].graph.nodes if node.op == "call_module"]
    assert [node.target for node in calls] == ["0", "1"]
    alone = symbolic_trace(layer)
    torch.testing.assert_close(alone(x).relu(), expected)
    if "mapped" not in name:  # torch.fx writes the labels of a map into a program, but does not read them
        torch.testing.assert_close(pickle.loads(pickle.dumps(alone))(x).relu(), expected)
    if name == "blur":
        return
    alone(x).square().sum().backward()
    gradients = {name: parameter.grad for name, parameter in layer.named_parameters() if parameter.numel()}
    layer.zero_grad()
    layer(x).square().sum().backward()
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, layer.get_parameter(name).grad)


def test_the_output_size_of_a_transposed_layer():
    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.ConvTranspose2d(4, 6, 3, stride=2, sharing=LowRank(2), input_size=6)

        def forward(self, x):
            return self.layer(x, output_size=(14, 13))

    model, x = Model(), torch.randn(2, 4, 6, 6)
    assert symbolic_trace(model)(x).shape == (2, 6, 14, 13)
    alone = symbolic_trace(model.layer)
    assert torch.equal(alone(x, (14, 13)), model(x))
    assert torch.equal(alone(x), model.layer(x))


@pytest.mark.parametrize("sharing", [s for s in SHARINGS if s != Full()], ids=str)
def test_tied_decoders(sharing):
    encoder = nn.Conv2d(4, 6, 3, stride=1, sharing=sharing, input_size=8)
    model = torch.nn.Sequential(encoder, nn.TiedConvTranspose2d(encoder))
    linear = torch.nn.Linear(4, 6)
    dense = torch.nn.Sequential(linear, nn.TiedLinear(linear))
    for tied, x in ((model, torch.randn(2, 4, 8, 8)), (dense, torch.randn(2, 4))):
        program = symbolic_trace(tied)
        assert torch.equal(program(x), tied(x))
        with torch.no_grad():
            tied[0].weight.mul_(2)
        assert torch.equal(program(x), tied(x))


def test_other_inputs_are_still_errors():
    for layer in (nn.Conv1d(1, 1, 1), nn.ConvTranspose1d(1, 1, 1), nn.BlurPool1d()):
        with pytest.raises(
            ArgumentError, match=f"{type(layer).__name__}: input must be a torch.Tensor, got list"
        ):
            layer([[1.0]])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("name", CASES)
def test_traces_take_any_batch(name):
    make, size = CASES[name]
    layer, x = make(), torch.randn(3, 4, size, size)
    traced = torch.jit.trace(layer, x)
    for batch in (1, 2, 3):
        torch.testing.assert_close(traced(x[:batch]), layer(x[:batch]))
