"""Proofs by random integers that a linear layer commutes with a transform."""

import threading

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations, prune

import weightshare as ws
from weightshare import Pattern
from weightshare.errors import ArgumentError, SymmetryError
from weightshare.symmetry import flip, permute_channels, prove, rotate90, translate
from weightshare.symmetry.degree import bound_degree

CIRCULAR = {"padding": 1, "padding_mode": "circular"}


def test_circular_convolution():
    layer = nn.Conv2d(2, 3, 3, **CIRCULAR)
    before = layer.weight.clone()
    proof = prove(layer, (2, 8, 8), translate((3, 5)))
    assert proof
    assert proof.error_probability == pytest.approx((1 / 2**20 + 1 / 2**10) ** 3)
    assert str(proof) == "equivariant (error probability at most 9e-10)"
    assert torch.equal(layer.weight, before)


def test_zero_padding_violates_240_positions_of_1024():
    """Violations are the border of the map and its shifted copy; in the overlap they are a ring of 108."""
    layer = nn.Conv2d(1, 1, 3, padding=1)
    proof = prove(layer, (1, 32, 32), translate((3, 5)))
    assert (proof.holds, proof.violations, proof.compared) == (False, 240, 1024)
    crop = prove(layer, (1, 32, 32), translate((3, 5), "crop"))
    assert (crop.violations, crop.compared, crop.border) == (108, 783, ((1, 1), (1, 1)))
    partial = Pattern.of(layer, 32).partial_shift((3, 5))
    assert partial.exact.sum() == crop.exact.sum() == 675


@pytest.mark.parametrize(
    "sharing", [ws.Full(), ws.Tiled(2), ws.Tiled(4), ws.Regional(2), ws.Local()], ids=str
)
@pytest.mark.parametrize("shift", [1, 2, 4])
def test_black_boxes_agree_with_patterns(sharing, shift):
    layer = ws.nn.Conv1d(2, 2, 3, **CIRCULAR, sharing=sharing, input_size=8)
    found = prove(layer, (2, 8), translate(shift))
    roll = [(i // 8) * 8 + (i % 8 + shift) % 8 for i in range(16)]
    assert found.holds == Pattern.of(layer).is_equivariant(roll, roll).holds


def test_other_transforms_and_outputs():
    assert prove(lambda x: x.sum((2, 3)), (2, 4, 4), rotate90(), out="invariant")
    assert prove(lambda x: x.sum(1, keepdim=True), (3, 4), permute_channels([2, 0, 1]), out="invariant")
    assert not prove(nn.Conv1d(1, 1, 3, **CIRCULAR), (1, 8), flip())
    strided = nn.Conv1d(1, 1, 4, stride=2, **CIRCULAR)
    assert prove(strided, (1, 8), translate(2), out="scaled")
    two = nn.Sequential(nn.Conv1d(1, 2, 3), nn.Conv1d(2, 1, 3, stride=2))
    assert prove(two, (1, 17), translate(2, "crop"), out="scaled")


def test_what_cannot_be_proved():
    both = nn.Sequential(nn.Conv1d(1, 1, 3), nn.ReLU(), nn.Conv1d(1, 1, 3))
    with pytest.raises(
        SymmetryError, match=r"prove\(Sequential\): f must be linear up to a constant, got f\(x"
    ):
        prove(both, (1, 8), translate(1, "crop"))
    with pytest.raises(SymmetryError, match=r"integers below 2\*\*53.* got fractions"):
        prove(nn.AvgPool1d(3), (1, 9), translate(3), out="scaled")
    deep = nn.Sequential(*[nn.Conv1d(1, 1, 3, padding=1) for _ in range(5)])
    with pytest.raises(
        SymmetryError,
        match=r"integers below 2\*\*53.* got numbers up to .*prove each of its linear layers",
    ):
        prove(deep, (1, 8), translate(1, "crop"))
    with pytest.raises(SymmetryError, match=r"f must accept a float64 tensor \[1, 2, 8\], got RuntimeError"):
        prove(nn.Conv1d(1, 1, 3), (2, 8), translate(1, "crop"))
    with pytest.raises(SymmetryError, match="got fractions"):
        prove(parametrizations.weight_norm(nn.Conv1d(1, 1, 3)), (1, 8), translate(1, "crop"))


def make_sparse():
    layer = nn.Linear(4, 4)
    layer.weight = nn.Parameter(layer.weight.detach().to_sparse())
    return layer


@pytest.mark.parametrize(
    ("model", "text"),
    [
        (3, "prove: the model must be a module or another callable, got int"),
        (
            nn.LazyLinear(4),
            "the sizes of the model must be known, got 'weight' of a lazy module; run the model",
        ),
        (
            nn.Linear(4, 4, device="meta"),
            "must have values, got 'weight' on the meta device; build the model",
        ),
        (make_sparse(), r"parameters must be dense, got 'weight' with torch.sparse_coo; .* to_dense\(\)"),
    ],
)
def test_models_without_values_are_refused(model, text):
    with pytest.raises(ArgumentError, match=text):
        prove(model, 4, translate(1))


class Weighted(nn.Module):
    """A product of the input and a function of the weights."""

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.a, self.b = (nn.Parameter(torch.ones(4, dtype=torch.float64)) for _ in range(2))

    def forward(self, x):
        return x * self.function(self.a, self.b)


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv1d(2, 2, 3, padding=1), nn.Linear(4, 4)

    def forward(self, x):
        y = self.first(x)
        y[..., 0] = 0
        return torch.cat([x + y, self.second(y)], 1)


CONV = nn.Conv1d(2, 2, 3, padding=1)

DEGREES = [
    (nn.Upsample(scale_factor=2), 0),
    (nn.Conv1d(2, 2, 3), 1),
    (nn.Linear(4, 4), 1),
    (nn.ConvTranspose1d(2, 2, 3), 1),
    (nn.Sequential(CONV, nn.Linear(4, 4, bias=False), nn.ConvTranspose1d(2, 2, 3)), 3),
    (nn.Sequential(CONV, CONV, CONV), 3),
    (Residual(), 2),
    (prune.identity(nn.Conv1d(2, 2, 3), "weight"), 1),
    (ws.nn.Conv1d(2, 2, 3, padding=1, sharing=ws.Local(), input_size=4), 1),
    (ws.nn.ConvTranspose1d(2, 2, 3, padding=1, sharing=ws.Tiled(2), input_size=4), 1),
    (ws.nn.Conv1d(2, 2, 3, padding=1, sharing=ws.LowRank(1), input_size=4), 2),
    (Weighted(lambda a, b: a - b), 1),
    (Weighted(lambda a, b: a * b - b), 2),
    (Weighted(lambda a, b: torch.einsum("i,j->i", a, b)), 2),
    (Weighted(lambda a, b: a**3), 3),
    (Weighted(lambda a, b: a.square() * b), 3),
    (Weighted(lambda a, b: a.prod()), 4),
]


@pytest.mark.parametrize(("model", "degree"), DEGREES, ids=lambda value: type(value).__name__)
def test_the_degree_in_the_weights(model, degree):
    """Along a line through 0, the output is a polynomial of this degree: its next difference is zero."""
    model = model.double().eval()
    x = torch.randint(1, 9, (1, 2, 4)).double()
    parameters = list(model.parameters())
    draws = [torch.randint(1, 9, p.shape).double() for p in parameters]
    with torch.no_grad():
        assert bound_degree(model, x, parameters) == degree
        values = []
        for t in range(degree + 2):
            for parameter, draw in zip(parameters, draws):
                parameter.copy_(t * draw)
            values.append(model(x).clone())
    differences = torch.stack(values)
    for _ in range(degree):
        differences = differences.diff(dim=0)
    assert differences.abs().max() > 0
    assert torch.equal(differences[0], differences[1])


class Cut(nn.Module):
    def forward(self, x):
        return F.pad(x[..., 1:], (1, 0))


@pytest.mark.parametrize("factors", [1, 2, 3])
def test_the_stated_probability_is_an_upper_bound(factors):
    """A factor a - b, of two of 2046 numbers, is 0 with probability 1 / 2046; then everything commutes."""
    layers = [Weighted(lambda a, b: a[:1] - b[:1]) for _ in range(factors)]
    proof = prove(nn.Sequential(*layers, Cut()), (1, 4), translate(1), trials=1)
    assert not proof
    assert proof.error_probability >= 1 - (1 - 1 / 2046) ** factors
    assert proof.error_probability == pytest.approx(factors / 2**10 + 1 / 2**20)
    assert prove(lambda x: x, (1, 4), translate(1), trials=2).error_probability == 2**-40


class Locked(nn.Module):
    """A module that cannot be copied, with a hook that refers to itself."""

    def __init__(self):
        super().__init__()
        self.conv, self.lock = nn.Conv1d(1, 1, 3, **CIRCULAR), threading.Lock()
        self.register_forward_hook(lambda module, inputs, output: output + self.conv.weight.sum())

    def forward(self, x):
        with self.lock:
            return self.conv(x)


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")
@pytest.mark.parametrize(
    "make",
    [
        lambda: prune.l1_unstructured(nn.Conv1d(1, 1, 5, padding=2, padding_mode="circular"), "weight", 2),
        Locked,
        lambda: torch.compile(nn.Conv1d(1, 1, 3, **CIRCULAR), backend="eager"),
        lambda: torch.jit.script(nn.Conv1d(1, 1, 3, **CIRCULAR)),
    ],
)
def test_modules_are_not_copied_but_restored(make):
    model = make().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    weight = next(model.parameters())
    assert prove(model, (1, 8), translate(3))
    assert model.training
    assert next(model.parameters()) is weight
    after = model.state_dict()
    assert all(
        torch.equal(after[name], value) and after[name].dtype == value.dtype for name, value in before.items()
    )
